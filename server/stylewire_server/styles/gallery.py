"""The gallery: tuned styles that come with the package, and are there without set-up."""

from dataclasses import replace
from importlib.resources import files

from .file import KeptStyle, parse
from .store import GALLERY, SUFFIX
from .vectors import Edition

_FOLDER = "gallery"


def load_gallery(edition: Edition) -> dict[str, KeptStyle]:
    """Return the built-in styles that this network can use, by their names `gallery/…`.

    All of them are tuned for the lite edition; another network gets none.
    """
    folder = files(__package__) / _FOLDER
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name.endswith(SUFFIX):
            name = GALLERY + path.name.removesuffix(SUFFIX)
            style = parse(name, path.read_bytes())
            if style.edition == edition:
                found[name] = replace(style, built_in=True)
    return found
