"""Doubt and suspicion: the order of what a person looks at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.serving.doubt import doubt, suspicion

probabilities = st.floats(0, 1)


def said(decision: str = "normal", **fields: Any) -> dict[str, Any]:
    return {"decision": decision, "p_defect": None, "score": None, "threshold": None, "setting": "zero-shot", **fields}


def calibration(quantity: str, normal_below: float, defect_from: float) -> Any:
    return SimpleNamespace(quantity=quantity, normal_below=normal_below, defect_from=defect_from)


@given(p=probabilities, other=probabilities, threshold=st.floats(0.01, 0.99))
def test_the_nearer_to_the_threshold_the_more_doubtful(p: float, other: float, threshold: float) -> None:
    first, second = (doubt(said(p_defect=value, threshold=threshold)) for value in (p, other))
    assert 0 <= first <= 1
    if (p >= threshold) == (other >= threshold) and abs(p - threshold) < abs(other - threshold):
        assert first >= second
    assert doubt(said(p_defect=threshold, threshold=threshold)) == 1


@given(p=probabilities, low=st.floats(-0.5, 1.5), high=st.floats(-0.5, 1.5))
def test_stays_in_its_range(p: float, low: float, high: float) -> None:
    bounds = calibration("p_defect", min(low, high), max(low, high))
    assert 0 <= doubt(said(p_defect=p), bounds) <= 1
    for threshold in (0.0, 1.0):
        assert 0 <= doubt(said(p_defect=p, threshold=threshold)) <= 1


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_of_scores_in_deviations(score: float, other: float) -> None:
    verdicts = [said(score=value, p_defect=0.5, setting="30 good") for value in (score, other)]
    for verdict in verdicts:
        assert 0 <= doubt(verdict) <= 1
        assert 0 <= suspicion(verdict) <= 1
    if score < other:
        assert suspicion(verdicts[0]) <= suspicion(verdicts[1])


def test_what_decides_is_what_counts() -> None:
    assert doubt(said("review", p_defect=0.99)) == 1
    assert doubt(said(p_defect=0.5)) == 1
    assert doubt(said(p_defect=0.0)) == doubt(said("defect", p_defect=1.0)) == 0
    assert doubt(said("defect")) == 0.5  # by its words alone
    labelled = {"setting": "30 good + 25 labelled defects", "p_defect": 0.5}
    assert doubt(said(score=0.5, **labelled)) == 1
    assert doubt(said(score=0.99, **labelled)) == pytest.approx(0.02)
    assert doubt(said(score=0.99, threshold=0.5, **labelled)) == 1  # a threshold is on p_defect
    assert doubt(said(score=0.5, note="scratches are fine", **labelled)) < 1  # a note puts the rule out of force
    assert doubt(said(score=4.0, p_defect=0.1), calibration("score", 4.0, 4.0)) == 1
    assert doubt(said(score=9.0, p_defect=0.4), calibration("p_defect", 0.4, 0.8)) == 1
    assert doubt(said(score=None), calibration("score", 4.0, 4.0)) == 1
    assert doubt(said(p_defect=0.39, decision="normal"), calibration("p_defect", 0.4, 0.8)) > 0.9


def test_suspicion_orders_by_what_images_are_ranked_by() -> None:
    assert suspicion(said(p_defect=0.3)) == 0.3
    assert suspicion(said(p_defect=0.3, score=0.8, setting="30 good + 25 labelled defects")) == 0.8
    assert suspicion(said(p_defect=0.3, score=60.0)) < suspicion(said(p_defect=0.3, score=61.0)) < 1
    assert [suspicion(said(decision)) for decision in ("normal", "review", "defect")] == [0, 0.5, 1]
