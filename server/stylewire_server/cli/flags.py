"""Command-line flags from the fields of a settings class."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

S = TypeVar("S", bound="BaseSettings")


class UsageError(Exception):
    """A flag or environment variable has an invalid value. The message has one line for each."""


def add_flags(parser: argparse.ArgumentParser, settings: "type[BaseSettings]") -> None:
    """Add a flag for every field of the settings: `max_pixels` becomes `--max-pixels`."""
    # Pydantic puts the fields of base classes first; the help has the order of the class itself.
    for name in sorted(settings.model_fields, key=list(settings.__annotations__).index):
        field = settings.model_fields[name]
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        shown = f"{field.description} (default: {field.default})"
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=field.description)
        else:
            metavar = None if choices else name.rsplit("_", 1)[-1].upper()
            parser.add_argument(flag, choices=choices, metavar=metavar, default=argparse.SUPPRESS, help=shown)


def parse(settings: type[S], arguments: Mapping[str, Any]) -> S:
    """Return settings from flags, else from environment variables, else from defaults.

    Raises:
        UsageError: A value is invalid.
    """
    # Not at the top: the commands without settings do not need it.
    from pydantic import ValidationError

    try:
        return settings(**{name: value for name, value in arguments.items() if name in settings.model_fields})
    except ValidationError as error:
        lines = [_line(problem, arguments, settings) for problem in error.errors()]
        raise UsageError("\n".join(lines)) from None


def _line(problem: Any, arguments: Mapping[str, Any], settings: "type[BaseSettings]") -> str:
    if not problem["loc"]:
        # A check of several settings together; its message names them.
        return str(problem["msg"]).removeprefix("Value error, ")
    name = str(problem["loc"][0])
    prefix = settings.model_config.get("env_prefix") or ""
    given = f"--{name.replace('_', '-')}" if name in arguments else f"{prefix}{name.upper()}"
    return f"{given} {problem['input']}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
