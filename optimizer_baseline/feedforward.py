"""The picture that one pass of the feed-forward network makes: a start for the optimiser, and what it is compared with.

The pass runs in a stylewire server, through the client. This is the only place that knows how to get it.
"""

from __future__ import annotations

from PIL import Image

from optimizer_baseline.errors import BaselineError, InvalidOption

TIMEOUT_SECONDS = 60.0


class FeedForwardError(BaselineError):
    """No server answered, or the server refused."""


def feedforward(content: Image.Image, style: Image.Image, server: str | None) -> Image.Image:
    """`content` in the style of `style`, of the content's size, from the stylewire server at `server` (HOST:PORT).

    Raises:
        InvalidOption: no server was named.
        FeedForwardError: the server did not answer or answered with an error.
    """
    if not server:
        raise InvalidOption("init 'feedforward' needs a running server: name it with --server HOST:PORT")
    import stylewire

    try:
        with stylewire.Client(server, timeout=TIMEOUT_SECONDS) as client:
            picture: Image.Image = client.stylize(content, style, fit="native", encoding="png")
            return picture.convert("RGB")
    except stylewire.StylewireError as error:
        raise FeedForwardError(f"feed-forward pass at {server} failed: {error}") from error
