"""The checks around every HTTP request: its site, its caller, its admission, and its end.

`Perimeter` is for all paths, the page's files included. `Admission` is for the API: it takes a call through the
guard that gRPC uses too, before the body is read.
"""

import asyncio
import ipaddress
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlsplit

import grpc
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..admission.guard import Guard
from ..admission.memory import CallMemory
from ..errors import DeadlinePassed, ServiceError, shortened
from ..rpc.interceptor import MESSAGE_SECONDS
from ..telemetry.calls import REQUEST_ID, Call, request_id
from .problems import Refusal, document, internal, problem

log = logging.getLogger(__name__)

T = TypeVar("T")

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "manifest-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; "
    "require-trusted-types-for 'script'"
)
"""The page may only run and request files of this server. Pictures may also come from the memory of the page."""

_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Perimeter:
    """Checks Host and Origin, adds the security headers and the request id, and answers requests without a route.

    Args:
        app: The application that handles a checked request.
        hosts: Names of the server that are accepted, beside addresses and localhost; None for any name.
        origins: Other sites whose pages may call, as `https://example.org`; "*" for all.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None, origins: Sequence[str]) -> None:
        self._app = app
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        headers = Headers(scope=scope)
        identity = request_id(((REQUEST_ID, headers.get(REQUEST_ID, "")),))
        scope.setdefault("state", {})["request_id"] = identity

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    answer.setdefault(name, value)
                answer.setdefault("Cache-Control", "no-store")
                answer[REQUEST_ID] = identity
            # A caller that does not read must not hold the answer in memory for ever.
            try:
                async with asyncio.timeout(MESSAGE_SECONDS):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        try:
            self._check(scope, headers)
        except Refusal as error:
            await problem(error, identity)(scope, receive, send_with_headers)
            return
        with suppress(ClientDisconnect):
            await self._app(scope, receive, send_with_headers)

    def _check(self, scope: Scope, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._hosts is not None and not _is_known(host, self._hosts):
            raise Refusal(
                HTTPStatus.MISDIRECTED_REQUEST,
                "host",
                f"the server is not known as {shortened(host)}; call it by its address or as localhost, or start it "
                "with --http-hosts",
            )
        origin = headers.get("origin")
        if origin is None or scope["method"] in _SAFE_METHODS or self._origins & {origin, "*"}:
            return
        if urlsplit(origin).netloc.lower() != host.lower():
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "origin",
                f"pages of {shortened(origin)} may not call this server; start it with --http-origins to allow them",
            )


def _is_known(host: str, names: frozenset[str]) -> bool:
    """Return True if a Host header names an address, localhost or one of the names.

    Addresses are safe: a site that rebinds its name to this machine's address still sends its name.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Admission:
    """Passes calls to the guard, and counts the bytes that they hold in memory.

    Args:
        guard: The guard, which gRPC uses too.
        memory: The memory for requests and answers, which gRPC uses too.
        max_body_bytes: Maximum bytes of a body.
    """

    def __init__(self, guard: Guard, memory: CallMemory, max_body_bytes: int) -> None:
        self._guard = guard
        self._memory = memory
        self._max_body_bytes = max_body_bytes

    @property
    def draining(self) -> bool:
        """Return True if new calls are refused, because the server is shutting down."""
        return self._guard.draining

    async def serve(
        self,
        request: Request,
        send: Send,
        method: str,
        queued: bool,
        handle: Callable[[Request, Call], Awaitable[Response]],
    ) -> None:
        """Let a call through to `handle` and send its answer, or send the refusal.

        Args:
            request: The request; its body is unread.
            send: Takes the answer.
            method: The call's name for the log and the metrics.
            queued: True if the call has a body and is a job in the queue.
            handle: Makes the answer.
        """
        call = Call(method, request.state.request_id, tuple(request.headers.items()), peer=_peer(request))
        call.deadline = _deadline(request)
        try:
            with self._guard.watch(call):
                await self._serve(request, send, call, queued, handle)
        except ServiceError as error:
            await problem(error, call.request_id)(request.scope, request.receive, send)
        except ClientDisconnect:
            # The caller has gone, so no answer is sent.
            pass
        except Exception as error:
            log.error("%s failed, request id %s", call.method, call.request_id, exc_info=error)
            with suppress(RuntimeError):
                # The answer may have begun; then the connection ends without the rest.
                await internal(call.request_id)(request.scope, request.receive, send)

    async def _serve(
        self,
        request: Request,
        send: Send,
        call: Call,
        queued: bool,
        handle: Callable[[Request, Call], Awaitable[Response]],
    ) -> None:
        task = asyncio.current_task()

        def end(error: ServiceError) -> None:
            if call.evicted is None and task is not None:
                call.evicted = error
                task.cancel()

        places = self._guard.admit(call, queued=queued)
        reservation = None
        try:
            if queued:
                async with body_deadline():
                    reservation = await self._memory.reserve(call.caller, self._body_bytes(request), end)
            else:
                reservation = self._memory.hold(call.caller, 0, end)
            response = await handle(request, call)
            reservation.resize(len(response.body))
            # The call is open until its answer is sent.
            await response(request.scope, request.receive, send)
        except ClientDisconnect:
            call.code = grpc.StatusCode.CANCELLED
            raise
        finally:
            places.release()
            if reservation is not None:
                reservation.release()

    def _body_bytes(self, request: Request) -> int:
        """Return the maximum bytes of the body: the length in its headers, or the limit."""
        length = request.headers.get("content-length", "")
        return min(int(length), self._max_body_bytes) if length.isdecimal() else self._max_body_bytes


@asynccontextmanager
async def body_deadline() -> AsyncIterator[None]:
    """Bound the wait for a body.

    Raises:
        DeadlinePassed: The body did not arrive within `MESSAGE_SECONDS`.
    """
    try:
        async with asyncio.timeout(MESSAGE_SECONDS):
            yield
    except TimeoutError:
        raise DeadlinePassed(f"the body did not arrive within {MESSAGE_SECONDS:g} s") from None


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Await `work`, and cancel it when the caller closes the connection. The body must have been read.

    Raises:
        ClientDisconnect: The caller has gone.
    """
    job = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait({job, gone}, return_when=asyncio.FIRST_COMPLETED)
        if job.done():
            return job.result()
        raise ClientDisconnect
    finally:
        gone.cancel()
        job.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unserved(request: Request, error: Exception) -> Response:
    """Return the answer where no route fits: 404 or 405 as a problem document."""
    assert isinstance(error, HTTPException)
    answers = {404: ("not-found", f"nothing is served at {shortened(request.url.path)}", grpc.StatusCode.NOT_FOUND)}
    methods = (error.headers or {}).get("Allow", "")
    answers[405] = (
        "method-not-allowed",
        f"{request.method[:20]} is not served here; {methods} is",
        grpc.StatusCode.UNIMPLEMENTED,
    )
    kind, detail, code = answers.get(error.status_code, ("refused", error.detail, grpc.StatusCode.UNKNOWN))
    answer = document(error.status_code, detail, request.state.request_id, kind=kind, code=code.name)
    answer.headers.update(error.headers or {})
    return answer


_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,9}(?:\.\d{1,6})?)")
"""The preference `wait` (RFC 7240, 4.3); fractions of a second are taken too."""


def _deadline(request: Request) -> float | None:
    """Return the deadline on the clock of `time.monotonic`, from `Prefer: wait=SECONDS`; None for no deadline."""
    found = _WAIT.search(request.headers.get("prefer", ""))
    return time.monotonic() + float(found[1]) if found else None


def _peer(request: Request) -> str:
    """Return the address without the port. A browser opens several connections and is still one caller."""
    return f"http:{request.client.host}" if request.client is not None else "http"
