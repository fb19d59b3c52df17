"""Promises are kept as often as they say, and no more often than they must be: by simulation over 1,000 calibrations.

The true rates of a threshold are known, because the values are drawn from known distributions.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom, norm

from lriad.calibration.bounds import order_statistic
from lriad.calibration.calibration import Promise
from lriad.calibration.fit import calibrate, thresholds

DRAWS = 1000


def promise(error, rate, confidence, parts):
    k = order_statistic(parts, rate, confidence)
    assert k, "too few parts: the test would test nothing"
    return Promise(error, rate, confidence, parts, k - 1)


def calibrations(defect_DN, good_DN, promises, weights=None):
    """The thresholds of each draw, (D, 2)."""
    pairs = zip(np.sort(defect_DN, 1), np.sort(good_DN, 1), strict=True)
    return np.array([thresholds(defect_N, good_N, promises, weights) for defect_N, good_N in pairs])


def at_most(broken: int, share: float) -> bool:
    """Whether so many broken promises of DRAWS are to be expected at that share, once in 10,000 runs aside."""
    return broken <= binom.isf(1e-4, DRAWS, share)


def about(broken: int, share: float) -> bool:
    low, high = binom.interval(1 - 1e-4, DRAWS, share)
    return low <= broken <= high


@pytest.mark.parametrize(("parts", "rate", "confidence"), [(149, 0.02, 0.95), (300, 0.05, 0.9), (60, 0.2, 0.8)])
def test_misses_are_promised_with_confidence(parts, rate, confidence):
    rng = np.random.default_rng(1)
    kept = promise("miss", rate, confidence, parts)
    t_D = calibrations(rng.normal(1, 1, (DRAWS, parts)), rng.normal(-1, 1, (DRAWS, 50)), [kept])[:, 0]
    broken = int((norm.cdf(t_D, 1) > rate).sum())
    assert at_most(broken, 1 - confidence)
    # As often as the order statistic's distribution says: no fewer are broken than must be.
    assert about(broken, beta.sf(rate, kept.beyond + 1, parts - kept.beyond))
    assert not at_most(int((norm.cdf(t_D, 1) > 0.6 * rate).sum()), 1 - confidence)


@pytest.mark.parametrize(("parts", "rate", "confidence"), [(149, 0.02, 0.95), (300, 0.05, 0.9)])
def test_false_alarms_are_promised_with_confidence(parts, rate, confidence):
    rng = np.random.default_rng(2)
    kept = promise("false alarm", rate, confidence, parts)
    t_D = calibrations(rng.normal(1, 1, (DRAWS, 50)), rng.normal(-1, 1, (DRAWS, parts)), [kept])[:, 1]
    broken = int((norm.sf(t_D, -1) > rate).sum())
    assert at_most(broken, 1 - confidence)
    assert about(broken, beta.sf(rate, kept.beyond + 1, parts - kept.beyond))


@pytest.mark.parametrize("apart", [1.0, 3.4, 6.0])
@pytest.mark.parametrize("weights", [None, (1.0, 1.0)])
def test_both_promises_are_kept_together(apart, weights):
    """Far apart one threshold keeps both, near each other three ways are needed; sometimes the draw decides."""
    rng = np.random.default_rng(3)
    both = [promise("miss", 0.05, 0.95, 200), promise("false alarm", 0.1, 0.95, 250)]
    below_D, from_D = calibrations(rng.normal(apart, 1, (DRAWS, 200)), rng.normal(0, 1, (DRAWS, 250)), both, weights).T
    assert (below_D <= from_D).all()
    three_way = float((below_D < from_D).mean())
    assert {1.0: three_way == 1, 3.4: 0.1 < three_way < 0.9, 6.0: three_way == 0}[apart]
    missed_D, alarms_D = norm.cdf(below_D, apart), norm.sf(from_D, 0)
    broken = int(((missed_D > 0.05) | (alarms_D > 0.1)).sum())
    # 95 % each: 90 % together.
    assert at_most(broken, 0.1)
    if apart == 1.0:
        each = [beta.sf(one.rate, one.beyond + 1, one.parts - one.beyond) for one in both]
        assert about(broken, 1 - (1 - each[0]) * (1 - each[1]))


def test_from_rows_to_both_promises(rows):
    """The whole way, with 80 % confidence that both are kept: neither is given more than its half of the doubt."""
    rng = np.random.default_rng(8)
    broken = 0
    for _ in range(DRAWS):
        found = calibrate(
            rows(rng.uniform(0.2, 1, 60), rng.uniform(0, 0.8, 40)),
            max_miss_rate=0.1,
            max_false_alarm_rate=0.2,
            confidence=0.8,
        )
        broken += (found.normal_below - 0.2) / 0.8 > 0.1 or (0.8 - found.defect_from) / 0.8 > 0.2
    each = [beta.sf(one.rate, one.beyond + 1, one.parts - one.beyond) for one in found.promises]
    assert max(each) <= 0.1
    assert at_most(broken, 0.2)
    assert about(broken, 1 - (1 - each[0]) * (1 - each[1]))


@pytest.mark.parametrize(("parts", "rate"), [(49, 0.02), (120, 0.1)])
def test_misses_and_false_alarms_are_promised_in_the_mean(parts, rate):
    rng = np.random.default_rng(4)
    both = [promise("miss", rate, None, parts), promise("false alarm", rate, None, parts)]
    below_D, from_D = calibrations(rng.normal(1, 1, (DRAWS, parts)), rng.normal(0, 1, (DRAWS, parts)), both).T
    for rate_D in (norm.cdf(below_D, 1), norm.sf(from_D, 0)):
        k = both[0].beyond + 1
        error = beta.std(k, parts - k + 1) / np.sqrt(DRAWS)
        assert rate_D.mean() <= rate + 4 * error
        assert rate_D.mean() == pytest.approx(k / (parts + 1), abs=4 * error)
        # What it does not promise: a third of the calibrations and more are above.
        assert (rate_D > rate).mean() > 0.3


@pytest.mark.parametrize("steps", [1, 4, 20])
def test_equal_values_only_make_it_safer(steps):
    """Values on a grid: a rate counts what is really decided at the threshold, `<` for a miss and `>=` for an alarm."""
    rng = np.random.default_rng(5)
    defect_DN, good_DN = rng.integers(0, steps + 1, (2, DRAWS, 149)) / steps
    both = [promise("miss", 0.02, 0.95, 149), promise("false alarm", 0.02, 0.95, 149)]
    below_D, from_D = calibrations(defect_DN, good_DN, both).T
    grid = np.arange(steps + 1) / steps
    missed_D = (grid < below_D[:, None]).mean(1)
    alarms_D = (grid >= from_D[:, None]).mean(1)
    assert at_most(int((missed_D > 0.02).sum()), 0.05)
    assert at_most(int((alarms_D > 0.02).sum()), 0.05)
    # Each step is more than 2 %: a miss or an alarm of any of them would break the promise.
    assert (missed_D == 0).mean() >= 0.9
    assert (alarms_D == 0).mean() >= 0.9


def test_images_of_one_part_count_once_and_must(rows):
    """Five images a part that are wholly alike: counted as five parts the promise is broken far too often."""
    rng = np.random.default_rng(6)
    broken = {"grouped": 0, "single": 0}
    for _ in range(DRAWS):
        value_N = np.repeat(rng.uniform(size=50), 5)
        made = rows(value_N)
        for kind in broken:
            for number, row in enumerate(made):
                row["group"] = f"part {number // 5}" if kind == "grouped" else None
            found = calibrate(made, max_miss_rate=0.1, confidence=0.9)
            assert found.defective.parts == (50 if kind == "grouped" else 250)
            broken[kind] += found.normal_below > 0.1
    assert broken["grouped"] <= binom.isf(1e-4, DRAWS, 0.1)
    assert broken["single"] > binom.isf(1e-4, DRAWS, 0.1)


def test_parts_without_a_value_go_to_review_and_count(rows):
    """Three of ten defects cannot be read: of all defects, not of those that can be read, few are passed."""
    rng = np.random.default_rng(7)
    kept = promise("miss", 0.1, 0.9, 100)
    value_DN = np.where(rng.random((DRAWS, 100)) < 0.3, np.inf, rng.normal(0, 1, (DRAWS, 100)))
    t_D = calibrations(value_DN, np.zeros((DRAWS, 0)), [kept])[:, 0]
    broken = int((0.7 * norm.cdf(t_D) > 0.1).sum())
    assert about(broken, beta.sf(0.1, kept.beyond + 1, 100 - kept.beyond))
    assert at_most(broken, 0.1)
    found = calibrate(rows([None, None, *rng.uniform(0, 1, 98)]), max_miss_rate=0.1, confidence=0.9)
    assert (found.defective.parts, found.defective.no_value, found.defective.review) == (100, 2, 2)
