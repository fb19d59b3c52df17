"""Doubt and suspicion: the order of what a person looks at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.data.views import Views
from lriad.inspection.inspector import Inspector, _Compared
from lriad.memory.memory import Bank, Comparison, GoodImage, Look, Memory
from lriad.serving.doubt import doubt, suspicion
from lriad.verdict import Verdict

probabilities = st.floats(0, 1)


def said(decision: str = "normal", **fields: Any) -> dict[str, Any]:
    unsaid = dict.fromkeys(("p_defect", "score", "alarm_rate", "limit", "normal_below", "note"))
    return {"decision": decision, "decided_by": "label", "setting": "zero-shot", **unsaid, **fields}


def by_p(p: float, limit: float, normal_below: float | None = None) -> dict[str, Any]:
    return said(decided_by="p_defect", p_defect=p, limit=limit, normal_below=normal_below)


@given(p=probabilities, other=probabilities, threshold=st.floats(0.01, 0.99))
def test_the_nearer_to_the_threshold_the_more_doubtful(p: float, other: float, threshold: float) -> None:
    first, second = (doubt(by_p(value, threshold)) for value in (p, other))
    assert 0 <= first <= 1
    if (p >= threshold) == (other >= threshold) and abs(p - threshold) < abs(other - threshold):
        assert first >= second
    assert doubt(by_p(threshold, threshold)) == 1


@given(p=probabilities, low=st.floats(-0.5, 1.5), high=st.floats(-0.5, 1.5))
def test_stays_in_its_range(p: float, low: float, high: float) -> None:
    assert 0 <= doubt(by_p(p, max(low, high), min(low, high))) <= 1
    for threshold in (0.0, 1.0):
        assert 0 <= doubt(by_p(p, threshold)) <= 1


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_of_scores_in_deviations(score: float, other: float) -> None:
    verdicts = [
        said(decided_by="score", score=value, p_defect=0.5, limit=4.0, setting="30 good") for value in (score, other)
    ]
    for verdict in verdicts:
        assert 0 <= doubt(verdict) <= 1
        assert 0 <= suspicion(verdict) <= 1
    if score < other:
        assert suspicion(verdicts[0]) <= suspicion(verdicts[1])


parts = st.tuples(st.floats(0.01, 0.99), st.floats(-5, 40))
good_parts = st.lists(st.tuples(st.floats(1, 5), st.floats(0.01, 0.99)), min_size=2, max_size=60)


def by_memory(good: list[tuple[float, float]], part: tuple[float, float]) -> dict[str, Any]:
    """The inspector's verdict by good parts, each given by its deviation and p_defect; the part by p_defect and z."""
    images = tuple(GoodImage(str(i), str(i), str(i), deviation, {"fast": p}) for i, (deviation, p) in enumerate(good))
    bank = Bank(torch.zeros(len(good), 2), torch.arange(len(good)))
    memory = Memory(
        "part",
        "0" * 64,
        None,
        (bank,),
        (1.0,),
        torch.zeros(len(images), 1, 2, 2),
        torch.zeros(len(images), 1, 2, 2, 2),
        images,
        Look(None, 1.0, 1.0),
        Views(),
    )
    p_defect, z = part
    whole = Comparison(np.zeros((1, 1), np.float32), 0.0, z, "centre", 0, len(good))
    said = {"text": "", "reasoning": "", "follows_format": True, "answer_forced": False, "mode": "fast", "seconds": 0.1}
    by = {"image_sha256": "0" * 64, "policy_sha256": "p", "adapter_sha256": None, "prompt_version": "1"}
    plain = Verdict(label="normal", p_defect=p_defect, decision="normal", **said, **by)
    inspector = Inspector(mode="fast", memory=memory)  # Its policy is not asked.
    return inspector._remembered(plain, _Compared(whole, [], []), None).to_dict()


@settings(max_examples=200, deadline=None)
@given(good_parts, parts, parts)
def test_of_good_parts_alone_what_decides_is_what_orders(
    good: list[tuple[float, float]], one: tuple[float, float], other: tuple[float, float]
) -> None:
    usual, odd = sorted(
        (by_memory(good, part) for part in (one, other)),
        key=lambda verdict: (-verdict["alarm_rate"], verdict["score"]),
    )
    assert usual["decided_by"] == "alarm_rate"
    assert 0 < doubt(usual) <= 1
    assert 0 < doubt(odd) <= 1
    if odd["decision"] == "normal":
        assert doubt(usual) == usual["limit"] / usual["alarm_rate"] <= doubt(odd)
    if usual["decision"] == "defect" and usual["score"] <= odd["score"]:
        assert doubt(odd) <= doubt(usual) <= usual["alarm_rate"] / usual["limit"]
        if max(usual["score"], 3) < odd["score"] - 1e-6:
            assert doubt(odd) < doubt(usual)  # also where so few good parts make the rate no lower


@given(st.floats(1e-3, 0.38), st.floats(0, 1))
def test_a_rate_at_its_limit_is_as_doubtful_as_can_be(limit: float, above: float) -> None:
    fields: dict[str, Any] = {"decided_by": "alarm_rate", "limit": limit, "score": 0.0}
    assert doubt(said("defect", alarm_rate=limit, **fields)) == 1
    rate = limit + above * (1 - limit)
    assert doubt(said("normal", alarm_rate=rate, **fields)) == pytest.approx(limit / rate)


def test_what_decides_is_what_counts() -> None:
    assert doubt(said("review", p_defect=0.99)) == 1
    assert doubt(said(p_defect=0.5)) == 1
    assert doubt(said(p_defect=0.0)) == doubt(said("defect", p_defect=1.0)) == 0
    assert doubt(said("defect")) == 0.5  # by its words alone
    labelled = {"setting": "30 good + 25 labelled defects", "p_defect": 0.5}
    assert doubt(said(decided_by="score", score=0.5, limit=0.5, **labelled)) == 1
    assert doubt(said(decided_by="score", score=0.99, limit=0.5, **labelled)) == pytest.approx(0.02)
    assert doubt(said(decided_by="p_defect", score=0.99, limit=0.5, **labelled)) == 1
    # A note puts the rule out of force.
    assert doubt(said(decided_by="alarm_rate", score=0.5, alarm_rate=0.5, limit=0.05, note="so", **labelled)) == 0.1
    assert doubt(said(decided_by="score", score=4.0, p_defect=0.1, limit=4.0, normal_below=4.0)) == 1
    assert doubt(said(decided_by="p_defect", score=9.0, p_defect=0.4, limit=0.8, normal_below=0.4)) == 1
    assert doubt(by_p(0.39, 0.8, 0.4)) > 0.9


def test_suspicion_orders_by_what_images_are_ranked_by() -> None:
    assert suspicion(said(p_defect=0.3)) == 0.3
    assert suspicion(said(p_defect=0.3, score=0.8, setting="30 good + 25 labelled defects")) == 0.8
    assert suspicion(said(p_defect=0.3, score=60.0)) < suspicion(said(p_defect=0.3, score=61.0)) < 1
    assert [suspicion(said(decision)) for decision in ("normal", "review", "defect")] == [0, 0.5, 1]
