"""Which engine runs."""

from ..weights.network import Network
from .base import Engine, EngineError


def start(network: Network, engine: str, precision: str, threads: int, streams: int) -> Engine:
    """The engine of that name, loaded with network.

    Args:
        network: What to run.
        engine: "openvino" or "tensorflow".
        precision: "auto", "f32" or "bf16".
        threads: Cores to compute on; 0 for all.
        streams: Pictures computed at one time; TensorFlow sees to that itself.

    Raises:
        EngineError: It is not installed, or cannot run that network or precision.
    """
    if engine == "tensorflow":
        try:
            from .tensorflow import TensorFlowEngine
        except ModuleNotFoundError as error:
            raise EngineError(f"the TensorFlow engine needs {error.name}: pip install 'stylewire[full]'") from None
        return TensorFlowEngine(network, precision, threads)
    from .openvino import OpenVinoEngine

    return OpenVinoEngine(network, precision, threads, streams)
