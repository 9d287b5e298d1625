"""`stylize`: make a stylized picture and the history of its run from pictures and settings."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from PIL import Image

from . import color, images, memory
from .errors import Diverged, InvalidImage, InvalidOption, StopRun
from .feedforward import FeedForward
from .images import Picture, Pixels
from .objective.objective import Costs, Objective, Style
from .objective.presets import Preset
from .objective.program import CustomCost
from .objective.tiles import TiledObjective, needs_whole
from .optimize import Descent, Step, minimize
from .settings import INITS, Settings
from .vgg import architecture, precision
from .vgg.rescale import load_rescaled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """The state of a run, from which it can be resumed: `pixels` [1, H, W, 3] after `done` iterations at `scale`.

    `best` is the picture with the lowest cost at that scale so far. It may differ from the current picture.
    """

    scale: int
    done: int
    iteration: int
    evaluations: int
    seconds: float
    pixels: Pixels
    best: Pixels | None = None


@dataclass(frozen=True)
class Progress:
    """One finished iteration.

    `iteration`, `evaluations` and `seconds` count over all scales, and include the run before a resume. `done` counts
    the iterations at this scale. `improved` is True if the best cost at this scale fell since the last report. Call
    `picture` and `state` only inside the callback: they make the current picture, and the history keeps no pictures.
    """

    iteration: int
    iterations: int
    evaluations: int
    scale: int
    scales: int
    done: int
    width: int
    height: int
    costs: Costs
    seconds: float
    improved: bool
    picture: Callable[[], Image.Image] = field(repr=False, compare=False)
    state: Callable[[], State] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Result:
    """The best picture of the finest scale that was reached.

    Attributes:
        picture: The picture as a PIL image.
        pixels: The picture as float32 [1, H, W, 3].
        costs: The costs of `pixels` before the content's colors are restored.
        cost: The definition that was minimized.
        stopped: The reason why the run ended early; "" if it did all iterations.
    """

    picture: Image.Image
    pixels: Pixels
    costs: Costs
    history: tuple[Progress, ...]
    evaluations: int
    seconds: float
    precision: str
    cost: Preset
    stopped: str = ""

    def save(self, path: str | Path, bits: int = 8) -> None:
        """Write the picture; `bits` is 8, or 16 for a PNG of 16 bits in each of R, G and B."""
        images.save(self.pixels, Path(path), bits)


@overload
def stylize(content: Picture, style: Picture | Sequence[Picture], **options: Any) -> Result: ...
@overload
def stylize(content: list[Picture], style: Picture | Sequence[Picture], **options: Any) -> list[Result]: ...
def stylize(
    content: Picture | list[Picture],
    style: Picture | Sequence[Picture],
    *,
    settings: Settings | None = None,
    style_weights: Sequence[float] | None = None,
    masks: Sequence[Picture | None] | None = None,
    custom: CustomCost | None = None,
    callback: Callable[[Progress], None] | None = None,
    server: str | None = None,
    resume: State | None = None,
    **options: Any,
) -> Result | list[Result]:
    """Return the picture that minimizes J(G) = alpha J_content + beta J_style + gamma TV (neural style transfer).

    Args:
        content: A path, bytes, PIL image, uint8 [H, W, 3] or float [H, W, 3] in 0..1; or a list of them, which share
            the weights and the compiled program.
        style: A picture of the same kinds, or a list of them.
        settings: A `Settings`; or give its fields as keywords (`preset="coursera", iterations=100`), and
            `as_published=True` for start, optimizer, iterations and size of the preset's source.
        style_weights: Weight of each style, above 0; they are normalized to sum to 1.
        masks: A gray picture for each style, white where it applies, or None for everywhere.
        custom: A further cost of the caller.
        callback: Called with a `Progress` after each iteration; may raise `StopRun` to end the run.
        server: HOST:PORT of a stylewire server, for init="feedforward".
        resume: State of an earlier run with the same pictures and settings. L-BFGS and Adam begin with an empty memory
            there, and gradient descent with its first step, so the costs of a resumed run differ a little from those
            of an uninterrupted one.

    Returns:
        A `Result`, or a list of them for a list of contents.

    Raises:
        BaselineError: InvalidImage, InvalidOption, WeightsError, or Diverged before the first improvement.
    """
    if settings is not None and options:
        raise InvalidOption(f"give settings or keywords, not both (got {', '.join(options)})")
    settings = Settings.of(**options) if settings is None else settings
    if isinstance(content, list):
        if not content:
            raise InvalidOption("no content picture; at least one is needed")
        if resume is not None:
            raise InvalidOption("a run of several contents cannot be resumed")
        loaded = load_rescaled(settings.cost.network, settings.weights, settings.rescale, settings.cost.pooling)
        settings = replace(settings, weights=loaded, rescale=())
    runs = [
        _Run(
            settings=settings,
            content=one,
            style=style,
            style_weights=style_weights,
            masks=masks,
            custom=custom,
            server=server,
        )
        for one in (content if isinstance(content, list) else [content])
    ]
    results = [run(callback, resume) for run in runs]
    return results if isinstance(content, list) else results[0]


class _Run:
    def __init__(
        self,
        *,
        settings: Settings,
        content: Picture,
        style: Picture | Sequence[Picture],
        style_weights: Sequence[float] | None,
        masks: Sequence[Picture | None] | None,
        custom: CustomCost | None,
        server: str | None,
    ) -> None:
        self.settings = settings
        self.custom = custom
        self.server = server
        self._feedforward: Image.Image | None = None
        original = images.load(content, "content")
        self.precision = precision.resolve(settings.precision)
        size = images.fitted_size(original.size, settings.size)
        _check_memory(size, self.precision == "bf16", settings)
        self.content = images.fit(original, settings.size, limit=None)
        pictures = images.as_list(style)
        if not pictures:
            raise InvalidOption("no style picture; at least one is needed")
        self.shares = _one_each(style_weights, pictures, "style weights", 1.0)
        self.masks = _one_each(None if masks is None else images.as_list(masks), pictures, "masks", None)  # type: ignore[arg-type]
        if settings.tile and custom is not None:
            raise InvalidOption("a custom cost needs the whole picture at once; leave out the tiles")
        self.style_sources = [images.load(p, "style") for p in pictures]
        self.weights = load_rescaled(settings.cost.network, settings.weights, settings.rescale, settings.cost.pooling)
        self.sizes = settings.sizes(*self.content.size)

    def __call__(self, callback: Callable[[Progress], None] | None, resume: State | None) -> Result:
        settings = self.settings
        now = resume or State(1, 0, 0, 0, 0.0, np.empty((1, 0, 0, 3), np.float32))
        if not 1 <= now.scale <= len(self.sizes):
            raise InvalidOption(f"resumes at scale {now.scale}; this run has 1..{len(self.sizes)}")
        history: list[Progress] = []
        stopped = ""
        best: Descent | None = None
        for scale in range(now.scale, len(self.sizes) + 1):
            iterations = self._iterations(scale) - now.done
            if iterations <= 0 and now.best is not None:
                # The run was interrupted between two scales. The next one begins at the best picture, as always.
                now = replace(now, pixels=now.best)
            if iterations > 0 and not stopped:
                descent, start = self._descent(scale, now, callback, history)
                began = time.perf_counter()
                try:
                    arrived = minimize(
                        descent,
                        start,
                        settings.optimizer,
                        iterations,
                        settings.learning_rate,
                        settings.betas,
                        settings.epsilon,
                    )
                    if arrived and scale == len(self.sizes):
                        stopped = "no step lowers the cost any more"
                except StopRun as stop:
                    stopped = str(stop) or "stopped"
                except Diverged as error:
                    if descent.iterations == 0 and best is None:
                        raise
                    stopped = str(error)
                    log.warning("%s; keeping the best picture so far", error)
                seconds = now.seconds + time.perf_counter() - began
                if descent.best is not None:
                    best, now = descent, replace(now, pixels=descent.best)
                now = replace(
                    now,
                    iteration=now.iteration + descent.iterations,
                    evaluations=now.evaluations + descent.evaluations,
                    seconds=seconds,
                )
            now = replace(now, scale=scale + 1, done=0, best=None)
        if best is None or best.best_costs is None:
            raise InvalidOption(f"nothing to do: {stopped or 'the run is complete; give it more iterations'}")
        width, height = self.sizes[-1]
        pixels = images.resize_pixels(now.pixels, height, width)
        final = self._recolor(pixels, width, height)
        # A run that ended at a coarser scale has the costs of that scale, not those of the enlarged picture.
        costs = best.best_costs if pixels is now.pixels else self._objective(len(self.sizes))[0].costs(pixels)
        return Result(
            images.to_image(final),
            final,
            costs,
            tuple(history),
            now.evaluations,
            now.seconds,
            self.precision,
            settings.cost,
            stopped,
        )

    def _iterations(self, scale: int) -> int:
        settings = self.settings
        finest = scale == len(self.sizes)
        return settings.iterations if finest else settings.coarse_iterations or settings.iterations

    def _descent(
        self, scale: int, now: State, callback: Callable[[Progress], None] | None, history: list[Progress]
    ) -> tuple[Descent, Pixels]:
        """Return the descent at `scale`, and the picture that it starts from."""
        settings = self.settings
        width, height = self.sizes[scale - 1]
        objective, content, styles = self._objective(scale)
        total = now.iteration - now.done + sum(map(self._iterations, range(scale, len(self.sizes) + 1)))

        def report(step: Step) -> None:
            def state() -> State:
                return State(
                    scale,
                    progress.done,
                    progress.iteration,
                    progress.evaluations,
                    progress.seconds,
                    step.pixels,
                    descent.best,
                )

            progress = Progress(
                iteration=now.iteration + step.iteration,
                iterations=total,
                evaluations=now.evaluations + step.evaluations,
                scale=scale,
                scales=len(self.sizes),
                done=now.done + step.iteration,
                width=width,
                height=height,
                costs=step.costs,
                seconds=now.seconds + step.seconds,
                improved=step.improved,
                picture=lambda: images.to_image(self._recolor(step.pixels, width, height)),
                state=state,
            )
            history.append(replace(progress, picture=_gone, state=_gone))
            if callback is not None:
                callback(progress)

        budget = None if settings.evaluations is None else settings.evaluations - now.evaluations
        descent = Descent(objective, report, budget, now.best)
        return descent, self._start(now, content, styles)

    def _objective(self, scale: int) -> tuple[Objective | TiledObjective, Pixels, list[Style]]:
        """Return the cost at `scale`, and the content and styles that it compares with."""
        width, height = self.sizes[scale - 1]
        content = images.to_pixels(images.resize(self.content, width, height))
        styles = self._styles(width, height, content)
        if self.settings.preserve_color:
            content = images.luminance(content)
        bfloat16, tile = self.precision == "bf16", self.settings.tile
        objective: Objective | TiledObjective
        if tile and max(*content.shape[1:3], *(max(style.pixels.shape[1:3]) for style in styles)) > tile:
            objective = TiledObjective(content, styles, self.settings.cost, self.weights, tile=tile, bfloat16=bfloat16)
        else:
            objective = Objective(
                content, styles, self.settings.cost, self.weights, bfloat16=bfloat16, custom=self.custom
            )
        return objective, content, styles

    def _start(self, now: State, content: Pixels, styles: Sequence[Style]) -> Pixels:
        """Return the start of a scale: that of the run, the state of a resumed run, or the coarser scale's result."""
        height, width = content.shape[1:3]
        if now.done:
            return images.resize_pixels(now.pixels, height, width)
        if not now.pixels.size:
            return self._init(content, styles)
        init = self.settings.init
        if isinstance(init, str) and init in ("noise", "content+noise"):
            return images.resize_pixels(now.pixels, height, width)
        return images.refine(now.pixels, self._init(content, styles))

    def _styles(self, width: int, height: int, content: Pixels) -> list[Style]:
        """Return the style pictures at this scale. They shrink with the content, and so do their strokes."""
        final = max(self.content.size)
        longer = round((self.settings.style_size or final) * max(width, height) / final)
        least = architecture.smallest_side(self.settings.cost.layers)
        styles = []
        for image, share, mask in zip(self.style_sources, self.shares, self.masks, strict=True):
            # A panorama keeps the minimum height for the deepest layer, if its full size has it.
            needed = math.ceil(least * max(image.size) / min(image.size))
            pixels = images.to_pixels(
                images.fit(image, max(longer, min(needed, self.settings.style_size or final)), limit=None)
            )
            if self.settings.preserve_color:
                pixels = images.match_luminance(pixels, content)
            elif self.settings.color_transfer:
                pixels = color.TRANSFERS[self.settings.color_transfer](pixels, content)
            styles.append(Style(pixels, share, None if mask is None else images.load_mask(mask, width, height)))
        return styles

    def _init(self, content: Pixels, styles: Sequence[Style]) -> Pixels:
        """Return the picture to start from, of the content's shape."""
        settings = self.settings
        height, width = content.shape[1:3]
        init = settings.init
        if not isinstance(init, str) or init not in INITS:
            picture = images.to_pixels(images.resize(images.load(init, "init"), width, height))
        elif init == "style":
            picture = images.resize_pixels(styles[0].pixels, height, width)
        elif init == "feedforward":
            if self._feedforward is None:
                if not self.server:
                    raise InvalidOption("init 'feedforward' needs a running server: name it with --server HOST:PORT")
                with FeedForward(self.server) as network:
                    self._feedforward = network.blend(self.content, self.style_sources, self.shares)
            picture = images.to_pixels(images.resize(self._feedforward, width, height))
        else:
            noise = np.random.default_rng(settings.seed).random(content.shape, np.float32)
            share = {"content": 0.0, "noise": 1.0, "content+noise": settings.noise}[init]
            picture = ((1.0 - share) * content + share * noise).astype(np.float32)
        return images.luminance(picture) if settings.preserve_color else picture

    def _recolor(self, pixels: Pixels, width: int, height: int) -> Pixels:
        if not self.settings.preserve_color:
            return pixels
        return images.with_color_of(pixels, images.to_pixels(images.resize(self.content, width, height)))


def _one_each(values: Sequence[Any] | None, pictures: Sequence[Any], what: str, default: Any) -> list[Any]:
    if values is None:
        return [default] * len(pictures)
    if len(values) != len(pictures):
        raise InvalidOption(f"{len(values)} {what} for {len(pictures)} style pictures")
    return list(values)


def _check_memory(size: tuple[int, int], bfloat16: bool, settings: Settings) -> None:
    """Raise InvalidImage for a run that needs more memory than is available, unless `any_size` is set."""
    width, height = size
    needed = memory.needed_gigabytes(width * height, bfloat16, settings.cost.style_loss, settings.tile)
    free = memory.available_gigabytes()
    told = f"a run at {width}x{height} px = {width * height / 1e6:.1f} Mpx needs about {needed:.1f} GB of memory"
    if free is not None and needed > free:
        told += f"; {free:.1f} GB are available"
        if not settings.any_size:
            in_tiles = settings.tile is None and not needs_whole(settings.cost)
            ways = "Choose a smaller size, compute it in tiles (--tile 512)," if in_tiles else "Choose a smaller size"
            raise InvalidImage(f"{told}. {ways} or accept it (--any-size)")
        log.warning("%s", told)
    elif width * height > images.MAX_PIXELS:
        log.warning("%s", told)


def _gone() -> Any:
    raise InvalidOption("the picture of a past iteration is not kept; ask for it inside the callback")
