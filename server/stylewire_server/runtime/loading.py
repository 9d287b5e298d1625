"""Loading: makes the network, the engine and the stylizer with its named styles from the settings."""

from collections.abc import Callable

import numpy as np
from stylewire.v1 import stylizer_pb2 as pb

from ..engine.base import Engine
from ..engine.factory import start
from ..engine.watchdog import WatchedEngine
from ..engine_settings import EngineSettings
from ..imaging.fit import MAX_SIZE, SIDE
from ..models.network import Network
from ..models.select import open_network
from ..styles.gallery import load_gallery
from ..styles.storage import BoundedBlobs, below, open_blobs
from ..styles.store import StyleStore
from ..styles.vectors import Edition
from ..stylizer import Stylizer
from .style_folder import load_folder


def open_engine(settings: EngineSettings) -> tuple[Network, Engine]:
    """Return the network and its engine. Compiled graphs are kept in the cache folder for the next start.

    Raises:
        WeightsError: The model cannot be used.
        EngineError: The engine cannot run the model.
    """
    network = open_network(settings.model, settings.cache)
    engine = start(
        network,
        settings.engine,
        settings.precision,
        settings.effective_threads,
        settings.effective_streams,
        picture_memory=settings.effective_picture_memory,
        adaptive=not settings.streams,
        kept=settings.cache / "compiled",
    )
    return network, engine


def open_watched_engine(settings: EngineSettings, crashed: Callable[[], None]) -> tuple[Network, WatchedEngine]:
    """Return the network and an engine that has computed one picture. The first picture takes longer than all others.

    Args:
        settings: Model, engine, precision, threads, streams, memory and cache folder.
        crashed: Called when the engine has crashed, as `WatchedEngine` says.

    Raises:
        WeightsError: The model cannot be used.
        EngineError: The engine cannot run the model.
    """
    network, engine = open_engine(settings)
    _try(engine)
    return network, WatchedEngine(engine, _try, crashed)


def _try(engine: Engine) -> None:
    picture = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    engine.transform(picture, engine.predict(picture))


def make_stylizer(network: Network, engine: Engine, settings: EngineSettings) -> Stylizer:
    """Return a stylizer that uses this engine, with the named styles.

    Raises:
        BlobsError, FolderError: The folder of the named styles, or the one to load them from, cannot be used.
    """
    edition = Edition(network.edition, network.sha256)
    limits = settings.image_limits(engine.max_pixels)
    gallery = {} if settings.no_gallery else load_gallery(edition)
    store = StyleStore(BoundedBlobs(open_blobs(below(settings.data_dir, "styles"))), gallery)
    stylizer = Stylizer(engine, limits, settings.max_styles, settings.cache_bytes, edition, store)
    if settings.styles is not None:
        load_folder(stylizer, settings.styles)
    return stylizer


def advice(network: Network) -> str:
    """Return advice for the log on a better model; empty if there is none."""
    if network.edition == "lite":
        return "; the full model, 26 times the arithmetic, comes with: python -m stylewire_server fetch"
    return "" if network.verified else "; its files are not the published ones"


def describe(network: Network, engine: Engine, settings: EngineSettings) -> pb.Model:
    """Return the answer to GetModel."""
    from importlib.metadata import version

    limits = settings.image_limits(engine.max_pixels)
    return pb.Model(
        edition=network.edition,
        engine=engine.name,
        precision=engine.precision,
        style_dimension=network.style_dimension,
        weights_sha256=network.sha256,
        version=version("stylewire"),
        verified=network.verified,
        limits=pb.Limits(
            max_pixels=limits.max_pixels,
            max_encoded_bytes=settings.max_encoded_bytes,
            max_styles=settings.max_styles,
            queue_size=settings.queue_size,
            max_decode_pixels=settings.max_decode_pixels,
            min_side=limits.min_side,
            max_message_bytes=settings.max_message_bytes,
            max_streams=settings.max_streams,
            max_size=MAX_SIZE,
            one_pass_pixels=min(engine.one_pass_pixels, limits.max_pixels),
        ),
    )
