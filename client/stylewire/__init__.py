"""The client of stylewire, neural style transfer as a service.

    from stylewire import stylize

    picture = stylize("photo.jpg", "painting.jpg")

`Client` and `AsyncClient` keep a connection; `stylewire.errors` shows the tree of errors.
"""

from typing import TYPE_CHECKING, Any

from .channel import TargetLike, Tls
from .client import Client, Styles, stylize
from .errors import (
    DeadlineExceeded,
    InvalidImage,
    InvalidRequest,
    ServerBusy,
    ServerError,
    StyleExists,
    StyleNotFound,
    StylewireError,
    Unauthenticated,
    Unavailable,
    UnusableClient,
)
from .messages import Style, StyleLike, Stylized, Timings, WeightedStyle
from .options import Encoding, Fit, Options
from .pictures import ImageLike

if TYPE_CHECKING:
    from .async_client import AsyncClient, AsyncStyles

__all__ = [
    "AsyncClient",
    "AsyncStyles",
    "Client",
    "DeadlineExceeded",
    "Encoding",
    "Fit",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "Options",
    "ServerBusy",
    "ServerError",
    "Style",
    "StyleExists",
    "StyleLike",
    "StyleNotFound",
    "Styles",
    "StylewireError",
    "Stylized",
    "TargetLike",
    "Timings",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "UnusableClient",
    "WeightedStyle",
    "stylize",
]


def __getattr__(name: str) -> Any:
    """Load the asynchronous client when it is first used; asyncio and gRPC take long."""
    if name in {"AsyncClient", "AsyncStyles"}:
        from . import async_client

        return getattr(async_client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
