"""A live preview: a page on this machine that shows the picture and costs of a run."""

from __future__ import annotations

import io
import json
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from .errors import BaselineError
from .transfer import Progress

PICTURE_SECONDS = 0.5
"""Minimum seconds between two pictures, because encoding a picture takes time from the run."""

CURVE_POINTS = 500
"""Maximum points of the curve on the page. For a longer run, the page shows every second or third point, and so on."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>stylewire-baseline</title><link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; padding: 16px; max-width: 900px; }
img { display: block; width: 100%; max-height: 75vh; object-fit: contain; }
svg { display: block; width: 100%; height: 120px; overflow: visible; } polyline { fill: none; stroke: #1f5fa8;
stroke-width: 2; vector-effect: non-scaling-stroke; } p { font-variant-numeric: tabular-nums; }
</style></head><body>
<p id="told" role="status">The run is about to begin.</p><img id="picture" alt="The picture so far">
<p>Cost, logarithmic</p><svg viewBox="0 0 1 1" preserveAspectRatio="none"><polyline id="curve"></polyline></svg>
<script>
let shown = 0;
async function update() {
  try {
    const state = await (await fetch('state.json')).json();
    if (state.pictures > shown) {
      shown = state.pictures;
      document.getElementById('picture').src = 'picture.jpg?' + shown;
    }
    document.getElementById('told').textContent = state.told;
    const logs = state.costs.map(Math.log), low = Math.min(...logs), span = Math.max(...logs) - low || 1;
    document.getElementById('curve').setAttribute('points',
      logs.map((c, i) => `${i / Math.max(1, logs.length - 1)},${1 - (c - low) / span}`).join(' '));
  } catch { document.getElementById('told').textContent += ' (ended)'; return; }
  setTimeout(update, 1000);
}
update();
</script></body></html>
"""


class Preview:
    """A web server on 127.0.0.1 that runs until its `with` block ends. It answers only this machine, and only shows.

    Args:
        port: The port; 0 for any free one.

    Raises:
        BaselineError: The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._lock = threading.Lock()
        self._costs: list[float] = []
        self._told = "The run is about to begin."
        self._picture = b""
        self._pictures = 0
        self._latest = 0.0
        preview = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, body = preview.answer(self.path.partition("?")[0], self.headers.get("Host", ""))
                self.send_response(HTTPStatus.OK if kind else HTTPStatus.NOT_FOUND)
                self.send_header("Content-Type", kind or "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
                """Write no log, because the terminal has the progress bar."""

        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        except OSError as error:
            raise BaselineError(f"cannot show a preview on port {port}: {error.strerror}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> Preview:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, progress: Progress) -> None:
        """Show an iteration: every cost, and a picture at most twice a second."""
        picture = None
        if (now := time.monotonic()) - self._latest >= PICTURE_SECONDS:
            self._latest = now
            out = io.BytesIO()
            progress.picture().save(out, "JPEG", quality=90)
            picture = out.getvalue()
        cost = progress.costs.total_cost
        with self._lock:
            self._costs.append(cost)
            self._told = (
                f"Iteration {progress.iteration} of {progress.iterations}, {progress.width}x{progress.height} px, "
                f"cost {cost:.4g}, {progress.seconds:.0f} s"
            )
            if picture is not None:
                self._picture, self._pictures = picture, self._pictures + 1

    def answer(self, path: str, host: str) -> tuple[str, bytes]:
        """Return type and body for a path; "" and a message for an unknown path.

        A foreign page whose name points to this machine sends its own name as `host`, and is refused.
        """
        if host.partition(":")[0] not in {"127.0.0.1", "localhost"}:
            return "", b"unknown host\n"
        with self._lock:
            if path == "/":
                return "text/html; charset=utf-8", PAGE.encode()
            if path == "/picture.jpg" and self._picture:
                return "image/jpeg", self._picture
            if path == "/state.json":
                every = -(-len(self._costs) // CURVE_POINTS) or 1
                state = {"told": self._told, "pictures": self._pictures, "costs": self._costs[::every]}
                return "application/json", json.dumps(state).encode()
        return "", b"not found\n"
