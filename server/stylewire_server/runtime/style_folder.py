"""Named styles from a folder of pictures and style files: `serve --styles DIR`."""

import logging
import re
from pathlib import Path

from ..errors import ServiceError, StyleDamaged, StyleNotFound
from ..imaging.codec import SUFFIXES
from ..options import WeightedStyle
from ..styles.file import dump
from ..styles.store import NAME, RESERVED, SUFFIX
from ..styles.vectors import fingerprint
from ..stylizer import Stylizer

log = logging.getLogger(__name__)


class FolderError(Exception):
    """The folder cannot be read. The message is for the operator and may name paths."""


def style_name(stem: str) -> str | None:
    """Return the style name for a file name without its suffix; None if no letter a-z or digit is left.

    Letters become lower case. All other characters than a-z and 0-9 become dashes.
    """
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:63]
    return name if NAME.fullmatch(name) and name not in RESERVED else None


def load_folder(stylizer: Stylizer, folder: Path) -> int:
    """Keep every picture and style file of a folder as a named style, and return the number of styles.

    A style that was made from the same file by the same network stays as it is. Any other style of that name is
    replaced. Files that cannot be used are logged and skipped.

    Raises:
        FolderError: The folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {*SUFFIXES, SUFFIX})
    except OSError as error:
        raise FolderError(f"cannot read the styles in {folder}: {error.strerror}") from None
    taken: dict[str, Path] = {}
    for path in paths:
        name = style_name(path.stem)
        if name is None:
            log.warning("%s makes no style: its name has no letter a-z or digit", path.name)
        elif name in taken:
            log.warning("%s makes no style: %s is called %r already", path.name, taken[name].name, name)
        elif _load(stylizer, path, name):
            taken[name] = path
    log.info("%d of %d files in %s are named styles", len(taken), len(paths), folder)
    return len(taken)


def _load(stylizer: Stylizer, path: Path, name: str) -> bool:
    try:
        picture = path.read_bytes()
        if path.suffix.lower() == SUFFIX:
            if not _is_imported(stylizer, name, picture):
                stylizer.import_style(name, picture, overwrite=True)
        elif not _is_kept(stylizer, name, picture):
            stylizer.create_style(name, [WeightedStyle(picture, field=path.name)], overwrite=True)
    except (ServiceError, OSError) as error:
        log.warning("%s makes no style: %s", path.name, error)
        return False
    return True


def _is_imported(stylizer: Stylizer, name: str, data: bytes) -> bool:
    try:
        return dump(stylizer.store.get(name)) == dump(stylizer.read_style(name, data))
    except (StyleNotFound, StyleDamaged):
        return False


def _is_kept(stylizer: Stylizer, name: str, picture: bytes) -> bool:
    try:
        kept = stylizer.store.get(name)
    except (StyleNotFound, StyleDamaged):
        return False
    return stylizer.is_own(kept) and kept.origin_sha256 == fingerprint(picture)
