"""`tune`: make the served network paint one style better, by descending J over its norm parameters.

A style steers the transformer by nothing but the scales and offsets of its conditional instance norms. Dumoulin et al.
2017 (A learned representation for artistic style) train these numbers for each style. `tune` starts from what the
style predictor gives for a picture, and descends the same cost on random crops of a few photographs. The time of a
picture in the server does not change.
"""

from __future__ import annotations

import hashlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import images
from ..errors import InvalidOption, NotBetter, StopRun
from ..images import Picture, Pixels
from ..objective.program import Targets, program
from ..vgg import precision
from ..vgg.rescale import load_rescaled
from .likeness import compiled_restoring_gradient, correlations, likeness
from .style import STYLE_SIDE, Quality, TunedStyle, TuneProgress, TuneSettings
from .transformer import Transformer, read_weights

if TYPE_CHECKING:
    from stylewire_server.engine.openvino import OpenVinoEngine
    from stylewire_server.models.network import Network

log = logging.getLogger(__name__)

CONTENT_LIMIT = 1.15
"""Maximum content cost of a tuned style by default, as a multiple of the untuned style's."""

LEAST_LIKENESS = 0.6
"""Minimum likeness of a content and its picture by default. Chosen by eye: faces are gone from 0.38 to 0.5, hard to see
from 0.5 to 0.58, and easy to see above 0.63."""

_HALVINGS = 4
"""Points that are tried on the way from one tuning to another: the last step is a sixteenth of it."""

EVALUATION_STEPS = 12
"""Steps between two looks at the photographs that are kept apart."""

_PATIENCE = 2
"""Looks without a gain of `_LEAST_GAIN`, after which the descent ends, unless the content still loses too much."""

_LEAST_GAIN = 0.002

_CONTENT_AIM = 1.13
"""Content cost that the descent aims at, as a multiple of the untuned style's. It is below `CONTENT_LIMIT`, because the
style's weight follows with a delay."""

_REACTION = 4
"""Power with which the style's weight follows the content cost at each look."""

_LAYOUT_WEIGHT = 2.0
"""Weight of what the likeness lacks, as a multiple of J before the tuning. Five times as much changes nothing."""

_LAYOUT_MARGIN = 0.03
"""By how much the descent aims above the minimum of the likeness, because photographs differ."""

_MOST_CROPS, _STEPS_PER_CROP = 16, 3
"""Maximum number of crops, which the steps take in turn, and the steps that each serves at least. The targets of a crop
take a third of a step's time and are computed once."""

_SCALES = (0.8, 1.4)
"""Photographs are scaled so that their shorter side is 0.8 to 1.4 times 256 px, the size of a default request."""

_WARM_UP, _FINAL_RATE = 5, 0.1
"""Steps of growing learning rate, and the share of it that is left at the end."""

_AVERAGE = 0.8
"""Decay of the running mean of the numbers. It takes out the noise of single crops."""


def example_photographs() -> list[Path]:
    """Return the photographs that come with the package."""
    folder = files("stylewire_server") / "web" / "examples"
    return sorted(Path(str(each)) for each in folder.iterdir() if each.name.endswith(".jpg"))


def tune(
    style: Picture,
    *,
    photographs: Sequence[Picture] = (),
    settings: TuneSettings | None = None,
    callback: Callable[[TuneProgress], None] = lambda progress: None,
) -> TunedStyle:
    """Tune a style to one picture.

    Args:
        style: The style picture.
        photographs: At least two; the first of every three is kept apart, to measure on. Without any, those that come
            with the package.
        settings: How.
        callback: Is told the progress; it may raise `StopRun`, which ends the descent and keeps the best so far.

    Raises:
        NotBetter: J on the photographs that were kept apart did not fall.
        BaselineError: InvalidImage, InvalidOption or WeightsError.
        stylewire_server.models.network.WeightsError: The network cannot be read.
    """
    settings = settings or TuneSettings()
    began = time.process_time()
    chosen = list(photographs) or example_photographs()
    if len(chosen) < 2:
        raise InvalidOption(f"photographs are {len(chosen)}; at least 2 are needed, one of them to measure on")
    run = _Run(images.load(style, "style"), chosen, settings)
    tuning, amount, after, steps, stopped = run.descend(callback)
    if after.cost >= run.before.cost:
        raise NotBetter(
            f"the cost on photographs kept apart was {run.before.cost:.6g} and is {after.cost:.6g} after {steps} "
            "steps; the style stays as the network predicts it"
        )
    facts = {
        "picture": _name(style),
        "picture_sha256": hashlib.sha256(np.asarray(images.load(style, "style")).tobytes()).hexdigest(),
        "photographs": [_name(each) for each in run.trained_on],
        "kept_apart": [_name(each) for each in run.kept_apart],
        "preset": settings.cost.name,
        "vgg": run.vgg,
        "steps": steps,
        "size": settings.size,
        "seed": settings.seed,
        "amount": amount,
        "cost_before": run.before.cost,
        "cost_after": after.cost,
        "content_cost_before": run.before.content_cost,
        "content_cost_after": after.content_cost,
    }
    return TunedStyle(
        vector=run.vector,
        tuning=tuning,
        amount=amount,
        before=run.before,
        after=after,
        steps=steps,
        stopped=stopped,
        seconds=time.process_time() - began,
        facts=facts,
        style=run.style,
        pictures=run.pictures(tuning),
        _network=run.network,
    )


def _name(picture: Picture) -> str:
    return Path(picture).name if isinstance(picture, str | Path) else "unnamed"


@dataclass(frozen=True)
class _Crop:
    """A content picture [1, H, W, 3], what the contraction makes of it, and what its stylized pictures are compared
    with. `layout` [2] are the least correlations of a stylized picture with it."""

    content: Any
    contracted: Any
    targets: Targets
    layout: Any


class _Run:
    """The data and the compiled functions of one tuning."""

    def __init__(self, style: Image.Image, photographs: Sequence[Picture], settings: TuneSettings) -> None:
        from stylewire_server.models.select import open_network
        from stylewire_server.settings import CacheSettings

        self.settings = settings
        self.style = style
        self.kept_apart = [each for index, each in enumerate(photographs) if index % 3 == 0]
        self.trained_on = [each for index, each in enumerate(photographs) if index % 3]
        self.network = open_network(settings.model, CacheSettings().cache)
        self.transformer = Transformer(read_weights(self.network))
        self.engine = _engine(self.network)
        square = images.to_pixels(images.resize(style, STYLE_SIDE, STYLE_SIDE))
        self.vector = self.engine.predict(square)[0]
        self._start = self.transformer.norm_parameters(self.vector)

        loaded = load_rescaled(settings.cost.network, settings.weights, settings.rescale, settings.cost.pooling)
        self.vgg = f"{settings.cost.network} from {loaded.source}"
        bfloat16 = precision.resolve(settings.precision) == "bf16"
        self._program = program(loaded, settings.cost, bfloat16=bfloat16, masked=(False,))
        self._paint, self._gradient, self._restoring = _compiled(self.transformer)
        self._style = self._program.style(images.to_pixels(images.fit(style, STYLE_SIDE)))
        self._apart = [_square(images.load(each, _name(each))) for each in self.kept_apart]
        self._apart = [images.resize(each, STYLE_SIDE, STYLE_SIDE) for each in self._apart]
        self._evaluated = [self._crop(images.to_pixels(each)) for each in self._apart]
        self.before = self.quality(np.zeros_like(self._start))
        self._least_likeness = min(float(np.min(crop.layout)) for crop in self._evaluated)

    def _crop(self, content: Pixels) -> _Crop:
        import tensorflow as tf

        targets = Targets(
            self._program.content(content),
            [self._style],
            [tf.constant(1.0)],
            [tf.constant(np.empty((1, 0, 0, 1), np.float32))],
        )
        pixels = tf.constant(content)
        contracted = self.transformer.contract(pixels)
        untuned = correlations(pixels, self._paint(contracted, self._start))
        return _Crop(pixels, contracted, targets, tf.minimum(untuned, LEAST_LIKENESS))

    def quality(self, tuning: NDArray[np.float32]) -> Quality:
        """Return the mean costs over the photographs that are kept apart, and their least likeness."""
        found, alike = [], []
        contents = len(self.settings.cost.content_layers)
        for crop in self._evaluated:
            picture = self._paint(crop.contracted, self._start + tuning)
            terms = self._program.value(picture, crop.targets).numpy()
            weighted = [factor * term for factor, term in zip(self._program.factors, terms, strict=True) if factor]
            found.append((float(sum(weighted)), float(sum(weighted[:contents]))))
            alike.append(likeness(crop.content, picture))
        cost, content_cost = np.mean(found, axis=0)
        return Quality(float(cost), float(content_cost), min(alike))

    def descend(self, callback: Callable[[TuneProgress], None]) -> tuple[NDArray[np.float32], float, Quality, int, str]:
        """Descend J, with less weight for the style while the content loses too much.

        Where the settings name an amount, the descent does not look after the content.

        Returns:
            The tuning [P], the amount that it stands for, its quality, the steps done, and why the descent ended
            early, if it did.
        """
        settings = self.settings
        rng = np.random.default_rng(settings.seed)
        loaded = [images.load(each, _name(each)) for each in self.trained_on]
        crops: list[_Crop] = []
        crops_wanted = min(_MOST_CROPS, math.ceil(settings.steps / _STEPS_PER_CROP))
        nothing = np.zeros_like(self._start)
        adam = _Adam(nothing)
        mean: NDArray[Any] = nothing
        share = 1.0
        kept, kept_quality = nothing, self.before
        boldest = nothing
        lowest, waited = self.before.cost, 0
        step, now, stopped = 0, self.before, ""
        try:
            callback(TuneProgress(0, settings.steps, self.before, now))
            for step in range(1, settings.steps + 1):
                if len(crops) < crops_wanted:
                    crops.append(self._crop(_random_crop(loaded[len(crops) % len(loaded)], settings.size, rng)))
                crop = crops[(step - 1) % crops_wanted]
                adam.step(self._slope(crop, adam.values, share), settings.learning_rate * _rate(step, settings.steps))
                mean = _AVERAGE * mean + (1 - _AVERAGE) * adam.values
                if step % EVALUATION_STEPS and step != settings.steps:
                    callback(TuneProgress(step, settings.steps, self.before, now))
                    continue
                # The mean starts at zero; this takes the start out of it.
                last = (mean / (1 - _AVERAGE**step)).astype(np.float32)
                now = self.quality(last)
                rise, is_alike = self._content_of(now)
                keeps_content = settings.amount is not None or (rise <= CONTENT_LIMIT and is_alike)
                gains = now.cost < lowest * (1 - _LEAST_GAIN)
                waited = waited + 1 if keeps_content and not gains else 0
                if now.cost < lowest:
                    lowest, boldest = now.cost, last
                if keeps_content and now.cost < kept_quality.cost:
                    kept, kept_quality = last, now
                if settings.amount is None:
                    share = min(1.0, share * (_CONTENT_AIM / rise) ** _REACTION)
                callback(TuneProgress(step, settings.steps, self.before, now))
                if waited == _PATIENCE:
                    stopped = "no further gain"
                    break
        except StopRun as reason:
            stopped = str(reason) or "stopped"
        if settings.amount is not None:
            kept = np.float32(settings.amount) * kept
            return kept, settings.amount, self.quality(kept), step, stopped
        # A part of the way to a point that gains more but loses too much of the content can be better than a point that
        # keeps it. The way begins at the predicted style, or at the point that keeps the content.
        best = kept, 1.0, kept_quality
        starts = (nothing, kept) if kept is not nothing else (nothing,)
        for start in starts if boldest is not kept else ():
            tuning, part, found, fits = self._furthest(start, boldest)
            if found.cost < best[2].cost and (fits or kept is nothing):
                best = tuning, part if start is nothing else 1.0, found
        return *best, step, stopped

    def _slope(self, crop: _Crop, tuning: NDArray[np.float32], share: float) -> NDArray[np.float32]:
        """Return the gradient of J over the norm parameters, with the style's cost multiplied by `share`.

        Without an amount, what the picture lacks of its content's layout adds to J.
        """
        import tensorflow as tf

        parameters = self._start + tuning
        picture = self._paint(crop.contracted, parameters)
        _, slope = self._program.step(picture, crop.targets._replace(shares=[tf.constant(share)]))
        if self.settings.amount is None:
            aim = crop.layout + _LAYOUT_MARGIN
            slope += _LAYOUT_WEIGHT * self.before.cost * self._restoring(crop.content, picture, aim)
        return self._gradient(crop.contracted, parameters, slope).numpy()

    def _furthest(
        self, start: NDArray[np.float32], end: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, Quality, bool]:
        """Return the last point of the way that keeps the content, its part of the way, its quality, and True.

        The end does not keep it. Where no point does, return the nearest to the start, and False.
        """
        low, high = 0.0, 1.0
        tried = []
        for _ in range(_HALVINGS):
            part = (low + high) / 2
            tuning = start + np.float32(part) * (end - start)
            quality = self.quality(tuning)
            rise, is_alike = self._content_of(quality)
            fits = rise <= CONTENT_LIMIT and is_alike
            low, high = (part, high) if fits else (low, part)
            tried.append((tuning, part, quality, fits))
        return next((each for each in reversed(tried) if each[3]), tried[-1])

    def _content_of(self, found: Quality) -> tuple[float, bool]:
        """Return the content cost as a multiple of the untuned style's, and whether the likeness is large enough."""
        return found.content_cost / self.before.content_cost, found.likeness >= self._least_likeness

    def pictures(self, tuning: NDArray[np.float32]) -> list[tuple[Image.Image, Image.Image, Image.Image]]:
        """Return content, untuned and tuned picture at 256 px for each photograph that is kept apart."""
        found = []
        for content in self._apart:
            pixels = images.to_pixels(content)
            made = (
                images.to_image(self.engine.transform(pixels, style[np.newaxis]))
                for style in (self.vector, np.concatenate([self.vector, tuning]))
            )
            found.append((content, *made))
        return found  # type: ignore[return-value]


class _Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with a second-moment decay for short runs."""

    def __init__(self, values: NDArray[np.float32], decay: tuple[float, float] = (0.9, 0.99)) -> None:
        self.values = values
        self._decay = decay
        self._first: NDArray[Any] = np.zeros_like(values)
        self._second: NDArray[Any] = np.zeros_like(values)
        self._count = 0

    def step(self, gradient: NDArray[np.float32], rate: float) -> None:
        self._count += 1
        first, second = self._decay
        self._first = first * self._first + (1 - first) * gradient
        self._second = second * self._second + (1 - second) * np.square(gradient)
        mean = self._first / (1 - first**self._count)
        spread = np.sqrt(self._second / (1 - second**self._count))
        self.values = (self.values - rate * mean / (spread + 1e-8)).astype(np.float32)


def _rate(step: int, steps: int) -> float:
    """Return the share of the learning rate for a step: a linear warm-up, then a cosine down to a tenth."""
    warm = min(1.0, step / _WARM_UP)
    return warm * (_FINAL_RATE + (1 - _FINAL_RATE) * (1 + math.cos(math.pi * step / steps)) / 2)


def _compiled(transformer: Transformer) -> tuple[Any, Any, Any]:
    """Return compiled functions: the transformer's picture, its gradient over the norm parameters, and the gradient
    that restores the layout."""
    import tensorflow as tf

    contracted = tf.TensorSpec((1, None, None, None), tf.float32)
    parameters, picture = tf.TensorSpec((transformer.parameters,), tf.float32), tf.TensorSpec((1, None, None, 3))

    def gradient(contracted: Any, parameters: Any, slope: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(parameters)
            made = transformer.paint(contracted, parameters)
        return tape.gradient(made, parameters, slope)

    return (
        tf.function(transformer.paint, input_signature=[contracted, parameters], autograph=False),
        tf.function(gradient, input_signature=[contracted, parameters, picture], autograph=False),
        compiled_restoring_gradient(),
    )


def _engine(network: Network) -> OpenVinoEngine:
    from stylewire_server.engine.openvino import OpenVinoEngine

    return OpenVinoEngine(network, "f32")


def _square(image: Image.Image) -> Image.Image:
    return images.crop_to_shape(image, 1, 1)


def _random_crop(image: Image.Image, side: int, rng: np.random.Generator) -> Pixels:
    """Return a square part of a photograph at a random scale, mirrored or not."""
    scale = max(STYLE_SIDE * rng.uniform(*_SCALES), side) / min(image.size)
    width, height = (max(side, round(length * scale)) for length in image.size)
    resized = images.resize(image, width, height)
    left, top = rng.integers(width - side + 1), rng.integers(height - side + 1)
    crop = images.to_pixels(resized.crop((int(left), int(top), int(left) + side, int(top) + side)))
    return np.ascontiguousarray(crop[:, :, ::-1]) if rng.random() < 0.5 else crop
