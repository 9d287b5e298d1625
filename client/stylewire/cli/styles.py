"""`styles` and `model`: what the server keeps and serves."""

import argparse
from pathlib import Path

from ..client import Client
from ..messages import Style
from .shared import blend_of, write_file


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the commands."""
    styles = commands.add_parser("styles", help="the styles that the server keeps under names")
    actions = styles.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("add", help="keep a picture, or a blend, under a name")
    create.add_argument("name", help="1 to 63 of a-z, 0-9 and -")
    create.add_argument("styles", nargs="+", metavar="STYLE[=WEIGHT]", help="a picture, or the name of a kept style")
    create.add_argument("--overwrite", action="store_true", help="replace a style of that name")
    create.set_defaults(run=_add)

    every = actions.add_parser("list", help="all of them")
    every.set_defaults(run=_list)

    show = actions.add_parser("show", help="one of them")
    show.add_argument("name")
    show.add_argument("-o", "--out", type=Path, help="write its thumbnail, a .jpg file")
    show.set_defaults(run=_show)

    remove = actions.add_parser("remove", help="forget styles")
    remove.add_argument("names", nargs="+", metavar="NAME")
    remove.set_defaults(run=_remove)

    model = commands.add_parser("model", help="show what the server serves, and its limits")
    model.set_defaults(run=_model)


def _add(client: Client, arguments: argparse.Namespace) -> int:
    style = client.styles.create(arguments.name, blend_of(arguments.styles), overwrite=arguments.overwrite)
    print(_line(style))
    return 0


def _list(client: Client, arguments: argparse.Namespace) -> int:
    for style in client.styles.list():
        print(_line(style))
    return 0


def _show(client: Client, arguments: argparse.Namespace) -> int:
    style = client.styles.get(arguments.name)
    print(_line(style))
    if arguments.out:
        write_file(arguments.out, style.thumbnail_data)
    return 0


def _remove(client: Client, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        client.styles.delete(name)
        print(f"{name} removed")
    return 0


def _model(client: Client, arguments: argparse.Namespace) -> int:
    print(str(client.model()).rstrip())
    return 0


def _line(style: Style) -> str:
    return f"{style.name:<24} {style.model:<8} {style.create_time:%Y-%m-%d %H:%M:%S} UTC"
