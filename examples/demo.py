"""The shortest path to a picture: starts a server, stylises one photograph, writes out/demo.png, stops the server.

Run it with `make demo`.
"""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from stylewire import Client

EXAMPLES = Path(__file__).resolve().parent
CONTENT = EXAMPLES / "content" / "astronaut.jpg"
STYLE = EXAMPLES / "style" / "shards.jpg"
OUT = EXAMPLES.parent / "out" / "demo.png"

SIDE = 384
MARGIN = 16
CAPTION = 32


@contextmanager
def running_server() -> Iterator[str]:
    """A server process on a free port; yields its HOST:PORT once it is ready, and stops it in any case."""
    command = [sys.executable, "-m", "stylewire_server", "serve", "--port", "0", "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        banner = process.stdout.readline()
        if not banner.startswith("serving on "):
            raise SystemExit("demo: the server did not start; its own message is above")
        print(banner.strip())
        yield banner.split()[2]
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def side_by_side(pictures: dict[str, Image.Image]) -> Image.Image:
    """Captioned pictures in a row."""
    font = ImageFont.load_default(18)
    sheet = Image.new("RGB", (len(pictures) * (SIDE + MARGIN) + MARGIN, SIDE + CAPTION + 2 * MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (caption, picture) in enumerate(pictures.items()):
        left = MARGIN + index * (SIDE + MARGIN)
        sheet.paste(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (left, MARGIN))
        pen.text((left + SIDE / 2, MARGIN + SIDE + CAPTION / 2 + 4), caption, "black", font, anchor="mm")
    return sheet


def main() -> None:
    """Writes out/demo.png."""
    # So that `running_server` stops the server also when the demo itself is told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running_server() as target, Client(target) as client:
        client.stylize(CONTENT, STYLE)
        start = time.perf_counter()
        stylised = client.stylize(CONTENT, STYLE, encoding="png")
        milliseconds = (time.perf_counter() - start) * 1e3
    OUT.parent.mkdir(exist_ok=True)
    pictures = {"content": Image.open(CONTENT), "style": Image.open(STYLE), "stylised": stylised}
    side_by_side(pictures).save(OUT)
    print(f"{OUT.relative_to(EXAMPLES.parent)}: one call took {milliseconds:.0f} ms")


if __name__ == "__main__":
    main()
