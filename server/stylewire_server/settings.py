"""All flags, environment variables and defaults of the server."""

import sys
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .engine_settings import (
    MIN_PICTURE_MEMORY,
    EngineName,
    EngineSettings,
    Precision,
    allowed_cores,
    allowed_memory,
)

_INT32_MAX = 2**31 - 1
"""Maximum of 32-bit numbers in gRPC and in the messages of the contract."""

Count = Annotated[int, Field(ge=0, le=_INT32_MAX)]
Positive = Annotated[int, Field(gt=0, le=_INT32_MAX)]
Count64 = Annotated[int, Field(ge=0, lt=2**63)]
Cache = Annotated[Path, Field(description="folder of the full model, once fetched, and of compiled graphs")]

_CORES_PER_PROCESS = 8
"""Cores that one process can keep busy.

A picture of the lite edition takes 12 ms of CPU time. 1.2 ms of that are in the
event loop, which is one thread."""


_CALL_MEMORY = 512 * 2**20
"""Maximum of the default of `--call-memory`: twelve of the longest messages at one time."""


class CacheSettings(BaseSettings):
    """The folder of the full model."""

    model_config = SettingsConfigDict(env_prefix="STYLEWIRE_", env_ignore_empty=True, extra="ignore")

    cache: Cache = EngineSettings.cache


class ServeSettings(CacheSettings, EngineSettings):
    """Serve until SIGTERM or SIGINT. Each flag can be given as an environment variable, as STYLEWIRE_PORT=50051."""

    cache: Cache = EngineSettings.cache
    host: Annotated[str, Field(description="address to bind, or a socket as unix:/run/stylewire.sock")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to bind; 0 picks a free one")] = 50051
    model: Annotated[str, Field(description="auto (full if fetched, else lite), full, lite, or a folder")] = (
        EngineSettings.model
    )
    engine: Annotated[EngineName, Field(description="what runs the network")] = EngineSettings.engine
    precision: Annotated[
        Precision,
        Field(description="transformer's number format; auto: bf16 if the CPU has it; int8 needs `quantize` first"),
    ] = EngineSettings.precision
    threads: Annotated[Count, Field(description="cores for computing; 0 for all")] = EngineSettings.threads
    streams: Annotated[
        Count,
        Field(
            description="pictures computed at one time, each on its share of the threads; 0 for one a core, up to 4, "
            "with all threads for one that is alone"
        ),
    ] = EngineSettings.streams
    processes: Annotated[
        Count,
        Field(
            description="processes that share the port. They divide threads, streams, cache-bytes and max-calls; other "
            "limits apply to each. 0 for one for every 8 cores"
        ),
    ] = 0
    queue_size: Annotated[Count, Field(description="calls that may wait")] = EngineSettings.queue_size
    picture_memory: Annotated[
        Count64,
        Field(
            description="bytes for the pictures that are computed at one time; 0 for 1.75 GB, or half of the memory of "
            "this machine or control group where that is less"
        ),
    ] = EngineSettings.picture_memory
    max_pixels: Annotated[
        Count, Field(description="pixels of a picture that reaches the network; 0 for what picture-memory allows")
    ] = EngineSettings.max_pixels
    max_decode_pixels: Annotated[Positive, Field(description="pixels of any picture before it is resized")] = (
        EngineSettings.max_decode_pixels
    )
    max_decode_bytes: Annotated[
        Positive,
        Field(
            description="bytes of memory to decode one PNG, WebP or progressive JPEG picture, at 8 bytes a pixel, or "
            "16 for WebP; other JPEG pictures are made smaller on the way"
        ),
    ] = EngineSettings.max_decode_bytes
    max_encoded_bytes: Annotated[Positive, Field(description="bytes of one JPEG, PNG or WebP picture")] = (
        EngineSettings.max_encoded_bytes
    )
    max_message_bytes: Annotated[Positive, Field(description="bytes of one message on the wire")] = (
        EngineSettings.max_message_bytes
    )
    call_memory: Annotated[
        Count,
        Field(
            description="bytes that all requests and answers together may hold; 0 for an eighth of the memory of "
            "the machine or the control group, up to 512 MiB"
        ),
    ] = 0
    max_styles: Annotated[Positive, Field(description="styles that one request may blend")] = EngineSettings.max_styles
    cache_bytes: Annotated[int, Field(ge=0, description="bytes of style vectors kept")] = EngineSettings.cache_bytes
    data_dir: Annotated[
        str, Field(min_length=1, description="where named styles are kept: a folder, or any fsspec URL")
    ] = EngineSettings.data_dir
    styles: Annotated[
        Path | None, Field(description="folder of pictures and style files to load as named styles at start")
    ] = EngineSettings.styles
    no_gallery: Annotated[bool, Field(description="leave out the built-in styles, gallery/…")] = (
        EngineSettings.no_gallery
    )
    max_calls: Annotated[Positive, Field(description="calls open at one time, uploading ones included")] = 1024
    max_streams: Annotated[Positive, Field(description="streams open at one time")] = EngineSettings.max_streams
    tls_cert: Annotated[Path | None, Field(description="the server's certificate chain, PEM; read again on change")] = (
        None
    )
    tls_key: Annotated[Path | None, Field(description="the certificate's private key, PEM")] = None
    tls_client_ca: Annotated[
        Path | None, Field(description="CA that must have signed the certificates of callers, PEM (mTLS)")
    ] = None
    http_port: Annotated[
        int | None,
        Field(ge=0, le=65535, description="port of the page and the HTTP API, at the same host; 0 picks a free one"),
    ] = None
    http_hosts: Annotated[
        str, Field(description="further host names that HTTP requests may use, separated by commas")
    ] = ""
    http_origins: Annotated[
        str,
        Field(description="sites whose pages may call over HTTP, as https://example.org, separated by commas"),
    ] = ""
    insecure: Annotated[bool, Field(description="allow an address that other machines reach, without TLS")] = False
    tokens: Annotated[Path | None, Field(description="file of token hashes; see the command `token`")] = None
    metrics_port: Annotated[
        int | None,
        Field(
            ge=0,
            le=65535,
            description="port of Prometheus metrics over HTTP; 0 picks a free one; each further process has the next",
        ),
    ] = None
    metrics_host: Annotated[str, Field(description="address of the metrics")] = "127.0.0.1"
    channelz: Annotated[bool, Field(description="serve gRPC channelz, to look into connections")] = False
    grace: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False, description="seconds that calls in flight have to finish at shutdown"),
    ] = 20.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="least severe level to log")
    ] = "info"

    log_format: Annotated[Literal["text", "json"], Field(description="format of log lines")] = "text"

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key come together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
        if self.processes > 1 and sys.platform != "linux":
            raise ValueError(f"--processes {self.processes}: only Linux spreads calls over processes on one port")
        if 0 < self.picture_memory < MIN_PICTURE_MEMORY:
            raise ValueError(
                f"--picture-memory {self.picture_memory}: it must be 0, or at least {MIN_PICTURE_MEMORY} bytes"
            )
        if self.host.startswith("unix:"):
            if self.processes > 1:
                raise ValueError(f"--processes {self.processes}: several processes cannot share a unix socket")
            if self.http_port is not None:
                raise ValueError("--http-port needs an address as --host, not a unix socket")
        last = (self.metrics_port or 0) + self.effective_processes - 1
        if self.metrics_port and last > 65535:
            raise ValueError(f"--metrics-port {self.metrics_port}: the last process would need port {last}")
        return self

    @property
    def allowed_http_hosts(self) -> list[str] | None:
        """Return the names in `Host` that are served over HTTP; None for all names.

        With TLS the browser itself refuses a name that is not in the certificate, so no check is needed.
        """
        names = _listed(self.http_hosts)
        return None if self.tls_cert is not None and not names else [self.host, *names]

    @property
    def allowed_http_origins(self) -> list[str]:
        """Return the other sites whose pages may call over HTTP."""
        return _listed(self.http_origins)

    @property
    def effective_processes(self) -> int:
        """Return the number of processes; if `processes` is 0, one for every 8 cores that compute, at least 1."""
        if self.processes or sys.platform != "linux" or self.host.startswith("unix:"):
            return self.processes or 1
        return max(1, (self.threads or allowed_cores()) // _CORES_PER_PROCESS)

    @property
    def effective_call_memory(self) -> int:
        """Return the bytes for requests and answers, at least two messages.

        If `call_memory` is 0, this is an eighth of the memory, up to 512 MiB.
        """
        found = self.call_memory or min(_CALL_MEMORY, allowed_memory() // 8)
        return max(found, 2 * self.max_message_bytes)

    @property
    def workers(self) -> int:
        """Return the number of running jobs: twice the streams, so that some decode and encode while others compute."""
        return 2 * self.effective_streams

    def share(self, index: int, port: int, http_port: int | None = None) -> "ServeSettings":
        """Return the settings of one process. All processes share the ports.

        Resources of the machine are divided, so that the totals hold: cores, pictures at one time, bytes of the cache,
        memory for messages, and open calls. If the cores do not divide evenly, the first processes have one more. Every
        process has at least 1 core and 1 call. The limits on the queue and on streams are not divided, because a
        connection uses one process only.

        Args:
            index: Number of the process, from 0.
            port, http_port: The shared ports.
        """
        count = self.effective_processes
        cores = self.threads or allowed_cores()
        return self.model_copy(
            update={
                "port": port,
                "http_port": http_port,
                "processes": 1,
                "threads": max(1, cores // count + (index < cores % count)),
                "streams": self.streams and max(1, self.streams // count),
                "cache_bytes": self.cache_bytes // count,
                "call_memory": self.effective_call_memory // count,
                "picture_memory": self.effective_picture_memory,
                "max_calls": max(1, self.max_calls // count),
                "metrics_port": self.metrics_port and self.metrics_port + index,
            }
        )


def _listed(given: str) -> list[str]:
    return [each.strip() for each in given.split(",") if each.strip()]
