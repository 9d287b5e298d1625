"""The documentation site builds without a warning, works without a network, and has what the program says."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from stylewire.__main__ import parser

ROOT = Path(__file__).resolve().parent.parent

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def text_of(page: Path) -> str:
    """The words of a page, without markup."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    loaded = re.compile(r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?https?:|<link\b[^>]*\bhref=["']?https?:""")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        assert not loaded.search(page.read_text()), page.name


def test_every_page_is_in_the_navigation(site: Path) -> None:
    start = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert f'href="{name}"' in start, name


def test_command_lines_are_those_of_the_program(site: Path) -> None:
    page = " ".join(text_of(site / "reference" / "command-lines.html").split())
    assert "--preserve-color" in page
    assert "--queue-size" in page
    assert "--style-weight" in page
    assert " ".join(parser().description.split()) in page
    assert str(Path.home()) not in page or Path.home() == Path("/")


def test_reference_has_methods_and_errors(site: Path) -> None:
    api = text_of(site / "reference" / "api.html")
    for name in ("stylize_stream", "AsyncClient", "retry_after", "strength", "running_server"):
        assert name in api
    errors = text_of(site / "reference" / "error-codes.html")
    for status in ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "429", "ServerBusy"):
        assert status in errors


def test_formulas_are_drawn_without_a_script(site: Path) -> None:
    page = (site / "theory.html").read_text()
    assert page.count("<math") > 10
    assert 'class="arithmatex"' not in page
