"""Style files: every kind of damage is detected."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stylewire_server.styles.file import DamagedFile, KeptStyle, dump, parse
from stylewire_server.styles.vectors import Edition

STYLE = KeptStyle(
    name="wave",
    vector=np.random.default_rng(1).normal(size=100).astype(np.float32),
    thumbnail=b"\xff\xd8 stands for a picture " * 40,
    origin_sha256="ab" * 32,
    edition=Edition("lite", "cd" * 32),
    create_time=datetime(2026, 2, 3, 4, 5, 6, 789, tzinfo=UTC),
)
DATA = dump(STYLE)


def same(one: KeptStyle, other: KeptStyle) -> bool:
    return (one.thumbnail, one.origin_sha256, one.edition, one.create_time) == (
        other.thumbnail,
        other.origin_sha256,
        other.edition,
        other.create_time,
    ) and np.array_equal(one.vector, other.vector)


def test_what_is_written_is_read() -> None:
    assert same(parse("wave", DATA), STYLE)
    assert parse("other", DATA).name == "other"


@given(st.integers(0, len(DATA) - 1))
@settings(max_examples=200, deadline=None)
def test_a_file_cut_short_is_damaged(length: int) -> None:
    with pytest.raises(DamagedFile):
        parse("wave", DATA[:length])


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
@settings(max_examples=1000, deadline=None)
def test_an_altered_byte_never_gives_another_style(position: int, change: int) -> None:
    altered = bytearray(DATA)
    altered[position] ^= change
    try:
        found = parse("wave", bytes(altered))
    except DamagedFile:
        return
    # Dates and attributes in the archive's headers carry no meaning.
    assert same(found, STYLE)


@pytest.mark.parametrize("method", [8, 9, 12, 14, 99])
def test_a_part_that_is_said_to_be_compressed_is_damage(method: int) -> None:
    """Otherwise each of the decompressors fails in its own way."""
    altered = bytearray(DATA)
    altered[DATA.rindex(b"PK\x01\x02") + 10] = method
    with pytest.raises(DamagedFile):
        parse("wave", bytes(altered))


def test_a_tuned_style_has_a_format_of_its_own() -> None:
    """A server that knows format 1 alone refuses it, rather than paint it untuned."""
    tuned = replace(STYLE, tuned=True, origin="The Wave", tuning={"steps": 80})
    data = dump(tuned)
    assert b'"format": 2' in data
    found = parse("wave", data)
    assert same(found, tuned)
    assert (found.tuned, found.origin, found.tuning) == (True, "The Wave", {"steps": 80})
    assert not parse("wave", DATA).tuned


def test_equal_styles_have_equal_files() -> None:
    assert dump(parse("wave", DATA)) == DATA


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vector": np.full(100, 1e5, np.float32)}, "magnitude 1e\\+05; the limit is 10000"),
        ({"vector": np.full(100, np.inf, np.float32)}, "not finite"),
        ({"vector": np.zeros(0, np.float32)}, "empty"),
        ({"thumbnail": bytes(70_000)}, "70,000 bytes; the limit is 65,536 bytes"),
        ({"thumbnail": bytes(300_000)}, "the limit is 262,144 bytes"),
        ({"tuning": [1]}, "not a mapping|sequence"),
    ],
)
def test_what_no_style_holds_is_refused(changes: dict, reason: str, with_facts: Callable[..., bytes]) -> None:
    style = replace(STYLE, **changes) if "tuning" not in changes else STYLE
    data = dump(style)
    if "tuning" in changes:
        data = with_facts(data, tuning=changes["tuning"])
    with pytest.raises(DamagedFile, match=reason):
        parse("wave", data)


def test_a_later_format_is_refused() -> None:
    with pytest.raises(DamagedFile, match="its format is 3; this version reads formats 1 and 2"):
        parse("wave", DATA.replace(b'"format": 1', b'"format": 3').replace(*_crc_of_facts()))


def _crc_of_facts() -> tuple[bytes, bytes]:
    import zlib

    with zipfile.ZipFile(io.BytesIO(DATA)) as archive:
        before = archive.read("style.json")
    after = before.replace(b'"format": 1', b'"format": 3')
    return zlib.crc32(before).to_bytes(4, "little"), zlib.crc32(after).to_bytes(4, "little")
