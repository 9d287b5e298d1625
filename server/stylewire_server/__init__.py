"""The stylewire server: neural style transfer over gRPC."""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# `import openvino` alone would report itself to its makers, from a forked copy of this process. Where this module
# cannot be imported openvino falls back to a stub that reports nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


class _LateConverter(ModuleType):
    """OpenVINO's model converter, loaded when it is first used.

    `import openvino` loads it too, which takes half of the time of that import, and only `fetch` needs it.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "convert_model":
            return lambda *args, **options: self._load().convert_model(*args, **options)
        openvino = sys.modules.get("openvino")
        if openvino is not None and not hasattr(openvino, "convert_model"):
            # OpenVINO is being imported, and Python looks whether this is a package.
            raise AttributeError(name)
        return getattr(self._load(), name)

    def _load(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return import_module(self.__name__)


if "openvino" not in sys.modules:
    sys.modules["openvino.tools.ovc"] = _LateConverter("openvino.tools.ovc")
