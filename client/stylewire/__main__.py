"""`python -m stylewire`: the client on the command line."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from .channel import default_target
from .client import TIMEOUT, Client
from .errors import StylewireError
from .messages import FITS

_SUFFIXES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        with Client(arguments.target, timeout=arguments.timeout) as client:
            return arguments.run(client, arguments)
    except (StylewireError, OSError) as error:
        print(f"stylewire: {error}", file=sys.stderr)  # noqa: T201
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stylewire", description="Neural style transfer, by a stylewire server.")
    parser.add_argument("--version", action="version", version=f"stylewire {version('stylewire')}")
    parser.add_argument(
        "--target", metavar="HOST:PORT", help=f"the server (default: $STYLEWIRE_TARGET, else {default_target()})"
    )
    parser.add_argument(
        "--timeout", type=float, default=TIMEOUT, metavar="SECONDS", help="for one call (default: %(default)g)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    stylize = commands.add_parser("stylize", help="stylise a picture")
    stylize.add_argument("content", type=Path, help="the picture to stylise")
    stylize.add_argument("style", nargs="+", help="a picture, or the name of a style; several are blended")
    stylize.add_argument("-o", "--out", type=Path, required=True, help="where to write the result: .png, .jpg or .webp")
    stylize.add_argument(
        "--weights", type=float, nargs="+", metavar="W", help="one for each style (default: equal parts)"
    )
    stylize.add_argument("--strength", type=float, help="0..1 (default: 1)")
    stylize.add_argument("--preserve-color", action="store_true", help="keep the content's colours")
    stylize.add_argument(
        "--fit", choices=FITS, default="crop", help="how the content is brought to size (default: crop)"
    )
    stylize.add_argument("--quality", type=int, help="1..100 for .jpg and .webp (default: 90)")
    stylize.set_defaults(run=_stylize)

    model = commands.add_parser("model", help="what the server serves, and its limits")
    model.set_defaults(run=_model)
    return parser


def _stylize(client: Client, arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    encoding = _SUFFIXES.get(out.suffix.lower())
    if encoding is None:
        print(f"stylewire: {out} ends in {out.suffix!r}; it must be one of {', '.join(_SUFFIXES)}", file=sys.stderr)  # noqa: T201
        return 2
    weights = arguments.weights or [1.0] * len(arguments.style)
    if len(weights) != len(arguments.style):
        print(f"stylewire: {len(weights)} weights for {len(arguments.style)} styles", file=sys.stderr)  # noqa: T201
        return 2
    result = client.stylize_detailed(
        arguments.content,
        dict(zip(arguments.style, weights, strict=True)),
        strength=arguments.strength,
        preserve_color=arguments.preserve_color,
        fit=arguments.fit,
        encoding=encoding,
        quality=arguments.quality,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(result.data)
    print(f"{out}: {result.width}x{result.height} px by {result.model}")  # noqa: T201
    return 0


def _model(client: Client, arguments: argparse.Namespace) -> int:
    print(str(client.model()).rstrip())  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
