"""Places of an image as vectors, and how far they are from those of good images: PatchCore's idea.

Arrays end in their dimensions: N images, P places of one, C channels, K vectors in memory.
Source: Roth et al., Towards Total Recall in Industrial Anomaly Detection, https://arxiv.org/abs/2106.08265.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

COMPARED = 2
"""Of the depths, the first ones, that are compared place by place; the deepest adds nothing there."""
TOP_PLACES = 5
"""Places whose deviation is averaged to that of an image: one alone is noisier."""
_PROJECTED = 64
FIELDS = 20
"""Fields a side in which it is kept how far good images stray where."""
_OVERALL = 2.0
"""How much of the mean spread over all fields is added to that of each: of few images the latter is known badly.
Between 1 and 4 all are alike (seven sets of drawings and photographs, a scratch script)."""
_LEAST = 0.1
"""Of the mean distance, the least mean spread; of a single image there is none."""


def spread(maps: Sequence[Tensor]) -> float:
    """The mean spread of a depth's channels over some images, maps of shape (C, H, W) each."""
    channels, count = len(maps[0]), 0
    total_C, squares_C = torch.zeros(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    for level in maps:  # One by one: all together they are many.
        values = level.flatten(1).double()
        total_C += values.sum(1)
        squares_C += values.square().sum(1)
        count += values.shape[1]
    variance_C = squares_C / count - (total_C / count).square()
    return max(float(variance_C.clamp(min=0).sqrt().mean()), 1e-6)


def patches(depths: Sequence[Tensor], scales: Sequence[float]) -> Tensor:
    """The vectors of an image's places.

    Each of the compared depths is brought to the first one's places and divided by its scale and the root of its
    channels, so that all count alike, and each place is averaged with its neighbours. Beyond the border these are 0:
    places there, which the tower sees worst, count for less, without which they would be the most unusual ones.

    Args:
        depths: Maps of shape (C_i, H_i, W_i), `COMPARED` or more.
        scales: One a compared depth, see `spread`.

    Returns:
        Shape (H, W, C), float32, of the first depth's H and W.
    """
    size = depths[0].shape[-2:]
    levels = []
    for level, scale in zip(depths[: len(scales)], scales, strict=True):
        level_1CHW = level[None].float() / (scale * len(level) ** 0.5)
        if level.shape[-2:] != size:
            level_1CHW = F.interpolate(level_1CHW, size=size, mode="bilinear")
        levels.append(F.avg_pool2d(level_1CHW, 3, 1, 1)[0])
    return torch.cat(levels).permute(1, 2, 0)


def coreset(points_KC: Tensor, size: int, seed: int = 0) -> NDArray[np.intp]:
    """Indices of at most `size` points so that every point has one of them near: greedy k-centre, as in PatchCore.

    Distances are taken in a random projection, which keeps them about as they are and is faster.
    """
    rng = np.random.default_rng(seed)
    if len(points_KC) <= size:
        return np.arange(len(points_KC))
    projection = rng.normal(size=(points_KC.shape[1], _PROJECTED)).astype(np.float32) / _PROJECTED**0.5
    points = points_KC @ torch.from_numpy(projection)
    norms = (points**2).sum(1)
    chosen = np.empty(size, np.intp)
    nearest = torch.full((len(points),), torch.inf)
    chosen[0] = rng.integers(len(points))
    for i in range(size - 1):
        centre = points[chosen[i]]
        torch.minimum(nearest, norms - 2 * (points @ centre) + norms[chosen[i]], out=nearest)
        nearest[chosen[i]] = -torch.inf  # Rounding must not let a point be chosen twice.
        chosen[i + 1] = int(nearest.argmax())
    return np.sort(chosen)


def nearest(patches_PC: Tensor, bank_KC: Tensor, half_norms_K: Tensor, barred_K: Tensor | None = None) -> Tensor:
    """Euclidean distance of each place to the nearest vector in memory, of shape (P,).

    Args:
        patches_PC: Of an image.
        bank_KC: The memory.
        half_norms_K: Half of each vector's squared norm.
        barred_K: Bool; vectors that do not count, those of the image itself.
    """
    if barred_K is not None:
        half_norms_K = half_norms_K.masked_fill(barred_K, torch.inf)
    # The nearest m maximises q m - m^2 / 2.
    best_P = torch.addmm(-half_norms_K, patches_PC, bank_KC.T).amax(1)
    return (patches_PC.square().sum(1) - 2 * best_P).clamp(min=0).sqrt()


def two_nearest(
    patches_PC: Tensor, bank_KC: Tensor, half_norms_K: Tensor, group_K: Tensor, own: int
) -> tuple[Tensor, Tensor, Tensor]:
    """As `nearest`, of the vectors of other groups, and what it would be without the group of the nearest.

    Args:
        patches_PC, bank_KC, half_norms_K: As for `nearest`.
        group_K: Number of each vector's group.
        own: That of the image.

    Returns:
        Distance to the nearest, its group, and the distance to the nearest of a third group, or the first where there
        is none; of shape (P,) each.
    """
    closeness_PK = torch.addmm(-half_norms_K.masked_fill(group_K == own, torch.inf), patches_PC, bank_KC.T)
    best_P, index_P = closeness_PK.max(1)
    group_P = group_K[index_P]
    second_P = closeness_PK.masked_fill_(group_K == group_P[:, None], -torch.inf).amax(1)
    second_P = torch.where(second_P.isinf(), best_P, second_P)
    squares_P = patches_PC.square().sum(1)
    first, second = ((squares_P - 2 * one).clamp(min=0).sqrt() for one in (best_P, second_P))
    return first, group_P, second


def in_fields(distance_NHW: Tensor) -> Tensor:
    """Means of N maps of distances in fields, (N, `FIELDS`, `FIELDS`)."""
    return F.adaptive_avg_pool2d(distance_NHW, FIELDS)


def beyond_usual(distance_HW: NDArray[np.float32], mean_FF: Tensor, spread_FF: Tensor) -> NDArray[np.float32]:
    """How far distances lie beyond what is usual in good images at that place, in spreads.

    Edges, prints and whatever differs from one good part to the next stray much there and always: that is no defect.
    """
    overall = max(float(spread_FF.mean()), _LEAST * float(mean_FF.mean()), 1e-6)
    spread_FF = spread_FF + _OVERALL * overall
    fields = F.interpolate(torch.stack([mean_FF, spread_FF])[None], size=distance_HW.shape, mode="bilinear")[0].numpy()
    return (distance_HW - fields[0]) / fields[1]


def image_deviation(distance_HW: NDArray[np.float32]) -> float:
    """The mean of an image's few farthest places; NaN does not count."""
    found = distance_HW[~np.isnan(distance_HW)]
    return float(np.sort(found)[-TOP_PLACES:].mean())
