"""How much a person's look at a verdict is worth, and how defective a part looks: what lists are ordered by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lriad.calibration import Calibration

_BORDER = 2.0
"""Of a memory's score without labels, in standard deviations: about where the 5 % least usual good parts begin."""


def doubt(verdict: dict[str, Any], calibration: Calibration | None = None) -> float:
    """How near a verdict is to the other decision, in [0, 1]; 1: nothing was decided, or it stands on the border.

    Args:
        verdict: The fields of a `Verdict`.
        calibration: The one that decided, None where none did.
    """
    if verdict["decision"] == "review":
        return 1.0
    p_defect, score = verdict.get("p_defect"), verdict.get("score")
    if calibration is not None:
        value = score if calibration.quantity == "score" else p_defect
        if value is None:
            return 1.0
        borders = (calibration.normal_below, calibration.defect_from)
        near = (
            _near_deviation if calibration.quantity == "score" and not _is_probability(verdict) else _near_probability
        )
        return max(near(value, border) for border in borders)
    if verdict.get("threshold") is None and score is not None:
        return _near_probability(score, 0.5) if _is_probability(verdict) else _near_deviation(score, _BORDER)
    if p_defect is None:
        return 0.5  # The text said so, and how sure it is nobody knows.
    return _near_probability(p_defect, 0.5 if verdict.get("threshold") is None else verdict["threshold"])


def suspicion(verdict: dict[str, Any]) -> float:
    """How defective a part looks, in [0, 1]: p_defect, or what a memory ranks by, bent onto the same scale.

    Orders the images of one product as `score` or `p_defect` do; across products it is a rough comparison.
    """
    p_defect, score = verdict.get("p_defect"), verdict.get("score")
    if score is not None:
        if _is_probability(verdict):
            return float(score)
        above = score - _BORDER
        return 0.5 + 0.5 * above / (1 + abs(above))
    if p_defect is not None:
        return float(p_defect)
    return {"defect": 1.0, "normal": 0.0}.get(verdict["decision"], 0.5)


def _is_probability(verdict: dict[str, Any]) -> bool:
    """Whether the score is a memory's P(defect) by its labels' rule; a note puts that out of force."""
    return "labelled defects" in str(verdict.get("setting")) and not verdict.get("note")


def _near_probability(p: float, border: float) -> float:
    """1 at the border, 0 at certainty on either side of it."""
    border = min(1.0, max(0.0, border))
    room = 1 - border if p >= border else border
    return 1 - abs(p - border) / room if room > 0 else 1.0


def _near_deviation(score: float, border: float) -> float:
    """1 at the border, a half one standard deviation from it."""
    return 1 / (1 + abs(score - border)) if math.isfinite(score) else 0.0
