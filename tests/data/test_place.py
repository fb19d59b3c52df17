import numpy as np
import pytest

from lriad.data.place import PLACES, place_of


@pytest.mark.parametrize("shape", [(100, 100), (30, 90)])
def test_place_names_the_nine_fields(shape):
    names = []
    for row in (0.1, 0.5, 0.9):
        for col in (0.1, 0.5, 0.9):
            mask = np.zeros(shape, bool)
            mask[int(row * shape[0]), int(col * shape[1])] = True
            names.append(place_of(mask))
    assert names == [
        "upper left", "top", "upper right", "left", "centre", "right", "lower left", "bottom", "lower right",
    ]  # fmt: skip
    assert names == list(PLACES)
