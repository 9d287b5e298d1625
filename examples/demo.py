"""The shortest path to a picture: starts a server, stylises one photograph, writes out/demo.png, stops the server.

Run it with `make demo`.
"""

import signal
import sys
import time
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from stylewire import Client
from stylewire_server.testing import running_server

EXAMPLES = Path(__file__).resolve().parent
CONTENT = EXAMPLES / "content" / "astronaut.jpg"
STYLE = EXAMPLES / "style" / "shards.jpg"
OUT = EXAMPLES.parent / "out" / "demo.png"

SIDE = 384
MARGIN = 16
CAPTION = 32


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
    # Without this, SIGTERM would end the demo without stopping the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running_server("--log-level", "warning") as server, Client(server.target) as client:
        print(server.banner)
        client.stylize(CONTENT, STYLE)
        start = time.perf_counter()
        stylised = client.stylize(CONTENT, STYLE, encoding="png")
        milliseconds = (time.perf_counter() - start) * 1e3
    OUT.parent.mkdir(exist_ok=True)
    pictures = {"content": Image.open(CONTENT), "style": Image.open(STYLE), "stylised": stylised}
    side_by_side(pictures).save(OUT)
    print(f"{OUT.relative_to(EXAMPLES.parent)}: one call took {milliseconds:.0f} ms")
    print("To try it with your own pictures, run `make play`: it opens a page in your browser.")


if __name__ == "__main__":
    main()
