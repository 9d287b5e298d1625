"""The feed-forward connection without a server: errors and preparation of pictures."""

import socket

import numpy as np
import pytest

from optimizer_baseline.feedforward import FeedForward, FeedForwardError


def test_no_server_there_is_one_clear_error(content, style, monkeypatch):
    monkeypatch.setattr("optimizer_baseline.feedforward.TIMEOUT_SECONDS", 2.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
        with FeedForward(target) as network, pytest.raises(FeedForwardError, match=f"pass at {target} failed"):
            network.blend(content, [style], [1.0])


def test_all_styles_are_blended_by_their_shares_and_sent_small(server, content, style):
    large = style.resize((5000, 4000))

    def made(styles, shares):
        with FeedForward(server.target) as network:
            return np.asarray(network.blend(content, styles, shares), int)

    one, other = made([large], [1.0]), made([content], [1.0])
    both = made([large, content], [3.0, 1.0])
    assert np.abs(both - one).mean() > 1
    assert np.abs(both - other).mean() > 1
    np.testing.assert_array_equal(made([large, large], [1.0, 2.0]), one)
