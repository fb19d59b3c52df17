"""How well a map tells where a defect is: pixel AUROC, AUPRO and the pointing game.

Source of AUPRO, to a false-positive rate of 0.3: Bergmann et al., Uninformed Students, https://arxiv.org/abs/1911.02357.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

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
