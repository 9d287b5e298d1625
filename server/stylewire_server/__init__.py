"""The stylewire server: neural style transfer over gRPC."""

import sys

# `import openvino` forks this process, and the copy reports the use to the makers of openvino. If this module cannot be
# imported, openvino uses a stub that reports nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
