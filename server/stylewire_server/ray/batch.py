"""A batch job on Ray: reads pictures from any place that fsspec reaches, stylizes them, and writes the results."""

import json
import logging
import math
import os
import posixpath
import time
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import ray
import ray.data
from fsspec.core import url_to_fs

from ..errors import ServiceError
from ..models.select import open_network
from ..options import Options
from ..settings import ServeSettings
from .places import (
    ENCODINGS,
    existing,
    is_parquet,
    list_pictures,
    name_of_row,
    remove_unfinished,
    writer,
)
from .stylize import BatchStyle, Stylize, read_styles

MANIFEST, FAILURES = "manifest.json", "failures.parquet"
"""Names of the files that a job adds to its output."""

_ROWS = 64
"""Rows of a parquet data set in one block of Ray's object store. Ray moves blocks to disk when memory is short."""

_BATCH = 16
"""Pictures that an actor gets at one time. The number is small, so that a lost actor costs little."""


ATTEMPTS = 3
"""Maximum number of times that a picture is begun. A lost node costs each picture in work one of them."""


class BatchError(Exception):
    """The job cannot run, or had to stop. The message is one line."""


@dataclass
class Report:
    """The results of a job. `manifest.json` has the same values.

    Attributes:
        finished: False in the manifest of a job that is running or was killed.
        pictures: Results written by this run.
        skipped: Results that existed already.
        failed: Pictures that could not be made; `failures.parquet` names them with the reasons.
        seconds: Time from the start of the first picture to the end.
        pictures_per_second: pictures / seconds.
        nodes: For each machine: its pictures, and CPU seconds of its actors.
    """

    finished: bool = False
    pictures: int = 0
    skipped: int = 0
    failed: int = 0
    seconds: float = 0.0
    pictures_per_second: float = 0.0
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)


def run_batch(
    source: str,
    target: str,
    styles: Sequence[str],
    options: Options | None = None,
    *,
    address: str | None = None,
    cores: int = 1,
    keep_order: bool = False,
    settings: Mapping[str, Any] | None = None,
    bars: bool = False,
) -> Report:
    """Stylize every picture of a source into a target folder. Results that exist already are not changed.

    A picture that fails, or ends its process three times, is noted in `failures.parquet` of the target and does not
    end the job. Results are written
    atomically, so a job that was killed can be started again.

    Args:
        source: A folder, a file, a glob or a parquet data set, as a path or an fsspec URL. A data set has the column
            `path`, which names the result, and may have `bytes`, the picture itself.
        target: A folder, as a path or an fsspec URL.
        styles: Pictures or named styles, as `Stylize` takes them.
        options: Options of every picture; None for the defaults.
        address: A Ray cluster, "auto" or HOST:PORT; None starts Ray on this machine, unless it is running.
        cores: Cores for each actor. One core gives the most pictures a second.
        keep_order: List failures in the order of the source, not in the order in which pictures are done. A slow
            picture then holds up those behind it.
        settings: Flags of `stylewire-server serve` by name.
        bars: True to show Ray's progress bars.

    Raises:
        BatchError: Source or target cannot be used, the model or a style cannot be used, or Ray failed.
    """
    options = options or Options()
    report = Report()
    with _one_line():
        serve = ServeSettings(**(settings or {}))
        # Resolve "auto" here, because it could mean a different model on each machine.
        model = open_network(serve.model, serve.cache).edition if serve.model == "auto" else serve.model
        given = read_styles(styles, serve.model_copy(update={"model": model}))
        done = existing(target)
        planned = is_parquet(source) or list_pictures(source, target, options.encoding)
        # A place that cannot be written to ends the job here, before the work.
        _write_manifest(target, report)
    if isinstance(planned, dict):
        rows = [{"source": url, "name": name} for name, url in planned.items() if name not in done]
        report.skipped = len(planned) - len(rows)
    else:
        rows = None
    failures: list[tuple[str, str]] = []
    if rows is None or rows:
        with _running_ray(address):
            begun = time.monotonic()
            attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()
            work = _Work(target, options, frozenset(done) if rows is None else frozenset(), attempts)
            every = {**(settings or {}), "model": model}
            with closing(_outcomes(rows, source, given, work, cores, keep_order, every, bars)) as outcomes:
                for outcome in outcomes:
                    _count(outcome, report, failures)
            report.seconds = time.monotonic() - begun
    report.failed = len(failures)
    report.pictures_per_second = report.pictures / report.seconds if report.seconds else 0.0
    report.finished = True
    with _one_line():
        _write_failures(target, failures)
        _write_manifest(target, report)
        remove_unfinished(target)
    return report


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn whatever storage and settings raise into a BatchError of one line."""
    try:
        yield
    except (ServiceError, OSError, ValueError, ImportError) as error:
        raise BatchError(_line(error)) from error
    except Exception as error:
        # fsspec's file systems raise errors of their own libraries, such as botocore's.
        raise BatchError(f"{type(error).__name__}: {_line(error)}") from error


class _Attempts:
    """How often each picture was begun and not ended. It is an actor that all others share.

    Ray tries a batch again when the process that had it ends, as often as it takes: a lost node can cost a batch many
    tries. So a picture that ends its process each time would stop the job for ever without this count.
    """

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, path: str) -> int:
        """Count a beginning. Return how often this picture was begun and not ended, this time included."""
        self._begun[path] += 1
        return self._begun[path]

    def end(self, path: str) -> None:
        """Forget the beginnings of a picture whose outcome is known."""
        self._begun.pop(path, None)


@dataclass(frozen=True)
class _Work:
    """The parameters of an actor, without the styles."""

    target: str
    options: Options
    done: frozenset[str]
    attempts: Any


class _Actor(Stylize):
    """An actor that reads, stylizes and writes pictures. It returns a small row for each picture."""

    def __init__(self, work: _Work, styles: Sequence[BatchStyle], threads: int, settings: Mapping[str, Any]) -> None:
        super().__init__(styles, work.options, threads=threads, settings=settings)
        self._work = work
        self._node = ray.util.get_node_ip_address() + " " + ray.get_runtime_context().get_node_id()[:8]
        self._write = writer(work.target)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outcomes = [self._one({key: values[row] for key, values in batch.items()}) for row in range(_length(batch))]
        return {key: np.array([outcome[key] for outcome in outcomes], object) for key in outcomes[0]}

    def _one(self, row: Mapping[str, Any]) -> dict[str, Any]:
        begun = time.process_time()
        path = str(row.get("source") or row.get("path") or "")
        error, skipped = None, False
        attempts = self._work.attempts
        if ray.get(attempts.begin.remote(path)) > ATTEMPTS:
            error = f"the process ended {ATTEMPTS} times while it made this picture"
            return self._outcome(path, error, skipped, begun)
        try:
            name = str(row["name"]) if "name" in row else name_of_row(path, self._work.options.encoding)
            skipped = name in self._work.done
            if not skipped:
                content = row.get("bytes")
                if content is None:
                    with fsspec.open(path, "rb") as file:
                        content = file.read()
                encoding = self._work.options.encoding or ENCODINGS[posixpath.splitext(name)[1].lower()]
                made = self.stylize(bytes(content), replace(self._work.options, encoding=encoding))
                self._write(name, made.data)
        except ServiceError as problem:
            error = str(problem)
        except MemoryError:
            raise
        except Exception as problem:
            # Storage raises errors of many libraries. Each error concerns only this picture.
            error = f"{type(problem).__name__}: {_line(problem)}"
        attempts.end.remote(path)
        return self._outcome(path, error, skipped, begun)

    def _outcome(self, path: str, error: str | None, skipped: bool, begun: float) -> dict[str, Any]:
        return {
            "path": path,
            "error": error,
            "skipped": skipped,
            "node": self._node,
            "cpu_seconds": time.process_time() - begun,
        }


def _outcomes(
    rows: list[dict[str, str]] | None,
    source: str,
    styles: Sequence[BatchStyle],
    work: _Work,
    cores: int,
    keep_order: bool,
    settings: Mapping[str, Any],
    bars: bool,
) -> Generator[Mapping[str, Any], None, None]:
    """Yield the outcome of each picture as soon as it is done."""
    context = ray.data.DataContext.get_current()
    # The caller may have pipelines of its own in this process.
    before = context.enable_progress_bars, context.execution_options.preserve_order
    context.enable_progress_bars, context.execution_options.preserve_order = bars, keep_order
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    cluster = int(ray.cluster_resources().get("CPU", 1) // cores)
    if cluster < 1:
        raise BatchError(f"no machine of the cluster has {cores} cores for an actor")
    if rows is None:
        fs, path = url_to_fs(source)
        # Ray's own reader needs a free core. It waits for ever if the actors have all of them.
        dataset = pyarrow.dataset.dataset(path, filesystem=fs, format="parquet")
        columns = [name for name in ("path", "bytes") if name in dataset.schema.names]
        batches = dataset.to_batches(columns=columns, batch_size=_ROWS)
        data = ray.data.from_arrow_refs([ray.put(pa.Table.from_batches([batch])) for batch in batches])
        actors = cluster
    else:
        actors = min(cluster, math.ceil(len(rows) / _BATCH))
        data = ray.data.from_items(rows, override_num_blocks=min(len(rows), max(4 * actors, len(rows) // 256)))
    data = data.map_batches(
        _Actor,
        batch_size=_BATCH,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors, initial_size=actors),
        num_cpus=cores,
        fn_constructor_kwargs={"work": work, "styles": styles, "threads": cores, "settings": settings},
    )
    try:
        yield from data.iter_rows()
    except ray.exceptions.RayError as error:
        raise BatchError(f"Ray ended the job: {_line(_cause(error))}") from error
    finally:
        context.enable_progress_bars, context.execution_options.preserve_order = before


def _count(outcome: Mapping[str, Any], report: Report, failures: list[tuple[str, str]]) -> None:
    if outcome["skipped"]:
        report.skipped += 1
        return
    if outcome["error"] is not None:
        failures.append((outcome["path"], outcome["error"]))
    else:
        report.pictures += 1
    node = report.nodes.setdefault(outcome["node"], {"pictures": 0, "cpu_seconds": 0.0})
    node["pictures"] += outcome["error"] is None
    node["cpu_seconds"] += outcome["cpu_seconds"]


@contextmanager
def _running_ray(address: str | None) -> Iterator[None]:
    """Use the cluster at an address, or start Ray on this machine until the block ends. A running Ray keeps running.

    Raises:
        BatchError: No cluster is at that address.
    """
    if ray.is_initialized():
        yield
        return
    # By default Ray sends reports on its use to its makers, and listens on every interface.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    local = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="warning", **local)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise BatchError(f"no Ray cluster at {address}: {_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _write_failures(target: str, failures: Sequence[tuple[str, str]]) -> None:
    columns = {"path": [path for path, _ in failures], "error": [error for _, error in failures]}
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    writer(target)(FAILURES, sink.getvalue().to_pybytes())


def _write_manifest(target: str, report: Report) -> None:
    data = json.dumps({"schema": "stylewire-batch/1", **asdict(report)}, indent=2) + "\n"
    writer(target)(MANIFEST, data.encode())


def _length(batch: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(batch.values())))


def _cause(error: BaseException) -> BaseException:
    """Return the error in a worker that made Ray fail."""
    inner = getattr(error, "cause", None) or error.__cause__
    return _cause(inner) if isinstance(inner, BaseException) else error


def _line(error: BaseException) -> str:
    """Return an error's message as one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__
