"""Every flag, environment variable and default of the server, once."""

import os
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from .images import ImageLimits

Count = Annotated[int, Field(ge=0)]


class ServeSettings(BaseSettings):
    """Serve until SIGTERM or SIGINT. Each flag can be given as an environment variable, as STYLEWIRE_PORT=50051."""

    model_config = SettingsConfigDict(env_prefix="STYLEWIRE_", extra="ignore")

    host: Annotated[str, Field(description="address to bind")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to bind; 0 picks a free one")] = 50051
    model: Annotated[str, Field(description="auto (full if fetched, else lite), full, lite, or a folder")] = "auto"
    engine: Annotated[Literal["openvino", "tensorflow"], Field(description="what computes")] = "openvino"
    precision: Annotated[
        Literal["auto", "f32", "bf16"], Field(description="of the transformer; auto: bf16 where the CPU has it")
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
    grace: Annotated[float, Field(ge=0, description="seconds that calls in flight have to finish at shutdown")] = 20.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="what is logged")] = "info"

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
