"""The line `serving on …` if standard output cannot be written."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stylewire_server.cli.health import check
from stylewire_server.testing import until


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_server_whose_output_cannot_be_written_serves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(port)]
    with Path("/dev/full").open("w") as full:
        running = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        until(lambda: check(f"127.0.0.1:{port}", "", 20.0, None, None, None).serving, "it serves", 120)
        log = ""
        while "cannot write 'serving on" not in log:
            line = running.stderr.readline()
            assert line, f"the server ended: {log}"
            log += line
        running.send_signal(signal.SIGTERM)
        log += running.stderr.read()
        assert running.wait(60) == 0, log
    finally:
        running.kill()
        running.stderr.close()
    assert "Traceback" not in log
