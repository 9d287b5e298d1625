"""Token files, rates, and the command that makes an entry."""

import subprocess
import sys
from pathlib import Path

import pytest
from stylewire_server.admission.tokens import Bucket, TokenFile, TokenFileError, new_token


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_token_opens_its_account_and_no_other(path: Path) -> None:
    (first, entry), (second, other) = new_token("alice"), new_token("bob", rate=2.5)
    path.write_text(f"# who may call\n\n{entry}\n{other}\n")
    tokens = TokenFile(path)
    alice, bob = tokens.account(first), tokens.account(second)
    assert alice is not None and bob is not None
    assert (alice.name, bob.name, bob.bucket.rate) == ("alice", "bob", 2.5)
    for wrong in ("", first[:-1], first + "x", first.swapcase(), "ü"):
        assert tokens.account(wrong) is None


def test_the_file_holds_no_token(path: Path) -> None:
    token, entry = new_token("alice")
    assert token not in entry
    assert len(token) >= 43


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice sha256:12",
        "alice md5:" + "0" * 64,
        "al/ice sha256:" + "0" * 64,
        "alice sha256:" + "0" * 64 + " rate=0",
        "alice sha256:" + "0" * 64 + " rate=-1",
        "alice sha256:" + "0" * 64 + " rate=many",
        "alice sha256:" + "0" * 64 + " rate=1 more",
    ],
)
def test_a_line_that_is_no_entry_is_named_and_not_shown(path: Path, line: str) -> None:
    path.write_text(f"{new_token('bob')[1]}\n{line}\n")
    with pytest.raises(TokenFileError, match="line 2 of the token file") as caught:
        TokenFile(path)
    assert "0000" not in str(caught.value)


@pytest.mark.parametrize("rate", [1e6, 1e-7, 0.5, 3, 123456.789, 1e300])
def test_an_entry_of_any_rate_is_read(path: Path, rate: float) -> None:
    token, entry = new_token("alice", rate)
    path.write_text(entry)
    account = TokenFile(path).account(token)
    assert account is not None
    assert account.bucket.rate == rate


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), -float("inf"), 0.0, -1.0])
def test_a_rate_that_is_none_makes_no_entry(rate: float) -> None:
    with pytest.raises(ValueError, match="it must be a number above 0 calls a second"):
        new_token("alice", rate)


def test_a_byte_order_mark_is_no_part_of_a_name(path: Path) -> None:
    token, entry = new_token("alice")
    path.write_text(f"{entry}\r\n", "utf-8-sig")
    account = TokenFile(path).account(token)
    assert account is not None
    assert account.name == "alice"


def test_two_rates_for_one_name_are_refused(path: Path) -> None:
    path.write_text(f"{new_token('bob', 1)[1]}\n{new_token('bob', 2)[1]}\n")
    with pytest.raises(TokenFileError, match="line 2 of the token file: bob has two different rates"):
        TokenFile(path)


def test_a_missing_file_is_told_without_its_path(path: Path) -> None:
    with pytest.raises(TokenFileError, match="cannot be read: No such file") as caught:
        TokenFile(path)
    assert str(path) not in str(caught.value)


def test_reload_takes_new_tokens_and_keeps_what_is_left_of_a_rate(path: Path) -> None:
    old, entry = new_token("alice", rate=1)
    path.write_text(entry)
    tokens = TokenFile(path)
    account = tokens.account(old)
    assert account is not None and account.bucket.take() == 0.0
    fresh, more = new_token("alice", rate=1)
    path.write_text(f"{entry}\n{more}\n")
    tokens.reload()
    renewed = tokens.account(fresh)
    assert renewed is not None and renewed.bucket is account.bucket
    path.write_text(more)
    tokens.reload()
    assert tokens.account(old) is None


def test_a_reload_that_fails_leaves_the_accounts(path: Path) -> None:
    token, entry = new_token("alice")
    path.write_text(entry)
    tokens = TokenFile(path)
    path.write_text("rubbish")
    with pytest.raises(TokenFileError):
        tokens.reload()
    assert tokens.account(token) is not None


def test_a_bucket_gives_its_rate_and_says_when_to_come_back() -> None:
    clock = Clock()
    bucket = Bucket(4.0, clock=clock)
    assert [bucket.take() for _ in range(4)] == [0.0] * 4
    assert bucket.take() == pytest.approx(0.25)
    clock.now += 0.25
    assert bucket.take() == 0.0
    assert bucket.take() > 0.0
    clock.now += 100
    assert [bucket.take() for _ in range(5)] == [0.0] * 4 + [pytest.approx(0.25)]


def test_less_than_one_call_a_second_still_gives_one() -> None:
    clock = Clock()
    bucket = Bucket(0.1, clock=clock)
    assert bucket.take() == 0.0
    assert bucket.take() == pytest.approx(10.0)


def test_the_command_appends_an_entry_and_shows_the_token_once(path: Path) -> None:
    command = [sys.executable, "-m", "stylewire_server", "token", "alice", "--rate", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    path.write_text(done.stdout)
    token = done.stderr.split()[-1]
    account = TokenFile(path).account(token)
    assert account is not None
    assert (account.name, account.bucket.rate) == ("alice", 3.0)
    assert token not in done.stdout


@pytest.mark.parametrize("arguments", [["a b"], *(["alice", "--rate", rate] for rate in ("0", "nan", "inf"))])
def test_the_command_refuses_what_the_file_would(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stylewire_server", "token", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stdout == ""
