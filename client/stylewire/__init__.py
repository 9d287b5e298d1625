"""stylewire: neural style transfer as a service. This is the client.

from stylewire import stylize
picture = stylize("photo.jpg", "painting.jpg")
"""

from .async_client import AsyncClient
from .channel import Tls
from .client import Client, stylize
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
)
from .messages import ImageLike, Options, Style, StyleLike, Stylized, Timings, WeightedStyle

__all__ = [
    "AsyncClient",
    "Client",
    "DeadlineExceeded",
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
    "StylewireError",
    "Stylized",
    "Timings",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "WeightedStyle",
    "stylize",
]
