"""SIGHUP and the folder of styles."""

import shutil
import signal
from pathlib import Path

from stylewire import Client
from stylewire_server.testing import until


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
            until(lambda: names() == ["first", "second"], "the second style is there")
            shutil.rmtree(folder)
            running.process.send_signal(signal.SIGHUP)
            until(lambda: any("styles not reloaded" in line for line in running.log), "the log says why not")
            assert names() == ["first", "second"]
    finally:
        assert running.stop() == 0
