"""The client of stylewire, neural style transfer as a service.

    from stylewire import stylize

    picture = stylize("photo.jpg", "painting.jpg")

`Client` and `AsyncClient` keep a connection; `stylewire.errors` shows the tree of errors.
"""

from .async_client import AsyncClient, AsyncStyles
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
