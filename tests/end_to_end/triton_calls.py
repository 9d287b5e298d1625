"""A program that calls a server with NVIDIA's client and prints the results as JSON.

Usage: `python triton_calls.py HOST:PORT CONTENT STYLE NAMED_STYLE`.
"""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

target, content_path, style_path, named = sys.argv[1:]
client = triton.InferenceServerClient(target)
rng = np.random.default_rng(7)


def tensor(name: str, array: np.ndarray, datatype: str) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def infer(content: np.ndarray, style: np.ndarray, datatype: str, **options: object) -> np.ndarray:
    inputs = [tensor("content", content, datatype), tensor("style", style, datatype)]
    outputs = [triton.InferRequestedOutput("stylized")]
    return client.infer("stylewire", inputs, outputs=outputs, **options).as_numpy("stylized")


content = rng.random((2, 40, 52, 3), np.float32)
style = rng.random((1, 64, 64, 3), np.float32)
full = infer(content, style, "FP32", request_id="42")
half = infer(content, style, "FP32", parameters={"strength": "0.5"})
files = [np.array([open(path, "rb").read()], np.object_) for path in (content_path, style_path)]  # noqa: PTH123, SIM115
picture = infer(*files, "BYTES")[0]

# Frames of a video: one stream, a style that the server keeps, and an input that is used again.
results: queue.Queue = queue.Queue()
frame = tensor("content", files[0], "BYTES")
client.start_stream(lambda result, error: results.put((result, error)))
for index in range(8):
    sent = frame if index != 5 else tensor("content", np.array([b"no picture"], np.object_), "BYTES")
    client.async_stream_infer("stylewire", [sent], request_id=str(index), parameters={"style": named, "size": 128})
client.stop_stream()
stream = [results.get_nowait() for _ in range(8)]

metadata = client.get_model_metadata("stylewire", as_json=True)

errors = {}
for name, call in {
    "model": lambda: client.infer("other", [tensor("content", content, "FP32"), tensor("style", style, "FP32")]),
    "nan": lambda: infer(content * np.nan, style, "FP32"),
    "shape": lambda: infer(content[0], style, "FP32"),
}.items():
    try:
        call()
    except InferenceServerException as error:
        errors[name] = error.status()

print(
    json.dumps(
        {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": client.is_model_ready("stylewire"),
            "server": client.get_server_metadata(as_json=True)["name"],
            "inputs": [each["name"] for each in metadata["inputs"]],
            "shape": full.shape,
            "dtype": str(full.dtype),
            "range": [float(full.min()), float(full.max())],
            "half_differs": float(np.abs(half - full).mean()),
            "picture_head": bytes(picture[:3]).hex(),
            "stream": [None if error else result.get_response().id for result, error in stream],
            "stream_heads": sorted({bytes(result.as_numpy("stylized")[0][:3]).hex() for result, _ in stream if result}),
            "stream_error": stream[5][1].message(),
            "errors": errors,
        }
    )
)
