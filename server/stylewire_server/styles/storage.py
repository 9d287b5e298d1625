"""Storage of small files (blobs) in one folder, local or at an fsspec URL. Each write is complete or has no effect."""

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


class BlobsError(Exception):
    """The URL of the folder cannot be used. The message is for the operator and may name paths."""


class Blobs(Protocol):
    """Bytes under names. Safe to call from several threads and processes.

    A missing blob raises FileNotFoundError, and an existing blob raises FileExistsError. All other failures raise
    OSError, or an error of the library behind the URL.
    """

    def names(self) -> list[str]:
        """Return the names of all blobs, in any order; an empty list if the folder does not exist yet."""
        ...

    def tag(self, name: str) -> str:
        """Return a text that changes whenever the blob changes. This is much cheaper than reading the blob."""
        ...

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        ...

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """Write a blob and wait until it is on disk. A reader sees the old blob or the new blob, never a part."""
        ...

    def remove(self, name: str) -> None:
        """Remove a blob."""
        ...


def below(parent: str, folder: str) -> str:
    """Return the path or URL of a folder in another one, which may be the root of a file system, such as `memory://`."""
    scheme, separator, rest = parent.rpartition("://")
    return f"{scheme}{separator}{rest.rstrip('/')}/{folder}"


def open_blobs(url: str) -> Blobs:
    """Return the storage at a path or an fsspec URL.

    Raises:
        BlobsError: No file system is known for the URL, or its package is not installed.
    """
    scheme = urlsplit(url).scheme
    if "://" not in url:
        return LocalBlobs(Path(url).expanduser())
    if scheme == "file":
        # It takes long to load, and most folders are not URLs.
        from urllib.request import url2pathname

        return LocalBlobs(Path(url2pathname(urlsplit(url).path)))
    return FsspecBlobs(url)


_TEMPORARY = ".tmp"
"""Suffix of a file that is not complete yet."""

_STALE_SECONDS, _STALE_SECONDS_WITHOUT_LOCKS = 10, 3600
"""Seconds after which a temporary file is stale: if its lock is free, and if the file system has no locks."""


class LocalBlobs:
    """Blobs in a local folder, which is made at the first write.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._sweep()

    def names(self) -> list[str]:
        """Return the names of all blobs."""
        try:
            with os.scandir(self._root) as entries:
                return [entry.name for entry in entries if not entry.name.endswith(_TEMPORARY) and _is_file(entry)]
        except FileNotFoundError:
            return []

    def tag(self, name: str) -> str:
        """Return a text that changes whenever the blob changes."""
        found = (self._root / name).stat()
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        return (self._root / name).read_bytes()

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """Write a blob and wait until it is on disk."""
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
        """Remove a blob."""
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
            # Unlike a rename, a link fails if the name is taken, also by another process.
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
    """Lock a file for as long as it is open. The system frees the lock of a process that is killed.

    Returns:
        True for success, False if another process has the lock, None if the file system has no locks.
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
    """Return True for a temporary file that a killed process left behind."""
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
        # The entry is a symbolic link to itself.
        return False


_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Error numbers of file systems without hard links."""


class FsspecBlobs:
    """Blobs at an fsspec URL, such as s3://bucket/styles.

    A write stores one object, so it is complete or has no effect.

    Two servers may create the same name at the same moment. Only one of them succeeds if the storage has conditional
    writes: there fsspec's mode "create" is atomic. On other storage it checks before the write, and both may succeed.

    Args:
        url: URL of the folder.
    """

    def __init__(self, url: str) -> None:
        # Imported here, because a server with a local folder does not need fsspec.
        import fsspec

        try:
            # Other servers write to the same folder, so listings are not cached.
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise BlobsError(f"{url}: {error}") from None

    def names(self) -> list[str]:
        """Return the names of all blobs."""
        try:
            return [path.rsplit("/", 1)[-1] for path in self._files.ls(self._root, detail=False)]
        except FileNotFoundError:
            return []

    def tag(self, name: str) -> str:
        """Return a text that changes whenever the blob changes."""
        return str(self._files.ukey(self._path(name)))

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        return bytes(self._files.cat_file(self._path(name)))

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """Write a blob and wait until it is on disk."""
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(self._path(name), data, mode="overwrite" if overwrite else "create")

    def remove(self, name: str) -> None:
        """Remove a blob."""
        path = self._path(name)
        if not self._files.exists(path):
            # Object stores report success for the removal of an object that does not exist.
            raise FileNotFoundError(name)
        self._files.rm_file(path)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


T = TypeVar("T")

SECONDS = 5.0
"""Time limit for one operation of the storage. A style file has about 10 kB."""

_MAX_HANGING = 16
"""Maximum operations that run or hang at one time. Further operations fail at once."""


class BoundedBlobs:
    """Blobs with a time limit: an operation raises TimeoutError if the storage does not answer in time.

    A thread that waits for a lost disk cannot be interrupted. So each operation runs in a thread of its own. After the
    time limit the thread continues on its own: a write may still succeed after its TimeoutError.

    Args:
        blobs: The storage.
        seconds: Time limit for one operation.
    """

    def __init__(self, blobs: Blobs, seconds: float = SECONDS) -> None:
        self._blobs = blobs
        self._seconds = seconds
        self._free = threading.Semaphore(_MAX_HANGING)

    def names(self) -> list[str]:
        """Return the names of all blobs."""
        return self._bounded(self._blobs.names)

    def tag(self, name: str) -> str:
        """Return a text that changes whenever the blob changes."""
        return self._bounded(lambda: self._blobs.tag(name))

    def read(self, name: str) -> bytes:
        """Return the bytes of a blob."""
        return self._bounded(lambda: self._blobs.read(name))

    def write(self, name: str, data: bytes, overwrite: bool) -> None:
        """Write a blob and wait until it is on disk."""
        self._bounded(lambda: self._blobs.write(name, data, overwrite))

    def remove(self, name: str) -> None:
        """Remove a blob."""
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

        # A daemon thread and not a pool: the interpreter waits for the threads of a pool before it ends.
        threading.Thread(target=run, name="storage", daemon=True).start()
        return done.result(self._seconds)
