"""Serve the page, with the example styles, and open it in a browser. Ctrl-C ends it.

Run it with `make play`. Flags are those of `stylewire-server serve`.
"""

import os
import signal
import sys
import tempfile
import webbrowser
from pathlib import Path

from stylewire_server.testing import ServerNotReady, running_server

STYLES = Path(__file__).resolve().parent / "style"
PORT = 8080


def main() -> None:
    """Serve until Ctrl-C."""
    # Without this, SIGTERM would end this process without stopping the server.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with tempfile.TemporaryDirectory() as folder:
        # The reader's own styles are left alone; a flag of the reader's own comes later and wins.
        flags = ["--http-port", PORT, "--styles", STYLES, "--data-dir", folder, "--log-level", "warning", *sys.argv[1:]]
        with running_server(*flags) as server:
            print(f"The page is at {server.url}\nPress Ctrl-C to end the server.", flush=True)
            if has_display():
                webbrowser.open(server.url)
            try:
                server.process.wait()
            except KeyboardInterrupt:
                print("\nended")


def has_display() -> bool:
    """Return whether a browser has a place to show: one of text alone would take over the terminal."""
    return sys.platform in {"darwin", "win32"} or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    try:
        main()
    except ServerNotReady as error:
        sys.exit(str(error))
