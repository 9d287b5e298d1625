"""Every flag, environment variable and default of the server, once."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

import platformdirs
from pydantic import Field, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .images import ImageLimits

Count = Annotated[int, Field(ge=0)]


class CacheSettings(BaseSettings):
    """Where things are kept."""

    model_config = SettingsConfigDict(env_prefix="STYLEWIRE_", extra="ignore")

    cache: Annotated[Path, Field(description="folder of the full model, once fetched")] = platformdirs.user_cache_path(
        "stylewire"
    )


class ServeSettings(CacheSettings):
    """Serve until SIGTERM or SIGINT. Each flag can be given as an environment variable, as STYLEWIRE_PORT=50051."""

    host: Annotated[str, Field(description="address to bind")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to bind; 0 picks a free one")] = 50051
    model: Annotated[str, Field(description="auto (full if fetched, else lite), full, lite, or a folder")] = "auto"
    engine: Annotated[Literal["openvino", "tensorflow"], Field(description="what computes")] = "openvino"
    precision: Annotated[
        Literal["auto", "f32", "bf16", "int8"],
        Field(description="of the transformer; auto: bf16 where the CPU has it; int8: once `quantize` has made it"),
    ] = "auto"
    threads: Annotated[Count, Field(description="cores to compute on; 0 for all")] = 0
    streams: Annotated[Count, Field(description="pictures computed at one time; 0 for the best on these cores")] = 0
    queue_size: Annotated[Count, Field(description="calls that may wait")] = 64
    max_pixels: Annotated[PositiveInt, Field(description="pixels of a picture that reaches the network")] = 4_194_304
    max_decode_pixels: Annotated[PositiveInt, Field(description="pixels of any picture as it comes")] = 50_000_000
    max_encoded_bytes: Annotated[PositiveInt, Field(description="bytes of one JPEG, PNG or WebP picture")] = 16 * 2**20
    max_message_bytes: Annotated[PositiveInt, Field(description="bytes of one message on the wire")] = 64 * 2**20
    max_styles: Annotated[PositiveInt, Field(description="styles that one request may blend")] = 16
    cache_bytes: Annotated[Count, Field(description="bytes of style vectors kept")] = 16 * 2**20
    data_dir: Annotated[str, Field(description="where named styles are kept: a folder, or any fsspec URL")] = (
        platformdirs.user_data_dir("stylewire", appauthor=False)
    )
    styles: Annotated[Path | None, Field(description="folder of pictures to load as named styles at start")] = None
    max_calls: Annotated[PositiveInt, Field(description="calls open at one time, uploading ones included")] = 1024
    max_streams: Annotated[PositiveInt, Field(description="streams open at one time")] = 16
    tls_cert: Annotated[Path | None, Field(description="the server's certificate chain, PEM; read again on change")] = (
        None
    )
    tls_key: Annotated[Path | None, Field(description="the certificate's private key, PEM")] = None
    tls_client_ca: Annotated[
        Path | None, Field(description="certificates that callers' own must descend from, PEM (mTLS)")
    ] = None
    insecure: Annotated[bool, Field(description="allow an address that other machines reach, without TLS")] = False
    tokens: Annotated[Path | None, Field(description="file of token hashes; see the command `token`")] = None
    metrics_port: Annotated[
        int | None, Field(ge=0, le=65535, description="port of Prometheus metrics over HTTP; 0 picks a free one")
    ] = None
    metrics_host: Annotated[str, Field(description="address of the metrics")] = "127.0.0.1"
    channelz: Annotated[bool, Field(description="serve gRPC channelz, to look into connections")] = False
    grace: Annotated[float, Field(ge=0, description="seconds that calls in flight have to finish at shutdown")] = 20.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="what is logged")] = "info"

    log_format: Annotated[Literal["text", "json"], Field(description="a line of the log")] = "text"

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("--tls-cert and --tls-key come together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("--tls-client-ca needs --tls-cert and --tls-key")
        return self

    @property
    def image_limits(self) -> ImageLimits:
        """What a picture may be."""
        return ImageLimits(
            max_pixels=self.max_pixels,
            max_decode_pixels=self.max_decode_pixels,
            max_encoded_bytes=self.max_encoded_bytes,
        )

    @property
    def effective_streams(self) -> int:
        """Streams, with 0 resolved: one for every core that computes, up to 4."""
        return self.streams or min(self.threads or _cores(), 4)

    @property
    def workers(self) -> int:
        """Jobs in flight: twice the streams, so that some decode and encode while others compute."""
        return 2 * self.effective_streams


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
