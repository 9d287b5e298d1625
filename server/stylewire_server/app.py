"""The server: built, warmed up, serving, drained."""

import asyncio
import logging
import signal
from importlib.metadata import version

import grpc.aio
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from .engine.base import Engine
from .engine.openvino import OpenVinoEngine
from .images import SIDE
from .rpc.interceptor import ErrorInterceptor
from .rpc.stylizer import StylizerServicer
from .scheduler import Scheduler
from .settings import ServeSettings
from .stylizer import Stylizer
from .weights.lite import lite
from .weights.network import Network

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Stylizer"].full_name

_FLUSH_SECONDS = 0.2
"""What the transport gets to send the last answers after the last job is done."""


class BindError(Exception):
    """The address cannot be bound."""


async def serve(settings: ServeSettings) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Prints `serving on HOST:PORT …` once the engine has run and health says SERVING.

    Raises:
        WeightsError: The model cannot be used.
        BindError: The address cannot be bound.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)

    checks = health.aio.HealthServicer()
    await _set_health(checks, health_pb2.HealthCheckResponse.NOT_SERVING)
    server = _grpc_server(settings)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    scheduler = Scheduler(settings.workers, settings.queue_size)
    servicer = StylizerServicer(scheduler)
    stylizer_pb2_grpc.add_StylizerServicer_to_server(servicer, server)
    port = _bind(server, settings)
    await server.start()
    try:
        network, engine = await asyncio.to_thread(_open, settings)
        servicer.ready(
            Stylizer(engine, settings.image_limits, settings.max_styles, settings.cache_bytes),
            _model(network, engine, settings),
        )
        await _set_health(checks, health_pb2.HealthCheckResponse.SERVING)
        log.info("model %s on %s in %s", network.edition, engine.name, engine.precision)
        print(f"serving on {settings.host}:{port} model={network.edition} precision={engine.precision}", flush=True)  # noqa: T201
        await stopping.wait()
        log.info("draining: %d calls running, %d waiting", scheduler.running, scheduler.waiting)
        scheduler.drain()
        await checks.enter_graceful_shutdown()
        try:
            await asyncio.wait_for(scheduler.idle(), settings.grace)
        except TimeoutError:
            log.warning("%d calls did not finish within %g s", scheduler.running, settings.grace)
    finally:
        await server.stop(_FLUSH_SECONDS)
        scheduler.close()
    log.info("stopped")


def _grpc_server(settings: ServeSettings) -> grpc.aio.Server:
    return grpc.aio.server(
        interceptors=[ErrorInterceptor()],
        options=[
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.max_send_message_length", settings.max_message_bytes),
            # Two servers on one port would share its calls without anybody's knowledge.
            ("grpc.so_reuseport", 0),
        ],
    )


def _bind(server: grpc.aio.Server, settings: ServeSettings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        port = server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError:
        port = 0
    if not port:
        raise BindError(f"cannot bind {host}:{settings.port}: the port is taken, or the address is not this machine's")
    return port


def _open(settings: ServeSettings) -> tuple[Network, Engine]:
    """The network in an engine that has run once, so that no caller pays for first touches."""
    network = lite()
    engine = OpenVinoEngine(network, settings.precision, settings.threads, settings.effective_streams)
    picture = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    engine.transform(picture, engine.predict(picture))
    return network, engine


def _model(network: Network, engine: Engine, settings: ServeSettings) -> pb.Model:
    return pb.Model(
        edition=network.edition,
        engine=engine.name,
        precision=engine.precision,
        style_dimension=network.style_dimension,
        weights_sha256=network.sha256,
        version=version("stylewire"),
        verified=network.verified,
        limits=pb.Limits(
            max_pixels=settings.max_pixels,
            max_encoded_bytes=settings.max_encoded_bytes,
            max_styles=settings.max_styles,
            queue_size=settings.queue_size,
            max_decode_pixels=settings.max_decode_pixels,
            min_side=settings.image_limits.min_side,
            max_message_bytes=settings.max_message_bytes,
        ),
    )


async def _set_health(checks: health.aio.HealthServicer, status: int) -> None:
    for name in ("", SERVICE):
        await checks.set(name, status)
