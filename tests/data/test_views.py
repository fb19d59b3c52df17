"""Parts of an image: regions and tiles."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lriad import LriadError
from lriad.data.views import MAX_TILES, Views, parse_roi, stitch

sizes = st.tuples(st.integers(64, 600), st.integers(64, 600))


@given(sizes, st.integers(1, 6))
def test_tiles_cover_the_image_and_stay_inside(size, tiles):
    width, height = size
    covered = np.zeros((height, width), bool)
    views = Views(None, tiles)
    boxes = views.boxes(size)
    own = boxes[-math.prod(views.layout(size)) :]
    assert boxes[: -len(own)] == ([(0, 0, *size)] if views.has_whole(size) else [])
    for left, top, right, bottom in own:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] = True
    assert covered.all()
    assert len({(right - left, bottom - top) for left, top, right, bottom in own}) == 1


@given(sizes, st.integers(2, 5))
def test_neighbouring_tiles_overlap(size, tiles):
    boxes = Views(None, tiles).boxes(size)[-math.prod(Views(None, tiles).layout(size)) :]
    first = [box for box in boxes if box[1] == boxes[0][1]]
    for one, other in pairwise(first):
        assert other[0] < one[2]


@pytest.mark.parametrize(
    ("size", "tiles", "count", "whole"),
    [
        ((640, 640), 1, 1, False),
        ((640, 640), 2, 1 + 4, True),
        ((640, 160), 4, 1 + 4, True),
        ((200, 640), 4, 1 + 8, True),
        ((160, 641), 2, 2, False),
        ((490, 100), 16, 64, False),
    ],
)
def test_beside_tiles_the_whole_is_looked_at_unless_it_is_very_long(size, tiles, count, whole):
    boxes = Views(None, tiles).boxes(size)
    assert len(boxes) == count
    assert (boxes[0] == (0, 0, *size)) == (whole or count == 1)
    assert Views(None, tiles).has_whole(size) == whole


def test_the_whole_of_a_region_is_the_region():
    assert Views((10, 20, 100, 50), 2).boxes((200, 100))[0] == (10, 20, 110, 70)


def test_a_region_is_cut_out():
    image = Image.fromarray(np.arange(100 * 200 * 3, dtype=np.uint32).astype(np.uint8).reshape(100, 200, 3))
    [crop] = Views((10, 20, 50, 60)).crops(image)
    assert np.array_equal(np.asarray(crop), np.asarray(image)[20:80, 10:60])
    assert Views().crops(image) == [image]


@pytest.mark.parametrize(
    "views", [{"tiles": 0}, {"tiles": MAX_TILES + 1}, {"roi": (-1, 0, 50, 50)}, {"roi": (0, 0, 50, 31)}]
)
def test_impossible_views_are_refused(views):
    with pytest.raises(LriadError, match="expected"):
        Views(**views)


def test_a_region_beyond_the_image_is_refused():
    with pytest.raises(LriadError, match="beyond this image"):
        Views((0, 0, 300, 40)).boxes((200, 100))


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "1;2;3;4"])
def test_a_region_is_four_numbers(text):
    with pytest.raises(LriadError, match="LEFT,TOP"):
        parse_roi(text)


def test_stitched_maps_say_where_in_the_whole_image():
    size = (200, 100)
    views = Views((0, 0, 200, 50), 2)
    boxes = views.boxes(size)
    maps = [np.zeros((10, 10), np.float32) for _ in boxes]
    maps[-1][5, 9] = 7.0
    whole = stitch(maps, boxes, size)
    row, column = np.unravel_index(np.nanargmax(whole), whole.shape)
    assert column / whole.shape[1] > 0.9
    assert row / whole.shape[0] < 0.5
    assert np.isnan(whole[-1]).all()
    assert np.nanmax(whole) > 3


def test_one_view_of_all_is_the_map_itself():
    one = np.random.default_rng(0).random((6, 7)).astype(np.float32)
    assert stitch([one], [(0, 0, 70, 60)], (70, 60)) is one
