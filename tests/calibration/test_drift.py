"""A line that has changed is seen, one that has not is left alone as often as it is said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from lriad.calibration import calibrate
from lriad.calibration.drift import drift
from lriad.errors import LriadError


@pytest.fixture
def found(rows):
    """Half of its images are defects; good ones have uniform values up to 0.6."""
    rng = np.random.default_rng(0)
    return calibrate(rows(rng.uniform(0.5, 1, 100), rng.uniform(0, 0.6, 300)), max_miss_rate=0.1)


def test_a_line_of_good_parts_has_not_drifted_and_a_darker_one_has(found, rows):
    rng = np.random.default_rng(1)
    [same] = drift(found, rows([], rng.uniform(0, 0.6, 200), truth="unknown"))
    assert not same.drifted
    assert (same.n, same.images, same.first, same.last) == (200, 200, "image-0", "image-199")
    [moved] = drift(found, rows([], rng.uniform(0.15, 0.75, 200), truth="unknown"))
    assert moved.drifted
    assert moved.p_value < 1e-4
    assert moved.statistic == pytest.approx(0.25, abs=0.08)
    assert str(moved).startswith("drifted: 200 values, KS 0.")


def test_the_first_changed_batch_is_named(found, rows):
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.uniform(0, 0.6, 200), rng.uniform(0.3, 0.9, 110)])
    batches = drift(found, rows([], values, truth="unknown"), batch=100)
    assert [one.drifted for one in batches] == [False, False, True, False]
    assert [one.first for one in batches] == ["image-0", "image-100", "image-200", "image-300"]
    last = batches[-1]
    assert (last.n, last.statistic, last.p_value) == (10, None, None)
    assert str(last) == "10 values, too few to compare (20 are needed)"


def test_false_alarms_are_as_rare_as_the_level(rows):
    """In the mean over calibrations; discrete distributions of the statistic make it a little rarer."""
    rng = np.random.default_rng(3)
    drifted = 0
    for _ in range(1000):
        good_N, batch_N = rng.uniform(size=(2, 60))
        found = calibrate(rows([0.9] * 9, good_N), max_miss_rate=0.2, guarantee="mean")
        [one] = drift(found, rows([], batch_N), level=0.05)
        drifted += one.drifted
    assert drifted <= binom.isf(1e-4, 1000, 0.05)
    assert drifted >= 15


def test_known_defects_do_not_count_but_unknown_ones_do(found, rows):
    rng = np.random.default_rng(4)
    good, bad = rng.uniform(0, 0.6, 200), rng.uniform(0.9, 1, 100)
    [known] = drift(found, rows(bad, good))
    assert not known.drifted
    assert known.n == 200
    [unknown] = drift(found, rows(bad, good, truth="unknown"))
    assert unknown.drifted


def test_images_of_a_part_count_once_and_those_without_a_value_not(found, rows):
    rng = np.random.default_rng(5)
    made = rows([], [*np.repeat(rng.uniform(0, 0.6, 40), 10), None, None])
    for number, row in enumerate(made):
        row["group"] = f"part {number // 10}"
    made.append({"id": "broken", "truth": "unknown", "error": "unreadable"})
    [one] = drift(found, made)
    assert (one.images, one.n) == (402, 40)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"mode": "reason"}, "for mode 'fast', not 'reason'"), ({"object_name": "nut"}, "of 'tile', not of 'nut'")],
)
def test_predictions_of_other_settings_are_refused(found, rows, fields, message):
    with pytest.raises(LriadError, match=message):
        drift(found, rows([], [0.5] * 50) + rows([], [0.5], **fields))


def test_what_cannot_be_compared_is_refused(found, rows):
    with pytest.raises(LriadError, match="batch 19: expected 20 or more"):
        drift(found, rows([], [0.5] * 50), batch=19)
    with pytest.raises(LriadError, match="level 5: "):
        drift(found, rows([], [0.5] * 50), level=5)
    for none_kept in ([], rows([0.9] * 50)):
        with pytest.raises(LriadError, match=r"no inspected image to compare: .*not of known defects alone"):
            drift(found, none_kept)
    no_good = calibrate(rows([0.9] * 9, [0.1] * 19), max_miss_rate=0.2, guarantee="mean")
    with pytest.raises(LriadError, match="has 19 good parts to compare with, and 20 are needed"):
        drift(no_good, rows([], [0.5] * 50))
