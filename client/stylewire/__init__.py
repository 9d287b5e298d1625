"""stylewire: neural style transfer as a service. This is the client.

from stylewire import stylize
picture = stylize("photo.jpg", "painting.jpg")
"""

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
from .messages import ImageLike, StyleLike, Stylized, Timings

__all__ = [
    "Client",
    "DeadlineExceeded",
    "ImageLike",
    "InvalidImage",
    "InvalidRequest",
    "ServerBusy",
    "ServerError",
    "StyleExists",
    "StyleLike",
    "StyleNotFound",
    "StylewireError",
    "Stylized",
    "Timings",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "stylize",
]
