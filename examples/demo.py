"""The shortest path to a picture: starts a server, stylizes one photograph, writes out/demo.png, stops the server.

The photograph is shown in the style of a picture, and in three tuned styles of the server's gallery.

Run it with `make demo`.
"""

import signal
import sys
import time
from pathlib import Path

from PIL import Image
from stylewire import Client
from stylewire.cli.sheets import draw_grid
from stylewire_server.testing import running_server

EXAMPLES = Path(__file__).resolve().parent
CONTENT = EXAMPLES / "content" / "astronaut.jpg"
STYLE = EXAMPLES / "style" / "shards.jpg"
GALLERY = ("gallery/waves", "gallery/ink", "gallery/mosaic")
"""Tuned styles that come with the lite edition."""

OUT = EXAMPLES.parent / "out" / "demo.png"

SIDE = 384
"""Side in pixels of each picture in the demo."""


def main() -> None:
    """Write out/demo.png."""
    # Without this, SIGTERM would end the demo without stopping the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with running_server("--model", "lite", "--log-level", "warning") as server, Client(server.target) as client:
        print(server.banner)
        client.stylize(CONTENT, STYLE)
        start = time.perf_counter()
        stylized = client.stylize(CONTENT, STYLE, encoding="png")
        milliseconds = (time.perf_counter() - start) * 1e3
        tuned = [(name, client.stylize(CONTENT, name, encoding="png")) for name in GALLERY]
    OUT.parent.mkdir(exist_ok=True)
    pictures = [("content", Image.open(CONTENT)), ("style", Image.open(STYLE)), ("stylized", stylized)]
    draw_grid([pictures, tuned], SIDE).save(OUT)
    print(f"{OUT.relative_to(EXAMPLES.parent)}: one call took {milliseconds:.0f} ms")
    print("To try it with your own pictures, run `make play`: it opens a page in your browser.")


if __name__ == "__main__":
    main()
