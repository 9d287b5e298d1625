"""The line `serving on …` where nobody can read it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stylewire_server.cli.health import check


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_server_whose_output_cannot_be_written_serves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "stylewire_server", "serve", "--model", "lite", "--port", str(port)]
    with Path("/dev/full").open("w") as full:
        running = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    for _ in range(300):
        if check(f"127.0.0.1:{port}", "", 5.0, None, None, None).serving:
            break
        time.sleep(0.2)
    else:
        running.kill()
    time.sleep(0.5)
    running.send_signal(signal.SIGTERM)
    _, log = running.communicate(timeout=60)
    assert running.returncode == 0, log
    assert "cannot write 'serving on" in log
    assert "Traceback" not in log
