"""The real server over an engine that can be made to fail: `python faulty_server.py FOLDER serve …`.

While FOLDER/once exists, a picture that is not 256x256 fails; while FOLDER/always exists, every picture fails.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from stylewire_server.cli.main import main
from stylewire_server.engine import openvino

FOLDER = Path(sys.argv.pop(1))


class FaultyEngine(openvino.OpenVinoEngine):
    """An OpenVINO engine that fails on demand."""

    def transform(self, content: np.ndarray, vector: np.ndarray, **others: Any) -> np.ndarray:
        """Fail while one of the two files exists."""
        if (FOLDER / "always").exists() or ((FOLDER / "once").exists() and content.shape[1] != 256):
            raise RuntimeError("a fault in /opt/secret/place")
        return super().transform(content, vector, **others)


openvino.OpenVinoEngine = FaultyEngine  # type: ignore[misc]

if __name__ == "__main__":
    sys.exit(main())
