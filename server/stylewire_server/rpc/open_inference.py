"""The Open Inference Protocol v2: inference.GRPCInferenceService, for clients of KServe, Triton and the like.

The result of an FP32 content is FP32 at the size of the content. The result of an encoded content is a file of the same
format, at 256x256 px unless the parameters `fit` and `size` say otherwise. The style is encoded or FP32. A batch has
one style for each content, or one style for all. The parameter `style` names a kept style instead.
"""

import math
from collections.abc import AsyncIterator, Sequence

import grpc.aio
from stylewire.oip import open_inference_pb2 as oip
from stylewire.oip import open_inference_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb

from ..errors import (
    DeadlinePassed,
    Draining,
    EngineFailed,
    InvalidInput,
    ModelNotFound,
    NotReady,
    ServiceError,
    shortened,
)
from ..imaging.fit import MAX_SIZE, MIN_SIZE, Fit
from ..options import Options, Source, WeightedStyle
from ..scheduler import Scheduler, Ticket
from ..stylizer import Stylizer
from ..telemetry.calls import current
from . import tensors
from .interceptor import queued, stream
from .loaded import Loaded
from .stream import WIDTH, InOrder, cancel_with_call, until_admitted

MODEL = "stylewire"
OUTPUT = "stylized"

_INPUTS = ("content", "style")
_FITS = {fit.value: fit for fit in Fit}

_SIZE_DIGITS = 9
"""Maximum digits of a size. Longer numbers are not parsed: a number as text could be as long as a message."""


class OpenInferenceServicer(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Decodes tensors, queues the work, and encodes the results.

    Args:
        scheduler: The queue in front of the stylizer.
        loaded: The stylizer; every call is refused until it is loaded.
    """

    def __init__(self, scheduler: Scheduler, loaded: Loaded) -> None:
        self._scheduler = scheduler
        self._loaded = loaded
        self._draining = False

    def drain(self) -> None:
        """Report from now on that the server is not ready."""
        self._draining = True

    async def ServerLive(
        self, request: oip.ServerLiveRequest, context: grpc.aio.ServicerContext
    ) -> oip.ServerLiveResponse:
        """Return that the server is alive, as it can answer."""
        return oip.ServerLiveResponse(live=True)

    async def ServerReady(
        self, request: oip.ServerReadyRequest, context: grpc.aio.ServicerContext
    ) -> oip.ServerReadyResponse:
        """Return whether the server takes calls."""
        return oip.ServerReadyResponse(ready=self._is_ready)

    async def ModelReady(
        self, request: oip.ModelReadyRequest, context: grpc.aio.ServicerContext
    ) -> oip.ModelReadyResponse:
        """Return whether the model takes calls."""
        if self._loaded:
            self._find(request.name, request.version)
        return oip.ModelReadyResponse(ready=self._is_ready)

    async def ServerMetadata(
        self, request: oip.ServerMetadataRequest, context: grpc.aio.ServicerContext
    ) -> oip.ServerMetadataResponse:
        """Return the name and version of the server."""
        return oip.ServerMetadataResponse(name=MODEL, version=self._loaded.get()[1].version)

    async def ModelMetadata(
        self, request: oip.ModelMetadataRequest, context: grpc.aio.ServicerContext
    ) -> oip.ModelMetadataResponse:
        """Return the inputs and outputs of the model as FP32 pixels. Each may also be BYTES [-1], encoded pictures."""
        _, model = self._find(request.name, request.version)
        tensor = oip.ModelMetadataResponse.TensorMetadata
        shape = [-1, -1, -1, 3]
        return oip.ModelMetadataResponse(
            name=MODEL,
            versions=[model.edition],
            platform=model.engine,
            inputs=[tensor(name=name, datatype=tensors.FP32, shape=shape) for name in _INPUTS],
            outputs=[tensor(name=OUTPUT, datatype=tensors.FP32, shape=shape)],
        )

    @queued
    async def ModelInfer(
        self, request: oip.ModelInferRequest, context: grpc.aio.ServicerContext
    ) -> oip.ModelInferResponse:
        """Return a batch of pictures, each in its own style or all in one style."""
        return await self._run(request)

    @stream
    async def ModelStreamInfer(
        self, requests: AsyncIterator[oip.ModelInferRequest], context: grpc.aio.ServicerContext
    ) -> AsyncIterator[oip.ModelStreamInferResponse]:
        """Yield the answers to a stream of requests, in order. An error in one request does not end the stream."""
        answers = InOrder(requests, self._answer, WIDTH)
        cancel_with_call(answers.cancel)
        async for answer in answers:
            yield answer

    async def _answer(self, index: int, request: oip.ModelInferRequest) -> oip.ModelStreamInferResponse:
        try:
            response = await until_admitted(lambda: self._run(request))
        except (DeadlinePassed, Draining, EngineFailed, NotReady):
            # The requests that follow would end the same way.
            raise
        except ServiceError as error:
            refused = oip.ModelInferResponse(id=request.id)
            return oip.ModelStreamInferResponse(error_message=str(error), infer_response=refused)
        return oip.ModelStreamInferResponse(infer_response=response)

    async def _run(self, request: oip.ModelInferRequest) -> oip.ModelInferResponse:
        stylizer, model = self._find(request.model_name, request.model_version)

        def work(ticket: Ticket) -> oip.ModelInferResponse:
            # Unpacking happens here too, because a batch of floats takes too long for the event loop.
            return self._infer(stylizer, request, ticket)

        size = str(_value(request.parameters["size"]))[:_SIZE_DIGITS] if "size" in request.parameters else ""
        call, kind = current(), ("oip", size, request.ByteSize().bit_length())
        response = await self._scheduler.run(work, call.caller, call.deadline, kind)
        response.model_name, response.model_version, response.id = MODEL, model.edition, request.id
        return response

    def _infer(self, stylizer: Stylizer, request: oip.ModelInferRequest, ticket: Ticket) -> oip.ModelInferResponse:
        _check_outputs(request)
        name = _style_name(request)
        given = tensors.inputs(request, _INPUTS if name is None else ("content",))
        contents, pictures = given["content"], given.get("style", [])
        styles: Sequence[Source | str] = pictures if name is None else [name]
        if len(styles) not in (1, len(contents)):
            raise InvalidInput(
                "style", f"style is a batch of {len(styles)}, content one of {len(contents)}; it must be as many, or 1"
            )
        options = _options(request, contents[0])
        if len(contents) > 1:
            stylizer.check_batch(contents, pictures, options)
        made = []
        for index, content in enumerate(contents):
            ticket.check()
            style = WeightedStyle(styles[index % len(styles)], 1.0, "style")
            try:
                made.append(stylizer.stylize(content, [style], options, ticket.check))
            except InvalidInput as error:
                if len(contents) > 1:
                    error.args = (f"picture {index} of the batch: {error}",)
                raise
        shape = [len(made)]
        if not isinstance(contents[0], bytes):
            shape += [made[0].height, made[0].width, 3]
        return tensors.output(OUTPUT, [each.data for each in made], shape, bool(request.raw_input_contents))

    @property
    def _is_ready(self) -> bool:
        return bool(self._loaded) and not self._draining

    def _find(self, name: str, version: str) -> tuple[Stylizer, pb.Model]:
        stylizer, model = self._loaded.get()
        if name != MODEL:
            raise ModelNotFound(f"there is no model {shortened(name)}; this server has {MODEL!r}")
        if version not in ("", model.edition):
            raise ModelNotFound(
                f"there is no version {shortened(version)} of {MODEL!r}; this server has {model.edition!r}"
            )
        return stylizer, model


def _check_outputs(request: oip.ModelInferRequest) -> None:
    for wanted in request.outputs:
        if wanted.name != OUTPUT:
            raise InvalidInput("outputs", f"there is no output {shortened(wanted.name)}; this model has {OUTPUT!r}")
        tensors.check_extensions(wanted.name, wanted.parameters)


def _style_name(request: oip.ModelInferRequest) -> str | None:
    """Return the parameter style, the name of a kept style; None for a request with style pictures."""
    if "style" not in request.parameters:
        return None
    if any(tensor.name == "style" for tensor in request.inputs):
        raise InvalidInput("parameters.style", "style is both an input and a parameter; give one of them")
    value = _value(request.parameters["style"])
    if not isinstance(value, str):
        raise InvalidInput("parameters.style", f"style is {shortened(value)}; it must be a name, a string_param")
    return value


def _options(request: oip.ModelInferRequest, content: Source) -> Options:
    """Return the options from the parameters strength, preserve_color, fit and size. Other parameters are ignored."""
    fit = Fit.CROP_256 if isinstance(content, bytes) else Fit.NATIVE
    if "fit" in request.parameters:
        name = str(_value(request.parameters["fit"]))
        if not isinstance(content, bytes) and name != Fit.NATIVE.value:
            raise InvalidInput(
                "parameters.fit", f"fit is {shortened(name)}; FP32 contents keep their size: leave it out"
            )
        if name not in _FITS:
            raise InvalidInput("parameters.fit", f"fit is {shortened(name)}; it must be one of {', '.join(_FITS)}")
        fit = _FITS[name]
    return Options(
        strength=_strength(request), preserve_color=_preserve_color(request), fit=fit, size=_size(request, content)
    )


def _size(request: oip.ModelInferRequest, content: Source) -> int | None:
    if "size" not in request.parameters:
        return None
    value = _value(request.parameters["size"])
    if not isinstance(content, bytes):
        raise InvalidInput(
            "parameters.size", f"size is {shortened(value)}; FP32 contents keep their size: leave it out"
        )
    # Some clients write numbers as text.
    text = "" if isinstance(value, bool) else str(value)
    size = int(text) if text.isdecimal() and len(text) <= _SIZE_DIGITS else -1
    if size and not MIN_SIZE <= size <= MAX_SIZE:
        raise InvalidInput(
            "parameters.size", f"size is {shortened(value)}; it must be a whole number from {MIN_SIZE} to {MAX_SIZE} px"
        )
    return size or None


def _strength(request: oip.ModelInferRequest) -> float:
    if "strength" not in request.parameters:
        return 1.0
    value = _value(request.parameters["strength"])
    try:
        # Triton's clients had no double_param for years, and wrote numbers as text.
        strength = math.nan if value is None or isinstance(value, bool) else float(value)
    except ValueError:
        strength = math.nan
    if not 0.0 <= strength <= 1.0:
        raise InvalidInput("parameters.strength", f"strength is {shortened(value)}; it must be a number from 0 to 1")
    return strength


def _preserve_color(request: oip.ModelInferRequest) -> bool:
    if "preserve_color" not in request.parameters:
        return False
    value = _value(request.parameters["preserve_color"])
    if not isinstance(value, bool):
        raise InvalidInput(
            "parameters.preserve_color", f"preserve_color is {shortened(value)}; it must be a bool_param"
        )
    return value


def _value(parameter: oip.InferParameter) -> bool | int | float | str | None:
    kind = parameter.WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameter, kind)
