"""Server reflection, under the name that it was tried out with and under the one that it kept."""

from collections.abc import Sequence

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

_STABLE = "grpc.reflection.v1.ServerReflection"
"""The same messages as v1alpha, which is all that grpcio-reflection has; newer tools ask for this one first."""


def add_reflection(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Lets tools ask `server` for the contracts of those services."""
    servicer = reflection.aio.ReflectionServicer([*services, reflection.SERVICE_NAME])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_STABLE, methods),))
