"""A probability from what images are ranked by: a curve through labelled images, that no decision depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from lriad.calibration.reliability import Reliability, reliability
from lriad.errors import LriadError

Method = Literal["temperature", "isotonic"]
Floats = NDArray[np.floating]

MIN_PARTS = 10
"""Of each truth, from which a curve is learned at least."""
_FOLDS = 5
_SMALLEST = 1e-9
"""Of probabilities, kept finite as log-odds."""


@dataclass(frozen=True)
class Temperature:
    """Log-odds of a defect as a line: `slope` is 1 / temperature, `offset` moves the whole (Platt, 1999)."""

    slope: float
    offset: float

    def __call__(self, x_N: Floats) -> Floats:
        return expit(self.slope * x_N + self.offset)


@dataclass(frozen=True)
class Isotonic:
    """The non-decreasing curve that fits best, straight between its knots (`x` ascending), flat beyond them."""

    x: tuple[float, ...]
    p: tuple[float, ...]

    def __call__(self, x_N: Floats) -> Floats:
        return np.interp(x_N, self.x, self.p)


Fit = Callable[[Floats, NDArray[np.bool_]], Temperature | Isotonic]


@dataclass(frozen=True)
class Recalibration:
    """A curve, and what it is worth.

    Attributes:
        curve: From the log-odds of p_defect (or from the score) to P(defect).
        share: Of defects among the images that it was learned from: P(defect) is that of parts of which so many are
            defective.
        before: Reliability of p_defect; None where images are ranked by a score, which is no probability.
        after: Reliability of the curve on images that it was not learned from (cross-fitted, images of one part
            together).
    """

    curve: Temperature | Isotonic
    share: float
    before: Reliability | None
    after: Reliability

    def probability(self, x: float, defect_rate: float | None) -> float:
        """P(defect) of one image.

        Args:
            x: Its log-odds or score.
            defect_rate: Of the line. Where defects are rarer there than among the learned images, and each kind of part
                looks as it did, the odds shrink by the ratio of the two odds (Bayes). None leaves them.
        """
        p = float(self.curve(np.array(x)))
        if defect_rate is None:
            return p
        defect = p * defect_rate / self.share
        return defect / (defect + (1 - p) * (1 - defect_rate) / (1 - self.share))


def log_odds(p: float) -> float:
    """Of a probability, kept finite."""
    p = min(max(p, _SMALLEST), 1 - _SMALLEST)
    return float(np.log(p) - np.log1p(-p))


def check_parts(defective: int, good: int) -> None:
    """Raise LriadError where parts with a value are too few for a curve."""
    for count, name in ((defective, "defective"), (good, "good")):
        if count < MIN_PARTS:
            raise LriadError(
                f"{count} {name} parts with a value: a probability is learned from {MIN_PARTS} or more of each kind; "
                "label more, or leave out --recalibrate"
            )


def learn(
    method: Method, x_N: Floats, truth_N: NDArray[np.bool_], parts: Sequence[str], p_N: Floats | None
) -> Recalibration:
    """Learn a curve from N labelled images.

    Args:
        method: `temperature` has two numbers and needs few images; `isotonic` takes any rising form and needs hundreds.
        x_N: Log-odds or scores.
        truth_N: Whether each is defective.
        parts: What each shows; images of one part are never on both sides of a fold.
        p_N: p_defect, None where images are ranked by a score.

    Raises:
        LriadError: Fewer than `MIN_PARTS` parts of a truth, or defects do not have the higher values.
    """
    check_parts(
        *(len({part for part, label in zip(parts, truth_N, strict=True) if label == truth}) for truth in (True, False))
    )
    fits: dict[Method, Fit] = {"temperature": _temperature, "isotonic": _isotonic}
    fit = fits[method]
    curve = fit(x_N, truth_N)
    if curve(np.array(x_N.max())) <= curve(np.array(x_N.min())):
        raise LriadError("defects have no higher values than good parts here: no probability can be learned of them")
    after = reliability(_cross_fitted(fit, x_N, truth_N, parts), truth_N)
    before = None if p_N is None else reliability(p_N, truth_N)
    return Recalibration(curve, float(truth_N.mean()), before, after)


def _temperature(x_N: Floats, truth_N: NDArray[np.bool_]) -> Temperature:
    """By maximum likelihood with Platt's targets; with 0 and 1, images told apart without error would have no slope."""
    defects, good = int(truth_N.sum()), int((~truth_N).sum())
    target_N = np.where(truth_N, (defects + 1) / (defects + 2), 1 / (good + 2))
    centre, spread = float(x_N.mean()), float(x_N.std()) or 1.0
    z_N = (x_N - centre) / spread

    def loss(line: Floats) -> tuple[float, Floats]:
        logit_N = line[0] * z_N + line[1]
        residual_N = expit(logit_N) - target_N
        value = np.logaddexp(0, logit_N).mean() - (target_N * logit_N).mean()
        return float(value), np.array([(residual_N * z_N).mean(), residual_N.mean()])

    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return Temperature(float(slope / spread), float(offset - slope * centre / spread))


def _isotonic(x_N: Floats, truth_N: NDArray[np.bool_]) -> Isotonic:
    from sklearn.isotonic import IsotonicRegression

    # So many images show no rate beyond these.
    least = 1 / (len(x_N) + 2)
    fitted = IsotonicRegression(y_min=least, y_max=1 - least).fit(x_N, truth_N)
    return Isotonic(tuple(map(float, fitted.X_thresholds_)), tuple(map(float, fitted.y_thresholds_)))


def _cross_fitted(fit: Fit, x_N: Floats, truth_N: NDArray[np.bool_], parts: Sequence[str]) -> Floats:
    """P(defect) of each image by a curve that was learned without its part."""
    from sklearn.model_selection import StratifiedGroupKFold

    p_N = np.empty(len(x_N))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    for learned, held_out in folds.split(x_N, truth_N, parts):
        p_N[held_out] = fit(x_N[learned], truth_N[learned])(x_N[held_out])
    return p_N
