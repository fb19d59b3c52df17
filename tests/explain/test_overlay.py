"""Maps drawn over photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFont

from lriad.errors import LriadError
from lriad.explain import overlay, save_overlay, scale_of
from lriad.explain.overlay import _caption, _wrapped
from lriad.verdict import Verdict


def test_only_what_deviates_is_coloured():
    image = Image.new("RGB", (120, 60), (100, 150, 200))
    heat = np.zeros((6, 12), np.float32)
    heat[:, 8:] = 9.0
    drawn = np.asarray(overlay(image, heat, (), (1, 6))).astype(int)
    assert drawn.shape == (60, 248, 3)
    assert (drawn[:, :120] == [100, 150, 200]).all()
    marked = drawn[:, 128:]
    colourful = marked.max(2) - marked.min(2)
    assert colourful[:, :60].max() == 0
    assert colourful[:, 100:].min() > 20


def verdict(**fields) -> Verdict:
    plain = {"label": "defect", "p_defect": 0.9, "decision": "defect", "reasoning": "", "text": "", "mode": "fast"}
    plain |= {"follows_format": True, "answer_forced": False, "seconds": 0.0, "prompt_version": "1"}
    return Verdict(**plain | {"image_sha256": "f" * 64, "policy_sha256": "0" * 64, "adapter_sha256": None} | fields)


def test_a_files_name_is_harmless(tmp_path):
    source = tmp_path / "a b..;rm -rf.png"
    Image.new("RGB", (100, 80)).save(source)
    given = verdict(heatmap=np.full((2, 2), np.nan, np.float32))
    file = save_overlay(source, given, tmp_path / "maps")
    assert file.parent == tmp_path / "maps"
    assert file.name == "a-b-rm--rf-ffffffffffff.png"
    width, height = Image.open(file).size
    assert width == 208
    assert height > 80  # the verdict stands below


def test_boxes_are_drawn_where_they_are_also_when_the_picture_shrinks():
    image = Image.new("RGB", (2048, 1024), (90, 90, 90))
    drawn = np.asarray(overlay(image, np.zeros((4, 8), np.float32), [(1024, 512, 1536, 768)], (1, 6))).astype(int)
    marked_half = drawn[:, 1032:]
    coloured = np.argwhere(marked_half.max(2) - marked_half.min(2) > 50)
    assert coloured.min(0).tolist() == [256, 512]
    assert coloured.max(0).tolist() == [383, 767]


def test_a_caption_says_what_decided_before_what_the_policy_says():
    assert _caption(verdict(reasoning="a scratch")) == "defect: p 0.900\na scratch"
    remembered = {"decided_by": "alarm_rate", "alarm_rate": 0.25, "limit": 0.05, "deviation": 0.4, "memory": "m"}
    assert (
        _caption(verdict(decision="normal", **remembered))
        == "normal: alarm rate 25.0%, limit 5.0%\np 0.90, deviation +0.4"
    )


@pytest.mark.parametrize("words", [16, 200])
def test_a_reason_below_a_narrow_picture_has_seven_lines(words):
    font, text = ImageFont.load_default(size=14), "defect 0.98\n" + " ".join(f"word{index}" for index in range(words))
    lines = _wrapped(text, font, 200)
    assert max(map(font.getlength, lines)) <= 200
    if words == 16:
        assert len(lines) > 4
        assert " ".join(lines).split() == text.split()
    else:
        assert len(lines) == 7
        assert lines[-1].endswith(" ...")


def test_a_long_reason_is_cut_and_control_characters_do_no_harm(tmp_path):
    source = tmp_path / "a.png"
    Image.new("RGB", (200, 50)).save(source)
    given = verdict(heatmap=np.zeros((2, 2), np.float32), reasoning="\x1b[31mscratch \N{SNOWMAN} " * 500)
    assert Image.open(save_overlay(source, given, tmp_path)).size[1] < 200


def test_a_box_of_no_height_is_drawn_as_a_line():
    strip = Image.new("RGB", (3000, 60), (90, 90, 90))
    drawn = np.asarray(overlay(strip, np.zeros((1, 40), np.float32), [(300, 20, 600, 21)], (1, 6))).astype(int)
    assert (drawn[:, 1032:].max(2) - drawn[:, 1032:].min(2)).max() > 50


def test_a_picture_that_is_gone_or_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    given = verdict(heatmap=np.zeros((2, 2), np.float32))
    with pytest.raises(LriadError, match=r"gone\.png"):
        save_overlay(tmp_path / "gone.png", given, tmp_path)
    Image.new("RGB", (10, 10)).save(tmp_path / "a.png")
    with pytest.raises(LriadError, match="cannot be written"):
        save_overlay(tmp_path / "a.png", given, tmp_path / "a.png")


def test_a_memorys_map_and_a_policys_have_scales_of_their_own():
    assert scale_of(None) == (0.1, 0.6)
    assert scale_of("m") == (1.0, 6.0)
