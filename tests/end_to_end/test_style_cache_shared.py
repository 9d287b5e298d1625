"""A new style that many callers bring at one time is predicted once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image
from stylewire import Client


def test_a_hundred_parallel_requests_with_one_new_style_predict_once(
    start_server: Any, photo: Path, style_picture: Path
) -> None:
    server = start_server("--model", "lite", "--streams", "2", "--queue-size", "200")
    try:
        with Image.open(style_picture) as image:
            style = image.convert("RGB").rotate(90)
        barrier = threading.Barrier(100)
        with Client(server.target, timeout=120) as client:

            def call(_: int) -> Any:
                barrier.wait()
                return client.stylize_detailed(photo, style, encoding="raw")

            with ThreadPoolExecutor(100) as threads:
                results = list(threads.map(call, range(100)))
            assert sum(result.timings.predict_ms > 0 for result in results) == 1
            assert len({result.data for result in results}) == 1
            assert client.stylize_detailed(photo, style).timings.style_cached
    finally:
        assert server.stop() == 0
