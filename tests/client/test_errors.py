"""What becomes of a failed status."""

import grpc
import grpc.aio
import pytest
from stylewire import DeadlineExceeded, ServerBusy, ServerError, StyleNotFound, StylewireError, Unavailable
from stylewire.errors import from_rpc_error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.CANCELLED, Unavailable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ServerBusy),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.NOT_FOUND, StyleNotFound),
        (grpc.StatusCode.INTERNAL, ServerError),
    ],
)
def test_a_status_has_an_error_of_its_own(code: grpc.StatusCode, kind: type[StylewireError]) -> None:
    status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "the reason")
    error = from_rpc_error(status, "host:1")
    assert type(error) is kind
    assert "the reason" in str(error)
