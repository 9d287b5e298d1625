"""Costs as pure functions of features and pixels, each computed in float32; gradients have the type of the features.

Symbols: F is the feature tensor of the stylized image G at one layer, [1, nH, nW, nC]; P that of the content C; M the
number of positions nH nW. Published definitions have the same sums and different divisors, so the divisor is an
argument. `presets` says which paper or program uses which.
"""

from __future__ import annotations

from typing import Any

from ..errors import InvalidOption

CONTENT_NORMALIZERS = ("half", "mean", "quarter-mean")
GRAM_NORMALIZERS = ("positions", "elements")
STYLE_NORMALIZERS = ("quarter-mean", "mean")
TOTAL_VARIATIONS = ("absolute", "squared-mean", "squared-255")


def _choose(what: str, name: str, table: dict[str, Any]) -> Any:
    if name not in table:
        raise InvalidOption(f"unknown {what} normalizer {name!r}; known: {', '.join(table)}")
    return table[name]


def _squared_distance(a: Any, b: Any) -> Any:
    """Return sum (a - b)^2 in float32."""
    import tensorflow as tf

    return 2.0 * tf.nn.l2_loss(tf.cast(a, tf.float32) - tf.cast(b, tf.float32))


def content_cost(features: Any, target: Any, normalizer: str = "half") -> Any:
    """Return J_content(C, G) = k * sum (F - P)^2 at one layer.

    | normalizer | k | source |
    | --- | --- | --- |
    | half | 1/2 | Gatys et al. 2016, equation 1 |
    | mean | 1/(nH nW nC) | Johnson et al. 2016, equation 2; Magenta; the TensorFlow tutorial |
    | quarter-mean | 1/(4 nH nW nC) | deeplearning.ai, Convolutional Neural Networks, week 4 |

    Args:
        features, target: float32 or bfloat16 [1, nH, nW, nC], the same shape.

    Returns:
        A scalar; 0 for G = C.
    """
    import tensorflow as tf

    elements = tf.cast(tf.size(target), tf.float32)
    factor = _choose("content", normalizer, {"half": 0.5, "mean": 1.0 / elements, "quarter-mean": 0.25 / elements})
    return factor * _squared_distance(features, target)


def gram_matrix(features: Any, normalizer: str = "positions", mask: Any = None) -> Any:
    """Return the correlations of filter responses, gram_ij = (1/d) sum_p F_pi F_pj over positions p.

    | normalizer | d | source |
    | --- | --- | --- |
    | positions | nH nW | Magenta; the TensorFlow tutorial; equal to Gatys et al. equation 3 up to their 1/M in E_l |
    | elements | nH nW nC | Johnson et al. 2016, equation 3 |

    Dividing by the positions makes pictures of different sizes comparable, unlike the papers' unnormalized matrix.

    Args:
        features: float32 or bfloat16 [1, nH, nW, nC].
        mask: Region that counts, float32 [1, nH, nW, 1] in 0..1; None for all. The responses are multiplied by it, and
            sum(mask^2) replaces nH nW in d (guided Gram matrix: Gatys et al. 2017, section 4.1).

    Returns:
        float32 [nC, nC], symmetric; unchanged by any permutation of the positions.
    """
    import tensorflow as tf

    channels = features.shape[3]
    if mask is not None:
        features = tf.cast(features, tf.float32) * mask
    rows = tf.reshape(features, (-1, channels))
    positions = tf.cast(tf.shape(rows)[0], tf.float32) if mask is None else tf.reduce_sum(tf.square(mask))
    per_position = _choose("Gram", normalizer, {"positions": 1.0, "elements": float(channels)})

    def correlate(rows: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Both factors are the same matrix, so one product replaces the two of automatic differentiation.
            return tf.matmul(rows, tf.cast(upstream + tf.transpose(upstream), rows.dtype))

        exact = tf.cast(rows, tf.float32)
        return tf.matmul(exact, exact, transpose_a=True), gradient

    return tf.custom_gradient(correlate)(rows) / (positions * per_position)


def style_cost(gram: Any, target: Any, normalizer: str = "quarter-mean") -> Any:
    """Return E_l = k * sum_ij (gram_ij - target_ij)^2 at one layer; J_style is the weighted sum of E_l over layers.

    | normalizer | k | source |
    | --- | --- | --- |
    | quarter-mean | 1/(4 nC^2) | Gatys et al. 2016, equation 4; deeplearning.ai |
    | mean | 1/nC^2 | Magenta; the TensorFlow tutorial; Johnson et al.'s released code (their equation 4 has 1) |

    Gatys et al. write 1/(4 N^2 M^2), deeplearning.ai 1/(4 nC^2 (nH nW)^2), on unnormalized matrices: their 1/M^2 is in
    `gram_matrix(…, "positions")`.

    Args:
        gram, target: float32 [nC, nC].

    Returns:
        A scalar; 0 for G = S.
    """
    channels = float(target.shape[0])
    factor = _choose("style", normalizer, {"quarter-mean": 0.25 / channels**2, "mean": 1.0 / channels**2})
    return factor * _squared_distance(gram, target)


def with_normalized_gradient(features: Any, weight: float) -> Any:
    """Return `features` unchanged; the gradient of a cost through them is scaled to an L1 norm of `weight`.

    So the weight alone decides the influence of a layer, not the size of its cost (the option -normalize_gradients of
    jcjohnson/neural-style). The result is not the gradient of the sum of the costs, so a line search fails.
    """
    import tensorflow as tf

    def identity(x: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            exact = tf.cast(upstream, tf.float32)
            return tf.cast(exact * (weight / (tf.reduce_sum(tf.abs(exact)) + 1e-30)), upstream.dtype)

        return tf.identity(x), gradient

    return tf.custom_gradient(identity)(features)


def total_variation(pixels: Any, form: str = "squared-mean") -> Any:
    """Return the roughness of a picture. dx and dy are differences of neighbors along rows and columns.

    | form | formula | pixels in | source |
    | --- | --- | --- | --- |
    | absolute | sum abs dx + sum abs dy | 0..1 | the TensorFlow tutorial (tf.image.total_variation) |
    | squared-mean | mean(dx^2)/2 + mean(dy^2)/2 | 0..1 | Magenta, image_stylization/learning.py |
    | squared-255 | (sum dx^2 + sum dy^2)/2, no last row or column | 0..255 | Johnson et al.'s TotalVariation.lua |

    Args:
        pixels: float32 [1, H, W, 3], RGB, 0..1.

    Returns:
        A scalar; 0 for a flat picture.
    """
    import tensorflow as tf

    # Use rows of numbers, because operations over long rows are faster than over three colors at a time.
    colours = pixels.shape[3]
    rows = tf.reshape(pixels, (tf.shape(pixels)[0], tf.shape(pixels)[1], -1))
    down = rows[:, 1:] - rows[:, :-1]
    across = rows[:, :, colours:] - rows[:, :, :-colours]
    if form == "absolute":
        return tf.reduce_sum(tf.abs(down)) + tf.reduce_sum(tf.abs(across))
    if form == "squared-mean":
        return (tf.reduce_mean(tf.square(down)) + tf.reduce_mean(tf.square(across))) / 2.0
    if form == "squared-255":
        inner = tf.reduce_sum(tf.square(down[:, :, :-colours])) + tf.reduce_sum(tf.square(across[:, :-1]))
        return inner * (255.0**2 / 2.0)
    raise InvalidOption(f"unknown total variation {form!r}; known: {', '.join(TOTAL_VARIATIONS)}")
