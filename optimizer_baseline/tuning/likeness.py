"""How well a picture keeps the layout of its content: a number, and the gradient that restores it.

The content cost does not see when a bold style hides the photograph, and this does. It compares content and picture
over cells of 8 x 8 pixels by two correlations: of brightness, and of the strength of edges. Each is 1 at best, and
about 0 where the layout is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..images import RGB_TO_YIQ, Pixels

_CELL = 8
_EPSILON = 1e-8


def likeness(content: Pixels, picture: Pixels) -> float:
    """Return the smaller correlation of a content and a picture [1, H, W, 3] in 0..1, of at least 16 px a side."""
    return float(np.min(correlations(content, picture)))


def correlations(content: Any, picture: Any) -> Any:
    """Return the correlations of brightness and of edges as a tensor [2]."""
    import tensorflow as tf

    pairs = zip(_maps(content), _maps(picture), strict=True)
    return tf.stack([_correlation(one, other) for one, other in pairs])


def compiled_restoring_gradient() -> Any:
    """Return a function of content, picture [1, H, W, 3] and the least correlations [2].

    It returns the gradient over the picture of the sum of squares of what the correlations lack.
    """
    import tensorflow as tf

    pictures = tf.TensorSpec((1, None, None, 3), tf.float32)

    def gradient(content: Any, picture: Any, least: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(picture)
            lacking = tf.nn.relu(least - correlations(content, picture))
            cost = tf.reduce_sum(tf.square(lacking))
        return tape.gradient(cost, picture)

    return tf.function(gradient, input_signature=[pictures, pictures, tf.TensorSpec((2,), tf.float32)], autograph=False)


def _maps(picture: Any) -> tuple[Any, Any]:
    """Return brightness and strength of edges of each cell, [H / 8, W / 8]."""
    import tensorflow as tf

    gray = tf.reduce_sum(picture * RGB_TO_YIQ[0].astype(np.float32), -1, keepdims=True)
    cells = tf.nn.avg_pool2d(gray, _CELL, _CELL, "VALID")[0, :, :, 0]
    down, right = _slope(cells), tf.transpose(_slope(tf.transpose(cells)))
    return cells, tf.sqrt(tf.square(down) + tf.square(right) + _EPSILON)


def _slope(x: Any) -> Any:
    """Return the differences along the first axis: central inside, one-sided at the ends."""
    import tensorflow as tf

    return tf.concat([x[1:2] - x[:1], (x[2:] - x[:-2]) / 2, x[-1:] - x[-2:-1]], 0)


def _correlation(one: Any, other: Any) -> Any:
    import tensorflow as tf

    one, other = one - tf.reduce_mean(one), other - tf.reduce_mean(other)
    spread = tf.reduce_sum(tf.square(one)) * tf.reduce_sum(tf.square(other))
    return tf.reduce_sum(one * other) / tf.sqrt(spread + _EPSILON)
