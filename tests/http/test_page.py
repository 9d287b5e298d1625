"""The page in a real browser: actions of a user, the results on the page, and requests that it must not make."""

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stylewire_server.testing import ServerProcess, running_server, until

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "out" / "page"
PATIENCE_MS = 60_000
EXAMPLES = ROOT / "examples"


class Reader:
    """An open page, and a record of its errors and of requests to other machines."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self.foreign: list[str] = []
        self._listeners = {
            "console": self._heard,
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": self._asked,
        }
        page.set_default_timeout(PATIENCE_MS)
        for event, listener in self._listeners.items():
            page.on(event, listener)

    def leave(self) -> None:
        """Check that the page had no errors and sent no request to another machine, and record no more."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)
        assert self.complaints == []
        assert self.foreign == []

    def _heard(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "blob:", "data:")):
            self.foreign.append(request.url)

    @property
    def sent(self) -> list[dict[str, list[str]]]:
        """The fields of every form that the page has sent; a file is "FILE"."""
        return self.page.evaluate("() => window.sent")

    def get(self, selector: str) -> Any:
        return self.page.locator(selector)

    def shows_a_result(self) -> None:
        """Wait until the newest picture is there and nothing is under way."""
        self.get("#stage[aria-busy=false]").wait_for()
        self.get("#download:enabled").wait_for()

    def result(self) -> np.ndarray:
        """The pixels of the picture that is shown, through a download."""
        with self.page.expect_download() as caught:
            self.get("#download").click()
        return pixels(caught.value.path())

    def shot(self, name: str, whole: bool = False) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=whole)


NOTE_FORMS = """
    window.sent = [];
    const fetchIt = window.fetch;
    window.fetch = (path, options) => {
        if (options?.body instanceof FormData) {
            const fields = {};
            for (const [name, value] of options.body) {
                (fields[name] ??= []).push(value instanceof Blob ? "FILE" : value);
            }
            window.sent.push(fields);
        }
        return fetchIt(path, options);
    };
"""
"""Script that records sent forms, because the browser's protocol does not report forms with files."""


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB"), np.float32)


@contextmanager
def reading(browser: Any, url: str, **context: Any) -> Iterator[Reader]:
    """Open the page in a new context. At the end, check that it had no errors and asked no other machine."""
    opened = new_context(browser, **context)
    try:
        reader = Reader(opened.new_page(), url)
        reader.page.goto(url)
        yield reader
        reader.leave()
    finally:
        opened.close()


def new_context(browser: Any, **context: Any) -> Any:
    opened = browser.new_context(**{"viewport": {"width": 1600, "height": 1000}, **context})
    opened.add_init_script(NOTE_FORMS)
    return opened


@pytest.fixture(scope="module")
def tab(browser: Any) -> Iterator[Any]:
    """A tab of the browser that the tests share, because a new one takes as long to open as most tests."""
    opened = new_context(browser)
    yield opened.new_page()
    opened.close()


@pytest.fixture
def reader(tab: Any, http_server: ServerProcess) -> Iterator[Reader]:
    """The page, loaded anew, with its first picture."""
    reader = Reader(tab, http_server.url)
    tab.goto(http_server.url)
    reader.shows_a_result()
    yield reader
    reader.leave()


def drop(reader: Reader, selector: str, path: Path) -> None:
    """Drop a file on an element, as a browser does."""
    transfer = reader.page.evaluate_handle(
        """async ({data, name}) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, {type: "image/jpeg"}));
            return transfer;
        }""",
        {"data": base64.b64encode(path.read_bytes()).decode(), "name": path.name},
    )
    for event in ("dragenter", "dragover", "drop"):
        reader.get(selector).dispatch_event(event, {"dataTransfer": transfer})


def move(reader: Reader, selector: str, value: int) -> None:
    reader.get(selector).evaluate(
        "(it, value) => { it.value = value; it.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def large_photo(path: Path, side: int = 3000) -> Path:
    with Image.open(EXAMPLES / "content" / "coffee.jpg") as image:
        image.resize((side, side * 2 // 3)).save(path, quality=90)
    return path


def test_the_first_picture_is_there_without_a_click(reader: Reader) -> None:
    assert reader.get("#compare").is_visible()
    assert reader.get(".tile input").count() >= 4
    assert "px in" in reader.get("#facts").inner_text()
    # What the page says must be so: it sent one picture, under one of the server's names.
    assert reader.sent[-1]["content"] == ["FILE"]
    assert reader.sent[-1]["style"] != ["FILE"]


def test_a_dropped_photo_is_stylized(reader: Reader) -> None:
    before = reader.result()
    drop(reader, "#stage", EXAMPLES / "content" / "coffee.jpg")
    reader.page.get_by_text("769 × 512 px").wait_for()
    after = reader.result()
    assert after.shape == (512, 769, 3)
    assert before.shape != after.shape


def test_a_chosen_and_a_pasted_photo(reader: Reader) -> None:
    reader.get("#choose").set_input_files(EXAMPLES / "content" / "astronaut.jpg")
    reader.page.get_by_text("512 × 512 px").wait_for()
    reader.page.evaluate(
        """async () => {
            const canvas = Object.assign(document.createElement("canvas"), {width: 600, height: 300});
            canvas.getContext("2d").fillRect(50, 50, 200, 100);
            const blob = await new Promise((give) => canvas.toBlob(give));
            const clipboardData = new DataTransfer();
            clipboardData.items.add(new File([blob], "pasted.png", {type: "image/png"}));
            document.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true}));
        }"""
    )
    reader.page.get_by_text("1024 × 512 px").wait_for()


def test_a_photo_from_the_camera(reader: Reader) -> None:
    reader.get("#camera").click()
    reader.get("#camera-dialog[open]").wait_for()
    reader.page.wait_for_timeout(1500)
    reader.get("#shoot").click()
    reader.get("#camera-dialog").wait_for(state="hidden")
    reader.page.get_by_text("683 × 512 px").or_(reader.page.get_by_text("910 × 512 px")).wait_for()
    assert reader.get("#viewfinder").evaluate("it => it.srcObject") is None


def test_a_style_of_ones_own_by_drop(reader: Reader) -> None:
    before = reader.result()
    drop(reader, "#panel", EXAMPLES / "style" / "embers.jpg")
    reader.get(".tile:has-text('embers') input[value^='own']").wait_for(state="attached")
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["FILE"]
    assert np.abs(reader.result() - before).mean() > 5


def test_two_styles_are_blended(reader: Reader) -> None:
    assert reader.get("#mix").is_disabled()
    reader.get("label.slot:has([value='1'])").click()
    reader.get(".tile:has-text('Embers')").click()
    reader.shows_a_result()
    assert reader.get("#mix").is_enabled()
    move(reader, "#mix", 25)
    reader.page.get_by_text("75 : 25").wait_for()
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["waves", "embers"]
    assert reader.sent[-1]["weight"] == ["0.75", "0.25"]
    move(reader, "#mix", 100)
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["embers"]
    reader.get("#unblend").click()
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["waves"]


def test_strength_colors_and_size(reader: Reader) -> None:
    full = reader.result()
    move(reader, "#strength", 0)
    reader.shows_a_result()
    assert reader.sent[-1]["strength"] == ["0"]
    assert np.abs(reader.result() - full).mean() > 5
    reader.page.get_by_text("Keep the photo’s colors").click()
    reader.shows_a_result()
    assert reader.sent[-1]["preserve_color"] == ["true"]
    reader.get("#size").select_option("256")
    reader.page.get_by_text("385 × 256 px").wait_for()
    assert reader.result().shape == (256, 385, 3)


def test_the_divider_shows_before_and_after(reader: Reader) -> None:
    reader.get("#split").press("Home")
    reader.page.wait_for_timeout(300)
    box = reader.get("#compare").bounding_box()
    after = np.asarray(Image.open(io.BytesIO(reader.page.screenshot(clip=box))).convert("RGB"), np.float32)
    reader.get("#split").press("End")
    reader.page.wait_for_timeout(300)
    before = np.asarray(Image.open(io.BytesIO(reader.page.screenshot(clip=box))).convert("RGB"), np.float32)
    assert np.abs(after - before).mean() > 20
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    reader.page.mouse.move(box["x"] + box["width"] - 3, middle[1])
    reader.page.mouse.down()
    reader.page.mouse.move(*middle, steps=5)
    reader.page.mouse.up()
    assert 45 <= int(reader.get("#split").input_value()) <= 55
    assert "before" in reader.get("#split").get_attribute("aria-valuetext")


def test_while_a_slider_moves_the_latest_wish_wins(reader: Reader) -> None:
    sent = len(reader.sent)
    reader.get("#strength").evaluate(
        """async (it) => {
            for (it.value = 99; it.value > 20; it.value -= 1) {
                it.dispatchEvent(new Event("input", {bubbles: true}));
                await new Promise((resolve) => setTimeout(resolve, 5));
            }
            it.dispatchEvent(new Event("input", {bubbles: true}));
        }"""
    )
    reader.shows_a_result()
    asked = reader.sent[sent:]
    assert asked[-1]["strength"] == ["0.2"]
    assert len(asked) < 40


def test_a_request_that_is_out_of_date_is_cancelled_on_the_server(
    reader: Reader, http_server: ServerProcess, tmp_path: Path
) -> None:
    def cancelled() -> int:
        return sum("method=Stylize code=CANCELLED" in line for line in http_server.log)

    before = cancelled()
    reader.get("#size").select_option("0")
    reader.get("#choose").set_input_files(large_photo(tmp_path / "large.jpg"))
    reader.page.get_by_text("Computing 6.0 megapixels").wait_for()
    reader.shot("progress")
    reader.get("#size").select_option("256")
    reader.page.get_by_text("384 × 256 px").wait_for()
    until(lambda: cancelled() > before, "the server has heard of it")


def test_a_download_at_full_size(reader: Reader, tmp_path: Path) -> None:
    reader.get("#size").select_option("256")
    reader.get("#choose").set_input_files(large_photo(tmp_path / "large.jpg", 1500))
    reader.page.get_by_text("384 × 256 px").wait_for()
    with reader.page.expect_download() as caught:
        reader.get("#download-full").click()
    assert caught.value.suggested_filename == "large - Waves, 1500x1000.jpg"
    assert pixels(caught.value.path()).shape == (1000, 1500, 3)


def test_the_sheet_has_every_style_and_picks_one(reader: Reader) -> None:
    reader.get("#sheet-open").click()
    reader.get("#sheet-save:enabled").wait_for()
    count = reader.get(".tile input").count()
    reader.page.get_by_text(f"{count} of {count} made").wait_for()
    reader.shot("sheet")
    with reader.page.expect_download() as caught:
        reader.get("#sheet-save").click()
    assert pixels(caught.value.path()).shape[1] > 640
    reader.get("#sheet button:has-text('Shards')").click()
    reader.get("#sheet-dialog").wait_for(state="hidden")
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["shards"]


def test_a_file_that_is_no_picture(reader: Reader, tmp_path: Path) -> None:
    text = tmp_path / "notes.jpg"
    text.write_text("no picture")
    reader.get("#choose").set_input_files(text)
    message = reader.get("#message")
    message.wait_for()
    assert "cannot read “notes.jpg” as a picture" in message.inner_text()
    assert message.get_attribute("role") == "alert"
    reader.shot("error")
    reader.get("#message-close").click()
    message.wait_for(state="hidden")


def test_a_server_that_has_gone(browser: Any) -> None:
    flags = ("--model", "lite", "--http-port", "0", "--styles", EXAMPLES / "style")
    with running_server(*flags) as server, reading(browser, server.url) as reader:
        reader.shows_a_result()
        server.stop()
        reader.get(".tile:has-text('Embers')").click()
        reader.page.get_by_text("The server does not answer").wait_for()
        assert all("ERR_CONNECTION_REFUSED" in each for each in reader.complaints)
        reader.complaints.clear()


def test_a_full_queue_is_told_and_tried_again(browser: Any, photo: Path, tmp_path: Path) -> None:
    flags = ("--model", "lite", "--http-port", "0", "--styles", EXAMPLES / "style", "--streams", "1", "--queue-size", 0)
    large = large_photo(tmp_path / "large.jpg", 1600).read_bytes()
    with running_server(*flags, "--threads", "1") as server:
        from stylewire import Client, ServerBusy

        with Client(server.target, timeout=120) as client, reading(browser, server.url) as reader:
            reader.shows_a_result()
            over = threading.Event()

            def occupy() -> None:
                while not over.is_set():
                    try:
                        client.stylize(large, "waves", fit="native")
                    except ServerBusy:
                        time.sleep(0.01)

            threads = [threading.Thread(target=occupy) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                time.sleep(0.5)
                reader.get(".tile:has-text('Embers')").click()
                reader.page.get_by_text("The server is busy").wait_for()
                reader.shot("busy")
                assert "The page tries again" in reader.get("#message").inner_text()
            finally:
                over.set()
                for thread in threads:
                    thread.join()
            reader.get("#message").wait_for(state="hidden")
            reader.shows_a_result()
            assert all("429" in each for each in reader.complaints)
            reader.complaints.clear()


def test_a_token_is_asked_for_and_kept_for_the_tab(browser: Any, tmp_path: Path) -> None:
    from stylewire_server.admission.tokens import new_token

    token, entry = new_token("alice")
    file = tmp_path / "tokens"
    file.write_text(entry + "\n")
    flags = ("--model", "lite", "--http-port", "0", "--styles", EXAMPLES / "style", "--tokens", file)
    with running_server(*flags) as server, reading(browser, server.url) as reader:
        reader.get("#token-dialog[open]").wait_for()
        reader.shot("token")
        reader.get("#token").fill("wrong")
        reader.page.keyboard.press("Enter")
        reader.page.get_by_text("the token is not known here").wait_for()
        reader.get("#token").fill(token)
        reader.page.keyboard.press("Enter")
        reader.shows_a_result()
        reader.page.reload()
        reader.shows_a_result()
        assert not reader.get("#token-dialog").is_visible()
        assert reader.page.context.cookies() == []
        assert all("401" in each for each in reader.complaints)
        reader.complaints.clear()
        assert token not in "\n".join(server.log)


def test_by_keyboard_alone(reader: Reader) -> None:
    def tab_to(found: Callable[[dict[str, str]], bool]) -> None:
        for _ in range(40):
            reader.page.keyboard.press("Tab")
            focus = reader.page.evaluate(
                "() => ({id: document.activeElement.id, name: document.activeElement.name ?? ''})"
            )
            if found(focus):
                return
        pytest.fail("the key Tab does not lead there")

    for identity in ("split", "choose", "camera"):
        tab_to(lambda focus, identity=identity: focus["id"] == identity)
    tab_to(lambda focus: focus["name"] == "style")
    reader.page.keyboard.press("ArrowRight")
    reader.shows_a_result()
    assert reader.sent[-1]["style"] == ["woodcut"]
    tab_to(lambda focus: focus["id"] == "strength")
    reader.page.keyboard.press("ArrowLeft")
    reader.shows_a_result()
    assert reader.sent[-1]["strength"] == ["0.99"]
    tab_to(lambda focus: focus["id"] == "keep")
    reader.page.keyboard.press("Space")
    assert reader.get("#keep").is_checked()
    reader.shows_a_result()
    tab_to(lambda focus: focus["id"] == "download")
    with reader.page.expect_download():
        reader.page.keyboard.press("Enter")
    tab_to(lambda focus: focus["id"] == "sheet-open")
    reader.page.keyboard.press("Enter")
    reader.get("#sheet-dialog[open]").wait_for()
    reader.page.keyboard.press("Escape")
    reader.get("#sheet-dialog").wait_for(state="hidden")
    assert reader.page.evaluate("() => document.activeElement.id") == "sheet-open"


LOOKS = [(width, scheme) for width in (390, 1600) for scheme in ("light", "dark")]


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_it_fits_the_window_and_breaks_no_rule_of_axe(
    browser: Any, http_server: ServerProcess, width: int, scheme: str
) -> None:
    viewport = {"width": width, "height": 844 if width < 900 else 1000}
    with reading(browser, http_server.url, viewport=viewport, color_scheme=scheme, has_touch=width < 900) as reader:
        reader.shows_a_result()
        reader.page.wait_for_timeout(300)
        reader.shot(f"page-{width}-{scheme}", whole=width < 900)
        overflow = reader.page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0
        axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core comes with this package")
        found = axe.Axe().run(reader.page)
        assert found.violations_count == 0, found.generate_report()


def test_the_page_asks_for_no_eval_and_no_inline_code(reader: Reader) -> None:
    """The policy is in force: a script that is put into the page does not run."""
    ran = reader.page.evaluate(
        """() => {
            const script = document.createElement("script");
            try { script.textContent = "window.ran = true"; document.head.append(script); } catch {}
            return window.ran === true;
        }"""
    )
    assert ran is False
    assert any("Content Security Policy" in each or "TrustedScript" in each for each in reader.complaints)
    reader.complaints.clear()
