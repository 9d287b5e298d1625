"""The yardstick: the same engine files behind a grpcio server written the obvious way.

The ONNX files of the lite edition as they are, compiled by OpenVINO for 256x256 (float32, its hint for throughput, a
request for each thread, which is a quarter faster at 4 callers than its defaults), a thread pool of ten, Pillow for
decoding, resizing and encoding, a dictionary for style vectors.
"""

import hashlib
import io
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import openvino as ov
from PIL import Image
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.models.lite import locate

SIDE = 256


def pixels(data: bytes) -> np.ndarray:
    """A picture file as float32 [1,256,256,3] in 0..1."""
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)[np.newaxis] / 255


class PlainServicer(stylizer_pb2_grpc.StylizerServicer):
    """Stylize, with one style and no options."""

    def __init__(self) -> None:
        core = ov.Core()
        config = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "THROUGHPUT"}
        self._own = threading.local()
        self._predict = core.compile_model(locate("arbitrary_predict.onnx"), "CPU", config)
        transform = core.read_model(locate("arbitrary_transform.onnx"))
        content, vector = transform.inputs
        transform.reshape({content: [1, SIDE, SIDE, 3], vector: [1, 1, 1, 100]})
        self._transform = core.compile_model(transform, "CPU", config)
        self._vectors: dict[str, np.ndarray] = {}

    def Stylize(self, request: pb.StylizeRequest, context: grpc.ServicerContext) -> pb.StylizeResponse:  # noqa: N802
        """Content in the first style."""
        style = request.styles[0].image.encoded
        key = hashlib.sha256(style).hexdigest()
        if key not in self._vectors:
            self._vectors[key] = self._predict.create_infer_request().infer([pixels(style)])[0].copy()
        content = pixels(request.content.encoded)
        if not hasattr(self._own, "request"):
            self._own.request = self._transform.create_infer_request()
        result = self._own.request.infer([content, self._vectors[key]])[0]
        out = io.BytesIO()
        Image.fromarray((result[0] * 255 + 0.5).astype(np.uint8)).save(out, "JPEG", quality=90)
        return pb.StylizeResponse(image=pb.Image(encoded=out.getvalue()), width=SIDE, height=SIDE)


def main() -> None:
    """Serves until it is terminated."""
    server = grpc.server(ThreadPoolExecutor(10))
    stylizer_pb2_grpc.add_StylizerServicer_to_server(PlainServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main()
