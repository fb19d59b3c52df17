"""How well a map tells where a defect is: pixel AUROC, AUPRO and the pointing game.

Source of AUPRO, to a false-positive rate of 0.3: Bergmann et al., Uninformed Students, https://arxiv.org/abs/1911.02357.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lriad.errors import LriadError
from lriad.explain import map_file

SIDE = 256
"""Pixels a side that maps and masks are compared at."""
_MAX_RATE = 0.3
_THRESHOLDS = 300


@dataclass(frozen=True)
class Localisation:
    """Over some images, all in [0, 1].

    Attributes:
        pixel_auroc: Of all pixels, those of sound images too; None without a defect or without a sound pixel.
        aupro: Area under the mean overlap of the defects' regions, over false-positive rates up to 0.3; None likewise.
        pointing: Share of the defective images whose highest place lies in the defect, give or take one place of the
            map; None without a defect.
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
) -> dict[str, Located] | None:
    """Heat-maps of a folder against masks, category by category.

    Args:
        rows: Checked predictions of known truth; their `truth`, `mask` and `image_sha256` are read.
        names: The category of each row.
        maps: The folder that `Inspector(maps=...)` wrote them into.

    Returns:
        By the category's name, for those that have a mask and a heat-map; None without any.

    Raises:
        LriadError: A mask or a heat-map cannot be read.
    """
    from lriad.evaluation.faithfulness import read_mask

    located = {}
    for name in dict.fromkeys(names):
        seen, masks = [], []
        for row, own in zip(rows, names, strict=True):
            is_defect = row["truth"] == "defect"
            file = map_file(str(row.get("image_sha256") or ""), maps)
            if own != name or (is_defect and not row.get("mask")) or not file.exists():
                continue
            mask = read_mask(str(row["mask"])) if is_defect else np.zeros((1, 1), bool)
            if is_defect and not mask.any():
                continue
            masks.append(mask)
            seen.append(read_map(file))
        if any(mask.any() for mask in masks):
            middle = [_centre(one.shape) for one in seen]
            located[name] = Located(
                n=len(masks),
                n_masks=sum(bool(mask.any()) for mask in masks),
                found=localisation(seen, masks),
                centre=localisation(middle, masks),
                chance=Localisation(0.5, _MAX_RATE / 2, _pointing_by_chance(seen, masks)),
            )
    return located or None


def read_map(file: Path) -> NDArray[np.float32]:
    """A heat-map as `lriad.explain.save_map` has written it, (H, W).

    Raises:
        LriadError: It is damaged, or something else.
    """
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise LriadError(f"{file}: no heat-map that can be read; remove it and inspect the image again") from error
    if found.ndim != 2 or found.dtype.kind != "f" or not np.isfinite(found).any():
        raise LriadError(f"{file}: no heat-map; remove it and inspect the image again")
    return found.astype(np.float32)


def _centre(shape: tuple[int, ...]) -> NDArray[np.float32]:
    rows, columns = (np.linspace(-1, 1, count, dtype=np.float32) for count in shape)
    return -(rows[:, None] ** 2 + columns[None] ** 2)


def _pointing_by_chance(maps: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]]) -> float:
    """The mean share of a map's places that point at the mask."""
    shares = []
    for one, mask in zip(maps, masks, strict=True):
        if mask.any():
            # A place points where any pixel of it, or of the places around it, is in the mask.
            cells = cv2.resize(mask.astype(np.float32), one.shape[::-1], interpolation=cv2.INTER_AREA) > 0
            shares.append(cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8)).mean())
    return float(np.mean(shares))


def localisation(maps: Sequence[NDArray[np.floating]], masks: Sequence[NDArray[np.bool_]]) -> Localisation:
    """Compare maps with masks.

    Args:
        maps: Of N images, the higher the more suspicious, of any shape each; NaN, where nothing was looked at, is below
            all else.
        masks: Where their defects are, of any shape each; all False for a sound image.
    """
    from sklearn.metrics import roc_auc_score

    lowest = min(float(np.nanmin(one)) for one in maps)
    score_NHW = np.stack([_resized(np.nan_to_num(one, nan=lowest).astype(np.float32)) for one in maps])
    mask_NHW = np.stack([_resized(mask.astype(np.float32)) >= 0.5 for mask in masks])
    for mask_HW, mask in zip(mask_NHW, masks, strict=True):
        if mask.any() and not mask_HW.any():  # Smaller than a pixel here.
            mask_HW |= _resized(mask.astype(np.float32)) > 0
    if not mask_NHW.any() or mask_NHW.all():
        return Localisation(None, None, None)
    return Localisation(
        float(roc_auc_score(mask_NHW.ravel(), score_NHW.ravel())),
        _aupro(score_NHW, mask_NHW),
        float(np.mean([_points(one, mask) for one, mask in zip(maps, masks, strict=True) if mask.any()])),
    )


def _resized(values_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    shrinks = max(values_HW.shape) > SIDE
    return np.asarray(
        cv2.resize(values_HW, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), np.float32
    )


def _points(map_HW: NDArray[np.floating], mask: NDArray[np.bool_]) -> bool:
    row, column = np.unravel_index(np.nanargmax(map_HW), map_HW.shape)
    high, wide = (mask.shape[axis] / map_HW.shape[axis] for axis in (0, 1))
    rows = slice(max(0, int((row - 1) * high)), int(np.ceil((row + 2) * high)))
    columns = slice(max(0, int((column - 1) * wide)), int(np.ceil((column + 2) * wide)))
    return bool(mask[rows, columns].any())


def _aupro(score_NHW: NDArray[np.float32], mask_NHW: NDArray[np.bool_]) -> float:
    sound = np.sort(score_NHW[~mask_NHW])
    # Thresholds at even steps of the false-positive rate, from none to the largest that counts.
    rates = np.linspace(0, _MAX_RATE, _THRESHOLDS)
    thresholds = sound[np.clip(np.ceil((1 - rates) * (len(sound) - 1)).astype(int), 0, len(sound) - 1)]
    overlaps = []
    for score_HW, mask_HW in zip(score_NHW, mask_NHW, strict=True):
        count, labels = cv2.connectedComponents(mask_HW.astype(np.uint8))
        for label in range(1, count):
            inside = np.sort(score_HW[labels == label])
            overlaps.append(1 - np.searchsorted(inside, thresholds, side="right") / len(inside))
    return float(np.trapezoid(np.mean(overlaps, 0), rates) / _MAX_RATE)
