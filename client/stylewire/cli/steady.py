"""Flicker reduction: each stylized frame is blended with the one before it, moved along by optical flow.

Without the flow, flat regions that move would smear. So OpenCV is needed (the extra `steady`).
"""

import numpy as np
from PIL import Image

from ..pictures import PixelArray

_TOLERANCE = 12.0
"""Maximum difference, in levels of 255, from the frame before at which the content counts as unchanged (noise)."""


class Steady:
    """Blends each result with the one before it in regions where the content has not changed.

    The frame before is moved along by optical flow (Farneback 2003, as OpenCV computes it). So a region keeps its
    strokes from frame to frame, even if it moves.

    Args:
        strength: Share of the previous result in a region that has not changed, from 0 to below 1.

    Raises:
        ImportError: OpenCV is not installed.
    """

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self._content: np.ndarray | None = None
        self._result: np.ndarray | None = None
        import cv2

        self._cv2 = cv2

    def blend(self, content: Image.Image | PixelArray, picture: Image.Image) -> Image.Image:
        """Return a result, of mode RGB, blended with the result before it."""
        small = Image.fromarray(np.asarray(content)).resize(picture.size, Image.Resampling.BOX)
        now, result = np.asarray(small, np.float32), np.asarray(picture, np.float32)
        if self._content is not None and self._result is not None and self._content.shape == now.shape:
            before, kept = self._moved(now)
            change = np.abs(now - before).mean(2, keepdims=True) / _TOLERANCE
            share = self._strength * np.exp(-np.square(change))
            result = share * kept + (1 - share) * result
        self._content, self._result = now, result
        return Image.fromarray(np.rint(result).astype(np.uint8))

    def _moved(self, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the previous content and result, moved to the positions of the present content."""
        assert self._content is not None
        assert self._result is not None
        cv2 = self._cv2
        gray = [cv2.cvtColor(each.astype(np.uint8), cv2.COLOR_RGB2GRAY) for each in (now, self._content)]
        flow = cv2.calcOpticalFlowFarneback(*gray, None, 0.5, 4, 21, 3, 7, 1.5, 0)
        height, width = flow.shape[:2]
        there = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).astype(np.float32) + flow
        outside = (there < 0).any(2) | (there[..., 0] > width - 1) | (there[..., 1] > height - 1)
        moved = [
            cv2.remap(each, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for each in (self._content, self._result)
        ]
        # Regions that come into view have no previous frame.
        moved[0][outside] = 1e3
        return moved[0], moved[1]
