"""The domain: content, styles and options to a picture. This module does not use gRPC or HTTP."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .engine.base import Checkpoint, Engine
from .errors import InvalidInput, StyleExists, StyleMismatch
from .imaging import codec
from .imaging.budgets import DecodeBudget, HeldMemory
from .imaging.codec import Encoding, Picture
from .imaging.color import preserve_color
from .imaging.fit import Fit, resize_pixels, resize_to_square
from .imaging.guided import enlarge
from .imaging.limits import ImageLimits
from .options import Options, Source, WeightedStyle
from .passes import Pass, count_passes, crossfade, passes_of, shares_of
from .styles import thumbnails, vectors
from .styles.file import MAX_BYTES, DamagedFile, KeptStyle, dump, parse
from .styles.store import StyleStore, check_new_name, damaged
from .styles.vectors import Edition
from .telemetry import stages

_SURELY_SMALL = 2048
"""Side in pixels of a square content for which no memory is counted."""


@dataclass
class Timings:
    """Milliseconds that each stage of one job took."""

    decode_ms: float = 0.0
    predict_ms: float = 0.0
    transform_ms: float = 0.0
    encode_ms: float = 0.0
    style_cached: bool = False

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time spent inside to `<stage>_ms`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            setattr(self, f"{stage}_ms", getattr(self, f"{stage}_ms") + (end - start) * 1e3)
            stages.finished(stage, start, end)


@dataclass(frozen=True)
class Stylized:
    """A finished picture: a file, or the rows of its pixels for `Encoding.RAW_PIXELS`."""

    data: bytes
    encoding: Encoding
    width: int
    height: int
    timings: Timings


@dataclass(frozen=True)
class _Found:
    """A style of a blend: its vector [D] or [D+P], the fingerprint of its origin, and True if it was cached."""

    vector: np.ndarray
    origin: str
    cached: bool


class Stylizer:
    """Runs content and styles through an engine. Safe to call from several threads.

    Args:
        engine: Runs the network.
        limits: Limits on the size of a picture.
        max_styles: Maximum number of styles in one request.
        cache_bytes: Maximum bytes of style vectors that are kept for style pictures that are used again.
        edition: The network that the engine runs.
        store: The named styles.
    """

    def __init__(
        self,
        engine: Engine,
        limits: ImageLimits,
        max_styles: int,
        cache_bytes: int,
        edition: Edition,
        store: StyleStore,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._memory = HeldMemory(limits.max_held_bytes)
        self._max_styles = max_styles
        self._edition = edition
        self.store = store
        self.cache = vectors.StyleCache(cache_bytes)

    def stylize(
        self, content: Source, blend: Sequence[WeightedStyle], options: Options, checkpoint: Checkpoint = lambda: None
    ) -> Stylized:
        """Return the content in a blend of styles.

        Raises:
            InvalidInput: A picture cannot be used, or the number of styles is out of its range.
            StyleNotFound, StyleMismatch, StyleDamaged, StoreFailed: A named style cannot be used.
        """
        self._check_number(blend)
        timings = Timings()
        budget = DecodeBudget(self._limits)
        with self._hold(content, options, checkpoint):
            picture = self._load(content, options, count_passes(blend), timings, budget)
            checkpoint()
            passes = self._passes(blend, timings, checkpoint, budget)
            return self._render(picture, passes, options, timings, checkpoint, budget)

    def find_passes(
        self, blend: Sequence[WeightedStyle], timings: Timings, checkpoint: Checkpoint = lambda: None
    ) -> list[Pass]:
        """Return the passes of a blend, for `stylize_in`; raise errors as `stylize` does."""
        self._check_number(blend)
        return self._passes(blend, timings, checkpoint, DecodeBudget(self._limits))

    def stylize_in(
        self,
        passes: Sequence[Pass],
        content: Source,
        options: Options,
        timings: Timings,
        checkpoint: Checkpoint = lambda: None,
    ) -> Stylized:
        """Return the content stylized by passes from `find_passes`.

        Raises:
            InvalidInput: The content or a mask cannot be used.
        """
        budget = DecodeBudget(self._limits)
        with self._hold(content, options, checkpoint):
            picture = self._load(content, options, len(passes), timings, budget)
            return self._render(picture, passes, options, timings, checkpoint, budget)

    def create_style(
        self,
        name: str,
        blend: Sequence[WeightedStyle],
        overwrite: bool,
        checkpoint: Checkpoint = lambda: None,
    ) -> KeptStyle:
        """Keep a blend of styles under a name. The style is on disk when this method returns.

        Raises:
            StyleExists: The name is taken, and overwrite is false.
            InvalidInput, StyleNotFound, StyleMismatch, StyleDamaged, StoreFailed: As for `stylize`.
        """
        check_new_name(name)
        self._check_number(blend)
        for part in blend:
            if part.mask is not None:
                raise InvalidInput(f"{part.field}.mask", "a named style has no mask; give the mask with each picture")
        if not overwrite and name in self.store:
            # Checked before any work. If two callers pass this check at one time, `put` refuses one of them.
            raise StyleExists(f"style {name!r} exists; delete it first, or overwrite it")
        found = self._find(blend, Timings(), checkpoint, DecodeBudget(self._limits))
        weights = [style.weight for style in blend]
        vector = vectors.blend([part.vector for part in found], weights)
        style = KeptStyle(
            name=name,
            vector=vector,
            thumbnail=thumbnails.join([self._thumbnail(style, checkpoint) for style in blend], weights),
            origin_sha256=vectors.fingerprint_of_blend([part.origin for part in found], weights),
            edition=self._edition,
            create_time=datetime.now(UTC),
            tuned=vector.size > self._engine.style_dimension,
        )
        checkpoint()
        self.store.put(style, overwrite)
        return style

    def import_style(self, name: str, data: bytes, overwrite: bool) -> KeptStyle:
        """Keep the style of a style file under a name. The style is on disk when this method returns.

        Raises:
            StyleExists: The name is taken, and overwrite is false.
            InvalidInput: The name cannot be one, or the bytes are not a style file that can be used.
            StyleMismatch: The style was made by another network.
            StoreFailed: The style cannot be written.
        """
        check_new_name(name)
        style = self.read_style(name, data)
        self.store.put(style, overwrite)
        return style

    def read_style(self, name: str, data: bytes) -> KeptStyle:
        """Return the style of a style file that was made elsewhere; raise errors as `import_style` does."""
        if len(data) > MAX_BYTES:
            raise InvalidInput(
                "data", f"data has {len(data):,} bytes; the limit of a style file is {MAX_BYTES:,} bytes"
            )
        try:
            style = parse(name, data)
        except DamagedFile as error:
            raise InvalidInput("data", f"data is not a style file: {error}") from None
        self._check_own(style)
        expected = self._length(style)
        if style.vector.size != expected:
            raise InvalidInput(
                "data",
                f"data holds a style of {style.vector.size:,} numbers; a {'tuned' if style.tuned else 'plain'} style "
                f"of model {self._edition.name} has {expected:,}",
            )
        try:
            thumbnails.load(style.thumbnail)
        except Exception as error:
            # Pillow raises many kinds of errors for damaged files.
            raise InvalidInput("data", f"data holds a thumbnail that cannot be read: {error}") from None
        return style

    def export_style(self, name: str) -> bytes:
        """Return a style file of a named style.

        Raises:
            InvalidInput, StyleNotFound, StyleDamaged, StoreFailed: As for `StyleStore.get`.
        """
        return dump(self.store.get(name))

    def is_own(self, style: KeptStyle) -> bool:
        """Return True for a style that was made by this network. No other style can be used here."""
        return style.edition == self._edition

    def check_batch(self, contents: Sequence[Source], batch: Sequence[Source], options: Options) -> None:
        """Check from the headers of the pictures that the whole batch is within the limits of one call.

        Raises:
            InvalidInput: The batch has too many pixels, or one of its pictures cannot be used.
        """
        measured = [codec.sizes(each, options.fit, self._limits, "content", options.size) for each in contents]
        decoded = sum(came for came, _ in measured)
        decoded += sum(codec.sizes(each, Fit.SQUASH_256, self._limits, "style")[0] for each in batch)
        limit = self._limits.max_call_pixels
        if decoded > limit:
            raise InvalidInput(
                "content",
                f"the batch is {decoded / 1e6:,.1f} Mpx to decode, styles included; the limit is {limit / 1e6:,.1f} "
                "Mpx",
            )
        computed, limit = sum(target for _, target in measured), self._limits.max_pixels
        if computed > limit:
            raise InvalidInput(
                "content",
                f"the batch of {len(contents)} is {computed:,} px; the limit is {limit:,} px, single or batch",
            )

    def _check_number(self, blend: Sequence[WeightedStyle]) -> None:
        if not blend:
            raise InvalidInput("styles", "styles is empty; give at least 1 style")
        if len(blend) > self._max_styles:
            raise InvalidInput(
                "styles",
                f"styles has {len(blend)} styles; the limit is {self._max_styles} styles",
                value=len(blend),
                limit=self._max_styles,
                unit="styles",
            )

    def _hold(self, content: Source, options: Options, checkpoint: Checkpoint) -> AbstractContextManager[None]:
        """Hold the memory of a job's content and result, once its turn has come."""
        bounded = options.fit in {Fit.CROP_256, Fit.SQUASH_256} and (options.size or 0) <= _SURELY_SMALL
        if bounded and not options.full_size:
            return nullcontext()
        pixels = codec.held_pixels(content, options.fit, self._limits, options.size, options.full_size)
        return self._memory.hold(pixels, checkpoint)

    def _load(self, content: Source, options: Options, passes: int, timings: Timings, budget: DecodeBudget) -> Picture:
        with timings.measure("decode"):
            picture = codec.load(
                content,
                options.fit,
                self._limits,
                "content",
                options.size,
                budget,
                passes=passes,
                full_size=options.full_size,
            )
        height, width = picture.pixels.shape[:2]
        codec.check_encoding((width, height), options.encoding or picture.encoding, self._limits.max_result_bytes)
        return picture

    def _render(
        self,
        picture: Picture,
        passes: Sequence[Pass],
        options: Options,
        timings: Timings,
        checkpoint: Checkpoint,
        budget: DecodeBudget,
    ) -> Stylized:
        content = picture.pixels
        if options.full_size:
            with timings.measure("decode"):
                content = resize_pixels(content, picture.plan.target)
        own = None
        if options.strength < 1.0:
            with timings.measure("predict"):
                own = self._predict(resize_to_square(content))

        def transform(each: Pass) -> np.ndarray:
            vector = each.vector if own is None else vectors.interpolate(own, each.vector, options.strength)
            checkpoint()
            with timings.measure("transform"):
                return self._engine.transform(content[np.newaxis], vector[np.newaxis], checkpoint)[0]

        if len(passes) == 1 and passes[0].mask is None:
            result = transform(passes[0])
        else:
            with timings.measure("decode"):
                shares = shares_of(passes, picture.plan, self._limits, budget)
            result = crossfade(content, map(transform, passes), shares)
        checkpoint()
        with timings.measure("encode"):
            if options.full_size:
                result = enlarge(result, content, picture.pixels, checkpoint)
            if options.preserve_color:
                result = preserve_color(result, picture.pixels)
            encoding = options.encoding or picture.encoding
            data = codec.encode(result, encoding, options.quality, picture.metadata if options.keep_metadata else None)
        codec.check_length(data, self._limits.max_result_bytes)
        height, width = result.shape[:2]
        return Stylized(data, encoding, width, height, timings)

    def _passes(
        self, blend: Sequence[WeightedStyle], timings: Timings, checkpoint: Checkpoint, budget: DecodeBudget
    ) -> list[Pass]:
        return passes_of(blend, [part.vector for part in self._find(blend, timings, checkpoint, budget)])

    def _find(
        self, blend: Sequence[WeightedStyle], timings: Timings, checkpoint: Checkpoint, budget: DecodeBudget
    ) -> list[_Found]:
        found = []
        for style in blend:
            checkpoint()
            found.append(self._find_one(style, timings, budget))
        checkpoint()
        timings.style_cached = all(part.cached for part in found)
        return found

    def _find_one(self, style: WeightedStyle, timings: Timings, budget: DecodeBudget) -> _Found:
        source = style.source
        if isinstance(source, str):
            kept = self.store.get(source, f"{style.field}.name")
            self._check_own(kept)
            if kept.vector.size != self._length(kept):
                raise damaged(source, f"its vector has {kept.vector.size} numbers")
            return _Found(kept.vector, kept.origin_sha256, cached=True)

        def compute() -> np.ndarray:
            with timings.measure("decode"):
                picture = codec.load(source, Fit.SQUASH_256, self._limits, style.field, budget=budget)
            with timings.measure("predict"):
                return self._predict(picture.pixels)

        origin = vectors.fingerprint(source)
        vector, cached = self.cache.get(f"{self._edition.name} {self._edition.weights_sha256} {origin}", compute)
        return _Found(vector, origin, cached)

    def _check_own(self, style: KeptStyle) -> None:
        if not self.is_own(style):
            made, own = style.edition, self._edition
            raise StyleMismatch(
                f"style {style.name!r} was made by model {_describe(made)}, and this server runs {_describe(own)}; "
                "create it again"
            )

    def _length(self, style: KeptStyle) -> int:
        """Return the number of values in a style of this kind, tuned or plain."""
        return self._engine.style_dimension + (self._engine.norm_parameters if style.tuned else 0)

    def _thumbnail(self, style: WeightedStyle, checkpoint: Checkpoint) -> np.ndarray:
        checkpoint()
        if not isinstance(style.source, str):
            return thumbnails.shrink(codec.load(style.source, Fit.CROP_256, self._limits, style.field).pixels)
        try:
            return thumbnails.load(self.store.get(style.source).thumbnail)
        except Exception as error:
            # Pillow raises many kinds of errors for damaged files.
            raise damaged(style.source, f"its thumbnail cannot be read: {error}") from None

    def _predict(self, style: np.ndarray) -> np.ndarray:
        return self._engine.predict(style[np.newaxis])[0]


def _describe(edition: Edition) -> str:
    return f"{edition.name} ({edition.weights_sha256[:12]})"
