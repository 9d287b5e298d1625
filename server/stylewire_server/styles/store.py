"""Named styles, kept in a folder that several servers may share. Knows no engine."""

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
"""How the names of built-in styles begin; no other style may be called so."""

NAME = re.compile(rf"(?:{GALLERY})?[a-z0-9][a-z0-9-]{{0,62}}")

RESERVED = frozenset(
    {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
)
"""Names of devices on Windows, which opens them in place of files, whatever their suffix."""

PAGE_SIZE = 50
"""Styles on a page where the caller does not say."""

MAX_PAGE_SIZE = 1000
"""Styles on a page at most; a larger wish gets this many (AIP-158)."""

SUFFIX = ".style"

_KEPT_IN_MEMORY = 1024
"""Styles, of some 10 kB each."""


def check_name(name: str, field: str = "name") -> None:
    """Whether a style may be called that.

    Raises:
        InvalidInput: It may not.
    """
    if not NAME.fullmatch(name):
        raise InvalidInput(
            field, f"{field} is {name[:80]!r}; it must be 1 to 63 of a-z, 0-9 and -, and begin with a letter or digit"
        )
    if name in RESERVED:
        raise InvalidInput(field, f"{field} is {name!r}, which is the name of a device on Windows; choose another")


def check_new_name(name: str) -> None:
    """Check whether a style that is made, replaced or deleted may be called that.

    Raises:
        InvalidInput: It may not: it cannot be a name, or it is for the built-in styles.
    """
    check_name(name)
    if name.startswith(GALLERY):
        raise InvalidInput(
            "name", f"name is {name!r}; names under {GALLERY} are for built-in styles, which stay as they are"
        )


def damaged(name: str, why: str) -> StyleDamaged:
    """The error for a style whose file is not as it was written; why goes to the log."""
    log.error("style %r is damaged: %s", name, why)
    return StyleDamaged(f"style {name!r} is damaged; delete it, or create it again with overwrite")


class StyleStore:
    """Styles under their names. Safe to call from several threads; every method may wait for a disk or a network.

    Other processes may change the folder at any time: a style that was read before is only used while the tag of its
    file stays the same.

    Args:
        blobs: Where the files are.
        built_in: The gallery, by names that begin with `GALLERY`.
    """

    def __init__(self, blobs: Blobs, built_in: Mapping[str, KeptStyle] | None = None) -> None:
        self._blobs = blobs
        self._built_in = built_in or {}
        self._lock = threading.Lock()
        self._read: OrderedDict[str, tuple[str, KeptStyle]] = OrderedDict()

    def put(self, style: KeptStyle, overwrite: bool) -> None:
        """Keeps a style; it is on disk when this returns.

        Raises:
            InvalidInput: Its name is not one.
            StyleExists: The name is taken, and overwrite is false.
            StoreFailed: It cannot be written.
        """
        check_new_name(style.name)
        try:
            with _reported("keep", style.name, FileExistsError):
                self._blobs.write(style.name + SUFFIX, dump(style), overwrite)
        except FileExistsError:
            raise StyleExists(f"style {style.name!r} exists; delete it first, or overwrite it") from None

    def get(self, name: str, field: str = "name") -> KeptStyle:
        """The style of that name.

        Raises:
            InvalidInput: The name cannot be one.
            StyleNotFound: There is none.
            StyleDamaged: Its file does not read.
            StoreFailed: The folder does not.
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
        """Return whether the name of a style to be made is taken, by a damaged style too; raises as `put`."""
        check_new_name(name)
        try:
            with _reported("read", name, FileNotFoundError):
                self._blobs.tag(name + SUFFIX)
        except FileNotFoundError:
            return False
        return True

    def page(self, size: int, token: str) -> tuple[list[KeptStyle], str]:
        """Styles in the order of their names, and the token of the next page, "" after the last.

        A token holds the last name of its page, so styles that come and go between two pages neither repeat nor hide
        others. Damaged styles are left out, and logged.

        Raises:
            InvalidInput: The size is below 0, or the token is not from this method.
            StoreFailed: The folder does not read.
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
        """Of all styles, sorted.

        Raises:
            StoreFailed: The folder does not read.
        """
        with _reported("list", "all"):
            found = (blob.removesuffix(SUFFIX) for blob in self._blobs.names() if blob.endswith(SUFFIX))
            return sorted([*self._built_in, *(name for name in found if NAME.fullmatch(name))])

    def delete(self, name: str) -> None:
        """Forgets a style, a damaged one too.

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
            # One file's own trouble, which the others of a list do not share.
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
    """Whatever a folder raises, but for what is expected, as an error that names no path."""
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
