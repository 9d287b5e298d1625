"""Messages of every shape that the contract allows, up to its limits: each call has a bound on CPU time and memory."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stylewire.oip import open_inference_pb2 as oip
from stylewire.v1 import stylizer_pb2 as pb

MIB = 2**20

CPU_SECONDS = 2.0
"""Bound for one call of at most 2 MiB whose pictures, if it has any, are no pictures."""

GROWTH = 64 * MIB

METHODS = {
    "/stylewire.v1.Stylizer/Stylize": pb.StylizeRequest,
    "/stylewire.v1.Stylizer/CreateStyle": pb.CreateStyleRequest,
    "/stylewire.v1.Stylizer/GetStyle": pb.GetStyleRequest,
    "/stylewire.v1.Stylizer/ListStyles": pb.ListStylesRequest,
    "/stylewire.v1.Stylizer/ImportStyle": pb.ImportStyleRequest,
    "/stylewire.v1.Stylizer/ExportStyle": pb.ExportStyleRequest,
    "/stylewire.v1.Stylizer/StylizeStream": pb.StylizeStreamRequest,
    "/inference.GRPCInferenceService/ModelInfer": oip.ModelInferRequest,
    "/inference.GRPCInferenceService/ModelStreamInfer": oip.ModelInferRequest,
    "/inference.GRPCInferenceService/ModelMetadata": oip.ModelMetadataRequest,
}

FINE = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
}

SIZES = st.sampled_from([0, 1, 2, 16, 17, 300, 5_000, 100_000])
"""Elements of a repeated field, and bytes of a text or of bytes: below, at and above the limits."""


SMALL_SIZES = st.sampled_from([0, 1, 2, 17])
"""The sizes for fields of sub-messages."""

TEXTS = ["", "waves", "FP32", "BYTES", "content", "style", "stylewire", "\0", "x"]


def value(data: st.DataObject, field: FieldDescriptor, size: int, depth: int) -> Any:
    """Draw a value of a field's type; `size` is for texts and bytes."""
    kinds = FieldDescriptor
    match field.type:
        case kinds.TYPE_MESSAGE:
            return message(data, field.message_type, depth + 1)
        case kinds.TYPE_STRING:
            return data.draw(st.sampled_from(TEXTS)) or "y" * size
        case kinds.TYPE_BYTES:
            return data.draw(st.sampled_from([b"", b"RIFF", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])) + bytes(size)
        case kinds.TYPE_BOOL:
            return data.draw(st.booleans())
        case kinds.TYPE_FLOAT | kinds.TYPE_DOUBLE:
            return data.draw(st.sampled_from([0.0, 0.5, 1.0, -1.0, float("inf"), float("nan"), 3e38]))
        case kinds.TYPE_UINT32 | kinds.TYPE_UINT64 | kinds.TYPE_ENUM:
            return data.draw(st.sampled_from([0, 1, 2, 4, 64, 2**31 - 1]))
    return data.draw(st.sampled_from([0, 1, 3, 64, -1, 2**31 - 1]))


def message(data: st.DataObject, descriptor: Descriptor, depth: int = 0) -> Message:
    """Draw a message: each field absent, present, or repeated up to beyond its limit."""
    made = GetMessageClass(descriptor)()
    if depth > 6:
        return made
    for field in descriptor.fields:
        if not data.draw(st.integers(0, 3 if depth else 5)):
            continue
        # Long fields within long fields would fill this process with messages beyond any limit.
        size = data.draw(SIZES if depth < 2 else SMALL_SIZES)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for number in range(min(size, 300)):
                getattr(made, field.name)[f"k{number}"].bool_param = True
        elif field.is_repeated:
            one = value(data, field, 3, depth)
            # Many long messages would take gigabytes here; the server gets the first 3 MiB in any case.
            length = one.ByteSize() if isinstance(one, Message) else 8
            getattr(made, field.name).extend([one] * min(size, 4 * MIB // max(length, 1)))
        elif field.message_type is not None:
            getattr(made, field.name).CopyFrom(value(data, field, size, depth))
        else:
            setattr(made, field.name, value(data, field, size, depth))
    return made


@pytest.fixture(scope="module")
def strict_server(start_server) -> Iterator[Any]:
    running = start_server(
        "--model", "lite", "--streams", "2", "--log-level", "warning", "--max-message-bytes", 4 * MIB
    )
    yield running
    assert running.stop() == 0
    assert "Traceback" not in "\n".join(running.log)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("method", list(METHODS))
def test_any_message_has_a_bounded_cost(
    strict_server, meter_of: Callable, still_serves: Callable, long_form: bool, method: str
) -> None:
    meter = meter_of(strict_server.process.pid)
    with grpc.insecure_channel(strict_server.target, [("grpc.enable_retries", 0)]) as channel:

        @settings(max_examples=400 if long_form else 8, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.data())
        def try_one(data: st.DataObject) -> None:
            sent = message(data, METHODS[method].DESCRIPTOR).SerializeToString()[: 3 * MIB]
            meter.start()
            try:
                if "Stream" in method:
                    list(channel.stream_stream(method)(iter([sent]), timeout=60))
                else:
                    channel.unary_unary(method)(sent, timeout=60)
            except grpc.RpcError as error:
                assert error.code() in FINE, (error.code(), error.details())
                assert len(error.details()) < 1100
            cpu, growth = meter.spent()
            assert cpu < CPU_SECONDS, f"{cpu:.2f} CPU s"
            assert growth < GROWTH, f"{growth / MIB:.0f} MiB"

        try_one()
    still_serves(strict_server.target)
