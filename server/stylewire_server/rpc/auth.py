"""Who calls, by the bearer token in the call's metadata."""

from ..errors import RateLimited, Unauthenticated
from ..tokens import TokenFile
from .call import Metadata, value_of

KEY = "authorization"

_SCHEME = "bearer "


def authenticate(metadata: Metadata, tokens: TokenFile | None) -> str:
    """The name of the token's account; empty where the server asks for no token.

    Raises:
        Unauthenticated: The token is missing or wrong.
        RateLimited: The account has used up its rate.
    """
    if tokens is None:
        return ""
    given = value_of(metadata, KEY)
    if not given:
        raise Unauthenticated("no token; send metadata `authorization: Bearer TOKEN`")
    account = tokens.account(given[len(_SCHEME) :].strip()) if given.lower().startswith(_SCHEME) else None
    if account is None:
        # The same words for a token that was never one and for one that is no more.
        raise Unauthenticated("the token is not known here")
    wait = account.bucket.take()
    if wait:
        raise RateLimited(
            f"{account.name} has used up its rate; the limit is {account.bucket.rate:g} calls a second", wait
        )
    return account.name
