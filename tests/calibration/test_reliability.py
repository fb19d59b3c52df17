"""Reliability by hand and by simulation; what a recalibration makes of a probability that is too sure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss

from lriad.calibration import calibrate
from lriad.calibration.recalibration import _cross_fitted, learn
from lriad.calibration.reliability import reliability
from lriad.errors import LriadError

pairs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80)


def test_a_small_diagram_by_hand():
    found = reliability([0.0, 0.1, 0.15, 0.5, 1.0, 0.95], [0, 0, 1, 1, 1, 0])
    assert [(one.low, one.images, one.share) for one in found.bins] == [
        (0, 1, 0),
        (pytest.approx(0.1), 2, 0.5),
        (0.5, 1, 1),
        (pytest.approx(0.9), 2, 0.5),
    ]
    gaps = [0, 2 * (0.5 - 0.125), 0.5, 2 * (0.975 - 0.5)]
    assert found.ece == pytest.approx(sum(gaps) / 6)


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(1, 20))
def test_bins_hold_every_image_once(pairs, bins):
    p_N, truth_N = map(np.array, zip(*pairs, strict=True))
    found = reliability(p_N, truth_N, bins)
    assert sum(one.images for one in found.bins) == len(pairs)
    assert found.brier == pytest.approx(brier_score_loss(truth_N, p_N, labels=[False, True]))
    assert 0 <= found.ece <= 1
    for one in found.bins:
        assert one.low - 1e-12 <= one.mean_p <= one.high + 1e-12
        assert one.interval[0] <= one.share <= one.interval[1]


def overconfident(rng, n, share=0.5, temperature=3.0):
    """N log-odds that are `temperature` times too far from 0, their truth, and the true probability."""
    truth_N = rng.random(n) < share
    # Normal of equal spread: the true log-odds are linear in x.
    x_N = rng.normal(np.where(truth_N, 1.0, -1.0), 1.0)
    true_N = expit(2 * x_N + logit(share))
    return temperature * 2 * x_N, truth_N, true_N


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
def test_a_recalibrated_probability_is_the_true_one(method):
    rng = np.random.default_rng(0)
    x_N, truth_N, true_N = overconfident(rng, 4000)
    found = learn(method, x_N, truth_N, [str(i) for i in range(4000)], expit(x_N))
    assert found.after.ece < 0.6 * found.before.ece
    assert found.after.brier < found.before.brier
    assert np.abs(found.curve(x_N) - true_N).mean() < {"temperature": 0.01, "isotonic": 0.03}[method]
    if method == "temperature":
        assert 1 / found.curve.slope == pytest.approx(3, rel=0.1)


def test_the_lines_rate_of_defects_shifts_the_probability():
    """Learned where three of ten parts are defective, asked where one in a hundred is."""
    rng = np.random.default_rng(1)
    x_N, truth_N, _ = overconfident(rng, 8000, share=0.3)
    found = learn("temperature", x_N, truth_N, [str(i) for i in range(8000)], None)
    line_x_N, line_truth_N, line_true_N = overconfident(rng, 20_000, share=0.01)
    shifted_N = np.array([found.probability(x, 0.01) for x in line_x_N])
    assert np.abs(shifted_N - line_true_N).mean() < 0.005
    assert shifted_N.mean() == pytest.approx(line_truth_N.mean(), abs=0.003)
    assert np.mean([found.probability(x, None) for x in line_x_N]) > 0.05


def test_cross_fitting_is_not_fooled_by_noise():
    """An isotonic curve through its own noise is perfectly reliable on it; on other images it is not."""
    rng = np.random.default_rng(2)
    x_N, truth_N = rng.normal(size=60), rng.random(60) < 0.5
    found = learn("isotonic", x_N, truth_N, [str(i) for i in range(60)], None)
    assert found.before is None
    own = reliability(found.curve(x_N), truth_N)
    assert found.after.ece > own.ece + 0.05
    assert found.after.brier > own.brier


def test_images_of_one_part_are_not_on_both_sides():
    """A curve that knows what it has learned from: of whole parts it has never seen one that it is asked."""
    rng = np.random.default_rng(3)
    x_N, truth_N = np.repeat(rng.normal(size=60), 12), np.repeat(rng.random(60) < 0.5, 12)

    def remembering(learned_N, _):
        return lambda asked_N: np.isin(asked_N, learned_N).astype(float)

    assert (_cross_fitted(remembering, x_N, truth_N, [str(i // 12) for i in range(720)]) == 0).all()
    assert (_cross_fitted(remembering, x_N, truth_N, [str(i) for i in range(720)]) == 1).all()


def test_images_told_apart_without_error_get_a_finite_slope(rows):
    found = calibrate(
        rows(np.linspace(0.9, 1, 20), np.linspace(0, 0.1, 20)),
        max_miss_rate=0.1,
        guarantee="mean",
        recalibrate="temperature",
    )
    assert np.isfinite(found.recalibration.curve.slope)
    assert 0 < found.probability(0.0) < 0.2
    assert 0.8 < found.probability(1.0) < 1
    assert found.recalibration.share == 0.5


def test_a_probability_does_not_change_a_decision(rows):
    rng = np.random.default_rng(4)
    made = rows(rng.beta(4, 2, 100), rng.beta(2, 4, 100))
    plain = calibrate(made, max_miss_rate=0.05)
    both = [calibrate(made, max_miss_rate=0.05, recalibrate=method) for method in ("temperature", "isotonic")]
    assert {(one.normal_below, one.defect_from) for one in both} == {(plain.normal_below, plain.defect_from)}
    for one in both:
        probability = [one.probability(value) for value in np.linspace(0, 1, 50)]
        assert probability == sorted(probability)
        assert 0 < probability[0] < probability[-1] < 1


@pytest.mark.parametrize("method", ["temperature", "isotonic"])
@pytest.mark.parametrize("values", [(np.linspace(0, 0.4, 20), np.linspace(0.6, 1, 20)), (np.full(20, 0.5),) * 2])
def test_values_that_do_not_rise_with_defects_are_refused(rows, method, values):
    with pytest.raises(LriadError, match="no higher values than good parts"):
        calibrate(rows(*values), max_miss_rate=0.2, recalibrate=method)


def test_too_few_parts_are_refused(rows):
    made = rows(np.linspace(0.5, 1, 30), np.linspace(0, 0.5, 30), group="one")
    with pytest.raises(LriadError, match="1 defective parts with a value"):
        calibrate(made, cost_escape=1, cost_overkill=1, recalibrate="temperature")
