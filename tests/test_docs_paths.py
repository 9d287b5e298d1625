"""Every path of the repository that the docs name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PAGES = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))]

BASES = [ROOT, ROOT / "server" / "stylewire_server", ROOT / "client" / "stylewire", ROOT / "optimizer_baseline"]
"""Folders that a path in the docs may start from."""

NOT_FILES = {"gallery/": "how the names of built-in styles begin"}
"""Words that look like a path but are not one -> their meaning."""

_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"\w[\w.-]*(?:/[\w.-]+)*/?")
_SOURCE_SUFFIXES = (
    *(".conf", ".css", ".go", ".html", ".j2", ".js", ".md", ".mjs"),
    *(".proto", ".py", ".service", ".sh", ".toml", ".yaml", ".yml"),
)


def paths_in(text: str) -> list[str]:
    """Return the paths in backticks of a page, without those in blocks of code.

    A word is a path if it begins with a folder of the repository's root. A span of a single word is a path too if it
    ends with a slash or with the suffix of a source file.
    """
    found = []
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        words = span.split()
        for word in words:
            if not _PATH.fullmatch(word) or word in NOT_FILES:
                continue
            first, slash, _ = word.partition("/")
            is_below_root = bool(slash) and (ROOT / first).is_dir()
            if is_below_root or (len(words) == 1 and word.endswith(("/", *_SOURCE_SUFFIXES))):
                found.append(word)
    return found


def exists(path: str) -> bool:
    """Return True for a path from the root or from the folder of a package; with a slash at its end, for a folder."""
    found = [base / path for base in BASES if (base / path).exists()]
    return any(each.is_dir() for each in found) if path.endswith("/") else bool(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_in_the_docs_exist(page: Path) -> None:
    missing = [path for path in paths_in(page.read_text()) if not exists(path)]
    assert not missing, f"{page.relative_to(ROOT)} names what is not in the repository: {missing}"


def test_paths_are_found_in_the_docs() -> None:
    assert {"tests/test_imports.py", "runtime/", "scheduler.py"} <= set(paths_in(PAGES[0].read_text()))


@pytest.mark.parametrize("wrong", ["rpc/tokens.py", "client/stylewire/commands/", "blobs.py", "scheduler.py/"])
def test_a_wrong_path_is_found(wrong: str) -> None:
    assert paths_in(f"See `{wrong}`.") == [wrong]
    assert not exists(wrong)


def test_every_test_that_the_security_guide_names_exists() -> None:
    named = re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guides" / "security.md").read_text())
    sources = list((ROOT / "tests").rglob("test_*.py"))
    defined = {path.stem for path in sources}.union(
        *(re.findall(r"^(?:async )?def (test_\w+)", path.read_text(), re.MULTILINE) for path in sources)
    )
    assert len(named) > 8
    assert not set(named) - defined
