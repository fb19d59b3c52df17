"""The probe behind the ceiling: what it finds where there is something, and where there is nothing."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import ceiling


def known(rng, n, strength):
    truth = rng.random(n) < 0.4
    features = rng.normal(size=(n, 30))
    features[:, 3] += strength * truth
    return features, features[:, ::-1], rng.random(n), truth


@pytest.mark.parametrize("source", [0, 1])
def test_the_probe_finds_what_is_there(source):
    rng = np.random.default_rng(0)
    auroc, best, recall = ceiling.taught(known(rng, 400, 4.0), known(rng, 400, 4.0), source)
    assert auroc > 0.98
    assert best > 0.93
    assert recall > 0.9
    nothing, _, _ = ceiling.taught(known(rng, 400, 0.0), known(rng, 400, 0.0), source)
    assert 0.4 < nothing < 0.62


def test_the_page_has_a_row_a_judge_and_the_spread_of_the_training_sets():
    page = ceiling.to_markdown("ab" * 32, [("a → b", "a judge", np.array([[0.9, 0.8, 0.7], [0.92, 0.84, 0.7]]))])
    assert "| a → b | a judge | 91.0 [90.0, 92.0] | 82.0 [80.0, 84.0] | 70.0 [70.0, 70.0] |" in page
