"""Parts of the site that are made from the program itself, and formulas as MathML. MkDocs calls these functions.

A page asks for a part by a line of its own:

    {{ help stylewire }}    the `--help` of a command line and of each of its commands
    {{ errors }}            the errors of a server, with their gRPC and HTTP statuses and the client's exceptions
"""

import argparse
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

_PART = re.compile(r"^\{\{ (help|errors) ?([\w-]*) \}\}$", re.MULTILINE)

_WIDTH = 100
"""Columns of the help texts."""

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts in."""
    return _PART.sub(lambda match: _help(match[2]) if match[1] == "help" else _errors(), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Turn TeX formulas into MathML, which browsers draw without a script."""
    from html import unescape

    from latex2mathml.converter import convert

    def draw(match: re.Match[str]) -> str:
        return convert(unescape(match[2]), display="block" if match[1] == "div" else "inline")

    return _FORMULA.sub(draw, html)


def _help(program: str) -> str:
    os.environ["COLUMNS"] = str(_WIDTH)
    sections = []
    for name, parser in _commands(_parser(program)):
        text = parser.format_help().replace(str(Path.home()), "~")
        sections.append(f"{'##' if name == program else '###'} {name}\n\n```text\n{text.rstrip()}\n```\n")
    return "\n".join(sections)


def _parser(program: str) -> argparse.ArgumentParser:
    if program == "stylewire-server":
        from stylewire_server.cli.main import parser
    elif program == "stylewire-baseline":
        from optimizer_baseline.cli import parser
    else:
        from stylewire.__main__ import parser
    return parser()


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield a parser and those of its commands, each with its full name."""
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                yield from _commands(command)


def _errors() -> str:
    from stylewire import errors as client_errors
    from stylewire_server import errors
    from stylewire_server.http.problems import HTTP_STATUS
    from stylewire_server.rpc.status import code_of

    rows = ["| server's error | gRPC status | HTTP status | Python exception |", "| --- | --- | --- | --- |"]
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ != errors.__name__ or kind.__subclasses__() or kind is errors.ServiceError:
            continue
        code = code_of(kind(*["text"] * _required(kind)))
        failed = client_errors.from_rpc_error(_Failed(code), "")
        meaning = inspect.getdoc(kind).partition("\n\n")[0].replace("\n", " ")
        rows.append(f"| {meaning} | `{code.name}` | {HTTP_STATUS[code]} | `{type(failed).__name__}` |")
    return "\n".join(rows)


def _required(kind: type) -> int:
    parameters = list(inspect.signature(kind).parameters.values())
    return sum(parameter.default is parameter.empty for parameter in parameters)


class _Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return ""

    def trailing_metadata(self) -> tuple[()]:
        return ()
