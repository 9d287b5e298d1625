"""Named styles in an S3-compatible bucket, shared by several servers."""

import re
import subprocess
import threading
from collections.abc import Callable
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

URL = "s3://pictures/stylewire"


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
