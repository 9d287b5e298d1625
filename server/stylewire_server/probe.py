"""Asks a server for its health, as a supervisor does."""

from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


@dataclass(frozen=True)
class Health:
    """What a server says of itself.

    Attributes:
        serving: Whether it takes calls.
        status: SERVING, NOT_SERVING, or what went wrong when it was asked.
    """

    serving: bool
    status: str


def check(
    target: str, service: str, timeout: float, ca: Path | None, certificate: Path | None, key: Path | None
) -> Health:
    """The health of a service at HOST:PORT; empty for the whole server. Raises OSError where a file cannot be read.

    Args:
        timeout: Seconds.
        ca: Certificates to trust, PEM; None for a plain connection.
        certificate, key: The probe's own, PEM, for a server that asks for one.
    """
    read = [None if path is None else path.read_bytes() for path in (ca, key, certificate)]
    channel = (
        grpc.insecure_channel(target)
        if ca is None
        else grpc.secure_channel(target, grpc.ssl_channel_credentials(*read))
    )
    with channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=service), timeout=timeout
            )
        except grpc.RpcError as error:
            return Health(False, f"{error.code().name}: {error.details()}")
    status = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Health(answer.status == health_pb2.HealthCheckResponse.SERVING, status)
