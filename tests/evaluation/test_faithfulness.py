"""What reasoning names, what would be true, and how often the two agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lriad.data.place import PLACES, place_of
from lriad.data.synthetic import FAMILIES, defect_kinds, narrate
from lriad.data.synthetic.narration import KIND_OF
from lriad.errors import LriadError
from lriad.evaluation.faithfulness import (
    measure_faithfulness,
    named_kinds,
    named_places,
    read_mask,
    true_kinds,
    true_places,
)

KINDS = sorted({kind for family in FAMILIES.values() for name in family.categories for kind in defect_kinds(name)})
OBJECTS = ["hex nut", "potato chip", "chip", "left bracket", "cut gem", "threaded shaft", "top cover", "c++ (v2)"]


def boxes(*fields, size=90):
    """A mask with a square of so many pixels in each field of the grid of 3 x 3."""
    mask = np.zeros((size, size), bool)
    for place, side in fields:
        row, col = divmod(PLACES.index(place), 3)
        mask[row * size // 3 :, col * size // 3 :][:side, :side] = True
    return mask


def write_mask(path, mask, value=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * value).save(path)
    return str(path)


def found(reasoning, mask=None, kind=None, category="nut", **fields):
    """The row of a defect that was found."""
    row = {"truth": "defect", "label": "defect", "category": category, "object_name": category}
    return row | {"reasoning": reasoning, "mask": mask, "defect_type": kind} | fields


def measure(*rows, resamples=0):
    return measure_faithfulness(rows, [row["category"] for row in rows], resamples=resamples, seed=0, level=0.95)


# What is named


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_what_the_narration_says_is_what_is_read(kind, place):
    for seed in range(20):
        text = narrate("hex nut", kind, place, seed)
        assert named_places(text) == {place}
        assert named_kinds(text) == {kind}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(OBJECTS),
    st.sampled_from([None, "pitting", *KINDS]),
    st.sampled_from([None, *PLACES]),
    st.integers(0),
)
def test_the_name_of_the_object_is_no_finding(tmp_path_factory, name, kind, place, seed):
    mask = None
    if kind and place:
        mask = write_mask(tmp_path_factory.mktemp("mask") / "m.png", boxes((place, 9)))
    measured = measure(found(narrate(name, kind, place, seed), mask, kind, object_name=name))
    for aspect in () if measured is None else (measured.place, measured.kind):
        assert aspect.pooled.right in (1, None)


@pytest.mark.parametrize("seed", range(60))
def test_what_the_narration_says_of_a_sound_part_names_nothing(seed):
    text = narrate("hex nut", None, None, seed)
    assert named_places(text) == named_kinds(text) == frozenset()


def test_every_kind_that_is_drawn_has_a_name():
    assert set(KIND_OF.values()) == set(KINDS)


@pytest.mark.parametrize(
    ("text", "places", "kinds"),
    [
        ("", set(), set()),
        ("A cute leftover of the stopwatch, rightly centred.", set(), set()),
        ("a clear-cut left-over, chips and pin-holes", set(), set()),
        ("UPPER\nLEFT: a Scratch.", {"upper left"}, {"scratch"}),
        ("at the lower-right, a loose  thread", {"lower right"}, {"thread"}),
        ("at the left", {"left"}, set()),
        ("left of the upper left", {"left", "upper left"}, set()),
        ("at the top left", {"top", "left"}, set()),
        ("at the top, yes, the top", {"top"}, set()),
        ("nothing is missing, a thread is loose", set(), set()),
        ("a missing part or a cut", set(), {"missing", "cut"}),
        ("a scratch, a long scratch", set(), {"scratch"}),
    ],
)
def test_only_whole_words_are_read_and_the_longest_that_fit(text, places, kinds):
    assert named_places(text) == places
    assert named_kinds(text) == kinds


# What is true


@pytest.mark.parametrize("place", PLACES)
def test_a_mask_in_one_field_has_one_place(place):
    assert true_places(boxes((place, 20))) == {place}


def test_a_spread_mask_has_the_place_of_its_centroid_and_of_the_half_that_lies_together():
    # Two equal pieces in opposite corners: the policy is taught their centre, each half is as true.
    ends = true_places(boxes(("upper left", 10), ("lower right", 10)))
    assert ends == {"centre", "upper left", "lower right"}
    # Two thirds lie in one field, but a far piece drags the centroid out of it.
    assert true_places(boxes(("upper left", 26), ("lower right", 18))) == {"centre", "upper left"}
    # A bar over three fields has no half in one: the centroid's alone.
    bar = np.zeros((90, 90), bool)
    bar[40:50] = True
    assert true_places(bar) == {"centre"}
    assert true_places(np.zeros((4, 4), bool)) == frozenset()


@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_the_place_that_is_taught_is_always_right(height, width, data):
    mask = np.zeros((height, width), bool)
    pixels = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    for pixel in data.draw(st.lists(pixels, min_size=1, max_size=9)):
        mask[pixel] = True
    assert place_of(mask) in true_places(mask)


def test_kinds_without_a_name_have_no_truth():
    assert true_kinds("bent") == {"bent"}
    assert true_kinds("broken_large") == true_kinds("") == true_kinds(None) == frozenset()


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_is_what_is_not_black(tmp_path, value):
    mask = boxes(("right", 7))
    assert (read_mask(write_mask(tmp_path / "m.png", mask, value)) == mask).all()


def test_a_folder_of_masks_is_their_union(tmp_path):
    write_mask(tmp_path / "m" / "000.png", boxes(("right", 7)))
    write_mask(tmp_path / "m" / "001.png", boxes(("left", 7)))
    assert (read_mask(str(tmp_path / "m")) == boxes(("right", 7), ("left", 7))).all()


def test_a_mask_that_cannot_be_read_is_one_line_with_its_name(tmp_path):
    write_mask(tmp_path / "differing" / "000.png", boxes(("right", 7)))
    write_mask(tmp_path / "differing" / "001.png", boxes(("left", 7), size=60))
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no image")
    for name in ("missing.png", "text.png", "empty", "differing"):
        with pytest.raises(LriadError, match=name) as caught:
            measure(found("at the left: a cut.", str(tmp_path / name), "cut"))
        assert "\n" not in str(caught.value)


# How often


def test_shares_beside_the_best_constant_answer(tmp_path):
    left, top = (write_mask(tmp_path / f"{place}.png", boxes((place, 9))) for place in ("left", "top"))
    measured = measure(
        found("at the left: a cut.", left, "cut"),
        found("at the left: a cut.", left, "chip"),
        found("at the left or the top: a cut or a chip.", left, "chip"),
        found("", top, "chip"),
        found("at the top: a burn.", None, "broken_large"),
    )
    assert measured.n == 5
    place, kind = (dataclasses.asdict(aspect.pooled) for aspect in (measured.place, measured.kind))
    same = {"n": 4, "interval": None, "none": 1, "several": 1, "constant": 0.75, "unknown": 1}
    assert place == same | {"right": 0.5}
    assert kind == same | {"right": 0.25}
    assert measured.place.per_category == {"nut": measured.place.pooled}


def test_only_defects_that_were_found_and_reasoned_about_count_and_no_other_mask_is_read(tmp_path):
    mask = write_mask(tmp_path / "m.png", boxes(("left", 9)))
    others = [
        found("at the left: a cut.", "none.png", "cut", label="normal"),
        found("at the left: a cut.", "none.png", "cut", label="unparsable"),
        found("at the left: a cut.", "none.png", "cut", label=None),
        found("at the left: a cut.", "none.png", "cut", truth="normal"),
        found("", "none.png", "cut", mode="fast"),
        found(None, "none.png", "cut"),
    ]
    assert measure(*others) is None
    assert measure(found("at the left: a cut.")) is None
    measured = measure(*others, found("at the left: a cut.", mask, "cut", mode="reason"))
    assert (measured.n, measured.place.pooled.right, measured.kind.pooled.right) == (1, 1, 1)


def test_the_think_block_is_read_where_only_the_completion_is_there(tmp_path):
    mask = write_mask(tmp_path / "m.png", boxes(("left", 9)))
    said = "<think>at the left: a cut.</think> <answer>A</answer> at the top"
    measured = measure(found(None, mask, "cut", text=said))
    assert (measured.place.pooled.right, measured.kind.pooled.right) == (1, 1)
    assert measure(found(None, mask, "cut", text="a cut")).kind.pooled.none == 1


def test_a_mask_without_a_pixel_counts_as_none(tmp_path):
    mask = write_mask(tmp_path / "m.png", np.zeros((9, 9), bool))
    measured = measure(found("at the left: a cut.", mask, "cut"))
    assert (measured.place.pooled.n, measured.place.pooled.right, measured.place.pooled.unknown) == (0, None, 1)


def test_intervals_are_those_of_the_binomial_and_of_each_category():
    rows = [found("a cut" if i % 4 else "a burn", None, "cut", category="nut") for i in range(400)]
    rows += [found("a cut", None, "cut", category="pin") for _ in range(5)]
    rows += [found("a cut", None, "other", category="rod")]
    measured = measure(*rows, resamples=1000)
    own = measured.kind.per_category
    low, high = own["nut"].interval
    assert low < 0.75 < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.75 * 0.25 / 400), rel=0.15)
    assert own["pin"].interval == (1, 1)
    assert own["rod"].interval is None
    low, high = measured.kind.pooled.interval
    assert low < measured.kind.pooled.right == 305 / 405 < high
    assert measured.place.pooled.interval is None
    assert measured == measure(*rows, resamples=1000)
