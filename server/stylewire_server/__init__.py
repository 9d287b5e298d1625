"""The stylewire server: neural style transfer over gRPC."""

import sys

# `import openvino` alone would report itself to its makers, from a forked copy of this process. Where this module
# cannot be imported openvino falls back to a stub that reports nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
