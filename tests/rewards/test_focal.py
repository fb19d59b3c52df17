"""Eq. 4 in its three readings, and the configurations in which it has no effect."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.errors import LriadError
from lriad.rewards import FocalReward, check_not_cancelling, focal_reward, focal_weight

DEFECT, NORMAL = "<think>a</think> <answer>A</answer>", "<think>b</think> <answer>B</answer>"
UNIT = st.floats(0, 1)


def test_weight_against_hand_worked_cases():
    assert focal_weight(0.25, gamma=2, alpha=0.5, f=4) == pytest.approx(0.5 * 0.5625 * 4)
    assert focal_weight(0.9, gamma=0, alpha=3, f=2) == 6
    assert focal_weight(1.0, gamma=2) == 0
    assert focal_weight(1.0, gamma=0) == 1  # 0^0: no focus at all weighs everything alike


def test_weight_takes_arrays_and_tensors():
    np.testing.assert_allclose(focal_weight(np.array([0.0, 0.5]), f=np.array([1.0, 2.0])), [1.0, 0.5])
    torch.testing.assert_close(focal_weight(torch.tensor([0.0, 0.5])), torch.tensor([1.0, 0.25]))


@settings(deadline=None, max_examples=50)
@given(UNIT, UNIT, st.floats(0, 5))
def test_the_less_probable_answer_weighs_at_least_as_much(p, q, gamma):
    assert focal_weight(min(p, q), gamma) >= focal_weight(max(p, q), gamma)


@pytest.mark.parametrize(
    ("reading", "right", "wrong"), [("ungated", 0.49, 0.49), ("gated", 0.49, 0), ("signed", 0.49, -0.49)]
)
def test_readings_against_hand_worked_cases(reading, right, wrong):
    reward = FocalReward(gamma=2, reading=reading)
    rewards = reward(["p"] * 2, [DEFECT, NORMAL], label=["defect"] * 2, p_correct=[0.3, 0.3])
    assert rewards == pytest.approx([right, wrong])


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("reading", ["ungated", "gated", "signed"])
def test_no_reading_is_safe(reading, gamma):
    """The expected reward of a policy that is right with probability p is highest short of p = 1."""
    p = np.linspace(0, 1, 100_001)
    expected = p * focal_reward(p, 1.0, reading=reading, gamma=gamma) + (1 - p) * focal_reward(
        p, 0.0, reading=reading, gamma=gamma
    )
    optimum = {"ungated": 0.0, "gated": 1 / (1 + gamma), "signed": (2 + gamma) / (2 + 2 * gamma)}[reading]
    assert p[expected.argmax()] == pytest.approx(optimum, abs=2e-5)
    assert expected[-1] == 0 < expected.max()


def test_ungated_pays_most_for_a_completion_that_leads_to_the_wrong_answer():
    reward = FocalReward(reading="ungated")
    wrong, right = reward(["p"] * 2, [NORMAL, DEFECT], label=["defect"] * 2, p_correct=[0.1, 0.9])
    assert wrong > right


def test_alpha_and_the_class_factor_scale_the_reward():
    reward = FocalReward(gamma=1, alpha=0.25)
    columns = {"label": ["defect", "normal"], "p_correct": [0.5, 0.75], "class_factor": [4.0, 2.0]}
    assert reward(["p"] * 2, [DEFECT, DEFECT], **columns) == pytest.approx([0.5, -0.125])


def test_a_probability_off_by_rounding_stays_real():
    reward = FocalReward(gamma=1.5)
    rewards = reward(["p"] * 2, [DEFECT] * 2, label=["defect"] * 2, p_correct=[1 + 1e-7, -1e-7])
    assert rewards == [0.0, 1.0]


def test_unparsable_answers_are_wrong():
    assert FocalReward()(["p"], ["no idea"], label=["normal"], p_correct=[0.5]) == [-0.25]


def test_trl_finds_a_name_for_its_metrics():
    assert FocalReward().__name__ == "focal_reward"


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("class_factor", ["inverse_frequency", "dynamic"])
def test_a_class_factor_that_group_scaling_cancels_is_refused(gamma, class_factor):
    with pytest.raises(LriadError, match="cancels it; use reward 'focal'") as error:
        check_not_cancelling("paper", "group", gamma=gamma, class_factor=class_factor)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scale", ["group", "batch", "none"])
def test_a_reward_that_is_constant_over_the_answers_is_refused(scale):
    with pytest.raises(LriadError, match="nothing is learned"):
        check_not_cancelling("paper", scale, reading="ungated", gamma=0)


@pytest.mark.parametrize(
    ("reward", "scale", "settings"),
    [
        ("paper", "group", {}),
        ("paper", "group", {"gamma": 0.0}),
        ("paper", "batch", {"class_factor": "dynamic"}),
        ("paper", "none", {"class_factor": "inverse_frequency"}),
        ("focal", "group", {"class_factor": "dynamic", "gamma": 0.0}),
        ("accuracy", "group", {"class_factor": "dynamic"}),
    ],
)
def test_configurations_in_which_nothing_cancels_pass(reward, scale, settings):
    check_not_cancelling(reward, scale, **settings)


def test_a_single_prompt_an_update_makes_every_focal_weight_one_and_is_refused():
    with pytest.raises(LriadError, match="always 1"):
        check_not_cancelling("focal", "group", prompts_per_step=1)
    check_not_cancelling("accuracy", "group", prompts_per_step=1)
