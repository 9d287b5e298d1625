"""Wrong answers of an untrusted server: the client does not open, keep or write them."""

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image
from stylewire import ServerError
from stylewire.__main__ import main
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc


class Liar(stylizer_pb2_grpc.StylizerServicer):
    """A server whose answers the test chooses."""

    answer = pb.StylizeResponse()
    extra = 0

    def GetModel(self, request: Any, context: grpc.ServicerContext) -> pb.Model:  # noqa: N802
        return pb.Model(edition="liar")

    def Stylize(self, request: Any, context: grpc.ServicerContext) -> pb.StylizeResponse:  # noqa: N802
        return self.answer

    def StylizeStream(self, requests: Any, context: grpc.ServicerContext) -> Iterator[pb.StylizeResponse]:  # noqa: N802
        next(requests)
        for _ in requests:
            yield from [self.answer] * (1 + self.extra)

    def GetStyle(self, request: Any, context: grpc.ServicerContext) -> pb.Style:  # noqa: N802
        return pb.Style(name="wave", thumbnail=pb.Image(encoded=b"garbage"))


@pytest.fixture
def liar() -> Iterator[tuple[Liar, str]]:
    servicer = Liar()
    server = grpc.server(ThreadPoolExecutor(4))
    stylizer_pb2_grpc.add_StylizerServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"127.0.0.1:{port}"
    server.stop(None).wait()


def file(form: str, width: int = 256, height: int = 256) -> bytes:
    out = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((width, height)).save(out, form)
    return out.getvalue()


def encoded(data: bytes, width: int = 256, height: int = 256) -> pb.StylizeResponse:
    return pb.StylizeResponse(image=pb.Image(encoded=data), width=width, height=height)


def raw(width: int, height: int, length: int) -> pb.StylizeResponse:
    pixels = pb.Pixels(width=width, height=height, rgb=bytes(length))
    return pb.StylizeResponse(image=pb.Image(pixels=pixels), width=width, height=height)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 256 256\n%%EndComments\n"

LIES: dict[str, tuple[Callable[[], pb.StylizeResponse], dict[str, Any], str]] = {
    "nothing": (pb.StylizeResponse, {}, "answer of 0 bytes is not a picture"),
    "empty file": (lambda: encoded(b""), {}, "answer of 0 bytes is not a picture"),
    "garbage": (lambda: encoded(b"garbage" * 9), {}, "is not a picture"),
    "tiff": (lambda: encoded(file("TIFF")), {}, "is not a picture"),
    "gif": (lambda: encoded(file("GIF")), {}, "is not a picture"),
    "eps": (lambda: encoded(EPS), {}, "is not a picture"),
    "truncated": (lambda: encoded(file("JPEG")[:3000]), {}, "is a damaged jpeg file"),
    "another format": (lambda: encoded(file("PNG")), {"encoding": "jpeg"}, "is PNG; JPEG was asked for"),
    "raw that nobody asked for": (lambda: raw(2, 2, 12), {}, "is raw pixels; a picture file was asked for"),
    "raw that lies": (lambda: raw(200, 250, 12), {"encoding": "raw"}, "12 bytes; 200x250 px of RGB are 150,000 bytes"),
    "raw giant": (lambda: raw(2**31, 2**31, 12), {"encoding": "raw"}, "the limit is 268,435,456 px"),
    "larger than asked": (lambda: encoded(file("JPEG", 300, 300), 300, 300), {}, "256x256 px was asked for"),
    "wider than asked": (
        lambda: encoded(file("JPEG", 1600, 256), 1600, 256),
        {"fit": "keep"},
        "at most 256x257 px was asked for",
    ),
    "not native": (lambda: encoded(file("JPEG")), {"fit": "native"}, "512x512 px was asked for"),
    "larger than full": (
        lambda: encoded(file("JPEG", 513, 512), 513, 512),
        {"full_size": True},
        "at most 512x512 px was asked for",
    ),
    "two sizes": (lambda: encoded(file("JPEG"), 255, 256), {}, "is 256x256 px; it says 255x256 px"),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_what_was_asked_for(
    liar: tuple[Liar, str], open_client: Callable[..., Any], photo: Path, lie: str
) -> None:
    servicer, target = liar
    answer, options, words = LIES[lie]
    servicer.answer = answer()
    with closing(open_client(target)) as client:
        with pytest.raises(ServerError, match=words):
            client.stylize(photo, photo, **options)
        with pytest.raises(ServerError, match=words):
            list(client.stylize_stream([photo], photo, **options))


def test_honest_answers_pass(liar: tuple[Liar, str], open_client: Callable[..., Any], photo: Path) -> None:
    servicer, target = liar
    with closing(open_client(target)) as client:
        for form in ("JPEG", "PNG", "WEBP", "AVIF"):
            servicer.answer = encoded(file(form))
            assert client.stylize(photo, photo, encoding=form.lower()).size == (256, 256)


def test_more_results_than_frames(liar: tuple[Liar, str], open_client: Callable[..., Any], photo: Path) -> None:
    servicer, target = liar
    servicer.answer, servicer.extra = encoded(file("JPEG")), 1
    with closing(open_client(target)) as client, pytest.raises(ServerError, match="more results than it got frames"):
        list(client.stylize_stream([photo], photo))


def test_a_thumbnail_that_is_none(liar: tuple[Liar, str], open_client: Callable[..., Any]) -> None:
    with closing(open_client(liar[1])) as client:
        style = client.styles.get("wave")
        with pytest.raises(ServerError, match="the thumbnail of style 'wave' cannot be read"):
            _ = style.thumbnail


@pytest.mark.parametrize("lie", ["empty file", "garbage", "truncated", "tiff"])
def test_the_command_line_writes_no_file(
    liar: tuple[Liar, str], photo: Path, tmp_path: Path, lie: str, capsys: pytest.CaptureFixture[str]
) -> None:
    servicer, target = liar
    servicer.answer = LIES[lie][0]()
    out = tmp_path / "out"
    out.mkdir()
    assert main(["--target", target, "stylize", str(photo), str(photo), "-o", str(out / "out.jpg")]) == 1
    assert main(["--target", target, "stylize", str(photo.parent), str(photo), "-o", str(out)]) == 1
    assert not any(out.iterdir())
    assert "the server's answer" in capsys.readouterr().err
