"""Small files in one folder, on this machine or anywhere that fsspec reaches. Each is written whole or not at all."""

import contextlib
import errno
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Protocol, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname


class BlobsError(Exception):
    """The folder's URL cannot be used; the message says why. For the operator: it may name paths."""


class Blobs(Protocol):
    """Bytes under names. Safe to call from several threads and processes.

    A missing blob is FileNotFoundError, an existing one FileExistsError; whatever else goes wrong is an OSError, or an
    error of the library behind the URL.
    """

    def names(self) -> list[str]:
        """Of all blobs, in any order; empty where the folder does not exist yet."""
        ...

    def tag(self, name: str) -> str:
        """Changes whenever the blob does; much cheaper than reading it."""
        ...

    def read(self, name: str) -> bytes:
        """The whole blob."""
        ...

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """Returns once the blob is on disk; a reader sees the old blob or the new one, never a part."""
        ...

    def remove(self, name: str) -> None:
        """Removes the blob."""
        ...


def below(parent: str, folder: str) -> str:
    """The path or URL of a folder in another, which may be a file system's root: `memory://`, `file:///`."""
    scheme, separator, rest = parent.rpartition("://")
    return f"{scheme}{separator}{rest.rstrip('/')}/{folder}"


def open_blobs(url: str) -> Blobs:
    """The folder at a path or an fsspec URL.

    Raises:
        BlobsError: No file system is known for the URL, or its package is not installed.
    """
    scheme = urlsplit(url).scheme
    if "://" not in url:
        return LocalBlobs(Path(url).expanduser())
    if scheme == "file":
        return LocalBlobs(Path(url2pathname(urlsplit(url).path)))
    return FsspecBlobs(url)


_TEMPORARY = ".tmp"

_STALE_SECONDS, _STALE_SECONDS_WITHOUT_LOCKS = 10, 3600
"""Age of a temporary file that nobody locks, and of any where files cannot be locked: its writer was killed."""


class LocalBlobs:
    """A folder of this machine; it is made at the first write.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sweep()

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        try:
            with os.scandir(self._root) as entries:
                return [entry.name for entry in entries if not entry.name.endswith(_TEMPORARY) and _is_file(entry)]
        except FileNotFoundError:
            return []

    def tag(self, name: str) -> str:
        """See `Blobs.tag`."""
        found = (self._root / name).stat()
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """See `Blobs.write`."""
        self._make_folder()
        temporary = self._root / f".{name}.{uuid.uuid4().hex}{_TEMPORARY}"
        try:
            with temporary.open("xb") as file:
                _lock(file)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(self._root / name)
            else:
                self._publish(temporary, self._root / name)
        finally:
            temporary.unlink(missing_ok=True)
        self._sync_folder()

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        (self._root / name).unlink()
        self._sync_folder()

    def _make_folder(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None

    @staticmethod
    def _publish(temporary: Path, path: Path) -> None:
        try:
            # Unlike a rename, a link fails where the name is taken, whoever took it.
            path.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
            temporary.replace(path)

    def _sync_folder(self) -> None:
        if os.name != "posix":
            return
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _sweep(self) -> None:
        # A folder that cannot be swept is reported when it is used.
        with contextlib.suppress(OSError):
            for path in self._root.glob(f".*{_TEMPORARY}"):
                if _is_stale(path):
                    path.unlink(missing_ok=True)


def _lock(file: IO[bytes]) -> bool | None:
    """Lock a file for as long as it is open. Returns False if another process has; None where there are no locks.

    The system frees the lock of a process that is killed.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def _is_stale(path: Path) -> bool:
    """Whether a temporary file was left behind by a process that was killed."""
    age = time.time() - path.stat().st_mtime
    if age <= _STALE_SECONDS:
        return False
    with path.open("r+b") as file:
        is_free = _lock(file)
    return age > _STALE_SECONDS_WITHOUT_LOCKS if is_free is None else is_free


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # A link that leads to itself.
        return False


_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""How file systems without hard links answer."""


class FsspecBlobs:
    """A folder behind an fsspec URL, as s3://bucket/styles. One put is one object, so it is whole or not there.

    Whether two servers that create one name at one moment can both succeed depends on the file system: fsspec's mode
    "create" is atomic where the storage has conditional writes, and a check before the write elsewhere.

    Args:
        url: Of the folder.
    """

    def __init__(self, url: str) -> None:
        # Here, because a server over a local folder does not need it.
        import fsspec

        try:
            # What another server has written must be seen, so listings are not kept.
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BlobsError(f"{url}: {error}") from None

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        try:
            return [path.rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def tag(self, name: str) -> str:
        """See `Blobs.tag`."""
        return str(self._files.ukey(self._path(name)))

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """See `Blobs.write`."""
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(self._path(name), data, mode="overwrite" if overwrite else "create")

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        path = self._path(name)
        if not self._files.exists(path):
            # Object stores remove what is not there without a word.
            raise FileNotFoundError(name)
        self._files.rm_file(path)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


T = TypeVar("T")

SECONDS = 5.0
"""That one operation may take; a file of a style has some 10 kB."""

_HANGING = 16
"""Operations that may hang at one time. With so many, nothing is asked of the storage any more."""


class BoundedBlobs:
    """The same blobs, of which every operation ends in time: TimeoutError where the storage does not answer.

    A thread that waits for a lost disk cannot be called back. So each operation has one of its own, which is left to
    itself when it is late, and what it does in the end is done: a write may succeed after it was given up.

    Args:
        blobs: What is asked.
        seconds: In which it has to answer.
    """

    def __init__(self, blobs: Blobs, seconds: float = SECONDS) -> None:
        self._blobs = blobs
        self._seconds = seconds
        self._free = threading.Semaphore(_HANGING)

    def names(self) -> list[str]:
        """See `Blobs.names`."""
        return self._bounded(self._blobs.names)

    def tag(self, name: str) -> str:
        """See `Blobs.tag`."""
        return self._bounded(lambda: self._blobs.tag(name))

    def read(self, name: str) -> bytes:
        """See `Blobs.read`."""
        return self._bounded(lambda: self._blobs.read(name))

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """See `Blobs.write`."""
        self._bounded(lambda: self._blobs.write(name, data, overwrite))

    def remove(self, name: str) -> None:
        """See `Blobs.remove`."""
        self._bounded(lambda: self._blobs.remove(name))

    def _bounded(self, operation: Callable[[], T]) -> T:
        if not self._free.acquire(blocking=False):
            raise TimeoutError
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(operation())
            except BaseException as error:
                done.set_exception(error)
            finally:
                self._free.release()

        # Not of a pool, whose threads the interpreter waits for at its end.
        threading.Thread(target=run, name="storage", daemon=True).start()
        return done.result(self._seconds)
