"""One server process: builds the server, loads the model, serves and drains."""

import asyncio
import logging
import signal

from grpc_health.v1 import health, health_pb2

from ..admission.guard import Guard
from ..admission.memory import CallMemory
from ..admission.open_calls import OpenCallLimit
from ..admission.tokens import TokenFile
from ..engine.watchdog import WatchedEngine
from ..models.network import Network
from ..rpc.grpc_workarounds import harden_metrics_server, install_task_factory
from ..rpc.interceptor import CallInterceptor
from ..rpc.loaded import Loaded
from ..rpc.open_inference import OpenInferenceServicer
from ..rpc.server import OPEN_INFERENCE, SERVICE, Services, build_server
from ..rpc.stylizer import StylizerServicer
from ..rpc.tensors import MAX_BATCH
from ..rpc.wire_scan import MessageBounds
from ..scheduler import Scheduler
from ..settings import ServeSettings
from ..stylizer import Stylizer
from ..telemetry import tracing
from ..telemetry.calls import Watcher
from ..telemetry.logs import CallLog
from ..telemetry.metrics import Metrics
from . import exits, loading, systemd
from .address import BindError, bind, shown
from .listener import GrpcListener, unsent_bytes
from .memory import freeze_gc
from .reload import Reloader
from .style_folder import load_folder
from .tls import TlsFiles
from .web import Web

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 0.2
"""Time for gRPC to send the last answers after the last job is done."""

_POLL_SECONDS = 0.02
"""Time between two checks that all answers are sent."""


class Crashed(Exception):
    """The server has stopped working. Only a new process can serve again."""


class Service:
    """One server, from its settings to its end. Make it in the event loop that runs it.

    Args:
        settings: All settings; `processes` is for the supervisor.
        share_port: Let other processes of this user listen at the same port.

    Raises:
        TlsError, TokenFileError: A certificate, key or token file cannot be used.
        HttpError: HTTP is asked for and the extra `http` is missing.
        TracingError: Traces are asked for and the extra `otel` is missing.
    """

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
        memory = CallMemory(settings.effective_call_memory)
        self._scheduler = Scheduler(settings.workers, settings.queue_size, memory.check_room)
        self._metrics = Metrics()
        self._metrics.gauge("stylewire_queue_depth", "Calls that wait in the queue.", lambda: self._scheduler.waiting)
        self._metrics.gauge("stylewire_jobs_running", "Calls that are computed.", lambda: self._scheduler.running)
        self._metrics.gauge(
            "stylewire_call_memory_bytes", "Bytes of requests and answers that are reserved.", lambda: memory.used
        )
        self._tracing = tracing.Tracing() if tracing.wanted() else None
        self._loaded = Loaded()
        self._stylizer = StylizerServicer(self._scheduler, self._loaded)
        self._oip = OpenInferenceServicer(self._scheduler, self._loaded)
        self._calls = OpenCallLimit(settings.max_calls, "calls")
        tokens, watchers, tls = self._tokens(), self._watchers(), self._tls()
        streams = OpenCallLimit(settings.max_streams, "streams")
        self._guard = Guard(tokens, self._calls, streams, self._scheduler.check_room, watchers)
        interceptor = CallInterceptor(
            self._guard,
            OpenCallLimit(settings.max_calls, "probes"),
            memory,
            MessageBounds(settings.max_styles, MAX_BATCH),
            settings.max_message_bytes,
        )
        install_task_factory(self._loop)
        services = Services(self._stylizer, self._oip, self._checks)
        self._web = None
        if settings.http_port is not None:
            self._web = Web(settings, share_port, self._scheduler, self._loaded, self._guard, memory, tls)
        self._listener = GrpcListener(
            lambda: build_server(settings, services, interceptor, share_port),
            lambda server, port: bind(server, settings.model_copy(update={"port": port}), tls),
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain.

        Announces `serving on HOST:PORT …` once the engine has run and health says SERVING. SIGHUP reads tokens,
        certificates and the folder of styles again.

        Raises:
            WeightsError, EngineError: The model cannot be used.
            BindError, MetricsError: A port cannot be bound.
            BlobsError, FolderError: The folder of the named styles, or the one to load them from, cannot be used.
            Crashed: The server stopped working while it served.
        """
        settings = self._settings
        self._on_signals()
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        port = self._listener.bind(settings.port)
        metrics_listener = None
        if settings.metrics_port is not None:
            metrics_listener = self._metrics.listen(settings.metrics_host, settings.metrics_port, harden_metrics_server)
            log.info("metrics on http://%s:%d/metrics", settings.metrics_host, metrics_listener.port)
        await self._listener.start()
        if self._web is not None:
            await self._web.start()
        serving = asyncio.create_task(self._serve_forever())
        try:
            network, engine = await asyncio.to_thread(loading.open_watched_engine, settings, self._engine_crashed)
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
            systemd.serving(banner)
            await self._ending.wait()
            await self._drain()
        finally:
            await self._listener.stop(_FLUSH_SECONDS)
            if self._web is not None:
                await self._web.stop()
            await serving
            self._scheduler.close()
            if metrics_listener is not None:
                await asyncio.to_thread(metrics_listener.close)
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
        """Ignore further signals. A second signal must not kill a server that is shutting down."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _end(self) -> None:
        if self._is_serving:
            self._ending.set()
        else:
            # No call has been served, and loading a model cannot be interrupted.
            log.info("stopped while starting")
            exits.exit_now(0)

    def _reload(self) -> None:
        task = asyncio.create_task(self._reloader.reload())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    def _engine_crashed(self) -> None:
        """End the server. This is called from the thread of a call."""
        self._crashed = "the engine has crashed"
        self._loop.call_soon_threadsafe(self._ending.set)

    async def _serve_forever(self) -> None:
        try:
            await self._listener.serve_forever()
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
                # The kernel may drop the unsent part of an answer if the process ends before the caller has read it.
                while unsent_bytes():  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(_POLL_SECONDS)
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
