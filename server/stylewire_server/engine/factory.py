"""The choice and start of the engine."""

import os
from pathlib import Path

from ..models.network import Network
from .base import Engine, EngineError
from .import_tensorflow import import_tensorflow
from .memory import DEFAULT_BUDGET


def start(
    network: Network,
    engine: str,
    precision: str,
    threads: int,
    streams: int,
    *,
    picture_memory: int = DEFAULT_BUDGET,
    adaptive: bool = False,
    kept: Path | None = None,
) -> Engine:
    """Return the engine of a name, loaded with a network.

    Args:
        network: The network to run.
        engine: "openvino" or "tensorflow".
        precision: "auto", "f32", "bf16" or "int8".
        threads: Cores to compute on; 0 for all.
        streams: Pictures computed at one time; for OpenVINO only.
        picture_memory: Bytes for the pictures that are transformed at one time.
        adaptive: True to compute a single picture on all threads; for OpenVINO only.
        kept: A folder that keeps compiled graphs for the next start; for OpenVINO only.

    Raises:
        EngineError: The engine is not installed, or cannot run this network or precision.
    """
    if engine == "tensorflow":
        return _start_tensorflow(network, precision, threads, picture_memory)
    if precision == "int8" and network.int8 is None:
        raise EngineError(_no_int8(network))
    from .openvino import OpenVinoEngine

    return OpenVinoEngine(
        network, precision, threads, streams, picture_memory=picture_memory, adaptive=adaptive, kept=kept
    )


def _no_int8(network: Network) -> str:
    if network.edition == "lite":
        return "precision is int8; the lite edition has no int8 transformer: run it with --precision auto, f32 or bf16"
    of = "" if network.edition == "full" else " --model FOLDER"
    return (
        f"precision is int8; the model {network.edition} has no int8 transformer; "
        f"make it: python -m stylewire_server quantize PICTURES{of}"
    )


def _start_tensorflow(network: Network, precision: str, threads: int, picture_memory: int) -> Engine:
    if network.frozen is None:
        raise EngineError(
            f"the {network.edition} edition has no TensorFlow graphs; run it with --engine openvino, "
            "or fetch the full one: python -m stylewire_server fetch"
        )
    if precision not in {"auto", "f32"}:
        raise EngineError(f"precision is {precision}; the TensorFlow engine computes in f32")
    # TensorFlow's C++ code then prints only errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import_tensorflow()
        from .tensorflow import TensorFlowEngine
    except ModuleNotFoundError as error:
        raise EngineError(f"the TensorFlow engine needs {error.name}: pip install 'stylewire[full]'") from None
    return TensorFlowEngine(network.frozen, threads, picture_memory // network.pixel_bytes["f32"].one_pass)
