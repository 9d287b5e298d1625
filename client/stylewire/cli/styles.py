"""`styles` and `model`: commands for the named styles, and for a description of the model."""

import argparse
from pathlib import Path
from typing import Any

from ..client import Client
from ..messages import Style
from .shared import add_json_flag, blend_of, say, write_file


def add(commands: argparse._SubParsersAction) -> None:
    """Add the commands to the command line."""
    styles = commands.add_parser("styles", help="list and change the styles that the server keeps under names")
    actions = styles.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("add", help="keep a picture, or a blend, under a name")
    create.add_argument("name", help="1 to 63 of a-z, 0-9 and -")
    create.add_argument("styles", nargs="+", metavar="STYLE[=WEIGHT]", help="a picture, or the name of a named style")
    create.add_argument("--overwrite", action="store_true", help="replace a style of that name")
    add_json_flag(create)
    create.set_defaults(run=_add)

    every = actions.add_parser("list", help="list all styles")
    add_json_flag(every)
    every.set_defaults(run=_list)

    show = actions.add_parser("show", help="show one style")
    show.add_argument("name")
    show.add_argument("-o", "--out", type=Path, help="write the thumbnail to a .jpg file")
    add_json_flag(show)
    show.set_defaults(run=_show)

    take = actions.add_parser("import", help="keep a style file under a name")
    take.add_argument("file", type=Path, help="a style file, as `stylewire-baseline tune` or `export` writes it")
    take.add_argument("--name", help="1 to 63 of a-z, 0-9 and - (default: the name of the file without its suffix)")
    take.add_argument("--overwrite", action="store_true", help="replace a style of that name")
    add_json_flag(take)
    take.set_defaults(run=_import)

    give = actions.add_parser("export", help="write a style to a style file")
    give.add_argument("name")
    give.add_argument("-o", "--out", type=Path, help="the file (default: NAME.style)")
    add_json_flag(give)
    give.set_defaults(run=_export)

    remove = actions.add_parser("remove", help="delete styles")
    remove.add_argument("names", nargs="+", metavar="NAME")
    add_json_flag(remove)
    remove.set_defaults(run=_remove)

    model = commands.add_parser("model", help="show what the server serves, and its limits")
    add_json_flag(model)
    model.set_defaults(run=_model)


def _add(client: Client, arguments: argparse.Namespace) -> int:
    style = client.styles.create(arguments.name, blend_of(arguments.styles), overwrite=arguments.overwrite)
    say(arguments, _line(style), _as_json(style))
    return 0


def _list(client: Client, arguments: argparse.Namespace) -> int:
    styles = client.styles.list()
    if styles or arguments.json:
        say(arguments, "\n".join(map(_line, styles)), [_as_json(style) for style in styles])
    return 0


def _show(client: Client, arguments: argparse.Namespace) -> int:
    style = client.styles.get(arguments.name)
    say(arguments, _line(style), _as_json(style))
    if arguments.out:
        write_file(arguments.out, style.thumbnail_data)
    return 0


def _import(client: Client, arguments: argparse.Namespace) -> int:
    name = arguments.name or arguments.file.stem
    style = client.styles.import_file(name, arguments.file.read_bytes(), overwrite=arguments.overwrite)
    say(arguments, _line(style), _as_json(style))
    return 0


def _export(client: Client, arguments: argparse.Namespace) -> int:
    out = arguments.out or Path(f"{arguments.name.rpartition('/')[2]}.style")
    write_file(out, client.styles.export_file(arguments.name))
    say(arguments, str(out), {"name": arguments.name, "file": str(out)})
    return 0


def _remove(client: Client, arguments: argparse.Namespace) -> int:
    for name in arguments.names:
        client.styles.delete(name)
    say(arguments, "\n".join(f"{name} removed" for name in arguments.names), {"removed": arguments.names})
    return 0


def _model(client: Client, arguments: argparse.Namespace) -> int:
    model = client.model()
    from google.protobuf.json_format import MessageToDict

    say(arguments, str(model).rstrip(), MessageToDict(model, preserving_proto_field_name=True))
    return 0


def _as_json(style: Style) -> dict[str, Any]:
    value = {name: part for name, part in vars(style).items() if name != "thumbnail_data"}
    return value | {"create_time": style.create_time.isoformat()}


def _line(style: Style) -> str:
    facts = [*(["built in"] if style.built_in else []), *(["tuned"] if style.tuned else []), style.origin]
    line = (
        f"{style.name:<24} {style.model:<8} {style.create_time:%Y-%m-%d %H:%M:%S} UTC  {', '.join(filter(None, facts))}"
    )
    return line.rstrip()
