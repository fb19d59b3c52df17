"""One procedural photograph, with its mask."""

from __future__ import annotations

import difflib
import zlib
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.data.place import place_of
from lriad.data.synthetic import defects
from lriad.data.synthetic.canvas import UNITS, Canvas, Floats, Rng, circle, develop, noise, turned
from lriad.data.synthetic.families import CATEGORIES, Category
from lriad.data.synthetic.nuisances import cast_shadow, disturb
from lriad.data.synthetic.photograph import Rig, photograph
from lriad.errors import LriadError

# Pictures this small gain nothing from threads, and data loaders' workers would fight over them.
cv2.setNumThreads(1)

MIN_AREA = 0.0018
MAX_AREA = 0.09
SMALL_AREA = 0.0048
MIN_CHANGE = 18.0
"""What a defect must be before it is photographed: its share of the image (a small one's at most SMALL_AREA), and the
mean change of its pixels in grey levels. A shot may take a part of each (a darker lamp, a shift, blur); what is left is
above 0.1 % and 12 levels, or 10 in the dim light of the `parts` family."""

SMALL_SHARE = 0.45
"""How many of the surface defects are small where the category is varied; close-ups enlarge some of them again."""

SHADOW_SHARE = 0.12
"""How many parts of varied categories lie in the shadow of something outside the picture."""

_ATTEMPTS = 40


@dataclass(frozen=True)
class Rendering:
    """A photograph and the truth about it.

    Attributes:
        image: RGB of shape (S, S, 3), 0 to 255.
        mask: Where the defect is, of shape (S, S); all False without one.
        defect_type: The kind of defect, None for a sound part.
        place: Where it is, in words, None for a sound part.
        category: The kind of part.
        part_seed: Which part.
        shot_seed: Which photograph of it.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    defect_type: str | None
    place: str | None
    category: str
    part_seed: int
    shot_seed: int


def defect_kinds(category: str) -> tuple[str, ...]:
    """The kinds of defect that a category can have."""
    return _category(category).kinds


def render(
    category: str,
    part_seed: int,
    shot_seed: int = 0,
    defect: str | None = None,
    size: int = 320,
    *,
    framed: str | None = None,
) -> Rendering:
    """Photograph one part.

    The same arguments give the same bytes. `part_seed` fixes the part and where and how its defect is: without a
    defect, and with any, it is the same part (in the `parts` family the camera may see another side of it: it is framed
    around the defect, or around one that a sound part might have had).
    `shot_seed` fixes the photograph: lamp, small shifts and turns, blur and noise.

    Args:
        category: Its kind, of any family.
        part_seed: Which part, 0 or more.
        shot_seed: Which photograph, 0 or more.
        defect: Kind of defect, one of `defect_kinds(category)`; None for a sound part.
        size: Side of the image in pixels, 64 to 2048.
        framed: In the `parts` family: frame it around this kind of defect whatever it has, so that one part is seen by
            one camera; a defect may then lie outside the picture, its mask empty.

    Raises:
        LriadError: The category or the kind is not known, or the size is out of range.
    """
    kind = _category(category)
    for wanted in (defect, framed):
        if wanted is not None and wanted not in kind.kinds:
            raise LriadError(f"{category} has no defect {wanted!r}: choose one of {', '.join(kind.kinds)}")
    if not 64 <= size <= 2048:
        raise LriadError(f"image size {size}: choose 64 to 2048 pixels")
    if part_seed < 0 or shot_seed < 0:
        raise LriadError(f"seeds {part_seed} and {shot_seed}: choose 0 or more")
    name = zlib.crc32(category.encode())
    part_rng = np.random.default_rng((part_seed, name, 0))
    direction = float(part_rng.uniform(190, 260))  # From the upper left, as most rigs and most eyes expect.
    bare = kind.draw(part_rng, size)
    _wear(bare, part_rng)
    if kind.varied:
        disturb(bare, np.random.default_rng((part_seed, name, 4)))
    canvas, mask = bare.assembled(), np.zeros((size, size), bool)
    rig_rng = np.random.default_rng((part_seed, name, 3))
    # A sound part of a varied category is framed around a defect that it might have had: where the camera is pointed
    # and how it is turned must not tell the label.
    around = framed or defect or (kind.kinds[int(rig_rng.integers(len(kind.kinds)))] if kind.varied else None)
    spoiled = {
        drawn: _spoil(bare, drawn, direction, (part_seed, name, 1, zlib.crc32(drawn.encode())), kind.varied)
        for drawn in (around, defect)
        if drawn is not None
    }
    if defect is not None:
        canvas, mask = spoiled[defect]
    rig = Rig(direction)
    if kind.varied and around is not None:
        rig = _any_rig(direction, spoiled[around][1], rig_rng)
        shade_rng = np.random.default_rng((part_seed, name, 5))
        if shade_rng.random() < SHADOW_SHARE:
            rig = replace(rig, shade=cast_shadow(shade_rng, size))
    shot_rng = np.random.default_rng((part_seed, name, 2, shot_seed))
    image, mask = photograph(canvas, mask, rig, shot_rng)
    place = place_of(mask) if mask.any() else None
    return Rendering(image, mask, defect, place, category, part_seed, shot_seed)


def _category(name: str) -> Category:
    if name in CATEGORIES:
        return CATEGORIES[name]
    near = difflib.get_close_matches(name, CATEGORIES, 1, 0)
    raise LriadError(f"no procedural category {name!r}: did you mean {near[0]!r}?")


def _wear(canvas: Canvas, rng: Rng) -> None:
    """What is normal: slightly uneven tone, and dust too small and too faint to be a defect."""
    canvas.albedo *= 1 + rng.uniform(0, 0.03) * noise(rng, canvas.size, rng.uniform(20, 120)) * canvas.part
    for shade in rng.uniform(0.8, 1.2, 2):
        specks = [
            circle(x, y, rng.uniform(0.5, 1.1))[::5] for x, y in rng.uniform(0, UNITS, (int(rng.integers(1, 9)), 2))
        ]
        canvas.tint(canvas.polygon(*specks), shade)


def _any_rig(direction: float, mask: NDArray[np.bool_], rng: Rng) -> Rig:
    """Any camera that sees the whole of a mask; of an empty one, the middle of the picture."""
    monochrome, turns = bool(rng.random() < 0.25), int(rng.integers(4))
    zoom = rng.uniform(1.1, 1.8) if rng.random() < 0.35 else 1.0
    rows, cols = np.nonzero(mask) if mask.any() else np.array([[len(mask) // 2]] * 2)
    box = np.array([[cols.min(), rows.min()], [cols.max(), rows.max()]]) * (UNITS / len(mask))
    largest = np.sqrt(MAX_AREA / max(float(mask.mean()), 0.02))  # A defect does not fill the picture.
    zoom = max(1.0, min(zoom, largest, UNITS / (float((box[1] - box[0]).max()) + 60)))
    reach = UNITS / (2 * zoom)
    low, high = box[1] - reach + 20, box[0] + reach - 20
    eye = np.clip(low + (high - low) * rng.random(2), reach, UNITS - reach)
    tilt = rng.uniform(-16, 16)
    # Turned, the defect must still lie in the view.
    off = turned(np.array([box[0], box[1], [box[0, 0], box[1, 1]], [box[1, 0], box[0, 1]]]) - eye, -tilt)
    if np.abs(off).max() > reach - 20:
        tilt = 0.0
    return Rig(direction, monochrome, turns, zoom, (float(eye[0]), float(eye[1])), tilt, rough=True)


def _spoil(
    bare: Canvas, defect: str, direction: float, seeds: tuple[int, ...], varied: bool
) -> tuple[Canvas, NDArray[np.bool_]]:
    """The canvas with a defect that can be seen, in varied categories a small one now and then, and its mask.

    Draws until one is neither too small, too large nor too faint, nearly always at once; the best of all attempts where
    none is (not met in 6,000 renderings).
    """
    small = varied and defect in defects.SMALLER and np.random.default_rng(seeds).random() < SMALL_SHARE
    sound = bare.assembled()
    before = develop(sound, direction)
    largest, faintest = (SMALL_AREA, 1.5 * MIN_CHANGE) if small else (MAX_AREA, MIN_CHANGE)
    best: tuple[float, Canvas, NDArray[np.bool_]] | None = None
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((*seeds, attempt))
        canvas = _with_defect(bare, sound, defect, rng, small)
        mask, change = _difference(before, develop(canvas, direction))
        area = float(mask.mean())
        if MIN_AREA <= area <= largest and change >= faintest:
            return canvas, mask
        fitness = min(area / MIN_AREA, 1) * min(change / faintest, 1) * min(largest / max(area, 1e-6), 1)
        if best is None or fitness > best[0]:
            best = (fitness, canvas, mask)
    assert best is not None
    return best[1], best[2]


def _with_defect(bare: Canvas, sound: Canvas, defect: str, rng: Rng, small: bool) -> Canvas:
    if defect in defects.LOGICAL:
        return bare.assembled(components=defects.LOGICAL[defect](bare.components, sound, rng))
    if defect == "misprint":
        return bare.assembled(prints=defects.misprint(bare.prints, sound, rng))
    canvas = sound.copy()
    if small:
        defects.smaller(canvas, defect, rng)
    else:
        defects.SURFACE[defect](canvas, rng)
    np.clip(canvas.albedo, 0, 255, out=canvas.albedo)
    return canvas


def _difference(before: Floats, after: Floats) -> tuple[NDArray[np.bool_], float]:
    """Where two pictures differ visibly, small gaps closed and specks dropped, and by how many grey levels there."""
    delta = np.abs(after - before)
    seen = (delta.max(0) > 12).astype(np.uint8)
    seen = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(seen)
    large = stats[:, cv2.CC_STAT_AREA] >= 8
    large[0] = False
    mask = large[labels]
    return mask, float(delta.mean(0)[mask].mean()) if mask.any() else 0.0
