"""The quality gate. It fails if feed-forward pictures cost more than when their costs were recorded."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from .. import images
from ..errors import BaselineError, InvalidOption
from ..objective import presets
from ..objective.objective import Objective, Style
from ..vgg import weights as vgg_weights
from .compare import SCHEMA, STYLE_SIDE, addends
from .similarity import psnr

MARGIN = 0.05
"""Default share by which a cost may rise. Another instruction set or bfloat16 changes costs by about 1 %."""

PARITY_DB = 40.0
"""Minimum PSNR in dB between f32 and bf16 pictures. The lite edition has 46 to 51 dB; below 40 it is visible."""

Pass = Callable[[Image.Image, Image.Image], Image.Image]


@dataclass(frozen=True)
class Reference:
    """A pair and the costs of its feed-forward picture, by preset."""

    content: Path
    style: Path
    costs: Mapping[str, float]

    @property
    def name(self) -> str:
        """The name of the pair, as in `compare`."""
        return f"{self.content.stem}--{self.style.stem}"


@dataclass(frozen=True)
class Baseline:
    """The feed-forward part of a results file. `read` takes any file that `compare` or `record` has written."""

    references: Sequence[Reference]
    size: int
    network: str
    edition: str

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Return the baseline in the file `path`. The paths of pictures are relative to it.

        Raises:
            BaselineError: The file does not exist, or is not a results file.
        """
        try:
            table = json.loads(path.read_text())
            if table["schema"] != SCHEMA:
                raise BaselineError(f"{path} has schema {table['schema']!r}; expected {SCHEMA!r}")
            references = [
                Reference(
                    path.parent / pair["content"],
                    path.parent / pair["style"],
                    {name: s["total_cost"] for name, s in pair["feedforward"]["scores"].items()},
                )
                for pair in table["pairs"]
            ]
            settings = table["settings"]
            baseline = cls(references, settings["size"], settings["network"], table["feedforward"]["edition"])
        except FileNotFoundError:
            raise BaselineError(f"no baseline {path}") from None
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise BaselineError(f"{path} is not a results file: {error!r}") from error
        if not references:
            raise BaselineError(f"{path} holds no pair; at least one is needed")
        return baseline


@dataclass(frozen=True)
class Finding:
    """The result of one check, with its value and limit."""

    pair: str
    what: str
    value: float
    limit: float
    good: bool

    def __str__(self) -> str:
        return f"{self.pair}: {self.what} is {self.value:.5g}; the limit is {self.limit:.5g}"


def check(
    baseline: Baseline,
    make: Pass,
    *,
    other: Pass | None = None,
    margin: float = MARGIN,
    parity_db: float = PARITY_DB,
    weights: str = "auto",
) -> list[Finding]:
    """Make the baseline's pairs again with `make`, and check their costs.

    Args:
        make: The path under test: (content, style) -> picture of the content's size.
        other: The same path in another precision or engine, whose pictures must agree with those of `make`.
        margin: Share by which a cost may rise; 0.05 is 5 %.
        parity_db: Minimum PSNR in dB between the pictures of the two paths.

    Returns:
        A finding for every cost of every pair and, with `other`, for every pair's agreement.

    Raises:
        InvalidOption: `margin` or `parity_db` is out of range.
        BaselineError: A picture or the weights are missing.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise InvalidOption(f"margin is {margin}; it is a share of at least 0, 0.05 for 5 %")
    if not parity_db > 0:
        raise InvalidOption(f"parity is {parity_db} dB; it is above 0 dB")
    loaded = vgg_weights.load(baseline.network, weights)
    findings = []
    for reference in baseline.references:
        content, style = _pair(reference, baseline.size)
        picture = make(*_sent(content, style, reference, baseline.size))
        now = _scores(content, style, picture, reference.costs, baseline.network, loaded)
        for preset, before in reference.costs.items():
            cost, limit = now[preset]["total_cost"], before * (1.0 + margin)
            findings.append(Finding(reference.name, f"{preset} cost", cost, limit, cost <= limit))
        if other is not None:
            second = other(*_sent(content, style, reference, baseline.size))
            decibel = psnr(images.to_pixels(picture), images.to_pixels(second))
            findings.append(Finding(reference.name, "parity in dB", decibel, parity_db, decibel >= parity_db))
    return findings


def record(baseline: Baseline, make: Pass, model: Mapping[str, Any], path: Path, weights: str = "auto") -> None:
    """Replace the costs in the results file `path` by those of the pictures that `make` makes now.

    Only the parts that `check` reads are kept: schema, settings, feedforward, and the pictures and scores of each pair.
    """
    loaded = vgg_weights.load(baseline.network, weights)
    pairs = []
    for reference in baseline.references:
        content, style = _pair(reference, baseline.size)
        picture = make(*_sent(content, style, reference, baseline.size))
        scores = _scores(content, style, picture, reference.costs, baseline.network, loaded)
        names = [p.relative_to(path.parent).as_posix() for p in (reference.content, reference.style)]
        pairs.append({"content": names[0], "style": names[1], "feedforward": {"scores": scores}})
    settings = {"size": baseline.size, "network": baseline.network, "weights_sha256": loaded.digest}
    table = {"schema": SCHEMA, "settings": settings, "feedforward": dict(model), "pairs": pairs}
    path.write_text(json.dumps(table, indent=1) + "\n")


def _pair(reference: Reference, size: int) -> tuple[Image.Image, Image.Image]:
    content = images.fit(images.load(reference.content, "content"), size)
    return content, images.fit(images.load(reference.style, "style"), size)


def _sent(content: Image.Image, style: Image.Image, reference: Reference, size: int) -> tuple[Image.Image, Image.Image]:
    """Return the content and style for the network, as `compare` sends them."""
    if size >= STYLE_SIDE:
        return content, style
    return content, images.fit(images.load(reference.style, "style"), STYLE_SIDE)


def _scores(
    content: Image.Image,
    style: Image.Image,
    picture: Image.Image,
    names: Mapping[str, Any],
    network: str,
    weights: vgg_weights.Weights,
) -> dict[str, dict[str, float]]:
    if picture.size != content.size:
        raise BaselineError(f"the picture is {picture.size}, its content {content.size} (width, height)")
    pixels, styles = images.to_pixels(content), [Style(images.to_pixels(style))]
    scores = {}
    for name in names:
        objective = Objective(pixels, styles, presets.preset(name).replace(network=network), weights)
        scores[name] = addends(objective.costs(images.to_pixels(picture)))
    return scores
