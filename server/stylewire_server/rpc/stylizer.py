"""The service stylewire.v1.Stylizer."""

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
from google.protobuf import empty_pb2
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from ..passes import count_passes
from ..scheduler import Scheduler, Ticket
from ..styles.file import KeptStyle
from ..stylizer import Stylized
from ..telemetry.calls import current
from . import messages
from .interceptor import queued, stream
from .loaded import Loaded
from .stream import Frames, cancel_with_call


class StylizerServicer(stylizer_pb2_grpc.StylizerServicer):
    """Decodes messages, queues the work, and encodes the results.

    Args:
        scheduler: The queue in front of the stylizer.
        loaded: The stylizer; every call is refused until it is loaded.
    """

    def __init__(self, scheduler: Scheduler, loaded: Loaded) -> None:
        self._scheduler = scheduler
        self._loaded = loaded

    @queued
    async def Stylize(self, request: pb.StylizeRequest, context: grpc.aio.ServicerContext) -> pb.StylizeResponse:
        """Return a picture in one or several styles."""
        stylizer, model = self._loaded.get()
        content = messages.source(request.content, "content")
        styles = messages.weighted_styles(request.styles)
        options = messages.options(request.options)

        def work(ticket: Ticket) -> tuple[Stylized, float]:
            return stylizer.stylize(content, styles, options, ticket.check), ticket.queue_ms

        call, kind = current(), messages.kind(content, options, count_passes(styles))
        result, queue_ms = await self._scheduler.run(work, call.caller, call.deadline, kind)
        return messages.response(result, model.edition, queue_ms)

    @stream
    async def StylizeStream(
        self, requests: AsyncIterator[pb.StylizeStreamRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[pb.StylizeResponse]:
        """Yield the frames of a stream in one style, in order."""
        stylizer, model = self._loaded.get()
        call = current()
        frames = Frames(requests, stylizer, self._scheduler, call.caller, call.deadline, model.edition)
        cancel_with_call(frames.cancel)
        async for response in frames:
            yield response

    @queued
    async def CreateStyle(self, request: pb.CreateStyleRequest, context: grpc.aio.ServicerContext) -> pb.Style:
        """Keep a picture or a blend as a named style."""
        stylizer, _ = self._loaded.get()
        styles = messages.weighted_styles(request.styles)

        def work(ticket: Ticket) -> KeptStyle:
            return stylizer.create_style(request.name, styles, request.overwrite, ticket.check)

        call = current()
        return messages.style(await self._scheduler.run(work, call.caller, call.deadline, messages.STYLES))

    async def GetStyle(self, request: pb.GetStyleRequest, context: grpc.aio.ServicerContext) -> pb.Style:
        """Return one named style."""
        stylizer, _ = self._loaded.get()
        return messages.style(await asyncio.to_thread(stylizer.store.get, request.name))

    async def ListStyles(
        self, request: pb.ListStylesRequest, context: grpc.aio.ServicerContext
    ) -> pb.ListStylesResponse:
        """Return one page of the named styles."""
        stylizer, _ = self._loaded.get()
        styles, token = await asyncio.to_thread(stylizer.store.page, request.page_size, request.page_token)
        return pb.ListStylesResponse(styles=[messages.style(style) for style in styles], next_page_token=token)

    async def DeleteStyle(self, request: pb.DeleteStyleRequest, context: grpc.aio.ServicerContext) -> empty_pb2.Empty:
        """Delete a named style."""
        stylizer, _ = self._loaded.get()
        await asyncio.to_thread(stylizer.store.delete, request.name)
        return empty_pb2.Empty()

    async def ImportStyle(self, request: pb.ImportStyleRequest, context: grpc.aio.ServicerContext) -> pb.Style:
        """Keep the style of a style file under a name."""
        stylizer, _ = self._loaded.get()
        kept = await asyncio.to_thread(stylizer.import_style, request.name, request.data, request.overwrite)
        return messages.style(kept)

    async def ExportStyle(
        self, request: pb.ExportStyleRequest, context: grpc.aio.ServicerContext
    ) -> pb.ExportStyleResponse:
        """Return a named style as a style file."""
        stylizer, _ = self._loaded.get()
        return pb.ExportStyleResponse(data=await asyncio.to_thread(stylizer.export_style, request.name))

    async def GetModel(self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext) -> pb.Model:
        """Return the model that is served, and its limits."""
        return self._loaded.get()[1]
