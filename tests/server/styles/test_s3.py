"""Named styles in an S3-compatible bucket, shared by several servers."""

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from stylewire import Client, StyleExists, StylewireError
from stylewire_server.errors import StyleExists as Taken
from stylewire_server.styles.file import KeptStyle
from stylewire_server.styles.storage import open_blobs
from stylewire_server.styles.store import StyleStore
from stylewire_server.styles.vectors import Edition
from stylewire_server.testing import until

pytest.importorskip("s3fs", reason="s3fs is not installed")
pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[server]'")

URL = "s3://pictures/stylewire"


@pytest.fixture
def bucket(tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen]:
    """A bucket of a server that speaks S3; its address is in the environment."""
    import s3fs

    port = free_port()
    log = tmp_path / "s3.log"
    with log.open("w") as errors:
        running = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=errors, stderr=errors
        )
    until(lambda: "Running on" in log.read_text(), "the S3 server listens", 120)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("pictures")
    yield running
    running.kill()
    running.wait()
    s3fs.S3FileSystem.clear_instance_cache()


def kept(name: str, value: float) -> KeptStyle:
    return KeptStyle(
        name=name,
        vector=np.full(100, value, np.float32),
        thumbnail=b"\xff\xd8\xff",
        origin_sha256="0" * 64,
        edition=Edition("lite", "0" * 64),
        create_time=datetime.now(UTC),
    )


def test_of_many_who_create_one_name_one_succeeds(bucket: subprocess.Popen) -> None:
    stores = [StyleStore(open_blobs(f"{URL}/styles")) for _ in range(8)]
    gate, ends = threading.Barrier(len(stores)), []

    def create(number: int) -> None:
        gate.wait(60)
        try:
            stores[number].put(kept("wave", number), overwrite=False)
            ends.append(number)
        except Taken:
            ends.append(None)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ends) == len(stores)
    (winner,) = [number for number in ends if number is not None]
    assert {float(store.get("wave").vector[0]) for store in stores} == {winner}


def test_what_one_server_makes_the_other_serves_and_an_outage_stops_only_the_store(
    bucket: subprocess.Popen, start_server: Callable, photo: Path, style_picture: Path
) -> None:
    servers = [start_server("--model", "lite", "--data-dir", URL) for _ in range(2)]
    try:
        with Client(servers[0].target, timeout=60) as first, Client(servers[1].target, timeout=60) as second:
            first.styles.create("wave", style_picture)
            # At once: the store of the other is asked anew for each call.
            assert second.stylize(photo, "wave").size == (256, 256)
            with pytest.raises(StyleExists):
                second.styles.create("wave", style_picture)
            bucket.kill()
            bucket.wait()
            # Pictures as styles need no store. The named style is reported as what it is: a store that does not answer.
            assert second.stylize(photo, style_picture).size == (256, 256)
            with pytest.raises(StylewireError) as caught:
                second.styles.create("other", style_picture)
            assert re.search("stor", str(caught.value))
    finally:
        for server in servers:
            server.stop()
