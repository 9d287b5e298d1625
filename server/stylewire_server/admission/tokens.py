"""Bearer tokens: the accounts that may call, and their rates.

A token file has one entry a line: a name, the hash of a token, and optionally a rate in calls a second.

    alice  sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    batch  sha256:…  rate=5

Empty lines and lines that begin with `#` are skipped. A name may have several entries, so that a token can be
replaced without a gap. The entries of a name share one rate.
"""

import decimal
import hashlib
import hmac
import logging
import math
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RateLimited, Unauthenticated
from ..telemetry.calls import Metadata, value_of

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
"""Random bytes of a token. Nobody can guess so many bytes, so a fast hash is as safe as a slow one."""

_WRONG_RATE, _WRONG_BURST, _WRONG_ADDRESSES = 1.0, 100.0, 4096
"""Limits on wrong tokens: tokens a second for each address, tokens at one time, and addresses that are counted."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_RATE = re.compile(r"rate=(\d+(?:\.\d+)?)")


class TokenFileError(Exception):
    """The token file cannot be used; the message names the line, and never a hash."""


@dataclass
class Bucket:
    """A token bucket: a limit on the calls a second. The calls of one second may come at once.

    Args:
        rate: Calls a second; infinity for no limit.
        least: Minimum number of calls that may come at once.
        clock: Returns seconds and never goes back.
    """

    rate: float
    least: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _level: float = field(init=False)
    _filled: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._filled = self.burst, self.clock()

    @property
    def burst(self) -> float:
        """Return the maximum number of calls that may come at once."""
        return max(self.least, self.rate)

    def take(self) -> float:
        """Count one call and return 0. If the rate is used up, return the seconds until the next call is allowed."""
        if self.rate == float("inf"):
            return 0.0
        now = self.clock()
        self._level = min(self.burst, self._level + (now - self._filled) * self.rate)
        self._filled = now
        if self._level < 1.0:
            return (1.0 - self._level) / self.rate
        self._level -= 1.0
        return 0.0


@dataclass(frozen=True)
class Account:
    """The holder of a token."""

    name: str
    bucket: Bucket


class TokenFile:
    """The accounts of a token file.

    Args:
        path: Path of the file.

    Raises:
        TokenFileError: The file or one of its lines cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._accounts: list[tuple[bytes, Account]] = []
        self._wrong: OrderedDict[str, Bucket] = OrderedDict()
        self.reload()

    def reload(self) -> None:
        """Read the file again. An account whose rate has not changed keeps its count of calls.

        Raises:
            TokenFileError: The file cannot be used; the accounts stay as they were.
        """
        try:
            lines = self._path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise TokenFileError(f"the token file cannot be read: {reason}") from None
        buckets = {account.name: account.bucket for _, account in self._accounts}
        rates: dict[str, float] = {}
        accounts = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, digest, rate = _parse(line, number)
            if rates.setdefault(name, rate) != rate:
                raise TokenFileError(f"line {number} of the token file: {name} has two different rates")
            if name not in buckets or buckets[name].rate != rate:
                buckets[name] = Bucket(rate)
            accounts.append((digest, Account(name, buckets[name])))
        self._accounts = accounts
        if not accounts:
            log.warning("the token file has no entries: every call will be refused")

    def account(self, token: str) -> Account | None:
        """Return the account of a token; None for a wrong token.

        Every entry is compared, each in constant time. So the time reveals neither the token nor its place in the file.
        """
        presented = hashlib.sha256(token.encode()).digest()
        found = None
        for digest, account in self._accounts:
            if hmac.compare_digest(digest, presented):
                found = account
        return found

    def note_wrong(self, address: str) -> float:
        """Count a wrong token of an address. Return the seconds that the address has to wait; 0 for no wait."""
        bucket = self._wrong.pop(address, None) or Bucket(_WRONG_RATE, _WRONG_BURST)
        self._wrong[address] = bucket
        while len(self._wrong) > _WRONG_ADDRESSES:
            self._wrong.popitem(last=False)
        return bucket.take()


def new_token(name: str, rate: float | None = None) -> tuple[str, str]:
    """Return a new token, and its entry for the token file.

    Raises:
        ValueError: The name cannot be in an entry, or the rate is not above 0.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: up to 64 letters, digits and . _ @ -, beginning with a letter or digit")
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate is {rate:g}; it must be a number above 0 calls a second")
    token = secrets.token_urlsafe(TOKEN_BYTES)
    entry = f"{name} sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    return token, entry if rate is None else f"{entry} rate={decimal.Decimal(repr(rate)):f}"


def _parse(line: str, number: int) -> tuple[str, bytes, float]:
    match line.split():
        case [name, digest, *more] if _NAME.fullmatch(name) and len(more) <= 1:
            hashed = _HASH.fullmatch(digest)
            rate = _RATE.fullmatch(more[0]) if more else None
            if hashed and (rate or not more) and (rate is None or float(rate[1]) > 0):
                return name, bytes.fromhex(hashed[1]), float(rate[1]) if rate else float("inf")
    raise TokenFileError(f"line {number} of the token file is not `NAME sha256:HASH [rate=CALLS_A_SECOND]`")


KEY = "authorization"

_SCHEME = "bearer "


_PORT = re.compile(r":\d+$")


def _address(peer: str) -> str:
    """Return a peer without its port, because each attempt may use another connection."""
    return _PORT.sub("", peer)


def authenticate(metadata: Metadata, peer: str, tokens: TokenFile | None) -> str:
    """Return the name of the token's account; empty if the server asks for no token.

    A right token is always accepted, even after many wrong tokens from its address: callers behind a proxy share an
    address.

    Args:
        metadata: Headers of the call.
        peer: Address of the caller, as gRPC writes it.
        tokens: The accounts; None for a server that asks for no token.

    Raises:
        Unauthenticated: The token is missing or wrong.
        RateLimited: The account has used up its rate, or too many wrong tokens have come from this address.
    """
    if tokens is None:
        return ""
    given = value_of(metadata, KEY)
    if not given:
        raise Unauthenticated("no token; send metadata `authorization: Bearer TOKEN`")
    account = tokens.account(given[len(_SCHEME) :].strip()) if given.lower().startswith(_SCHEME) else None
    if account is None:
        wait = tokens.note_wrong(_address(peer))
        if wait:
            raise RateLimited(f"too many wrong tokens from this address; the limit is {_WRONG_RATE:g} a second", wait)
        # The message is the same for a token that never existed and for a token that was removed.
        raise Unauthenticated("the token is not known here")
    wait = account.bucket.take()
    if wait:
        raise RateLimited(
            f"{account.name} has used up its rate; the limit is {account.bucket.rate:g} calls a second", wait
        )
    return account.name
