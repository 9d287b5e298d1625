"""Settings as flags and environment variables."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from stylewire_server import engine_settings
from stylewire_server.cli.flags import UsageError, parse
from stylewire_server.cli.main import main
from stylewire_server.engine_settings import EngineSettings
from stylewire_server.settings import ServeSettings


def test_flags_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEWIRE_PORT", "6000")
    monkeypatch.setenv("STYLEWIRE_QUEUE_SIZE", "7")
    settings = parse(ServeSettings, {"port": "7000", "run": print})
    assert (settings.port, settings.queue_size, settings.host) == (7000, 7, "127.0.0.1")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--port", "70000"], ["--port 70000", "65535"]),
        (["--port", "http"], ["--port http", "integer"]),
        (["--max-styles", "0"], ["--max-styles 0", "greater than 0"]),
        (["--picture-memory", "1000"], ["--picture-memory 1000: it must be 0, or at least 67108864 bytes"]),
        (["--queue-size", "-1"], ["--queue-size -1"]),
        (["--max-pixels", "9" * 23], ["--max-pixels " + "9" * 23, "less than or equal to 2147483647"]),
        (["--queue-size", str(2**31)], ["--queue-size 2147483648", "less than or equal to 2147483647"]),
        (["--max-message-bytes", str(2**31)], ["--max-message-bytes 2147483648", "less than or equal to 2147483647"]),
        (["--grace", "inf"], ["--grace inf", "finite number"]),
        (["--grace", "nan"], ["--grace nan", "finite number"]),
        (["--data-dir", ""], ["--data-dir ", "at least 1 character"]),
    ],
)
def test_a_wrong_flag_is_one_clear_line(flags: list[str], words: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["serve", *flags]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    for word in words:
        assert word in message


def test_a_wrong_environment_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEWIRE_PORT", "-3")
    with pytest.raises(UsageError, match="STYLEWIRE_PORT -3"):
        parse(ServeSettings, {})


@pytest.mark.parametrize("name", sorted(ServeSettings.model_fields))
def test_an_empty_environment_variable_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"STYLEWIRE_{name.upper()}", raising=False)
    unset = getattr(parse(ServeSettings, {}), name)
    monkeypatch.setenv(f"STYLEWIRE_{name.upper()}", "")
    assert getattr(parse(ServeSettings, {}), name) == unset


def test_half_of_a_probes_certificate_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    for flags in (["--tls-ca", "X", "--tls-cert", "Y"], ["--tls-ca", "X", "--tls-key", "Y"], ["--tls-cert", "Y"]):
        assert main(["health", *flags]) == 2
        assert capsys.readouterr().err == "stylewire_server: --tls-cert and --tls-key go together, and with --tls-ca\n"
    assert main(["health", "--tls-cert", "Y", "--tls-key", "Z"]) == 2


def test_an_unknown_flag_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--prot", "1"])
    assert caught.value.code == 2
    assert "--prot" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("package", "command", "missing", "extra"),
    [
        ("stylewire_server", ["serve"], "pydantic", "server"),
        ("stylewire_server", ["health"], "grpc_health", "server"),
        ("optimizer_baseline", ["score", "a.png", "b.png", "c.png"], "tensorflow", "baseline"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(package: str, command: list[str], missing: str, extra: str) -> None:
    code = f"import runpy, sys; sys.modules[{missing!r}] = None; runpy.run_module({package!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{missing} is not installed: pip install 'stylewire[{extra}]'" in done.stderr


def test_the_engine_has_the_same_settings_without_pydantic(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("STYLEWIRE_")]:
        monkeypatch.delenv(name)
    plain, served = EngineSettings(), ServeSettings(processes=1)
    for field in fields(EngineSettings):
        assert getattr(served, field.name) == getattr(plain, field.name), field.name
    assert served.image_limits(10**7) == plain.image_limits(10**7)
    for name in ("effective_streams", "effective_threads", "effective_picture_memory"):
        assert getattr(served, name) == getattr(plain, name), name


def test_the_picture_memory_follows_the_control_group(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    group = tmp_path / "group"
    group.mkdir()
    own = tmp_path / "cgroup"
    own.write_text("0::/group\n")
    monkeypatch.setattr(engine_settings, "_GROUP", own)
    monkeypatch.setattr(engine_settings, "_GROUPS", tmp_path)
    settings = parse(ServeSettings, {"processes": "1"})
    for limit, expected in (("max", 1_750_000_000), (str(10**10), 1_750_000_000), (str(10**9), 500_000_000)):
        (group / "memory.max").write_text(limit + "\n")
        assert settings.effective_picture_memory == expected, limit
    assert parse(ServeSettings, {"processes": "2"}).effective_picture_memory == 250_000_000
    assert parse(ServeSettings, {"picture_memory": "900000000"}).effective_picture_memory == 900_000_000


@pytest.mark.parametrize("folder", ["docker/one", ""])
def test_the_picture_memory_follows_a_control_group_of_version_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    """The group's own folder, and what a container sees of it."""
    own = tmp_path / "cgroup"
    own.write_text("5:cpu,cpuacct:/docker/one\n4:memory:/docker/one\n1:name=systemd:/docker/one\n")
    group = tmp_path / "memory" / folder
    group.mkdir(parents=True)
    monkeypatch.setattr(engine_settings, "_GROUP", own)
    monkeypatch.setattr(engine_settings, "_GROUPS", tmp_path)
    settings = parse(ServeSettings, {"processes": "1"})
    for limit, expected in ((2**63 - 4096, 1_750_000_000), (10**9, 500_000_000)):
        (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
        assert settings.effective_picture_memory == expected, limit
