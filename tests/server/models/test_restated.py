"""The full graph has the layers of docs/models.md: the same layers in numpy give its intermediate tensors.

Dumoulin, Shlens and Kudlur 2017, section 2.2: z = gamma_s (x - mu) / sigma + beta_s, mu and sigma over the picture.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stylewire_server.models.network import CONTENT, VECTOR

tf = pytest.importorskip("tensorflow")

SCOPE = "StatefulPartitionedCall"
BLOCK = f"{SCOPE}/transformer/residual/residual7"
SIDE = 32

Tensor = Callable[[str], np.ndarray]


@pytest.fixture(scope="module")
def tensor(converted: Path) -> Tensor:
    """Values of the cut graph's tensors for one content picture and one style vector."""
    graph_def = tf.compat.v1.GraphDef.FromString((converted / "transformer.pb").read_bytes())
    graph = tf.Graph()
    with graph.as_default():
        tf.graph_util.import_graph_def(graph_def, name="")
    rng = np.random.default_rng(5)
    feeds = {
        f"{CONTENT}:0": rng.random((1, SIDE, SIDE, 3), np.float32),
        f"{VECTOR}:0": rng.random((1, 1, 1, 768), np.float32),
    }

    def value(name: str) -> np.ndarray:
        with tf.compat.v1.Session(graph=graph) as session:
            return session.run(f"{name}:0", feeds)

    return value


def reflected(x: np.ndarray, margin: int) -> np.ndarray:
    """x[-1] = x[1], x[-2] = x[2], …: the edge itself is not repeated."""
    size = x.shape[1]
    ahead = np.arange(margin, 0, -1)
    rows = np.concatenate([ahead, np.arange(size), size - 2 - np.arange(margin)])
    return x[:, rows][:, :, rows]


def convolved(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Stride 1, no padding; kernel [kh,kw,in,out]."""
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (height, width), axis=(1, 2))
    return np.einsum("nhwcyx,yxco->nhwo", windows, kernel)


def instance_normed(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    mean = x.mean((1, 2), keepdims=True)
    variance = np.square(x - mean).mean((1, 2), keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta


def affine(tensor: Tensor, layer: str, part: str) -> np.ndarray:
    """A scale or offset from the style vector: one affine map each."""
    name = layer.replace(f"{SCOPE}/", f"{SCOPE}/style_params/") + f"/StyleNorm/{part}"
    kernel = tensor(f"{name}/Conv2D/ReadVariableOp")[0, 0].astype(np.float64)
    return tensor(VECTOR)[0, 0] @ kernel + tensor(f"{name}/BiasAdd/ReadVariableOp")


def restated_half(tensor: Tensor, x: np.ndarray, layer: str) -> np.ndarray:
    x = convolved(reflected(x, 1), tensor(f"{layer}/Conv2D/ReadVariableOp"))
    return instance_normed(x, affine(tensor, layer, "Conv_1"), affine(tensor, layer, "Conv"))


def close(made: np.ndarray, expected: np.ndarray) -> None:
    assert made.shape == expected.shape
    assert expected.std() > 0
    assert np.abs(made - expected).max() <= 2e-5 * np.abs(expected).max()


@pytest.mark.parametrize(("name", "of", "margin"), [("MirrorPad", CONTENT, 4), ("MirrorPad_1", "conv1/Relu", 1)])
def test_padding_reflects_without_the_edge(tensor: Tensor, name: str, of: str, margin: int) -> None:
    contract = f"{SCOPE}/transformer/contract"
    source = tensor(of if of == CONTENT else f"{contract}/{of}")
    np.testing.assert_array_equal(tensor(f"{contract}/{name}"), reflected(source, margin))


def test_conditional_instance_norm(tensor: Tensor) -> None:
    layer = f"{BLOCK}/conv1"
    made = instance_normed(
        tensor(f"{layer}/Conv2D").astype(np.float64), affine(tensor, layer, "Conv_1"), affine(tensor, layer, "Conv")
    )
    close(made, tensor(f"{layer}/StyleNorm/batchnorm/add_1"))


def test_residual_block(tensor: Tensor) -> None:
    x = tensor(f"{SCOPE}/transformer/residual/residual6/add").astype(np.float64)
    inner = np.maximum(restated_half(tensor, x, f"{BLOCK}/conv1"), 0)
    close(x + restated_half(tensor, inner, f"{BLOCK}/conv2"), tensor(f"{BLOCK}/add"))


def test_doubling_repeats_pixels(tensor: Tensor) -> None:
    x = tensor(f"{SCOPE}/transformer/residual/residual20/add")
    doubled = tensor(f"{SCOPE}/transformer/expand/conv1/ResizeNearestNeighbor")
    np.testing.assert_array_equal(doubled, x.repeat(2, 1).repeat(2, 2))
