"""The command `python -m benchmarks`: it lists every benchmark, and each can be imported and asked for its help."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

HELP = """
import importlib, sys
for name in sys.argv[1:]:
    module = importlib.import_module("benchmarks." + name.replace("-", "_"))
    sys.argv = [name, "--help"]
    try:
        # `charts` takes no arguments and draws at once.
        name == "charts" or module.main()
    except SystemExit as stop:
        assert not stop.code, name
"""


def test_each_benchmark_is_listed_and_has_help() -> None:
    listed = subprocess.run([sys.executable, "-m", "benchmarks"], cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in listed.stdout.splitlines() if line.startswith("  ")]
    assert {"serving", "engine", "overload", "baseline-step"} <= set(names)
    done = subprocess.run([sys.executable, "-c", HELP, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage:") == len(names) - 1
