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


def squared_distance(a: Any, b: Any) -> Any:
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

    return content_factor(normalizer, tf.cast(tf.size(target), tf.float32)) * squared_distance(features, target)


def content_factor(normalizer: str, elements: Any) -> Any:
    """Return k of `content_cost` for a layer of `elements` = nH nW nC values."""
    return _choose("content", normalizer, {"half": 0.5, "mean": 1.0 / elements, "quarter-mean": 0.25 / elements})


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
    return gram_of_sums(gram_sums(features, mask), normalizer)


def gram_sums(features: Any, mask: Any = None) -> tuple[Any, Any]:
    """Return the sums over positions from which a Gram matrix follows. Those of tiles add up to those of the picture.

    Args:
        features, mask: As for `gram_matrix`.

    Returns:
        sum_p F_pi F_pj, float32 [nC, nC], and the number of positions, a float32 scalar: sum(mask^2) with a mask.
    """
    import tensorflow as tf

    if mask is None:
        return products(features), tf.cast(tf.size(features) // features.shape[3], tf.float32)
    return products(tf.cast(features, tf.float32) * mask), tf.reduce_sum(tf.square(mask))


def gram_of_sums(sums: tuple[Any, Any], normalizer: str) -> Any:
    """Return the Gram matrix [nC, nC] of the sums of `gram_sums`."""
    summed, positions = sums
    divisor = _choose("Gram", normalizer, {"positions": 1.0, "elements": float(summed.shape[0])})
    return summed / (positions * divisor)


def products(features: Any) -> Any:
    """Return sum_p F_pi F_pj over the positions of `features` [1, nH, nW, nC], float32 [nC, nC]."""
    import tensorflow as tf

    def correlate(rows: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Both factors are the same matrix, so one product replaces the two of automatic differentiation.
            return tf.matmul(rows, tf.cast(upstream + tf.transpose(upstream), rows.dtype))

        exact = tf.cast(rows, tf.float32)
        return tf.matmul(exact, exact, transpose_a=True), gradient

    return tf.custom_gradient(correlate)(tf.reshape(features, (-1, features.shape[3])))


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
    squared = float(target.shape[0]) ** 2
    factor = _choose("style", normalizer, {"quarter-mean": 0.25 / squared, "mean": 1.0 / squared})
    return factor * squared_distance(gram, target)


_RIDGE = 1e-4
"""Added to both covariances of `wasserstein_cost`, as a share of the target's mean variance. Responses that the style
never has would make its root singular."""

QUANTILES = 1024
"""Quantiles of each channel in the target of `histogram_cost`."""


def gaussian_target(moments: tuple[Any, Any]) -> Any:
    """Return what `wasserstein_cost` compares with, from the style's `moments`: float32 [nC, nC + 1], the root of the
    covariance, then the mean."""
    import tensorflow as tf

    mean, covariance = moments
    values, vectors = tf.linalg.eigh(tf.cast(covariance, tf.float64))
    ridge = _RIDGE * tf.reduce_mean(values)
    root = tf.matmul(vectors * tf.sqrt(tf.maximum(values, 0.0) + ridge), vectors, transpose_b=True)
    return tf.cast(tf.concat([root, tf.cast(mean, tf.float64)[:, tf.newaxis]], axis=1), tf.float32)


def wasserstein_cost(moments: tuple[Any, Any], target: Any) -> Any:
    """Return the squared 2-Wasserstein distance of two Gaussians, divided by nC.

    W2^2 = |m - m_S|^2 + tr(K + K_S - 2 (K_S^1/2 K K_S^1/2)^1/2), with mean m and covariance K of the responses over the
    positions (Olkin and Pukelsheim 1982). The division by nC is that of crowsonkb/style-transfer-pytorch.

    Args:
        moments: From `moments` or `moments_of_sums`.
        target: From `gaussian_target`.

    Returns:
        A scalar; 0 for G = S, up to rounding.
    """
    import tensorflow as tf

    root, mean_target = tf.cast(target[:, :-1], tf.float64), target[:, -1]
    mean, covariance = moments
    channels = tf.cast(tf.shape(root)[0], tf.float64)
    both = tf.reduce_sum(tf.square(root))
    ridge = both / channels * (_RIDGE / (1.0 + _RIDGE))
    exact = tf.cast(covariance, tf.float64) + ridge * tf.eye(tf.shape(root)[0], dtype=tf.float64)
    overlap = _trace_of_root(tf.matmul(tf.matmul(root, exact), root))
    distance = (tf.linalg.trace(exact) + both - 2.0 * overlap) / channels
    return tf.reduce_mean(tf.square(tf.cast(mean, tf.float32) - mean_target)) + tf.cast(distance, tf.float32)


def moments(features: Any, mask: Any = None) -> tuple[Any, Any]:
    """Return mean [nC] and covariance [nC, nC] over the positions, float32. A mask weighs them by its square."""
    import tensorflow as tf

    exact = tf.cast(features, tf.float32)
    weight = tf.ones_like(exact[..., :1]) if mask is None else tf.square(mask)
    mean = tf.reduce_sum(weight * exact, axis=(0, 1, 2)) / tf.reduce_sum(weight)
    return mean, gram_matrix(exact - mean, "positions", mask)


def moment_sums(features: Any, mask: Any = None) -> tuple[Any, Any, Any]:
    """Return the sums over positions from which mean and covariance follow: those of `gram_sums`, with sum_p F_pi [nC]
    between them."""
    import tensorflow as tf

    exact = tf.cast(features, tf.float32)
    summed, positions = gram_sums(exact, mask)
    return summed, tf.reduce_sum(exact if mask is None else exact * tf.square(mask), axis=(0, 1, 2)), positions


def moments_of_sums(sums: tuple[Any, Any, Any]) -> tuple[Any, Any]:
    """Return `moments` from the sums of `moment_sums`. These are in float64, because the covariance is a small
    difference of large numbers."""
    summed, total, positions = sums
    mean = total / positions
    return mean, summed / positions - mean[:, None] * mean


def _trace_of_root(matrix: Any) -> Any:
    """Return tr(A^1/2) of a symmetric positive definite matrix; its gradient is A^-1/2 / 2."""
    import tensorflow as tf

    def trace(matrix: Any) -> Any:
        values, vectors = tf.linalg.eigh(matrix)
        # Rounding may turn the smallest values negative.
        roots = tf.sqrt(tf.maximum(values, 1e-14 * values[-1]))

        def gradient(upstream: Any) -> Any:
            return upstream * tf.matmul(vectors * (0.5 / roots), vectors, transpose_b=True)

        return tf.reduce_sum(roots), gradient

    return tf.custom_gradient(trace)((matrix + tf.transpose(matrix)) / 2.0)


def histogram_target(features: Any) -> Any:
    """Return what `histogram_cost` compares with: float32 [nC, QUANTILES], the quantiles of each channel."""
    import tensorflow as tf

    rows = tf.sort(tf.transpose(tf.reshape(tf.cast(features, tf.float32), (-1, features.shape[3]))))
    share = (tf.range(QUANTILES, dtype=tf.float32) + 0.5) / QUANTILES
    return _at(rows, tf.broadcast_to(share, (features.shape[3], QUANTILES)))


def histogram_cost(features: Any, target: Any, mask: Any = None) -> Any:
    """Return the mean of (F - R(F))^2, where R changes each channel's values to the style's, in the same order.

    This is the histogram loss of Risser et al. 2017 (Stable and Controllable Neural Texture Synthesis and Style
    Transfer Using Histogram Losses, section 4), with exact quantiles in place of bins. R is constant for the gradient.

    Args:
        features: float32 or bfloat16 [1, nH, nW, nC].
        target: From `histogram_target`.
        mask: Optional float32 [1, nH, nW, 1]; positions count by its square, as for `gram_matrix`.

    Returns:
        A scalar; about 0 for G = S.
    """
    import tensorflow as tf

    rows = tf.transpose(tf.reshape(tf.cast(features, tf.float32), (-1, features.shape[3])))
    order = tf.argsort(tf.stop_gradient(rows))
    flat = tf.ones_like(rows[0]) if mask is None else tf.reshape(tf.square(mask), (-1,))
    weight = tf.gather(flat, order)
    rank = (tf.cumsum(weight, axis=1) - weight / 2.0) / tf.reduce_sum(flat)
    wanted = tf.stop_gradient(_at(target, rank))
    difference = tf.gather(rows, order, batch_dims=1) - wanted
    return tf.reduce_sum(weight * tf.square(difference)) / (
        tf.reduce_sum(flat) * tf.cast(tf.shape(rows)[0], tf.float32)
    )


def _at(rows: Any, share: Any) -> Any:
    """Return the values of sorted rows [nC, N] at shares [nC, K] in 0..1, by linear interpolation."""
    import tensorflow as tf

    count = tf.shape(rows)[1]
    position = tf.clip_by_value(share * tf.cast(count, tf.float32) - 0.5, 0.0, tf.cast(count - 1, tf.float32))
    low = tf.minimum(tf.cast(position, tf.int32), tf.maximum(count - 2, 0))
    part = position - tf.cast(low, tf.float32)
    below = tf.gather(rows, low, batch_dims=1)
    above = tf.gather(rows, tf.minimum(low + 1, count - 1), batch_dims=1)
    return below + part * (above - below)


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
    colors = pixels.shape[3]
    rows = tf.reshape(pixels, (tf.shape(pixels)[0], tf.shape(pixels)[1], -1))
    down = rows[:, 1:] - rows[:, :-1]
    across = rows[:, :, colors:] - rows[:, :, :-colors]
    if form == "absolute":
        return tf.reduce_sum(tf.abs(down)) + tf.reduce_sum(tf.abs(across))
    if form == "squared-mean":
        return (tf.reduce_mean(tf.square(down)) + tf.reduce_mean(tf.square(across))) / 2.0
    if form == "squared-255":
        inner = tf.reduce_sum(tf.square(down[:, :, :-colors])) + tf.reduce_sum(tf.square(across[:, :-1]))
        return inner * (255.0**2 / 2.0)
    raise InvalidOption(f"unknown total variation {form!r}; known: {', '.join(TOTAL_VARIATIONS)}")
