"""Maps drawn over photographs."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lriad.explain import overlay, save_overlay


def test_only_what_deviates_is_coloured():
    image = Image.new("RGB", (120, 60), (100, 150, 200))
    heat = np.zeros((6, 12), np.float32)
    heat[:, 8:] = 9.0
    drawn = np.asarray(overlay(image, heat)).astype(int)
    assert drawn.shape == (60, 248, 3)
    assert (drawn[:, :120] == [100, 150, 200]).all()
    marked = drawn[:, 128:]
    colourful = marked.max(2) - marked.min(2)
    assert colourful[:, :60].max() == 0
    assert colourful[:, 100:].min() > 20


def test_a_files_name_is_harmless(tmp_path):
    source = tmp_path / "a b..;rm -rf.png"
    Image.new("RGB", (10, 10)).save(source)
    file = save_overlay(source, "f" * 64, np.full((2, 2), np.nan, np.float32), "normal", tmp_path / "maps")
    assert file.parent == tmp_path / "maps"
    assert file.name == "a-b-rm--rf-ffffffffffff.png"
    assert Image.open(file).size == (28, 34)
