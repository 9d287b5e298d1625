"""The number of server processes, and the settings of each."""

import subprocess
import sys
from pathlib import Path

import pytest
from stylewire_server import engine_settings
from stylewire_server.cli.flags import UsageError, parse
from stylewire_server.settings import ServeSettings


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that the machine has 16 cores."""
    monkeypatch.delenv("STYLEWIRE_PROCESSES", raising=False)
    monkeypatch.setattr(engine_settings, "_cores", lambda: 16)
    monkeypatch.setattr(engine_settings, "_GROUPS", Path("/no/such/folder"))


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (2, 1), (8, 1), (15, 1), (16, 2), (100, 12)])
def test_one_for_every_eight_cores(cores: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_settings, "_cores", lambda: cores)
    assert ServeSettings().effective_processes == processes


@pytest.mark.parametrize(
    ("limit", "processes", "threads", "streams"),
    [("max 100000", 2, 0, 4), ("9900000 100000", 2, 0, 4), ("800000 100000", 1, 8, 4), ("50000 100000", 1, 1, 1)],
)
def test_a_quota_of_the_control_group_counts(
    limit: str, processes: int, threads: int, streams: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "group").write_text("1:name=systemd:/other\n0::/system.slice/one.service\n")
    folder = tmp_path / "system.slice" / "one.service"
    folder.mkdir(parents=True)
    (folder / "cpu.max").write_text(limit + "\n")
    monkeypatch.setattr(engine_settings, "_GROUP", tmp_path / "group")
    monkeypatch.setattr(engine_settings, "_GROUPS", tmp_path)
    found = ServeSettings()
    assert (found.effective_processes, found.effective_threads, found.effective_streams) == (
        processes,
        threads,
        streams,
    )


def test_the_cores_that_count_are_those_that_compute() -> None:
    assert ServeSettings(threads=4).effective_processes == 1
    assert ServeSettings(threads=4, processes=3).effective_processes == 3


def test_totals_hold() -> None:
    whole = ServeSettings(processes=3, threads=8, streams=7, cache_bytes=1000, max_calls=100, metrics_port=9000)
    shares = [whole.share(index, 4711) for index in range(3)]
    assert [share.threads for share in shares] == [3, 3, 2]
    assert [share.streams for share in shares] == [2, 2, 2]
    assert [share.cache_bytes for share in shares] == [333, 333, 333]
    assert [share.max_calls for share in shares] == [33, 33, 33]
    assert [share.metrics_port for share in shares] == [9000, 9001, 9002]
    assert {(share.port, share.processes, share.queue_size, share.max_streams) for share in shares} == {
        (4711, 1, whole.queue_size, whole.max_streams)
    }


def test_everyone_has_at_least_one() -> None:
    share = ServeSettings(processes=3, threads=1, streams=1, max_calls=1).share(2, 4711)
    assert (share.threads, share.streams, share.max_calls) == (1, 1, 1)


def test_what_is_automatic_or_off_stays_so() -> None:
    shares = [ServeSettings(processes=2, streams=0, cache_bytes=0, metrics_port=port).share(1, 1) for port in (0, None)]
    assert [share.metrics_port for share in shares] == [0, None]
    assert (shares[0].threads, shares[0].streams, shares[0].cache_bytes) == (8, 0, 0)


def test_ports_of_metrics_beyond_the_last_are_refused() -> None:
    with pytest.raises(UsageError, match="--metrics-port 65535: the last process would need port 65536"):
        parse(ServeSettings, {"processes": 2, "metrics_port": 65535})


def imported_by(code: str) -> set[str]:
    """Return the modules that a process of its own has imported after running the code."""
    command = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split())


HEAVY = {"grpc", "openvino", "tensorflow", "prometheus_client", "numpy", "PIL"}


def test_the_parent_imports_nothing_heavy() -> None:
    assert not HEAVY & imported_by("import stylewire_server.cli.main, stylewire_server.runtime.supervisor")


@pytest.mark.parametrize("command", ["health", "token"])
def test_a_command_without_settings_is_ready_at_once(command: str) -> None:
    """A probe runs `health` every few seconds."""
    found = imported_by(f"from stylewire_server.cli.main import parser; parser(only='{command}')")
    assert not (HEAVY | {"pydantic"}) & found
