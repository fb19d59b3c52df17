"""Maps against masks."""

from __future__ import annotations

import numpy as np
import pytest

from lriad.evaluation.localisation import localisation


def masks() -> list[np.ndarray]:
    first, second = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    first[10:20, 10:20] = True
    second[40:60, 5:15] = True
    second[2:6, 50:54] = True
    return [first, second, np.zeros((64, 64), bool)]


def test_a_perfect_map_has_ones():
    found = localisation([mask.astype(np.float32) for mask in masks()], masks())
    assert found.pixel_auroc == pytest.approx(1.0, abs=0.01)
    assert found.aupro == pytest.approx(1.0, abs=0.03)
    assert found.pointing == 1.0


def test_a_map_of_noise_is_chance():
    rng = np.random.default_rng(0)
    found = localisation([rng.random((64, 64)).astype(np.float32) for _ in masks()], masks())
    assert found.pixel_auroc == pytest.approx(0.5, abs=0.08)
    assert found.aupro == pytest.approx(0.15, abs=0.08)  # the mean of rates from 0 to 0.3


def test_a_small_region_counts_as_much_as_a_large_one():
    maps = [mask.astype(np.float32) for mask in masks()]
    large_missed, small_missed = [m.copy() for m in maps], [m.copy() for m in maps]
    large_missed[1][40:60, 5:15] = 0
    small_missed[1][2:6, 50:54] = 0
    found = [localisation(one, masks()) for one in (large_missed, small_missed)]
    assert found[0].aupro == pytest.approx(found[1].aupro, abs=0.05)
    assert found[0].pixel_auroc < found[1].pixel_auroc


def test_pointing_allows_one_place_and_not_more():
    mask = np.zeros((60, 60), bool)
    mask[30:36, 30:36] = True
    one = np.zeros((10, 10), np.float32)
    one[4, 5] = 1.0
    assert localisation([one], [mask]).pointing == 1.0
    far = np.zeros((10, 10), np.float32)
    far[2, 5] = 1.0
    assert localisation([far], [mask]).pointing == 0.0


def test_nothing_to_find_gives_nothing():
    found = localisation([np.zeros((4, 4), np.float32)], [np.zeros((8, 8), bool)])
    assert (found.pixel_auroc, found.aupro, found.pointing) == (None, None, None)


def test_what_was_not_looked_at_is_below_all_else():
    mask = np.zeros((8, 8), bool)
    mask[0, 0] = True
    one = np.full((8, 8), np.nan, np.float32)
    one[0, 0] = -5.0
    assert localisation([one], [mask]).pointing == 1.0
