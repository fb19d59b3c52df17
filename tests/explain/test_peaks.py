"""Boxes around what stands out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from lriad.explain import peak_boxes


def test_the_highest_comes_first_and_what_is_faint_has_none():
    heat = np.zeros((10, 20), np.float32)
    heat[2, 3] = 0.6
    heat[7:9, 12:15] = 0.9
    heat[0, 19] = 0.3
    assert peak_boxes(heat, (200, 100), 0.25) == ((120, 70, 150, 90), (30, 20, 40, 30))
    assert peak_boxes(heat, (200, 100), 0.95) == ()


def test_places_that_were_not_looked_at_are_in_no_box():
    heat = np.full((4, 4), np.nan, np.float32)
    heat[1, 1] = 5.0
    assert peak_boxes(heat, (40, 40), 3.0) == ((10, 10, 20, 20),)
    assert peak_boxes(np.full((4, 4), np.nan, np.float32), (40, 40), 3.0) == ()


@given(
    arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(0, 1, width=32)),
    st.tuples(st.integers(1, 500), st.integers(1, 500)),
)
def test_boxes_lie_in_the_image_and_hold_the_highest_place(heat, size):
    boxes = peak_boxes(heat, size, 0.25)
    assert len(boxes) <= 3
    for left, top, right, bottom in boxes:
        assert 0 <= left <= right <= size[0]
        assert 0 <= top <= bottom <= size[1]
    assert bool(boxes) == bool(heat.max() > 0.25)
