"""The server: built, warmed up, serving, drained."""

import asyncio
import logging
import signal

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from stylewire.oip import open_inference_pb2 as oip
from stylewire.oip import open_inference_pb2_grpc
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc

from ..admission.guard import Guard
from ..admission.open_calls import OpenCallLimit
from ..admission.tokens import TokenFile
from ..engine.watchdog import WatchedEngine
from ..models.network import Network
from ..rpc.interceptor import CallInterceptor
from ..rpc.loaded import Loaded
from ..rpc.open_inference import OpenInferenceServicer
from ..rpc.server import add_reflection
from ..rpc.stylizer import StylizerServicer
from ..scheduler import Scheduler
from ..settings import ServeSettings
from ..stylizer import Stylizer
from ..telemetry import tracing
from ..telemetry.calls import Watcher
from ..telemetry.logs import CallLog
from ..telemetry.metrics import Metrics
from . import exits, loading, systemd
from .address import BindError, bind, shown
from .listener import Front, unsent_bytes
from .memory import freeze_gc
from .reload import Reloader
from .style_folder import load_folder
from .tls import TlsFiles
from .web import Web

log = logging.getLogger(__name__)

SERVICE = pb.DESCRIPTOR.services_by_name["Stylizer"].full_name
OPEN_INFERENCE = oip.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

_FLUSH_SECONDS = 0.2
"""What the transport gets to send the last answers after the last job is done."""

_LOOK_SECONDS = 0.02
"""Between two looks at what has not been taken yet."""

_LEAST_OF_A_CONNECTION = 128
"""Calls that one connection may have open where a quarter of all is fewer: enough to fill the queue."""

_KEEPALIVE_MS = 60_000
"""Milliseconds of silence after which a connection is asked whether it still lives; half-open ones are closed."""

_LEAST_PING_MS = 1_000
"""Milliseconds between two pings of a silent client that are taken for care and not for abuse; gRPC's own measure of
five minutes ends the quiet stream of any client that asks once a minute."""


class Crashed(Exception):
    """Something does not work any more that only a fresh process can help."""


async def serve(settings: ServeSettings, share_port: bool = False) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    Prints `serving on HOST:PORT …` once the engine has run and health says SERVING. SIGHUP reads tokens,
    certificates and the folder of styles again.

    Args:
        settings: All of them.
        share_port: Let other processes of this user listen at the same port, as `processes` has them do.

    Raises:
        WeightsError: The model cannot be used.
        EngineError: The engine cannot run it.
        BindError: The address cannot be bound.
        BlobsError, FolderError: The folder of the named styles, or the one to load them from, cannot be used.
        TlsError, TokenFileError: A file of theirs cannot be used.
        MetricsError: The port of the metrics cannot be bound.
        HttpError: HTTP is asked for and the extra `http` is missing.
        TracingError: Traces are wanted and the extra `otel` is missing.
        Crashed: While serving.
    """
    await _Service(settings, share_port).run()


class _Service:
    """One server, from its settings to its end."""

    def __init__(self, settings: ServeSettings, share_port: bool) -> None:
        self._settings = settings
        self._share_port = share_port
        self._loop = asyncio.get_running_loop()
        self._is_serving = False
        self._ending = asyncio.Event()
        self._crashed = ""
        self._reloader = Reloader()
        self._reloading: set[asyncio.Task[None]] = set()
        self._checks = health.aio.HealthServicer()
        self._scheduler = Scheduler(settings.workers, settings.queue_size)
        self._metrics = Metrics()
        self._metrics.gauge("stylewire_queue_depth", "Calls that wait in the queue.", lambda: self._scheduler.waiting)
        self._metrics.gauge("stylewire_jobs_running", "Calls that are computed.", lambda: self._scheduler.running)
        self._tracing = tracing.Tracing() if tracing.wanted() else None
        self._loaded = Loaded()
        self._stylizer = StylizerServicer(self._scheduler, self._loaded)
        self._oip = OpenInferenceServicer(self._scheduler, self._loaded)
        self._calls = OpenCallLimit(settings.max_calls, "calls")
        tokens, watchers, tls = self._tokens(), self._watchers(), self._tls()
        streams = OpenCallLimit(settings.max_streams, "streams")
        self._guard = Guard(tokens, self._calls, streams, self._scheduler.check_room, watchers)
        self._interceptor = CallInterceptor(self._guard, OpenCallLimit(settings.max_calls, "probes"))
        self._web = None
        if settings.http_port is not None:
            self._web = Web(settings, share_port, self._scheduler, self._loaded, self._guard, tls)
        self._front = Front(
            self._grpc_server, lambda server, port: bind(server, settings.model_copy(update={"port": port}), tls)
        )

    async def run(self) -> None:
        """See `serve`."""
        settings = self._settings
        self._on_signals()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        port = self._front.bind(settings.port)
        listener = None
        if settings.metrics_port is not None:
            listener = self._metrics.listen(settings.metrics_host, settings.metrics_port)
            log.info("metrics on http://%s:%d/metrics", settings.metrics_host, listener.port)
        await self._front.start()
        if self._web is not None:
            await self._web.start()
        tending = asyncio.create_task(self._tend())
        try:
            network, engine = await asyncio.to_thread(loading.open_engine, settings, self._engine_crashed)
            stylizer = await asyncio.to_thread(loading.make_stylizer, network, engine, settings)
            self._ready(network, engine, stylizer)
            freeze_gc()
            self._is_serving = True
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)
            log.info("model %s on %s in %s%s", network.edition, engine.name, engine.precision, loading.advice(network))
            address = shown(settings.host, port)
            banner = f"serving on {address} model={network.edition} precision={engine.precision}"
            if self._web is not None:
                banner += f" http={self._web.url}"
            print(banner, flush=True)  # noqa: T201
            systemd.ready(banner)
            await self._ending.wait()
            await self._drain()
        finally:
            await self._front.stop(_FLUSH_SECONDS)
            if self._web is not None:
                await self._web.stop()
            await tending
            self._scheduler.close()
            if listener is not None:
                await asyncio.to_thread(listener.close)
            if self._tracing is not None:
                await asyncio.to_thread(self._tracing.close)
            self._ignore_signals()
        log.info("stopped")
        if self._crashed:
            raise Crashed(f"{self._crashed}; start the server again")

    def _watchers(self) -> list[Watcher]:
        watchers: list[Watcher] = [self._metrics, CallLog()]
        if self._tracing is not None:
            watchers.append(self._tracing)
        return watchers

    def _grpc_server(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
            interceptors=[self._interceptor],
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                # An answer is as large as its picture, which has a limit of its own.
                ("grpc.max_send_message_length", -1),
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_MS),
                # A connection that opens more waits at its own end: one alone cannot take all places.
                ("grpc.max_concurrent_streams", max(_LEAST_OF_A_CONNECTION, settings.max_calls // 4)),
                # It counts calls that are over and not yet put away, and refuses a client that keeps to the limit.
                ("grpc.http.overload_protection", 0),
                # Two servers on one port would share its calls without anybody's knowledge.
                ("grpc.so_reuseport", int(self._share_port)),
                ("grpc.enable_channelz", int(settings.channelz)),
            ],
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._checks, server)
        stylizer_pb2_grpc.add_StylizerServicer_to_server(self._stylizer, server)
        open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self._oip, server)
        services = [SERVICE, OPEN_INFERENCE, health.SERVICE_NAME]
        if settings.channelz:
            from grpc_channelz.v1 import channelz

            channelz.add_channelz_servicer(server)
            services.append("grpc.channelz.v1.Channelz")
        add_reflection(services, server)
        return server

    def _tokens(self) -> TokenFile | None:
        if self._settings.tokens is None:
            return None
        tokens = TokenFile(self._settings.tokens)
        self._reloader.add("tokens", tokens.reload)
        return tokens

    def _tls(self) -> TlsFiles | None:
        settings = self._settings
        if settings.tls_cert is None or settings.tls_key is None:
            return None
        files = TlsFiles(settings.tls_cert, settings.tls_key, settings.tls_client_ca)
        self._reloader.add("certificates", files.reload)
        return files

    def _on_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._end)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _ignore_signals(self) -> None:
        """A supervisor that asks twice must not turn an orderly end into a death by its signal."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _end(self) -> None:
        if self._is_serving:
            self._ending.set()
        else:
            # Nobody has been served, and a model that is loading cannot be interrupted.
            log.info("stopped while starting")
            exits.leave(0)

    def _reload(self) -> None:
        task = asyncio.create_task(self._reloader.reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    def _engine_crashed(self) -> None:
        """From the thread of a call."""
        self._crashed = "the engine has crashed"
        self._loop.call_soon_threadsafe(self._ending.set)

    async def _tend(self) -> None:
        try:
            await self._front.tend()
        except BindError as error:
            self._crashed = f"the gRPC server has fallen, and {error}"
            self._ending.set()

    def _ready(self, network: Network, engine: WatchedEngine, stylizer: Stylizer) -> None:
        model = loading.describe(network, engine, self._settings)
        self._metrics.show_model(model)
        cache = stylizer.cache
        self._metrics.counter(
            "stylewire_style_cache_lookups",
            "Look-ups of style pictures in the cache of style vectors.",
            lambda: {"hit": cache.hits, "miss": cache.misses},
            label="result",
        )
        self._metrics.counter(
            "stylewire_engine_busy_seconds",
            "Time that the engine computed, summed over its streams.",
            lambda: {"": engine.busy_seconds},
        )
        self._loaded.put(stylizer, model)
        if (folder := self._settings.styles) is not None:
            self._reloader.add("styles", lambda: load_folder(stylizer, folder))

    async def _drain(self) -> None:
        systemd.stopping()
        log.info("draining: %d calls running, %d waiting", self._scheduler.running, self._scheduler.waiting)
        self._guard.draining = True
        self._oip.drain()
        await self._checks.enter_graceful_shutdown()
        try:
            async with asyncio.timeout(self._settings.grace):
                await self._calls.wait_idle()
                # What the kernel has of an answer is lost where the process ends before its reader has taken it.
                while unsent_bytes():  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            log.warning(
                "%d calls did not finish within %g s, and %d bytes of answers were not taken",
                self._calls.taken,
                self._settings.grace,
                unsent_bytes(),
            )
        self._scheduler.drain()

    async def _set_health(self, status: int) -> None:
        for name in ("", SERVICE, OPEN_INFERENCE):
            await self._checks.set(name, status)
