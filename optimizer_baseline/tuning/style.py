"""Settings and progress of a tuning, and its result: the tuned style with its file and its sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import images
from ..canvas import Sheet, Tile
from ..errors import InvalidOption
from ..images import Picture
from ..objective import presets
from ..objective.presets import Preset

if TYPE_CHECKING:
    from stylewire_server.models.network import Network

STYLE_SIDE = 256
"""Longer side in pixels of the style picture whose Gram matrices are the target."""


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Settings of a tuning.

    Args:
        model: Which network: "auto", "lite", "full", or a converted folder, as `serve --model`.
        preset: The cost J, by name or as a `Preset`. Magenta's is the one that the network was trained on.
        weights: Where VGG weights come from, see `vgg.weights.load`.
        rescale: Pictures over which to rescale VGG, see `vgg.rescale`; none for the weights as published.
        precision: "auto", "f32" or "bf16", of VGG's convolutions.
        steps: Steps of Adam, at most.
        size: Side of the crops in pixels.
        learning_rate: Of Adam, after the warm-up.
        amount: Point on the line from predicted (0) to tuned (1). None keeps the layout of the photographs, and takes
            the furthest point at which the content cost rises by 15 % at most.
        seed: Of the crops.

    Raises:
        InvalidOption: A value is out of its range.
    """

    model: str = "lite"
    preset: str | Preset = "magenta"
    weights: str = "auto"
    rescale: Sequence[Picture] = ()
    precision: str = "auto"
    steps: int = 24
    size: int = 160
    learning_rate: float = 0.1
    amount: float | None = None
    seed: int = 0
    cost: Preset = field(init=False)

    def __post_init__(self) -> None:
        cost = presets.preset(self.preset) if isinstance(self.preset, str) else self.preset
        object.__setattr__(self, "cost", cost)
        if self.steps < 1:
            raise InvalidOption(f"steps is {self.steps}; the minimum is 1 step")
        if not 64 <= self.size <= 512 or self.size % 4:
            raise InvalidOption(f"size is {self.size} px; it must be a multiple of 4 from 64 to 512 px")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InvalidOption(f"learning rate is {self.learning_rate}; it must be a finite number above 0")
        if self.amount is not None and not 0 < self.amount <= 1:
            raise InvalidOption(f"amount is {self.amount}; it must be above 0, and 1 at most")


@dataclass(frozen=True)
class Quality:
    """Mean costs over the photographs that were kept apart, and their least likeness.

    Args:
        cost: J, all weights applied.
        content_cost: Its content part, weighted.
        likeness: The smallest of their likenesses of content and picture, from -1 to 1.
    """

    cost: float
    content_cost: float
    likeness: float


@dataclass(frozen=True)
class TuneProgress:
    """Progress of a tuning.

    Args:
        step: Steps done.
        steps: Steps at most.
        before: Quality of the untuned style.
        now: Quality at the last look.
    """

    step: int
    steps: int
    before: Quality
    now: Quality


@dataclass(frozen=True)
class TunedStyle:
    """A tuned style, and how it was made.

    Args:
        vector: Style vector [D] that the predictor gives for the picture.
        tuning: Change of the P norm parameters, the amount applied.
        amount: Point on the line from predicted (0) to tuned (1).
        before, after: Quality of the untuned and of the tuned style.
        steps: Steps done.
        stopped: Why the descent ended before its last step; empty where it did not.
        seconds: CPU seconds, all threads together.
        facts: How the tuning was made, for the style file.
        style: The style picture.
        pictures: Content, untuned and tuned picture for each photograph that was kept apart.
    """

    vector: NDArray[np.float32]
    tuning: NDArray[np.float32]
    amount: float
    before: Quality
    after: Quality
    steps: int
    stopped: str
    seconds: float
    facts: Mapping[str, Any]
    style: Image.Image
    pictures: Sequence[tuple[Image.Image, Image.Image, Image.Image]]
    _network: Network

    def file(self, origin: str = "") -> bytes:
        """Return the style file, which `styles import` and `serve --styles` take.

        Its thumbnail is the style on a photograph.

        Args:
            origin: Where the style comes from, in words; "" for the name of the picture's file.
        """
        from stylewire_server.styles import thumbnails
        from stylewire_server.styles.file import KeptStyle, dump, tuned_origin
        from stylewire_server.styles.vectors import Edition

        vector = np.concatenate([self.vector, self.tuning])
        preview = np.asarray(self.pictures[0][2].convert("RGB"))
        return dump(
            KeptStyle(
                name="",
                vector=vector,
                thumbnail=thumbnails.join([thumbnails.shrink(preview)], [1.0]),
                origin_sha256=tuned_origin(self.facts["picture_sha256"], vector),
                edition=Edition(self._network.edition, self._network.sha256),
                create_time=datetime.now(UTC),
                tuned=True,
                origin=origin or self.facts["picture"],
                tuning=self.facts,
            )
        )

    def sheet(self) -> Image.Image:
        """Return the style, and photographs before and after the tuning, as one picture."""
        ratio, content = self.after.cost / self.before.cost, self.after.content_cost / self.before.content_cost
        sheet = Sheet(
            f"{self.facts['picture']}: untuned and tuned",
            f"amount {self.amount:g}; on photographs that were kept apart: cost x {ratio:.2f}, content cost x "
            f"{content:.2f}; {self.steps} steps",
        )
        sheet.row([Tile(images.fit(self.style, STYLE_SIDE), "style")])
        for content_picture, before, after in self.pictures:
            sheet.row([Tile(content_picture, "content"), Tile(before, "untuned"), Tile(after, "tuned")])
        return sheet.render()
