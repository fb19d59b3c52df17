"""Eq. 6-8 and the focal weighting, against cases worked by hand and their invariances."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.rewards import focal_weight
from lriad.training.advantages import (
    RunningMean,
    focal_weights,
    group_normalise,
    paper_advantages,
    weighted_advantages,
)

SCALES = ["group", "batch", "none"]
SEEDS = st.integers(0, 2**32 - 1)


def random_update(seed, P=5, G=8):
    """An update's rewards, probabilities, labels and class factors, in double precision."""
    rng = torch.Generator().manual_seed(seed)
    accuracy_PG = torch.randint(0, 2, (P, G), generator=rng).double()
    format_PG = torch.randint(0, 2, (P, G), generator=rng).double()
    p_PG = torch.rand(P, G, generator=rng, dtype=torch.float64)
    is_defect_P = torch.rand(P, generator=rng) < 0.5
    class_factor_P = 0.1 + 3 * torch.rand(P, generator=rng, dtype=torch.float64)
    return accuracy_PG, format_PG, p_PG, is_defect_P, class_factor_P


def size(advantages_G):
    """Root mean square of a group's advantages."""
    return advantages_G.square().mean().sqrt().item()


# Eq. 6-8


def test_equation_7_divides_by_n_and_equation_8_adds_epsilon():
    # Mean 1/4, population variance 3/16.
    rewards_PG = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    sigma = (3 / 16) ** 0.5
    expected_PG = torch.tensor([[0.75, -0.25, -0.25, -0.25]], dtype=torch.float64) / (sigma + 0.1)
    torch.testing.assert_close(group_normalise(rewards_PG, epsilon=0.1), expected_PG)


def test_batch_and_none_keep_the_groups_mean_and_change_the_divisor():
    rewards_PG = torch.tensor([[0.0, 2.0], [10.0, 14.0]], dtype=torch.float64)
    centred_PG = torch.tensor([[-1.0, 1.0], [-2.0, 2.0]], dtype=torch.float64)
    # All four rewards: mean 6.5, variance (42.25 + 20.25 + 12.25 + 56.25) / 4.
    sigma = (131 / 4) ** 0.5
    torch.testing.assert_close(group_normalise(rewards_PG, "none"), centred_PG)
    torch.testing.assert_close(group_normalise(rewards_PG, "batch", 0.5), centred_PG / (sigma + 0.5))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7, 1e-3, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_group_without_spread_has_exactly_zero_advantage(scale, reward, dtype):
    rewards_PG = torch.full((3, 7), reward, dtype=dtype)
    rewards_PG[0] = torch.arange(7, dtype=dtype)
    advantages_PG = group_normalise(rewards_PG, scale, epsilon=1e-12)
    assert (advantages_PG[1:] == 0).all()
    assert (advantages_PG[0] != 0).any()


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.sampled_from(SCALES), st.floats(-100, 100))
def test_a_constant_added_to_all_rewards_changes_nothing(seed, scale, constant):
    rewards_PG = random_update(seed)[2]
    torch.testing.assert_close(
        group_normalise(rewards_PG + constant, scale),
        group_normalise(rewards_PG, scale),
        rtol=1e-6,
        atol=1e-9,
    )


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.sampled_from(["group", "none"]))
def test_a_constant_added_to_one_groups_rewards_changes_nothing(seed, scale):
    rewards_PG = random_update(seed)[2]
    shifted_PG = rewards_PG + torch.arange(len(rewards_PG))[:, None]
    torch.testing.assert_close(group_normalise(shifted_PG, scale), group_normalise(rewards_PG, scale))


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_group_scaling_gives_zero_mean_and_unit_variance(seed):
    advantages_PG = group_normalise(random_update(seed)[2], epsilon=1e-12)
    torch.testing.assert_close(advantages_PG.mean(1), torch.zeros(5, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(advantages_PG.std(1, correction=0), torch.ones(5, dtype=torch.float64))


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.sampled_from(SCALES), st.permutations(range(5)), st.permutations(range(8)))
def test_the_order_of_prompts_and_of_completions_does_not_matter(seed, scale, prompts, completions):
    def shuffled(tensor):
        tensor = tensor[list(prompts)]
        return tensor[:, list(completions)] if tensor.ndim == 2 else tensor

    update = random_update(seed)
    torch.testing.assert_close(
        focal_advantages(*map(shuffled, update), scale=scale),
        shuffled(focal_advantages(*update, scale=scale)),
    )


def test_paper_advantages_normalise_the_sum():
    focal_PG = torch.tensor([[0.25, -0.25]], dtype=torch.float64)
    format_PG = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    # r = (0.25, 0.75): mean 0.5, sigma 0.25.
    expected_PG = torch.tensor([[-0.25, 0.25]], dtype=torch.float64) / 0.26
    torch.testing.assert_close(paper_advantages(focal_PG, format_PG, epsilon=0.01), expected_PG)
    torch.testing.assert_close(paper_advantages(focal_PG + format_PG, epsilon=0.01), expected_PG)


# Focal weights


def focal_advantages(accuracy_PG, format_PG, p_PG, is_defect_P, class_factor_P, *, gamma=2.0, floor=0.05, **settings):
    weights_P = focal_weights(p_PG, is_defect_P, class_factor_P, gamma=gamma, floor=floor)
    return weighted_advantages(weights_P, accuracy_PG, format_PG, **settings)


def test_a_rare_class_keeps_its_weight_over_updates_that_do_not_show_it():
    running = RunningMean()
    factor = {True: 4.5, False: 0.5625}
    total = {True: 0.0, False: 0.0}
    for update in range(400):
        # 1 of 9 images is defective: most updates of 3 have none.
        is_defect_P = torch.tensor([update % 3 == 0, False, False])
        factor_P = torch.tensor([factor[value] for value in is_defect_P.tolist()])
        w_P = focal_weights(torch.full((3, 4), 0.5), is_defect_P, factor_P, running=running)
        for value, weight in zip(is_defect_P.tolist(), w_P.tolist(), strict=True):
            total[value] += weight / 1200
    assert total[True] == pytest.approx(total[False], rel=0.15)
    assert sum(total.values()) == pytest.approx(1, rel=0.05)
    again = RunningMean()
    again.load_state_dict(running.state_dict())
    assert again.update(2.0) == running.update(2.0)


def test_weights_against_a_hand_worked_case():
    p_PG = torch.tensor([[0.25, 0.75], [0.0, 0.0], [1.0, 1.0]])
    # 0.6 x 0.25 x 2 = 0.3; 0.4 x 1 x 1 = 0.4; 0.4 x max(0, 0.05) x 1 = 0.02; mean 0.24.
    w_P = focal_weights(
        p_PG,
        torch.tensor([True, False, False]),
        torch.tensor([2.0, 1.0, 1.0]),
        alpha_defect=0.6,
        gamma=2.0,
        floor=0.05,
    )
    torch.testing.assert_close(w_P, torch.tensor([0.3, 0.4, 0.02]) / 0.24)


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.floats(0, 5), st.floats(0.01, 0.99), st.floats(0, 1))
def test_weights_have_mean_one_whatever_alpha_gamma_and_floor(seed, gamma, alpha_defect, floor):
    _, _, p_PG, is_defect_P, class_factor_P = random_update(seed)
    w_P = focal_weights(p_PG, is_defect_P, class_factor_P, alpha_defect=alpha_defect, gamma=gamma, floor=floor)
    assert w_P.mean().item() == pytest.approx(1)
    assert (w_P >= 0).all()


def test_weights_carry_no_gradient():
    p_PG = torch.rand(2, 3, requires_grad=True)
    assert not focal_weights(p_PG, torch.tensor([True, False]), torch.ones(2)).requires_grad


def test_all_prompts_weigh_alike_where_the_policy_is_certain_of_all():
    w_P = focal_weights(torch.ones(3, 4), torch.tensor([True, False, True]), torch.ones(3), floor=0.0)
    assert w_P.tolist() == [1.0, 1.0, 1.0]


def test_the_floor_keeps_the_order_of_the_classes_among_easy_prompts():
    w_P = focal_weights(torch.ones(2, 4), torch.tensor([True, False]), torch.tensor([4.0, 1.0]), floor=0.05)
    assert (w_P[0] / w_P[1]).item() == pytest.approx(4)


def test_a_probability_off_by_rounding_does_not_make_the_weights_nan():
    w_P = focal_weights(torch.full((1, 2), 1 + 1e-6), torch.tensor([True]), torch.ones(1), gamma=1.5)
    assert w_P.tolist() == [1.0]


# Focal advantages


def test_only_the_accuracy_advantage_is_weighted():
    accuracy_PG, format_PG, p_PG, is_defect_P, class_factor_P = random_update(0)
    labels = (is_defect_P, class_factor_P)
    w_P = focal_weights(p_PG, *labels)
    advantages_PG = focal_advantages(accuracy_PG, format_PG, p_PG, *labels, accuracy_weight=2.0, format_weight=0.5)
    expected_PG = 2 * w_P[:, None] * group_normalise(accuracy_PG) + 0.5 * group_normalise(format_PG)
    torch.testing.assert_close(advantages_PG, expected_PG)


def test_equal_prompts_give_plain_advantages():
    accuracy_PG = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    p_PG = torch.full((2, 3), 0.4)
    constant_PG = torch.ones(2, 3)
    advantages_PG = focal_advantages(
        accuracy_PG, constant_PG, p_PG, torch.tensor([True, True]), torch.tensor([3.0, 3.0])
    )
    torch.testing.assert_close(advantages_PG, group_normalise(accuracy_PG))


@settings(deadline=None, max_examples=50)
@given(SEEDS, st.sampled_from(SCALES))
def test_neither_alpha_nor_the_class_factors_scale_is_a_learning_rate(seed, scale):
    accuracy_PG, format_PG, p_PG, is_defect_P, class_factor_P = random_update(seed)
    torch.testing.assert_close(
        focal_advantages(accuracy_PG, format_PG, p_PG, is_defect_P, 7 * class_factor_P, scale=scale),
        focal_advantages(accuracy_PG, format_PG, p_PG, is_defect_P, class_factor_P, scale=scale),
    )


# The trap: a weight that the group shares cancels when it sits on the reward.

# A hard prompt with 2 of 8 right answers and an easy one with 7 of 8; p is the group's share of right
# answers, the same for all its completions; gamma 2, alpha and f 1; everything follows the format; epsilon
# 1e-4; no floor. The size of a group's advantages is their root mean square.
HARD_AND_EASY_PG = torch.tensor([[1.0] * 2 + [0.0] * 6, [1.0] * 7 + [0.0]], dtype=torch.float64)
P_PG = HARD_AND_EASY_PG.mean(1, keepdim=True).expand(2, 8)


def hard_over_easy(advantages_PG):
    return size(advantages_PG[0]) / size(advantages_PG[1])


@pytest.mark.parametrize(
    ("scale", "without", "with_focal"), [("group", 1.00, 1.02), ("batch", 1.31, 47), ("none", 1.31, 47)]
)
def test_a_focal_weight_on_the_reward_cancels_under_group_scaling(scale, without, with_focal):
    format_PG = torch.ones_like(HARD_AND_EASY_PG)
    plain_PG = paper_advantages(HARD_AND_EASY_PG, format_PG, scale=scale)
    focal_PG = paper_advantages(focal_weight(P_PG, gamma=2.0) * HARD_AND_EASY_PG, format_PG, scale=scale)
    assert hard_over_easy(plain_PG) == pytest.approx(without, abs=0.005)
    assert hard_over_easy(focal_PG) == pytest.approx(with_focal, rel=0.005)


def test_a_focal_weight_on_the_advantage_does_not_cancel():
    update = (
        HARD_AND_EASY_PG,
        torch.ones_like(HARD_AND_EASY_PG),
        P_PG,
        torch.tensor([True, True]),
        torch.ones(2),
    )
    assert hard_over_easy(focal_advantages(*update, gamma=0.0)) == pytest.approx(1.00, abs=0.005)
    assert hard_over_easy(focal_advantages(*update, gamma=2.0, floor=0.0)) == pytest.approx(36, rel=0.005)
    # Our default floor leaves 0.5625 / 0.05.
    assert hard_over_easy(focal_advantages(*update, gamma=2.0)) == pytest.approx(11.25, rel=0.005)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_a_class_factor_on_the_reward_cancels_under_group_scaling(factor):
    """What `check_not_cancelling` refuses: f changes nothing, even though p differs between completions."""
    _, _, p_PG, _, _ = random_update(3)
    focal_PG = focal_weight(p_PG, gamma=2.0)
    torch.testing.assert_close(
        paper_advantages(factor * focal_PG, epsilon=1e-12), paper_advantages(focal_PG, epsilon=1e-12)
    )
