"""How well a map tells where a defect is: pixel AUROC, AUPRO and the pointing game.

Source of AUPRO, to a false-positive rate of 0.3: Bergmann et al., Uninformed Students, https://arxiv.org/abs/1911.02357.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.errors import LriadError
from lriad.evaluation.predictions import map_of
from lriad.explain import read_map

SIDE = 256
"""Pixels a side that maps and masks are compared at."""
_MAX_RATE = 0.3
_THRESHOLDS = 300
_KNOTS = 2**12
_BINS = 2**16
_LARGEST = 1e30
"""Of a map's values: larger ones are as good as infinite."""


@dataclass(frozen=True)
class Localisation:
    """Over some images, all in [0, 1].

    Places that were not looked at, outside a region of interest, are sound and defective pixels of neither kind: what
    is measured is the map, and not how the region was chosen.

    Attributes:
        pixel_auroc: Of all pixels that were looked at, those of sound images too; None without a defective or without
            a sound one.
        aupro: Area under the mean overlap of the defects' regions, over false-positive rates up to 0.3; None likewise.
            Of a region that part counts that was looked at, and one of which nothing was does not count.
        pointing: Share of the defective images whose highest place lies in the defect where that was looked at, give
            or take one place of the map. An image whose defect lies wholly elsewhere is not pointed at, and counts.
            None without a defect.
    """

    pixel_auroc: float | None
    aupro: float | None
    pointing: float | None


@dataclass(frozen=True)
class Located:
    """How well heat-maps tell where the defects of a category are, beside what needs no image.

    Attributes:
        n: Images with a heat-map: defective ones with a mask, and sound ones.
        n_masks: The former.
        found: By the heat-maps.
        centre: By one map for all, highest in the middle: where photographers put what matters.
        chance: By maps of noise, on average.
    """

    n: int
    n_masks: int
    found: Localisation
    centre: Localisation
    chance: Localisation


def measure_localisation(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], maps: str | Path
) -> tuple[dict[str, Located] | None, int]:
    """Heat-maps of a folder against masks, category by category.

    Args:
        rows: Checked predictions of known truth; their `truth`, `mask` and `image_sha256` are read.
        names: The category of each row.
        maps: The folder that `Inspector(maps=...)` wrote them into.

    Returns:
        By the category's name, for those that have a mask and a heat-map, None without any; and how many heat-maps
        cannot be read, which are left out.

    Raises:
        LriadError: A mask cannot be read.
    """
    located, unreadable = {}, 0
    for name in dict.fromkeys(names):
        own: list[tuple[Mapping[str, Any], NDArray[np.float32]]] = []
        for row, category in zip(rows, names, strict=True):
            if category != name or (row["truth"] == "defect" and not row.get("mask")):
                continue
            file = map_of(row, maps)
            if file is None:
                continue
            try:
                own.append((row, read_map(file)))
            except LriadError:
                unreadable += 1
        if any(row["truth"] == "defect" for row, _ in own) and (found := _located(own)):
            located[name] = found
    return located or None, unreadable


def _located(own: Sequence[tuple[Mapping[str, Any], NDArray[np.float32]]]) -> Located | None:
    """Of the images of one category, each mask read and forgotten in turn; None where all masks are empty."""
    from lriad.evaluation.faithfulness import read_mask

    found, centre = _Tally(one for _, one in own), _Tally(_centre(one) for _, one in own)
    chances = []
    for row, one in own:
        is_defect = row["truth"] == "defect"
        mask = read_mask(str(row["mask"])) if is_defect else np.zeros((1, 1), bool)
        if is_defect and not mask.any():
            continue
        found.add(one, mask)
        centre.add(_centre(one), mask)
        if is_defect:
            chances.append(_pointing_by_chance(one, mask))
    if not chances:
        return None
    chance = Localisation(0.5, _MAX_RATE / 2, float(np.mean(chances)))
    return Located(found.images, len(chances), found.result(), centre.result(), chance)


def localisation(maps: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]]) -> Localisation:
    """Compare maps with masks.

    Args:
        maps: Of N images, the higher the more suspicious, of any shape each; NaN where nothing was looked at.
        masks: Where their defects are, of any shape each; all False for a sound image.
    """
    tally = _Tally(maps)
    for one, mask in zip(maps, masks, strict=True):
        tally.add(one, mask)
    return tally.result()


class _Tally:
    """Histograms of the pixels of images that are added one by one: no pixel is kept.

    The bins are even steps of a curve through quantiles of the maps' own values, straight between them, so that
    neither a few huge values nor few different ones leave many pixels in one bin. Within a bin values count as equal.

    Args:
        maps: All that are to be added.
    """

    def __init__(self, maps: Iterable[NDArray[np.floating]]) -> None:
        values = np.concatenate([one[~np.isnan(one)].astype(np.float32) for one in maps]).clip(-_LARGEST, _LARGEST)
        self.knots = np.unique(np.quantile(values, np.linspace(0, 1, _KNOTS))) if values.size else np.zeros(1)
        self.sound_B = np.zeros(_BINS, np.int64)
        self.defective_B = np.zeros(_BINS, np.int64)
        self.overlap_B = np.zeros(_BINS)  # of each region as a share of it
        self.regions = 0
        self.images = 0
        self.pointed: list[bool] = []

    def add(self, map_HW: NDArray[np.floating], mask: NDArray[np.bool_]) -> None:
        score_HW, looked_HW = _resized_map(map_HW)
        _, region_HW = cv2.connectedComponents(_resized_mask(mask).astype(np.uint8))
        steps = np.linspace(0, _BINS - 1, len(self.knots))
        bin_M = np.rint(np.interp(score_HW[looked_HW], self.knots, steps)).astype(np.int64)
        region_M = region_HW[looked_HW]
        is_defective_M = region_M > 0
        size_R = np.bincount(region_M)
        self.sound_B += np.bincount(bin_M[~is_defective_M], minlength=_BINS)
        self.defective_B += np.bincount(bin_M[is_defective_M], minlength=_BINS)
        self.overlap_B += np.bincount(bin_M[is_defective_M], 1 / size_R[region_M[is_defective_M]], minlength=_BINS)
        self.regions += int(np.count_nonzero(size_R[1:]))
        self.images += 1
        if mask.any():
            self.pointed.append(_points(map_HW, mask))

    def result(self) -> Localisation:
        pointing = float(np.mean(self.pointed)) if self.pointed else None
        sound, defective = int(self.sound_B.sum()), int(self.defective_B.sum())
        if not sound or not defective:
            return Localisation(None, None, pointing)
        below_B = np.cumsum(self.sound_B)
        ordered = (self.defective_B * (below_B - self.sound_B / 2)).sum() / sound / defective
        # Thresholds at even steps of the false-positive rate, from none to the largest that counts.
        rates = np.linspace(0, _MAX_RATE, _THRESHOLDS)
        bin_T = np.searchsorted(below_B, np.ceil((1 - rates) * (sound - 1)), side="right")
        overlap_T = 1 - np.cumsum(self.overlap_B)[bin_T] / self.regions
        return Localisation(float(ordered), float(np.trapezoid(overlap_T, rates) / _MAX_RATE), pointing)


def _centre(map_HW: NDArray[np.floating]) -> NDArray[np.float32]:
    """Highest in the middle of the image, of the shape of a map and not looking where that does not."""
    rows, columns = (np.linspace(-1, 1, count, dtype=np.float32) for count in map_HW.shape)
    return np.where(np.isnan(map_HW), np.float32(np.nan), -(rows[:, None] ** 2 + columns[None] ** 2))


def _resized_map(map_HW: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A map at the size of comparison, and where it was looked at there: at half of what a pixel is made of or more."""
    is_known = ~np.isnan(map_HW)
    values = np.nan_to_num(map_HW, nan=0.0).astype(np.float32).clip(-_LARGEST, _LARGEST)
    if is_known.all():
        return _resized(values), np.ones((SIDE, SIDE), bool)
    weight_HW = _resized(is_known.astype(np.float32))
    return np.asarray(_resized(values) / np.maximum(weight_HW, 0.5), np.float32), weight_HW >= 0.5


def _resized_mask(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    share_HW = _resized(mask.astype(np.float32))
    mask_HW = share_HW >= 0.5
    return share_HW > 0 if mask.any() and not mask_HW.any() else mask_HW  # Smaller than a pixel here.


def _resized(values_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    shrinks = max(values_HW.shape) > SIDE
    return np.asarray(
        cv2.resize(values_HW, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.float32
    )


def _seen(map_HW: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of a mask that was looked at."""
    looked = (~np.isnan(map_HW)).astype(np.uint8)
    return mask & (cv2.resize(looked, mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0)


def _points(map_HW: NDArray[np.floating], mask: NDArray[np.bool_]) -> bool:
    row, column = np.unravel_index(np.where(np.isnan(map_HW), -np.inf, map_HW).argmax(), map_HW.shape)
    high, wide = (mask.shape[axis] / map_HW.shape[axis] for axis in (0, 1))
    rows = slice(max(0, int((row - 1) * high)), int(np.ceil((row + 2) * high)))
    columns = slice(max(0, int((column - 1) * wide)), int(np.ceil((column + 2) * wide)))
    return bool(_seen(map_HW, mask)[rows, columns].any())


def _pointing_by_chance(map_HW: NDArray[np.floating], mask: NDArray[np.bool_]) -> float:
    """The share of the places looked at that point at the mask."""
    # A place points where any pixel of it, or of the places around it, is in the mask.
    seen = _seen(map_HW, mask).astype(np.float32)
    cells = cv2.resize(seen, map_HW.shape[::-1], interpolation=cv2.INTER_AREA) > 0
    return float(cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8))[~np.isnan(map_HW)].mean())
