"""The service stylewire.v1.Stylizer."""

import time

import grpc.aio
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from ..errors import NotReady
from ..scheduler import Scheduler, Ticket
from ..stylizer import Stylized, Stylizer
from . import convert


class StylizerServicer(stylizer_pb2_grpc.StylizerServicer):
    """Decodes messages, queues the work, encodes what comes of it. Until `ready`, every call is refused.

    Args:
        scheduler: The queue in front of the domain.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._loaded: tuple[Stylizer, pb.Model] | None = None

    def ready(self, stylizer: Stylizer, model: pb.Model) -> None:
        """From now on calls are served: by that stylizer, and GetModel answers that model."""
        self._loaded = stylizer, model

    async def Stylize(self, request: pb.StylizeRequest, context: grpc.aio.ServicerContext) -> pb.StylizeResponse:  # noqa: N802
        """One picture in one or several styles."""
        stylizer, model = self._serving()
        content = convert.source(request.content, "content")
        styles = convert.weighted_styles(request.styles)
        options = convert.options(request.options)

        def work(ticket: Ticket) -> tuple[Stylized, float]:
            return stylizer.stylize(content, styles, options, ticket.check), ticket.queue_ms

        result, queue_ms = await self._scheduler.run(work, context.peer(), _deadline(context))
        return convert.response(result, model.edition, queue_ms)

    async def GetModel(self, request: pb.GetModelRequest, context: grpc.aio.ServicerContext) -> pb.Model:  # noqa: N802
        """What is being served, and its limits."""
        return self._serving()[1]

    def _serving(self) -> tuple[Stylizer, pb.Model]:
        if self._loaded is None:
            raise NotReady("the model is still loading; watch the health service, or wait for ready")
        return self._loaded


def _deadline(context: grpc.aio.ServicerContext) -> float | None:
    """The call's deadline on the clock of `time.monotonic`, in seconds."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
