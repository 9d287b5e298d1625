"""The live preview, read by a real HTTP client during a real run."""

import io
import json
import urllib.error
import urllib.request

import pytest
from PIL import Image

from optimizer_baseline import stylize
from optimizer_baseline.errors import BaselineError
from optimizer_baseline.preview import Preview


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120) as reply:
        return reply.headers["Content-Type"], reply.read()


def test_the_page_shows_the_run(content, style):
    seen = []
    with Preview() as preview:
        assert json.loads(get(preview.url + "state.json")[1])["pictures"] == 0

        def watch(progress):
            preview.show(progress)
            seen.append((progress, json.loads(get(preview.url + "state.json")[1])))

        stylize(content, style, preset="magenta", weights="random:1", size=48, iterations=4, callback=watch)
        kind, picture = get(preview.url + "picture.jpg?1")
        assert kind == "image/jpeg"
        assert Image.open(io.BytesIO(picture)).size == (48, 40)
        assert b"picture.jpg" in get(preview.url)[1]
    for progress, state in seen:
        assert state["costs"][-1] == progress.costs.total_cost
        assert state["told"].startswith(f"Iteration {progress.iteration} of 4, 48x40 px, cost ")
    # Pictures come at most twice a second.
    assert 1 <= seen[-1][1]["pictures"] <= 4


def test_nobody_else_is_answered():
    with Preview() as preview:
        for path, headers in (("", {"Host": "evil.example"}), ("other", {}), ("picture.jpg", {})):
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(preview.url + path, **headers)
            assert refused.value.code == 404
        with pytest.raises(BaselineError, match="cannot show a preview on port"):
            Preview(int(preview.url.rpartition(":")[2].strip("/")))
