"""The bounds are scipy's, the needed numbers are the smallest, and the table in the guide is this module's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from lriad.calibration.bounds import images_needed, interval, order_statistic, percent, upper_bound
from lriad.errors import LriadError

GUIDE = Path(__file__).parents[2] / "docs" / "calibration.md"
rates = st.floats(0.005, 0.5)
confidences = st.sampled_from([None, 0.8, 0.95, 0.975, 0.99])
quick = settings(max_examples=100, deadline=None)


@quick
@given(st.integers(0, 60), st.integers(0, 60))
def test_the_interval_is_clopper_and_pearsons(errors, more):
    parts = errors + more
    if parts == 0:
        assert interval(0, 0) == (0, 1)
        return
    expected = binomtest(errors, parts).proportion_ci(0.95, "exact")
    assert interval(errors, parts) == pytest.approx((expected.low, expected.high), abs=1e-12)
    one_sided = binomtest(errors, parts, alternative="less").proportion_ci(0.9, "exact")
    assert upper_bound(errors, parts, 0.9) == pytest.approx(one_sided.high, abs=1e-12)


@quick
@given(st.integers(0, 500), rates, confidences)
def test_the_order_statistic_is_the_largest_that_keeps_the_promise(parts, rate, confidence):
    k = order_statistic(parts, rate, confidence)
    bounds = np.array([upper_bound(errors, parts, confidence) for errors in range(parts)])
    assert k == np.count_nonzero(bounds <= rate)
    if confidence is not None and k:
        # The binomial p-value of Learn then Test says the same.
        assert binom.cdf(k - 1, parts, rate) <= (1 - confidence) * (1 + 1e-9)


@quick
@given(rates, confidences, st.integers(0, 5))
def test_the_needed_number_is_enough_and_the_smallest(rate, confidence, errors):
    needed = images_needed(rate, confidence, errors)
    assert order_statistic(needed, rate, confidence) > errors
    assert order_statistic(needed - 1, rate, confidence) <= errors


@pytest.mark.parametrize(
    ("rate", "confidence", "errors", "needed"),
    # Of zero errors ln(1 - confidence) / ln(1 - rate); the others are tabled widely (3/n, 4.74/n, …).
    [
        *[(0.02, 0.95, 0, 149), (0.01, 0.95, 0, 299), (0.05, 0.95, 0, 59), (0.05, 0.95, 1, 93), (0.1, 0.9, 0, 22)],
        *[(0.02, 0.975, 0, 183), (0.02, None, 0, 49), (0.01, None, 2, 299), (1e-9, 0.95, 0, 2995732273)],
    ],
)
def test_known_numbers(rate, confidence, errors, needed):
    assert images_needed(rate, confidence, errors) == needed


@pytest.mark.parametrize(("rate", "confidence"), [(0, 0.95), (1, 0.95), (2, 0.95), (0.02, 95), (float("nan"), 0.95)])
def test_what_is_no_share_is_refused(rate, confidence):
    with pytest.raises(LriadError, match="expected a number between 0 and 1"):
        images_needed(rate, confidence)


def _table(heading: str) -> list[list[str]]:
    """The cells of the first table behind a heading of the guide."""
    text = GUIDE.read_text(encoding="utf-8").split(heading, 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines, heading
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[0].splitlines()]


def test_the_tables_of_the_guide_are_true():
    columns = [(0.9, 0), (0.95, 0), (0.95, 1), (0.95, 4), (0.975, 0), (0.99, 0), (None, 0)]
    header, _, *lines = _table("## How many images")
    assert (len(header), len(lines)) == (8, 5)
    for line in lines:
        rate = float(line[0].removesuffix(" %")) / 100
        needed = [images_needed(rate, confidence, errors) for confidence, errors in columns]
        assert [int(cell) for cell in line[1:]] == needed, line
    _, _, *lines = _table("### What a number of images can promise")
    assert len(lines) == 6
    for line in lines:
        parts = int(line[0])
        assert line[1:] == [percent(upper_bound(0, parts, c)) for c in (0.9, 0.95, 0.975, None)], line


def test_a_rate_that_no_number_of_parts_shows_is_refused():
    assert images_needed(1e-9, 0.95, 10**6) < 2**53
    with pytest.raises(LriadError, match="rate 1e-17: expected 1e-09 or more"):
        images_needed(1e-17, 0.95)
