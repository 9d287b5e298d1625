"""Run a benchmark by its name: `python -m benchmarks NAME [ARGUMENTS]`. Without a name, list them."""

import ast
import importlib
import sys
from pathlib import Path

HELPERS = frozenset({"__init__", "__main__", "common", "load"})
"""Modules that are no benchmarks themselves."""


def main() -> None:
    """Run the benchmark that the command line names, in this process."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in HELPERS)
    names = {name.replace("_", "-"): name for name in found}
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        print(__doc__.strip(), end="\n\n")
        for name, module in names.items():
            print(f"  {name:20} {_summary(Path(__file__).with_name(f'{module}.py'))}")
        sys.exit(0 if len(sys.argv) < 2 or sys.argv[1] in {"-h", "--help"} else 2)
    module = importlib.import_module(f"benchmarks.{names[sys.argv[1]]}")
    sys.argv[:2] = [f"python -m benchmarks {sys.argv[1]}"]
    module.main()


def _summary(path: Path) -> str:
    """Return the first line of a module's docstring, without importing the module."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
