"""The gRPC server: its options, its services, and reflection."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from stylewire.oip import open_inference_pb2 as oip
from stylewire.oip import open_inference_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from ..settings import ServeSettings
from .interceptor import CallInterceptor
from .open_inference import OpenInferenceServicer
from .stylizer import StylizerServicer

SERVICE = pb.DESCRIPTOR.services_by_name["Stylizer"].full_name
OPEN_INFERENCE = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_MIN_STREAMS_PER_CONNECTION = 128
"""Minimum of the limit on open calls of one connection, which is a quarter of all calls: enough to fill the queue."""

_KEEPALIVE_MS = 60_000
"""Milliseconds of silence after which gRPC checks that a connection is alive; half-open connections are closed."""

_MIN_PING_MS = 1_000
"""Minimum milliseconds between two pings of a silent client. gRPC's default, five minutes, closes the connection of any
client that pings once a minute."""

_METADATA_BYTES = 16 * 1024
"""Maximum bytes of the headers of a call. A token has 43 bytes; trace contexts and proxies add a few hundred."""

_STABLE_REFLECTION = "grpc.reflection.v1.ServerReflection"
"""Name of the stable reflection service. Newer tools ask for it first. grpcio-reflection has only v1alpha, whose
messages are the same."""


@dataclass(frozen=True)
class Services:
    """The services of a gRPC server."""

    stylizer: StylizerServicer
    open_inference: OpenInferenceServicer
    health: health.aio.HealthServicer


def build_server(
    settings: ServeSettings, services: Services, interceptor: CallInterceptor, share_port: bool
) -> grpc.aio.Server:
    """Return a gRPC server with all its services, bound to no port yet.

    Args:
        settings: The limits of the server.
        services: The services to add.
        interceptor: The guard around every call.
        share_port: Let other processes of this user listen at the same port.
    """
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            # The limits on the picture bound its answer already.
            ("grpc.max_send_message_length", -1),
            # Pictures gain nothing by compression, and 0.5 MB can decompress to the longest message.
            ("grpc.compression_enabled_algorithms_bitset", 1 << grpc.Compression.NoCompression),
            ("grpc.max_metadata_size", _METADATA_BYTES),
            ("grpc.absolute_max_metadata_size", _METADATA_BYTES),
            # With this probe gRPC enlarges the window of a stream that nobody reads: to 8 MB for each of 200 calls, as
            # measured. A message that is read gets the window that it needs without the probe.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),
            # A connection with more calls waits on the side of the client, so one connection cannot take all places.
            ("grpc.max_concurrent_streams", max(_MIN_STREAMS_PER_CONNECTION, settings.max_calls // 4)),
            # This protection also counts calls that have ended but are not freed yet. So it refuses clients that keep
            # to the limit.
            ("grpc.http.overload_protection", 0),
            # Without this, a second server could share the port unnoticed.
            ("grpc.so_reuseport", int(share_port)),
            ("grpc.enable_channelz", int(settings.channelz)),
        ],
    )
    health_pb2_grpc.add_HealthServicer_to_server(services.health, server)
    stylizer_pb2_grpc.add_StylizerServicer_to_server(services.stylizer, server)
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(services.open_inference, server)
    names = [SERVICE, OPEN_INFERENCE, health.SERVICE_NAME]
    if settings.channelz:
        from grpc_channelz.v1 import channelz

        channelz.add_channelz_servicer(server)
        names.append("grpc.channelz.v1.Channelz")
    _add_reflection(names, server)
    return server


def _add_reflection(services: Sequence[str], server: grpc.aio.Server) -> None:
    """Let tools ask for the contracts of the services, under the v1alpha and the v1 name of reflection."""
    servicer = reflection.aio.ReflectionServicer([*services, reflection.SERVICE_NAME])
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(servicer, server)
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    methods = {"ServerReflectionInfo": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_STABLE_REFLECTION, methods),))
