"""The options of a picture, each described once.

`Options` gives the type of each option, and in its annotation the bounds, the help text and the wire value. The Python
functions, the streams and the command line all read that description. To add an option, add it to the contract
(`proto/`), to `Options`, to the server, and to a test.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, TypeAlias, TypedDict, get_type_hints

from .errors import InvalidRequest
from .v1 import stylizer_pb2 as pb

Fit: TypeAlias = Literal["crop", "squash", "keep", "native"]
"""The ways to crop and resize a content."""

Encoding: TypeAlias = Literal["png", "jpeg", "webp", "avif", "raw"]
"""Format of the result."""

FITS: Mapping[str, int] = {
    "crop": pb.FIT_CROP_256,
    "squash": pb.FIT_SQUASH_256,
    "keep": pb.FIT_KEEP_256,
    "native": pb.FIT_NATIVE,
}
"""Values of the option `fit`, as the contract numbers them."""

ENCODINGS: Mapping[str, int] = {
    "png": pb.ENCODING_PNG,
    "jpeg": pb.ENCODING_JPEG,
    "webp": pb.ENCODING_WEBP,
    "avif": pb.ENCODING_AVIF,
    "raw": pb.ENCODING_RAW_PIXELS,
}
"""Values of the option `encoding`, as the contract numbers them."""

DEFAULT_SIZE = 256
"""Default of `size` in pixels: the side that the network was trained at."""


def is_number(value: object) -> bool:
    """Return True for a real number, of Python or NumPy, that is not a truth value."""
    return isinstance(value, Real) and not isinstance(value, bool)


@dataclass(frozen=True)
class Number:
    """An option with a number as its value.

    Args:
        low, high: The smallest and the largest value.
        help: Help text for the command line.
        whole: True if only whole numbers are allowed.
        unit: Unit of the value; empty if it has none.
    """

    low: float
    high: float
    help: str
    whole: bool = False
    unit: str = ""

    def to_wire(self, name: str, value: Any) -> float | int:
        """Return the value for the message; raise InvalidRequest for any other value."""
        if not (is_number(value) and self.low <= value <= self.high and not (self.whole and value != int(value))):
            kind, unit = "whole number" if self.whole else "number", f" {self.unit}" if self.unit else ""
            raise InvalidRequest(
                f"{name} is {value!r}{unit}; it must be a {kind} from {self.low:g} to {self.high:g}{unit}",
                f"options.{name}",
            )
        return int(value) if self.whole else float(value)

    def add_flag(self, parser: argparse.ArgumentParser, flag: str, default: Any) -> None:
        """Add the flag to a command. The value is checked when the request is made."""
        kind = int if self.whole else float
        parser.add_argument(flag, type=kind, default=default, metavar=self.unit.upper() or "NUMBER", help=self.help)


@dataclass(frozen=True)
class Switch:
    """An option that is on or off."""

    help: str

    def to_wire(self, name: str, value: Any) -> bool:
        """Return the value for the message; raise InvalidRequest for anything but True and False."""
        # NumPy's truth values are not of type bool.
        if not (isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"):
            raise InvalidRequest(f"{name} is {value!r}; it must be True or False", f"options.{name}")
        return bool(value)

    def add_flag(self, parser: argparse.ArgumentParser, flag: str, default: Any) -> None:
        """Add the flag to a command."""
        parser.add_argument(flag, action="store_true", default=bool(default), help=self.help)


@dataclass(frozen=True)
class Choice:
    """An option with one of several names as its value.

    Args:
        values: Name of each value -> its number in the contract.
        help: Help text for the command line.
    """

    values: Mapping[str, int]
    help: str

    def to_wire(self, name: str, value: Any) -> int:
        """Return the number of the value; raise InvalidRequest for an unknown name."""
        if not isinstance(value, str) or value not in self.values:
            raise InvalidRequest(f"{name} is {value!r}; it must be one of {', '.join(self.values)}", f"options.{name}")
        return self.values[value]

    def add_flag(self, parser: argparse.ArgumentParser, flag: str, default: Any) -> None:
        """Add the flag to a command."""
        shown = f"{self.help} (default: {default})" if default else self.help
        parser.add_argument(flag, choices=tuple(self.values), default=default, help=shown)


class Options(TypedDict, total=False):
    """The options of a picture. An option that is left out, or is None, has the server's default.

    Attributes:
        strength: 0 to 1, default 1. At 0 the result is the content in its own style.
        preserve_color: Keep the colors of the content. The default is False.
        fit: Crop and size of the content. "crop" (the default) takes the center square, "squash" squeezes all of
            it into a square, "keep" keeps the aspect, "native" keeps the content's own size.
        size: 64 to 4096 pixels, default 256. It is the side of the square for "crop" and "squash", and the shorter
            side for "keep". A larger size gives finer strokes. A picture is never enlarged to a size that is given.
            The server refuses it together with "native".
        full_size: Compute at `size`, and return the picture at the content's own size with the content's contours.
            The default is False.
        encoding: Format of the result: "png", "jpeg", "webp", "avif" or "raw" (pixels). The default is the
            content's own format.
        quality: 1 to 100 for JPEG, WebP and AVIF, default 90.
        keep_metadata: Copy the color profile and the EXIF data of the content to the result. The default is False.
    """

    strength: Annotated[float | None, Number(0, 1, "how strong the style is, 0 to 1 (default: 1)")]
    preserve_color: Annotated[bool | None, Switch("keep the colors of the content")]
    fit: Annotated[
        Fit | None,
        Choice(FITS, "crop: the center square; squash: all of it as a square; keep: its aspect; native: its own size"),
    ]
    size: Annotated[
        int | None,
        Number(
            64,
            4096,
            "side at which the network works, 64 to 4096 (default: 256); larger is finer",
            whole=True,
            unit="px",
        ),
    ]
    full_size: Annotated[bool | None, Switch("return the content's own size and contours, computed at --size")]
    encoding: Annotated[Encoding | None, Choice(ENCODINGS, "format of the result")]
    quality: Annotated[int | None, Number(1, 100, "1 to 100 for JPEG, WebP and AVIF (default: 90)", whole=True)]
    keep_metadata: Annotated[bool | None, Switch("copy the color profile and EXIF data of the content")]


SPECS: Mapping[str, Number | Switch | Choice] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Options, include_extras=True).items()
}
"""The description of each option, by its name."""


def options_message(options: Mapping[str, Any]) -> pb.StylizeOptions:
    """Return options as a message; None leaves a value to the server.

    Raises:
        InvalidRequest: An option does not accept the value.
        TypeError: No option has that name.
    """
    message = pb.StylizeOptions()
    for name, value in options.items():
        if name not in SPECS:
            raise TypeError(f"{name} is not an option; the options are {', '.join(SPECS)}")
        if value is not None:
            setattr(message, name, SPECS[name].to_wire(name, value))
    return message


def add_option_flags(parser: argparse.ArgumentParser, leave_out: Iterable[str] = (), **defaults: Any) -> None:
    """Add a flag for each option to a command. `encoding` has none, because it follows from a file's suffix.

    Args:
        parser: The parser of the command.
        leave_out: Options that the command does not offer.
        defaults: Defaults of the command that differ from the server's.
    """
    hidden = {"encoding", *leave_out}
    for name, spec in SPECS.items():
        if name not in hidden:
            spec.add_flag(parser, f"--{name.replace('_', '-')}", defaults.get(name))


def options_of(arguments: argparse.Namespace, **more: Any) -> Options:
    """Return the options that the flags of a command set, and `more`."""
    given = {name: getattr(arguments, name, None) for name in SPECS} | more
    # False is the default of every switch, so it is left out.
    return Options(**{name: value for name, value in given.items() if not (value is None or value is False)})  # type: ignore[typeddict-item]
