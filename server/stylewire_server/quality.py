"""How close two pictures are."""

import numpy as np


def psnr(picture: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pixels in 0..1, dB; equal pictures are at 200."""
    error = float(np.mean(np.square(picture.astype(np.float64) - reference)))
    return float(-10 * np.log10(max(error, 1e-20)))
