"""Around every call: errors become statuses, and each call has a request id."""

import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from ..errors import ServiceError
from .status import code_of, trailing_metadata

log = logging.getLogger(__name__)

REQUEST_ID = "x-request-id"


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Ends a call whose handler raised: with the error's own status, or INTERNAL and a request id for a bug."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OWN):
            return handler
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                _guard_unary(handler.unary_unary, method), handler.request_deserializer, handler.response_serializer
            )
        if handler.stream_stream:
            return grpc.stream_stream_rpc_method_handler(
                _guard_stream(handler.stream_stream, method), handler.request_deserializer, handler.response_serializer
            )
        return handler


_OWN = ("/stylewire.", "/inference.")


def _guard_unary(behaviour: Callable, method: str) -> Callable:
    async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
        try:
            return await behaviour(request, context)
        except Exception as error:
            await _end(context, method, error)

    return guarded


def _guard_stream(behaviour: Callable, method: str) -> Callable:
    async def guarded(requests: AsyncIterator, context: grpc.aio.ServicerContext) -> AsyncIterator:
        try:
            async for response in behaviour(requests, context):
                yield response
        except Exception as error:
            await _end(context, method, error)

    return guarded


async def _end(context: grpc.aio.ServicerContext, method: str, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, ServiceError):
        await context.abort(code_of(error), str(error), trailing_metadata(error))
    request_id = _request_id(context)
    log.error("%s failed, request id %s", method, request_id, exc_info=error)
    await context.abort(grpc.StatusCode.INTERNAL, f"internal error; request id {request_id}")


def _request_id(context: grpc.aio.ServicerContext) -> str:
    given = dict(context.invocation_metadata() or ())
    value = given.get(REQUEST_ID)
    return value if isinstance(value, str) and value else uuid.uuid4().hex
