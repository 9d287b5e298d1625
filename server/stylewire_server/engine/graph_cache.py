"""Compiled graphs kept between starts, because a kept graph is loaded in a tenth of the time that it takes to make it.

A graph that others could have written is never loaded: the folder and each file must belong to this user, and nobody
else may write to them. OpenVINO refuses a graph that is cut short. But it runs one that is damaged in the middle, and
then computes wrong pictures, so each file begins with a checksum.
"""

import hashlib
import io
import json
import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import openvino as ov

from .. import models

MAX_BYTES = 512 * 2**20
"""Maximum bytes of all kept graphs. The oldest are removed first. Two graphs of the lite edition take 4 MB."""

_SUFFIX = ".graph"
_DIGEST_BYTES = hashlib.sha256().digest_size

_READ_NO_LINK = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Flags that open a file only if it is not a link, and do not wait for the writer of a pipe."""


class GraphCache:
    """Graphs that OpenVINO compiled for this CPU, in a folder.

    The cache only saves time. A folder or file that cannot be used, for any reason, is left out without an error.

    Args:
        folder: The folder, made if it is missing; None to keep no graphs.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder if folder is not None and _is_private(folder) else None

    def compile(
        self, core: ov.Core, make: Callable[[], ov.Model], config: Mapping[str, str], *identity: str
    ) -> ov.CompiledModel:
        """Return the compiled graph, from the folder if it has it.

        Args:
            core: Compiles and loads the graph.
            make: Returns the graph to compile.
            config: OpenVINO's properties for the compiled graph.
            identity: What the graph is made from. Equal identities stand for equal graphs.
        """
        if self._folder is None:
            return core.compile_model(make(), "CPU", config)
        path = self._folder / _name(core, config, identity)
        found = _read(path)
        if found is not None:
            try:
                return core.import_model(found, "CPU", config)
            except RuntimeError:
                # Another build of OpenVINO wrote it, or it is incomplete.
                with suppress(OSError):
                    path.unlink(missing_ok=True)
        compiled = core.compile_model(make(), "CPU", config)
        graph = io.BytesIO()
        with suppress(OSError, RuntimeError):
            compiled.export_model(graph)
            _write(path, graph.getvalue())
        return compiled


def _is_private(folder: Path) -> bool:
    """Make the folder, and return True if this user alone can write to it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and _belongs_to_us(found)


def _belongs_to_us(found: os.stat_result) -> bool:
    # Windows has no such numbers; there a user's cache folder is the user's own by default.
    return not hasattr(os, "geteuid") or (found.st_uid == os.geteuid() and not found.st_mode & 0o022)


def _name(core: ov.Core, config: Mapping[str, str], identity: Sequence[str]) -> str:
    """Return a file name that differs wherever the compiled graph could: by graph, code, CPU and properties."""
    code = hashlib.sha256()
    for folder in (Path(models.__file__).parent, Path(__file__).parent):
        for source in sorted(folder.glob("*.py")):
            code.update(source.read_bytes())
    capabilities = sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    cpu = [core.get_property("CPU", "FULL_DEVICE_NAME"), *capabilities]
    parts = [identity, sorted(config.items()), cpu, ov.get_version(), code.hexdigest()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40] + _SUFFIX


def _read(path: Path) -> bytes | None:
    """Return a kept graph; None if there is none. A file that cannot be trusted is removed."""
    try:
        with os.fdopen(os.open(path, _READ_NO_LINK), "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and _belongs_to_us(found):
                digest, graph = file.read(_DIGEST_BYTES), file.read()
                if hashlib.sha256(graph).digest() == digest:
                    # The oldest are those that no start has used for long.
                    os.utime(path)
                    return graph
    except FileNotFoundError:
        return None
    except OSError:
        pass
    with suppress(OSError):
        path.unlink(missing_ok=True)
    return None


def _write(path: Path, graph: bytes) -> None:
    """Write a graph in one step, and remove the oldest graphs above the limit."""
    if len(graph) > MAX_BYTES:
        return
    # A temporary file is readable and writable by its owner only.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(hashlib.sha256(graph).digest())
            file.write(graph)
            file.close()
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    _prune(path)


def _prune(newest: Path) -> None:
    """Remove the oldest files, also unfinished ones that a killed process left, until the rest is within the limit."""
    total = newest.stat().st_size
    others = []
    for path in newest.parent.iterdir():
        with suppress(FileNotFoundError):
            if path != newest:
                others.append((path, path.stat()))
    for path, found in sorted(others, key=lambda pair: pair[1].st_mtime, reverse=True):
        total += found.st_size
        if total > MAX_BYTES:
            path.unlink(missing_ok=True)
