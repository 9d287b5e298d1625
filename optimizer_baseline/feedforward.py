"""The picture that one pass of the feed-forward network makes: a start for the optimiser, and what it is compared with.

The pass runs in a stylewire server, through the client; `passes` has the same way for many pictures, timed.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from . import images
from .errors import BaselineError, InvalidOption

TIMEOUT_SECONDS = 60.0
# Longer side of a style as it is sent: the network looks at 256x256 px of it.
STYLE_SIZE = 1024


class FeedForwardError(BaselineError):
    """No server answered, or the server refused."""


def feedforward(
    content: Image.Image, styles: Sequence[Image.Image], shares: Sequence[float], server: str | None
) -> Image.Image:
    """`content` in a blend of `styles`, of the content's size, from the stylewire server at `server` (HOST:PORT).

    Args:
        shares: of each style, above 0.

    Raises:
        InvalidOption: no server was named.
        FeedForwardError: the server did not answer or answered with an error.
    """
    if not server:
        raise InvalidOption("init 'feedforward' needs a running server: name it with --server HOST:PORT")
    import stylewire

    blend: dict[bytes, float] = {}
    for style, share in zip(styles, shares, strict=True):
        file = _png(style)
        blend[file] = blend.get(file, 0.0) + share
    try:
        with stylewire.Client(server, timeout=TIMEOUT_SECONDS) as client:
            picture: Image.Image = client.stylize(content, blend, fit="native", encoding="png")
            return picture.convert("RGB")
    except stylewire.StylewireError as error:
        raise FeedForwardError(f"feed-forward pass at {server} failed: {error}") from error


def _png(style: Image.Image) -> bytes:
    out = io.BytesIO()
    images.fit(style, min(STYLE_SIZE, max(style.size))).save(out, "PNG", compress_level=1)
    return out.getvalue()
