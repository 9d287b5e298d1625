"""Pictures per second and latency through gRPC: ours against the plain server, closed and open loop; and CPU of HTTP.

Both servers run all the time and are loaded in turn, in short rounds. The load generator is a process of its own and
takes its share of the same cores, from both alike.
"""

import statistics
import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import psutil
from stylewire import Client
from stylewire_server.testing import running_server

from .common import content_jpeg, load, server, style_jpeg, summary, table, write

CALLERS = (1, 4, 16)
ROUNDS = 4
SECONDS = 2.0
OPEN_SECONDS = 8.0
HTTP_ROUNDS = 6
HTTP_PICTURES = 60


def closed(targets: dict[str, str]) -> list[dict[str, Any]]:
    """Rates and latencies for each number of callers, the servers in turn."""
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
    """Latency at 60 and 90 % of each server's own capacity."""
    rows = []
    for share in (0.6, 0.9):
        for name, target in targets.items():
            found = load(target, "open", share * capacity[name], OPEN_SECONDS)
            rows.append(
                {
                    "server": name,
                    "share": share,
                    "per_second": found["rate"],
                    "failed": found["failed"],
                    **summary(found["latencies"]),
                }
            )
    return rows


def cpu_per_picture(flags: list[str]) -> list[dict[str, Any]]:
    """CPU time of our server for a picture over gRPC and over HTTP: one caller, one connection, the wires in turn."""
    content, style = content_jpeg(), style_jpeg()
    with running_server("--model", "lite", "--http-port", "0", "--log-level", "warning", *flags) as it:
        process, body = psutil.Process(it.process.pid), MultipartBody({"content": content, "style": style})
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
                    before = sum(process.cpu_times()[:2])
                    for _ in range(HTTP_PICTURES):
                        call()
                    if turn:
                        spent[name].append((sum(process.cpu_times()[:2]) - before) / HTTP_PICTURES * 1e3)
        connection.close()
    ratios = {name: [ours / grpc for ours, grpc in zip(spent[name], spent["gRPC"], strict=True)] for name in wires}
    return [
        {"wire": name, "cpu_ms": statistics.median(spent[name]), "vs_grpc": statistics.median(ratios[name])}
        for name in wires
    ]


class MultipartBody:
    """Files as the body of a form."""

    def __init__(self, files: dict[str, bytes]) -> None:
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="it"\r\n\r\n'.encode() + data + b"\r\n"
            for name, data in files.items()
        ]
        self.data = b"".join(parts) + b"--b--\r\n"
        self.media_type = "multipart/form-data; boundary=b"


def main() -> None:
    """Prints three tables and writes results/serving.json."""
    flags = sys.argv[1:]
    wires = cpu_per_picture(flags)
    table(wires)
    print()
    ours = ["-m", "stylewire_server", "serve", "--port", "0", "--model", "lite", "--log-level", "warning", *flags]
    with server(ours) as own, server(["-m", "benchmarks.plain_server"]) as plain:
        targets = {"stylewire": own, "plain": plain}
        loaded = closed(targets)
        table(loaded)
        capacity = {name: max(row["per_second"] for row in loaded if row["server"] == name) for name in targets}
        opened = open_loop(targets, capacity)
        print()
        table(opened)
    job = "JPEG 512x512 in, JPEG 256x256 out, style cached, loopback"
    write(
        "serving", {"job": job, "flags": flags, "closed": loaded, "capacity": capacity, "open": opened, "wires": wires}
    )


if __name__ == "__main__":
    main()
