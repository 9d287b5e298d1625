"""The way to a feed-forward picture, as far as it can be walked without a server."""

import socket

import pytest
import stylewire

from optimizer_baseline.feedforward import FeedForwardError, feedforward

pytestmark = pytest.mark.skipif(not hasattr(stylewire, "Client"), reason="the client is not in this checkout yet")


def test_no_server_there_is_one_clear_error(content, style, monkeypatch):
    monkeypatch.setattr("optimizer_baseline.feedforward.TIMEOUT_SECONDS", 2.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(FeedForwardError, match=f"feed-forward pass at {target} failed"):
            feedforward(content, [style], [1.0], target)
