"""Whether a probability means what it says: of the parts that it calls 30 % likely defective, are 30 % defective?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lriad.calibration.bounds import interval


@dataclass(frozen=True)
class Bin:
    """Images whose probability lies in [low, high); the last bin has 1, too.

    Attributes:
        low, high: Its ends.
        images: How many, 1 or more.
        mean_p: Their mean probability.
        share: Of them that are defective.
        interval: Of the share, 95 % (Clopper-Pearson); too narrow where images show the same part.
    """

    low: float
    high: float
    images: int
    mean_p: float
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram and its two numbers.

    Attributes:
        bins: Those with images in them, ascending.
        ece: Expected calibration error: the mean over images of |share - mean probability| of their bin, in [0, 1].
            Chance alone makes it positive, the more the fewer images a bin has.
        brier: Mean squared difference between probability and truth, in [0, 1]; 0.25 for always saying one half.
    """

    bins: tuple[Bin, ...]
    ece: float
    brier: float


def reliability(p_N: ArrayLike, truth_N: ArrayLike, bins: int = 10) -> Reliability:
    """How far N probabilities are from what came true.

    Args:
        p_N: Probabilities of a defect, in [0, 1]; at least one.
        truth_N: Whether each image is defective, bool or 0 and 1.
        bins: Of equal width over [0, 1].
    """
    p_N, truth_N = np.asarray(p_N, float), np.asarray(truth_N, bool)
    edges = np.linspace(0, 1, bins + 1)
    bin_N = np.digitize(p_N, edges[1:-1])
    filled = tuple(
        Bin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            images=int(inside_N.sum()),
            mean_p=float(p_N[inside_N].mean()),
            share=float(truth_N[inside_N].mean()),
            interval=interval(int(truth_N[inside_N].sum()), int(inside_N.sum())),
        )
        for b in np.unique(bin_N)
        for inside_N in [bin_N == b]
    )
    ece = sum(one.images * abs(one.share - one.mean_p) for one in filled) / len(p_N)
    return Reliability(filled, ece, float(((p_N - truth_N) ** 2).mean()))
