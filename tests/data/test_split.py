from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.data import Sample, load_dataset, split_by_group
from lriad.errors import LriadError


def sample(number: int, label: str = "normal", category: str = "a", group: str | None = None, dataset: str = "d"):
    return Sample(f"{category}/{number}", f"{number}.png", label, category, category, group=group, dataset=dataset)


samples_strategy = st.lists(
    st.tuples(
        st.sampled_from(["normal", "defect", "unknown"]),
        st.sampled_from(["a", "b"]),
        st.none() | st.integers(0, 6).map(str),
        st.sampled_from(["d", "e"]),
    ),
    max_size=60,
).map(lambda rows: [sample(number, *row) for number, row in enumerate(rows)])


@settings(deadline=None)
@given(samples_strategy, st.floats(0, 1), st.integers(0, 5), st.randoms())
def test_invariants(samples: list[Sample], fraction: float, seed: int, shuffler: random.Random) -> None:
    rest, drawn = split_by_group(samples, fraction, seed)
    # Every sample once, in order.
    assert sorted(rest + drawn, key=samples.index) == samples
    assert [s for s in samples if s in drawn] == drawn

    # No group on both sides.
    def groups(side: list[Sample]) -> set:
        return {(s.dataset, s.group) for s in side if s.group is not None}

    assert not groups(rest) & groups(drawn)
    # The same whatever the order of the samples.
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    _, drawn_again = split_by_group(shuffled, fraction, seed)
    assert set(drawn_again) == set(drawn)
    assert split_by_group(samples, fraction, seed) == (rest, drawn)
    if fraction in (0, 1):
        assert len(drawn) == fraction * len(samples)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["normal", "defect"]), st.sampled_from(["a", "b", "c"])), max_size=80),
    st.floats(0, 1),
    st.integers(0, 5),
)
def test_strata_keep_their_share_without_groups(rows, fraction: float, seed: int) -> None:
    samples = [sample(number, *row) for number, row in enumerate(rows)]
    _, drawn = split_by_group(samples, fraction, seed)
    sizes = Counter((s.category, s.label) for s in samples)
    for stratum, count in sizes.items():
        mine = sum((s.category, s.label) == stratum for s in drawn)
        assert abs(mine - fraction * count) < 1
    for label, count in Counter(s.label for s in samples).items():
        assert abs(sum(s.label == label for s in drawn) - fraction * count) <= 0.5 + 1e-6


def test_groups_of_several_sizes_come_close() -> None:
    rng = random.Random(1)
    samples = []
    for group in range(80):
        for _ in range(rng.randint(1, 8)):
            label = rng.choice(["normal", "normal", "defect"])
            samples.append(sample(len(samples), label, "ab"[group % 2], str(group)))
    for seed in range(5):
        _, drawn = split_by_group(samples, 0.25, seed)
        for category in "ab":
            for label in ("normal", "defect"):
                size = sum((s.category, s.label) == (category, label) for s in samples)
                mine = sum((s.category, s.label) == (category, label) for s in drawn)
                assert abs(mine - size / 4) <= 3


def test_seeds_draw_different_samples() -> None:
    samples = [sample(number) for number in range(100)]
    draws = {frozenset(s.id for s in split_by_group(samples, 0.2, seed)[1]) for seed in range(5)}
    assert len(draws) == 5
    assert {len(draw) for draw in draws} == {20}


def test_one_large_group_goes_to_one_side() -> None:
    samples = [sample(number, group="g") for number in range(10)]
    assert split_by_group(samples, 0.2, 0) == (samples, [])
    assert split_by_group(samples, 0.8, 0) == ([], samples)


def test_equal_names_in_two_data_sets_are_two_groups() -> None:
    samples = [sample(number, group="1", dataset=dataset) for dataset in "de" for number in range(4)]
    rest, drawn = split_by_group(samples, 0.6, 0)
    assert len(drawn) == 8
    assert rest == []


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(LriadError, match="from 0 to 1"):
        split_by_group([], fraction, 0)


def test_nothing_to_split() -> None:
    assert split_by_group([], 0.5, 0) == ([], [])


@pytest.mark.real
@pytest.mark.parametrize("name", ["bsdata", "deeppcb", "magnetic_tile"])
def test_real_groups(real_data: Path, name: str) -> None:
    samples = load_dataset(f"folder:{real_data / name}")
    rest, drawn = split_by_group(samples, 0.25, 0)
    assert not {s.group for s in rest} & {s.group for s in drawn}
    for label in ("normal", "defect"):
        size = sum(s.label == label for s in samples)
        assert abs(sum(s.label == label for s in drawn) / size - 0.25) < 0.05


def test_rare_labels_reach_the_drawn_part_although_no_category_has_enough() -> None:
    samples = [sample(number, "defect" if number % 20 == 0 else "normal", f"c{number // 20}") for number in range(200)]
    _, drawn = split_by_group(samples, 0.1, 0)
    assert len(drawn) == 20
    assert sum(s.label == "defect" for s in drawn) == 1
    _, drawn = split_by_group(samples, 0.3, 0)
    assert sum(s.label == "defect" for s in drawn) == 3
