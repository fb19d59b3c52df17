"""How much a person's look at a verdict is worth, and how defective a part looks: what lists are ordered by."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

_BORDER = 2.0
"""Of a memory's score without labels, in standard deviations: about where the 5 % least usual good parts begin."""


def doubt(verdict: dict[str, Any]) -> float:
    """How near a verdict is to the other decision, in [0, 1]; 1: nothing was decided, or it stands on the border.

    Args:
        verdict: The fields of a `Verdict`.
    """
    if verdict["decision"] == "review":
        return 1.0
    decided_by, limit = verdict["decided_by"], verdict["limit"]
    if decided_by == "label":
        # Without p_defect the text said so, and how sure it is nobody knows.
        return 0.5 if verdict["p_defect"] is None else _near_probability(verdict["p_defect"], 0.5)
    value = verdict[decided_by]
    if decided_by == "alarm_rate":
        return _near_rate(value, limit, verdict["score"])
    near = _near_deviation if decided_by == "score" and not _is_probability(verdict) else _near_probability
    below = verdict["normal_below"]
    return max(near(value, border) for border in (limit, limit if below is None else below))


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


def _near_rate(alarm_rate: float, limit: float, score: float) -> float:
    """1 at the border, below it the rate's part of the limit, or the limit's of the rate.

    Of n good samples none is as unusual as what has the rate 1 / (1 + n), however unusual that is. So the score counts
    on the defect's side, as far as it lies above the one that normally distributed samples would have at this rate.
    """
    if alarm_rate > limit:
        return limit / alarm_rate
    beyond = max(0.0, score - NormalDist().inv_cdf(1 - alarm_rate))
    return alarm_rate / limit / (1 + beyond)
