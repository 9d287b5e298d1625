"""Named styles, kept in a folder that several servers may share."""

import base64
import binascii
import bisect
import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..errors import InvalidInput, StoreFailed, StyleDamaged, StyleExists, StyleNotFound
from .file import DamagedFile, KeptStyle, dump, parse
from .storage import Blobs

log = logging.getLogger(__name__)

GALLERY = "gallery/"
"""Prefix of the names of built-in styles. No other style may have such a name."""

NAME = re.compile(rf"(?:{GALLERY})?[a-z0-9][a-z0-9-]{{0,62}}")
"""Pattern of the name of a style."""

RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
)
"""Names of devices on Windows. Windows opens the device in place of a file of that name, with any suffix."""

PAGE_SIZE = 50
"""Default number of styles on a page."""

MAX_PAGE_SIZE = 1000
"""Maximum number of styles on a page. A larger `page_size` gets this number (AIP-158)."""

SUFFIX = ".style"
"""Suffix of a style file."""

_KEPT_IN_MEMORY = 1024
"""Maximum number of styles in memory; each has about 10 kB."""


def check_name(name: str, field: str = "name") -> None:
    """Check the name of a style.

    Raises:
        InvalidInput: No style can have this name.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(
            field, f"{field} is {name[:80]!r}; it must be 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit"
        )
    if name in RESERVED:
        raise InvalidInput(field, f"{field} is {name!r}, which is the name of a device on Windows; choose another")


def check_new_name(name: str) -> None:
    """Check the name of a style that is to be made, replaced or deleted.

    Raises:
        InvalidInput: No style can have this name, or it is reserved for the built-in styles.
    """
    check_name(name)
    if name.startswith(GALLERY):
        raise InvalidInput(
            "name", f"name is {name!r}; names under {GALLERY} are for built-in styles, which stay as they are"
        )


def damaged(name: str, why: str) -> StyleDamaged:
    """Return the error for a style whose file is damaged, and log the reason."""
    log.error("style %r is damaged: %s", name, why)
    return StyleDamaged(f"style {name!r} is damaged; delete it, or create it again with overwrite")


class StyleStore:
    """Styles under their names. Safe to call from several threads; every method may wait for a disk or a network.

    Other processes may change the folder at any time. So a style in memory is only used while the tag of its file stays
    the same.

    Args:
        blobs: Storage of the style files.
        built_in: Styles of the gallery, by names that begin with `GALLERY`.
    """

    def __init__(self, blobs: Blobs, built_in: Mapping[str, KeptStyle] | None = None) -> None:
        self._blobs = blobs
        self._built_in = built_in or {}
        self._lock = threading.Lock()
        self._read: OrderedDict[str, tuple[str, KeptStyle]] = OrderedDict()

    def put(self, style: KeptStyle, overwrite: bool) -> None:
        """Keep a style. The style is on disk when this method returns.

        Raises:
            InvalidInput: No style can have this name.
            StyleExists: The name is taken, and overwrite is false.
            StoreFailed: The style cannot be written.
        """
        check_new_name(style.name)
        try:
            with _reported("keep", style.name, FileExistsError):
                self._blobs.write(style.name + SUFFIX, dump(style), overwrite)
        except FileExistsError:
            raise StyleExists(f"style {style.name!r} exists; delete it first, or overwrite it") from None

    def get(self, name: str, field: str = "name") -> KeptStyle:
        """Return the style of a name.

        Raises:
            InvalidInput: No style can have this name.
            StyleNotFound: There is no style of this name.
            StyleDamaged: The file of the style cannot be read or is damaged.
            StoreFailed: The folder cannot be read.
        """
        check_name(name, field)
        if name.startswith(GALLERY):
            if name not in self._built_in:
                raise StyleNotFound(f"no style is called {name!r}")
            return self._built_in[name]
        try:
            with _reported("read", name, FileNotFoundError, DamagedFile):
                return self._load(name)
        except FileNotFoundError:
            raise StyleNotFound(f"no style is called {name!r}") from None
        except DamagedFile as error:
            raise damaged(name, str(error)) from None

    def __contains__(self, name: str) -> bool:
        """Return True if a style has this name, also a damaged style; raise errors as `put` does."""
        check_new_name(name)
        try:
            with _reported("read", name, FileNotFoundError):
                self._blobs.tag(name + SUFFIX)
        except FileNotFoundError:
            return False
        return True

    def page(self, size: int, token: str) -> tuple[list[KeptStyle], str]:
        """Return styles sorted by name, and the token of the next page; the token is "" after the last page.

        A token holds the last name of its page. So a style that is made or deleted between two pages does not repeat or
        hide another style. Damaged styles are logged and left out.

        Raises:
            InvalidInput: The size is below 0, or the token is not from this method.
            StoreFailed: The folder cannot be read.
        """
        if size < 0:
            raise InvalidInput("page_size", f"page_size is {size}; it must be 0 (for {PAGE_SIZE}) or more")
        size = min(size or PAGE_SIZE, MAX_PAGE_SIZE)
        names = self.names()
        start = bisect.bisect_right(names, _from_token(token)) if token else 0
        chosen = names[start : start + size]
        styles = [style for name in chosen if (style := self._listed(name))]
        return styles, _to_token(chosen[-1]) if start + size < len(names) else ""

    def names(self) -> list[str]:
        """Return the names of all styles, sorted.

        Raises:
            StoreFailed: The folder cannot be read.
        """
        with _reported("list", "all"):
            found = (blob.removesuffix(SUFFIX) for blob in self._blobs.names() if blob.endswith(SUFFIX))
            return sorted([*self._built_in, *(name for name in found if NAME.fullmatch(name))])

    def delete(self, name: str) -> None:
        """Delete a style, also a damaged style.

        Raises:
            InvalidInput, StyleNotFound, StoreFailed: As for `get`.
        """
        check_new_name(name)
        try:
            with _reported("delete", name, FileNotFoundError):
                self._blobs.remove(name + SUFFIX)
        except FileNotFoundError:
            raise StyleNotFound(f"no style is called {name!r}") from None
        with self._lock:
            self._read.pop(name, None)

    def _load(self, name: str) -> KeptStyle:
        tag = self._blobs.tag(name + SUFFIX)
        with self._lock:
            known = self._read.get(name)
            if known is not None and known[0] == tag:
                self._read.move_to_end(name)
                return known[1]
        try:
            style = parse(name, self._blobs.read(name + SUFFIX))
        except PermissionError as error:
            # This error concerns one file only, so a list of the other styles still works.
            raise DamagedFile(str(error.strerror)) from None
        with self._lock:
            self._read[name] = tag, style
            self._read.move_to_end(name)
            while len(self._read) > _KEPT_IN_MEMORY:
                self._read.popitem(last=False)
        return style

    def _listed(self, name: str) -> KeptStyle | None:
        try:
            return self.get(name)
        except (StyleNotFound, StyleDamaged):
            # Deleted by another server since the names were listed, or logged by `get`.
            return None


@contextmanager
def _reported(action: str, name: str, *expected: type[Exception]) -> Iterator[None]:
    """Turn errors of the storage into StoreFailed, whose message names no path; raise the expected errors unchanged."""
    try:
        yield
    except expected:
        raise
    except Exception as error:
        # Each fsspec file system raises its own network errors.
        log.error("cannot %s style %r", action, name, exc_info=error)
        number = getattr(error, "errno", None)
        why = os.strerror(number) if isinstance(number, int) else "its storage does not answer"
        raise StoreFailed(f"the server cannot {action} styles: {why}") from None


def _to_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _from_token(token: str) -> str:
    try:
        name = base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        name = ""
    if not NAME.fullmatch(name):
        raise InvalidInput("page_token", f"page_token is {token[:80]!r}; give the next_page_token of the page before")
    return name
