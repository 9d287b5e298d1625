"""Headless Chromium over its DevTools pipe. Only the browser itself is needed."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
ANSWER_SECONDS = 120


class Page:
    """One page. Its log messages and network requests are kept in `events`."""

    def __init__(self, profile: Path) -> None:
        assert EXECUTABLE is not None
        reads_from_us, self._write = os.pipe()
        self._read, writes_to_us = os.pipe()

        def hand_over() -> None:
            # The protocol's fixed descriptors: 3 for commands, 4 for replies. Away from both first: they may be taken.
            first, second = os.dup(reads_from_us), os.dup(writes_to_us)
            spare = [os.dup(fd) for fd in (first, second)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self._process = subprocess.Popen(
            [EXECUTABLE, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            preexec_fn=hand_over,  # noqa: PLW1509 -- only duplicates descriptors
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(reads_from_us)
        os.close(writes_to_us)
        self.events: list[dict] = []
        self._buffer = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._send(f"{domain}.enable")

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)

    def look(self, width: int, height: int, scheme: str = "light", mobile: bool = False) -> None:
        """Set the size of the window in CSS pixels, and the preferred color scheme."""
        self._send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, url: str) -> None:
        """Open a URL and wait until everything is loaded."""
        before = len(self.events)
        self._send("Page.navigate", url=url)
        self._until(lambda: any(e["method"] == "Page.loadEventFired" for e in self.events[before:]))

    def evaluate(self, expression: str):
        """Return the value of a JavaScript expression."""
        reply = self._send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in reply, reply
        return reply["result"].get("value")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press the left button at one position of the window and release it at another."""
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Return a PNG of the whole page, or of the visible part."""
        reply = self._send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(reply["data"]))

    def complaints(self) -> list[dict]:
        """Return the errors and warnings on the console, and uncaught exceptions."""
        return [
            event
            for event in self.events
            if event["method"] == "Runtime.exceptionThrown"
            or (event["method"] == "Log.entryAdded" and event["params"]["entry"]["level"] in {"error", "warning"})
            or (
                event["method"] == "Runtime.consoleAPICalled"
                and event["params"]["type"] in {"error", "warning", "assert"}
            )
        ]

    def requests(self) -> list[str]:
        """Return the URLs that the page requested, without data URIs."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("data:", "about:"))]

    def _send(self, method: str, **params):
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        replies: list[dict] = []

        def answered() -> bool:
            replies[:] = [e for e in self.events if e.get("id") == number]
            return bool(replies)

        self._until(answered)
        self.events = [e for e in self.events if "method" in e]
        assert "error" not in replies[0], replies[0]
        return replies[0]["result"]

    def _until(self, condition) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while not condition():
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._read, 1 << 20) if ready else b""
            if not data:
                raise RuntimeError("the browser does not answer")
            *messages, self._buffer = (self._buffer + data).split(b"\0")
            self.events += [json.loads(m) for m in messages]
