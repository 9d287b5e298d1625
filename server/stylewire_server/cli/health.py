"""`stylewire-server health`: ask a server whether it serves, as an orchestrator does."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.address import is_local
from .flags import UsageError


@dataclass(frozen=True)
class Health:
    """The answer of a server to a health check.

    Attributes:
        serving: True if the server takes calls.
        status: SERVING, NOT_SERVING, or the reason why the server gave no answer.
    """

    serving: bool
    status: str


def check(
    target: str, service: str, timeout: float, ca: Path | None, certificate: Path | None, key: Path | None
) -> Health:
    """Return the health of a service.

    A target on this machine is asked directly, even if the environment names a proxy.

    Args:
        target: HOST:PORT, or unix:PATH.
        service: Name of the service; empty for the whole server.
        timeout: Maximum wait in seconds.
        ca: Certificates to trust, PEM; None for a plain connection.
        certificate, key: Client certificate and key, PEM, for a server that asks for one.

    Raises:
        OSError: A file cannot be read.
    """
    # gRPC takes a quarter of a second to import; the other commands do not need it.
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    read = [None if path is None else path.read_bytes() for path in (ca, key, certificate)]
    options = [("grpc.enable_http_proxy", 0)] if is_local(target) else []
    channel = (
        grpc.insecure_channel(target, options)
        if ca is None
        else grpc.secure_channel(target, grpc.ssl_channel_credentials(*read), options)
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


def register(commands: Any) -> None:
    """Add the command to the subparsers of the command line."""
    parser = commands.add_parser(
        "health",
        help="ask a server whether it serves",
        description="Exits with 0 if the server takes calls, with 1 if it does not, or does not answer.",
    )
    parser.add_argument(
        "--target",
        default="localhost:50051",
        metavar="HOST:PORT",
        help="the server, or unix:PATH (default: %(default)s)",
    )
    parser.add_argument("--service", default="", help="a service, such as stylewire.v1.Stylizer (default: all)")
    parser.add_argument(
        "--timeout", type=float, default=5.0, metavar="SECONDS", help="maximum wait (default: %(default)g)"
    )
    parser.add_argument(
        "--tls-ca", type=Path, metavar="FILE", help="certificates to trust, PEM (default: a plain connection)"
    )
    parser.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="client certificate, for a server that asks for one"
    )
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="key of the client certificate")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:

    if (arguments.tls_cert is None) != (arguments.tls_key is None) or (arguments.tls_cert and not arguments.tls_ca):
        raise UsageError("--tls-cert and --tls-key go together, and with --tls-ca")
    try:
        health = check(
            arguments.target,
            arguments.service,
            arguments.timeout,
            arguments.tls_ca,
            arguments.tls_cert,
            arguments.tls_key,
        )
    except OSError as error:
        print(f"stylewire_server: {error}", file=sys.stderr)
        return 1
    print(health.status)
    return 0 if health.serving else 1
