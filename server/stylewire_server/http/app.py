"""The routes of the HTTP API, and the handlers that turn a form into a picture."""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from ..admission.guard import Guard
from ..admission.memory import CallMemory
from ..errors import InvalidInput, shortened
from ..options import WeightedStyle
from ..passes import count_passes
from ..rpc import messages
from ..rpc.loaded import Loaded
from ..scheduler import Scheduler, Ticket
from ..settings import ServeSettings
from ..styles.file import KeptStyle
from ..stylizer import Stylized
from ..telemetry.calls import Call
from . import forms
from .guard import Admission, Perimeter, unless_gone, unserved

WEB = Path(__file__).resolve().parent.parent / "web"
"""Folder with the files of the page."""

Handler = Callable[[Request, Call], Awaitable[Response]]

_EXPOSED = ("Server-Timing", "Image-Width", "Image-Height", "Model", "Retry-After", "X-Request-Id")

_STYLIZE_FIELDS = frozenset({"content", "style", "weight", "mask"}) | forms.OPTION_FIELDS

_CREATE_FIELDS = frozenset({"name", "style", "weight", "overwrite"})


class Api:
    """The handlers of the API.

    Args:
        scheduler: The queue in front of the stylizer.
        loaded: The stylizer; every call is refused until it is loaded.
        admission: Admits calls.
        limits: The limits on a form.
    """

    def __init__(self, scheduler: Scheduler, loaded: Loaded, admission: Admission, limits: forms.Limits) -> None:
        self._scheduler = scheduler
        self._loaded = loaded
        self._admission = admission
        self._limits = limits
        self._document = json.loads(Path(__file__).with_name("openapi.json").read_bytes())

    def routes(self) -> list[Route]:
        """Return the routes of the API, the most specific first."""

        def route(path: str, **handlers: tuple[str, Handler]) -> Route:
            return Route(path, _Call(self._admission, handlers), methods=list(handlers))

        return [
            route("/v1/stylize", POST=("Stylize", self._stylize)),
            route("/v1/styles", GET=("ListStyles", self._list), POST=("CreateStyle", self._create)),
            route("/v1/styles/{name:path}/thumbnail", GET=("GetThumbnail", self._thumbnail)),
            route("/v1/styles/{name:path}", GET=("GetStyle", self._get), DELETE=("DeleteStyle", self._delete)),
            route("/v1/model", GET=("GetModel", self._model)),
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/readyz", self._readyz, methods=["GET"]),
            Route("/openapi.json", self._openapi, methods=["GET"]),
        ]

    async def _stylize(self, request: Request, call: Call) -> Response:
        stylizer, model = self._loaded.get()
        async with _form(request, self._limits, _STYLIZE_FIELDS) as form:
            content = await forms.content(form)
            styles = await forms.styles(form, self._limits)
            options = forms.options(form)

        def work(ticket: Ticket) -> tuple[Stylized, float]:
            return stylizer.stylize(content, styles, options, ticket.check), ticket.queue_ms

        kind = messages.kind(content, options, count_passes(styles))
        job = self._scheduler.run(work, call.caller, call.deadline, kind)
        result, queue_ms = await unless_gone(request, job)
        headers = {
            "Server-Timing": _server_timing(result, queue_ms),
            "Image-Width": str(result.width),
            "Image-Height": str(result.height),
            "Model": model.edition,
        }
        return Response(result.data, headers=headers, media_type=f"image/{result.encoding.lower()}")

    async def _create(self, request: Request, call: Call) -> Response:
        stylizer, _ = self._loaded.get()
        async with _form(request, self._limits, _CREATE_FIELDS) as form:
            name = forms.text(form, "name")
            styles: list[WeightedStyle] = await forms.styles(form, self._limits)
            overwrite = forms.flag(form, "overwrite")

        def work(ticket: Ticket) -> KeptStyle:
            return stylizer.create_style(name, styles, overwrite, ticket.check)

        style = await unless_gone(request, self._scheduler.run(work, call.caller, call.deadline, messages.STYLES))
        return JSONResponse(_described(style), 201, {"Location": f"/v1/styles/{style.name}"})

    async def _list(self, request: Request, call: Call) -> Response:
        stylizer, _ = self._loaded.get()
        size, token = request.query_params.get("page_size", "0"), request.query_params.get("page_token", "")
        if not re.fullmatch(r"-?\d{1,9}", size):
            raise InvalidInput("page_size", f"page_size is {shortened(size)}; it must be a whole number")
        styles, further = await asyncio.to_thread(stylizer.store.page, int(size), token)
        inline = request.query_params.get("thumbnails") == "inline"
        return JSONResponse(
            {"styles": [_described(style, inline) for style in styles], "next_page_token": further},
        )

    async def _get(self, request: Request, call: Call) -> Response:
        return JSONResponse(_described(await self._kept(request)))

    async def _thumbnail(self, request: Request, call: Call) -> Response:
        data = (await self._kept(request)).thumbnail
        tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        return Response(data, headers=headers, media_type="image/jpeg")

    async def _delete(self, request: Request, call: Call) -> Response:
        stylizer, _ = self._loaded.get()
        await asyncio.to_thread(stylizer.store.delete, request.path_params["name"])
        return Response(status_code=204)

    async def _model(self, request: Request, call: Call) -> Response:
        return JSONResponse(_as_json(self._loaded.get()[1]))

    async def _kept(self, request: Request) -> KeptStyle:
        stylizer, _ = self._loaded.get()
        return await asyncio.to_thread(stylizer.store.get, request.path_params["name"])

    async def _healthz(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readyz(self, request: Request) -> Response:
        ready = bool(self._loaded) and not self._admission.draining
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self._document)


class _Call:
    """A path of the API that goes through the guard, as an ASGI application.

    Args:
        admission: Admits calls.
        handlers: HTTP method -> the call's name in gRPC, for the log and the metrics, and the handler.
    """

    def __init__(self, admission: Admission, handlers: Mapping[str, tuple[str, Handler]]) -> None:
        self._admission = admission
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI has it."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        name, handle = self._handlers[method]
        # A POST is a job in the queue, like the methods of gRPC that make a picture or a style.
        request = Request(scope, receive, send)
        await self._admission.serve(request, send, f"/http/{name}", method == "POST", handle)


@asynccontextmanager
async def _form(request: Request, limits: forms.Limits, fields: Iterable[str]) -> AsyncIterator[FormData]:
    """Yield a form that is read into memory. A form with unknown fields is refused."""
    forms.check_head(request, limits)
    form = await forms.read_form(request, limits)
    try:
        forms.check_fields(form, fields)
        yield form
    finally:
        await form.close()


class _PageFiles(StaticFiles):
    """Serves the files of the page. A browser asks each time if a file has changed, so that an update shows at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def make_app(settings: ServeSettings, scheduler: Scheduler, loaded: Loaded, guard: Guard, memory: CallMemory) -> Any:
    """Return the ASGI application: API, health and page."""
    admission = Admission(guard, memory, settings.max_message_bytes)
    api = Api(scheduler, loaded, admission, forms.Limits.of(settings))
    middleware = [Middleware(Perimeter, hosts=settings.allowed_http_hosts, origins=settings.allowed_http_origins)]
    if settings.allowed_http_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_http_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Prefer", "X-Request-Id"],
            expose_headers=_EXPOSED,
        )
        middleware.insert(0, cors)
    files = _PageFiles(directory=WEB)

    async def page(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    routes = [*api.routes(), Route("/", page, methods=["GET"]), Mount("/web", files)]
    return Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: unserved})


def _server_timing(result: Stylized, queue_ms: float) -> str:
    """Return the milliseconds of the stages in the form that browsers show (W3C Server Timing)."""
    timings = result.timings
    stages = {
        "queue": queue_ms,
        "decode": timings.decode_ms,
        "predict": timings.predict_ms,
        "transform": timings.transform_ms,
        "encode": timings.encode_ms,
    }
    told = [f"{name};dur={milliseconds:.2f}" for name, milliseconds in stages.items()]
    return ", ".join([*told, *(["style-cached"] if timings.style_cached else [])])


def _described(style: KeptStyle, inline: bool = False) -> dict[str, Any]:
    """Return a style as JSON. Its thumbnail is a path or, if `inline` is true, a data URI."""
    message = messages.style(style)
    thumbnail = f"/v1/styles/{style.name}/thumbnail"
    if inline:
        thumbnail = f"data:image/jpeg;base64,{base64.b64encode(style.thumbnail).decode()}"
    return {
        "name": message.name,
        "model": message.model,
        "tuned": message.tuned,
        "built_in": message.built_in,
        "origin": message.origin,
        "create_time": style.create_time.isoformat(),
        "thumbnail": thumbnail,
    }


def _as_json(message: Message) -> dict[str, Any]:
    """Return a message as JSON with the names of the contract.

    Unlike in protobuf's JSON, 64-bit numbers are numbers.
    """
    found: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        found[field.name] = _as_json(value) if isinstance(value, Message) else value
    return found
