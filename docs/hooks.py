"""Parts of the site that are made from the program itself, and formulas as MathML. MkDocs calls these functions.

A page asks for a part by a line of its own:

    {{ help stylewire }}    the `--help` of a command line and of each of its commands
    {{ errors }}            the errors of a server, with their gRPC and HTTP statuses and the client's exceptions
    {{ openapi }}           the HTTP API, from its OpenAPI document
"""

import argparse
import inspect
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

_PART = re.compile(r"^\{\{ (help|errors|openapi) ?([\w-]*) \}\}$", re.MULTILINE)

_WIDTH = 100
"""Columns of the help texts."""

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the generated parts in."""
    parts = {"help": _help, "errors": lambda _: _errors(), "openapi": lambda _: _openapi()}
    return _PART.sub(lambda match: parts[match[1]](match[2]), markdown)


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
    from stylewire_server.statuses import status_of

    rows = ["| server's error | gRPC status | HTTP status | Python exception |", "| --- | --- | --- | --- |"]
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if kind.__module__ != errors.__name__ or kind.__subclasses__() or kind is errors.ServiceError:
            continue
        status = status_of(kind(*["text"] * _required(kind)))
        failed = client_errors.from_rpc_error(_Failed(status.grpc), "")
        meaning = inspect.getdoc(kind).partition("\n\n")[0].replace("\n", " ")
        rows.append(f"| {meaning} | `{status.grpc.name}` | {status.http.value} | `{type(failed).__name__}` |")
    return "\n".join(rows)


def _openapi() -> str:
    file = Path(__file__).parent.parent / "server" / "stylewire_server" / "http" / "openapi.json"
    document = json.loads(file.read_bytes())
    lines: list[str] = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if method == "parameters":
                continue
            lines += [f"## {method.upper()} {path}", "", operation["summary"], ""]
            parameters = [*operations.get("parameters", []), *operation.get("parameters", [])]
            found = [_resolved(document, each) for each in parameters]
            lines += _table(
                ("parameter", "in", "meaning"),
                [(f"`{each['name']}`", each["in"], each["description"]) for each in found],
            )
            for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
                fields = [
                    (f"`{name}`", _kind(document, schema), _resolved(document, schema).get("description", ""))
                    for name, schema in body["schema"]["properties"].items()
                ]
                lines += _table((f"field of {media_type}", "values", "meaning"), fields)
            answers = operation["responses"].items()
            lines += _table(("answer", "meaning"), [(status, answer["description"]) for status, answer in answers])
    return "\n".join(lines)


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference within the document."""
    for name in part.get("$ref", "#").split("/")[1:]:
        document = document[name]
    return document if "$ref" in part else part


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """Return the values of a field in words."""
    schema = _resolved(document, schema)
    if schema.get("type") == "array":
        items = schema["items"].get("oneOf", [schema["items"]])
        return f"any number of: {' or '.join(_kind(document, each) for each in items)}"
    words = ", ".join(schema.get("enum", [])) or ("file" if schema.get("format") == "binary" else schema["type"])
    if "pattern" in schema:
        words = f"`{schema['pattern'].strip('^$')}`"
    if "maximum" in schema:
        words += f", {schema['minimum']} to {schema['maximum']}"
    default = schema.get("default")
    return words if default is None else f"{words}; default {str(default).lower()}"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    cells = [head, ("---",) * len(head), *((cell.replace("|", "\\|") for cell in row) for row in rows)]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


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
