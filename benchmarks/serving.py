"""Pictures a second and latency through gRPC: against a plain server, of several arrangements, and CPU of HTTP.

    python -m benchmarks serving [--only plain|wires|arrangements] [FLAG ...]

plain: this server beside a grpcio server written the obvious way, in closed and open loops. That one compiles the same
ONNX files of the lite edition with OpenVINO (float32, its hint for throughput, a request for each thread, which is a
quarter faster at 4 callers than its defaults). It has a thread pool of ten, Pillow for decoding, resizing and encoding,
and a dictionary for style vectors.

wires: CPU time of this server for a picture over gRPC and over HTTP.

arrangements: streams and processes on these cores, the reason for the defaults
`ServeSettings.effective_streams` and `effective_processes`.

Servers run all the time and are loaded in turn, in short rounds. The load generator is a process of its own and takes
its share of the same cores, from all alike. FLAGs go to `serve`, except for arrangements.
"""

import hashlib
import io
import statistics
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import openvino as ov
from PIL import Image
from stylewire import Client
from stylewire.v1 import stylizer_pb2 as pb
from stylewire.v1 import stylizer_pb2_grpc
from stylewire_server.models.lite import locate
from stylewire_server.settings import ServeSettings
from stylewire_server.testing import running_server

from .common import content_jpeg, cpu_seconds, load, parser, serving, style_jpeg, summary, table, write

CALLERS = (1, 4, 16)
ROUNDS = 4
SECONDS = 2.0
OPEN_SECONDS = 8.0
HTTP_ROUNDS = 6
HTTP_PICTURES = 60
ARRANGEMENT_ROUNDS = 3

SIDE = 256

PLAIN = (sys.executable, "-m", "benchmarks.serving")
"""Command of the plain server."""


def pixels(data: bytes) -> np.ndarray:
    """Return a picture file as float32 [1,256,256,3] in 0..1."""
    image = Image.open(io.BytesIO(data)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)[np.newaxis] / 255


class PlainServicer(stylizer_pb2_grpc.StylizerServicer):
    """The plain server: Stylize with one style and no options."""

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
        """Return the content in the first style."""
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


def serve_plain() -> None:
    """Run the plain server until it is terminated."""
    server = grpc.server(ThreadPoolExecutor(10))
    stylizer_pb2_grpc.add_StylizerServicer_to_server(PlainServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"serving on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


def closed(targets: dict[str, str]) -> list[dict[str, Any]]:
    """Return rates and latencies for each number of callers, the servers in turn."""
    rows = []
    for callers in CALLERS:
        rates: dict[str, list[float]] = {name: [] for name in targets}
        latencies: dict[str, list[float]] = {name: [] for name in targets}
        for _ in range(ROUNDS):
            for name, target in targets.items():
                found = load(target, "closed", callers, SECONDS)
                rates[name].append(found["rate"])
                latencies[name] += found["latencies"]
        for name in targets:
            rate = statistics.median(rates[name])
            ratio = statistics.median(ours / plain for ours, plain in zip(rates[name], rates["plain"], strict=True))
            rows.append(
                {"server": name, "callers": callers, "per_second": rate, "vs_plain": ratio, **summary(latencies[name])}
            )
    return rows


def open_loop(targets: dict[str, str], capacity: dict[str, float]) -> list[dict[str, Any]]:
    """Return latencies at 60 and 90 % of each server's own capacity."""
    rows = []
    for share in (0.6, 0.9):
        for name, target in targets.items():
            found = load(target, "open", share * capacity[name], OPEN_SECONDS)
            rows.append(
                {
                    "server": name,
                    "share": share,
                    "per_second": found["rate"],
                    "failed": len(found["refused"]),
                    **summary(found["latencies"]),
                }
            )
    return rows


def cpu_per_picture(flags: list[str]) -> list[dict[str, Any]]:
    """Return the CPU time for a picture over gRPC and over HTTP: one caller, one connection, the wires in turn."""
    content, style = content_jpeg(), style_jpeg()
    with serving("--model", "lite", "--http-port", "0", *flags) as it:
        body = MultipartBody({"content": content, "style": style})
        connection = HTTPConnection(urlsplit(it.url).netloc, timeout=60)

        def over_http() -> None:
            connection.request("POST", "/v1/stylize", body.data, {"Content-Type": body.media_type})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        with Client(it.target, timeout=60) as client:
            wires = {"gRPC": lambda: client.stylize(content, style), "HTTP": over_http}
            spent: dict[str, list[float]] = {name: [] for name in wires}
            for turn in range(HTTP_ROUNDS + 1):
                for name, call in wires.items():
                    before = cpu_seconds(it)
                    for _ in range(HTTP_PICTURES):
                        call()
                    if turn:
                        spent[name].append((cpu_seconds(it) - before) / HTTP_PICTURES * 1e3)
        connection.close()
    ratios = {name: [ours / grpc for ours, grpc in zip(spent[name], spent["gRPC"], strict=True)] for name in wires}
    return [
        {"wire": name, "cpu_ms": statistics.median(spent[name]), "vs_grpc": statistics.median(ratios[name])}
        for name in wires
    ]


class MultipartBody:
    """The body of a form with files."""

    def __init__(self, files: dict[str, bytes]) -> None:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="it"\r\n\r\n'.encode() + data + b"\r\n"
            for name, data in files.items()
        ]
        self.data = b"".join(parts) + b"--b--\r\n"
        self.media_type = "multipart/form-data; boundary=b"


def arrangements() -> dict[str, list[str]]:
    """Return flags by name: as many streams as the default and half as many, down to one, and two processes."""
    streams, found = max(2, ServeSettings().effective_streams), {"default": []}
    while streams:
        found[f"{streams} streams" if streams > 1 else "1 stream"] = ["--streams", str(streams)]
        streams //= 2
    return {**found, "2 processes": ["--processes", "2"]}


def compare_arrangements() -> list[dict[str, Any]]:
    """Return a row for each arrangement and number of callers."""
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        targets = {
            name: stack.enter_context(serving("--model", "lite", *flags)).target
            for name, flags in arrangements().items()
        }
        for callers in CALLERS:
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in targets}
            for _ in range(ARRANGEMENT_ROUNDS):
                for name, target in targets.items():
                    found[name].append(load(target, "closed", callers, SECONDS))
            for name, rounds in found.items():
                rate = statistics.median(one["rate"] for one in rounds)
                latencies = [seconds for one in rounds for seconds in one["latencies"]]
                rows.append({"arrangement": name, "callers": callers, "per_second": rate, **summary(latencies)})
    return rows


def main() -> None:
    """Print tables, and write results/serving.json and results/arrangement.json."""
    arguments = parser(__doc__)
    arguments.add_argument("--only", choices=("plain", "wires", "arrangements"), help="one part of the three")
    given, flags = arguments.parse_known_args()
    job = "JPEG 512x512 in, JPEG 256x256 out, style cached, loopback"
    results: dict[str, Any] = {"job": job, "flags": flags}
    if given.only in (None, "wires"):
        results["wires"] = cpu_per_picture(flags)
        table(results["wires"])
        print()
    if given.only in (None, "plain"):
        with serving("--model", "lite", *flags) as own, running_server(command=PLAIN) as plain:
            targets = {"stylewire": own.target, "plain": plain.target}
            loaded = closed(targets)
            table(loaded)
            capacity = {name: max(row["per_second"] for row in loaded if row["server"] == name) for name in targets}
            opened = open_loop(targets, capacity)
            print()
            table(opened)
        results |= {"closed": loaded, "capacity": capacity, "open": opened}
    if given.only != "arrangements":
        write(f"serving_{given.only}" if given.only else "serving", results)
    if given.only in (None, "arrangements"):
        rows = compare_arrangements()
        print()
        table(rows)
        write("arrangement", {"job": job, "rows": rows})


if __name__ == "__main__":
    serve_plain()
