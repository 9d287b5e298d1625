"""SIGHUP and the folder of styles."""

import shutil
import signal
import time
from pathlib import Path

from stylewire import Client


def test_sighup_loads_pictures_that_have_come_into_the_folder(
    start_server, tmp_path: Path, style_picture: Path, other_style_picture: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(style_picture, folder / "first.jpg")
    running = start_server("--model", "lite", "--styles", folder, "--data-dir", tmp_path / "data")
    try:
        with Client(running.target, timeout=60) as client:

            def names() -> list[str]:
                return [style.name for style in client.styles.list()]

            assert names() == ["first"]
            shutil.copy(other_style_picture, folder / "second.jpg")
            running.process.send_signal(signal.SIGHUP)
            for _ in range(300):
                if names() == ["first", "second"]:
                    break
                time.sleep(0.1)
            assert names() == ["first", "second"]
            shutil.rmtree(folder)
            running.process.send_signal(signal.SIGHUP)
            for _ in range(300):
                if any("styles not reloaded" in line for line in running.log):
                    break
                time.sleep(0.1)
            assert any("styles not reloaded" in line for line in running.log)
            assert names() == ["first", "second"]
    finally:
        assert running.stop() == 0
