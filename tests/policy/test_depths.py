"""The maps of any tower: of the right shape, and in the order of the image's places."""

from __future__ import annotations

from functools import wraps

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, save_tiny_model

from lriad import Inspector, LriadError
from lriad.policy import load_policy


@pytest.fixture(scope="module", params=[*(name for name in FAMILIES if name != "fast_vlm"), "embedded"])
def policy(request, tmp_path_factory):
    if request.param == "embedded":  # A convolutional tower of random weights sees nothing in its place.
        return load_policy("embedded", device="cpu")
    folder = save_tiny_model(request.param, tmp_path_factory.mktemp(request.param) / "model")
    return load_policy(str(folder), device="cpu", max_pixels=168 * 168)


def picture(row: int | None = None, column: int | None = None) -> Image.Image:
    pixels = np.full((168, 168, 3), 110, np.uint8)
    if row is not None and column is not None:
        pixels[row : row + 24, column : column + 24] = np.random.default_rng(0).integers(0, 255, (24, 24, 3))
    return Image.fromarray(pixels)


def maps_of(policy, image):
    with policy.vision.holding():
        [maps] = policy.see([policy.encode(image, "plate")])
    return maps


@pytest.mark.parametrize(("row", "column"), [(8, 8), (8, 136), (136, 8), (72, 104)])
def test_what_changes_in_a_corner_changes_the_map_there(policy, row, column):
    # The first of the two: the last block of a transformer mixes all places.
    before, after = maps_of(policy, picture())[0], maps_of(policy, picture(row, column))[0]
    change_HW = (after - before).square().sum(0)
    height, width = change_HW.shape
    at, across = divmod(int(change_HW.argmax()), width)
    # Qwen2.5-VL's first block mixes a window of four patches a side.
    near = 2.5 if policy.config.model_type == "qwen2_5_vl" else 1.5
    assert abs((at + 0.5) / height - (row + 12) / 168) < near / height + 12 / 168
    assert abs((across + 0.5) / width - (column + 12) / 168) < near / width + 12 / 168


def test_three_depths_in_float32_on_the_cpu(policy):
    maps = maps_of(policy, picture(8, 8))
    assert len(maps) == 3
    assert all(level.dim() == 3 and level.dtype == torch.float32 and level.device.type == "cpu" for level in maps)


def test_what_was_seen_is_not_computed_again_and_is_let_go(policy):
    prompt = policy.encode(picture(8, 8), "plate")
    alone = policy.fast([prompt])[0].p_defect
    calls = []
    original = policy.vision._original

    @wraps(original)
    def counted(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    policy.vision._original = counted
    try:
        with policy.vision.holding():
            policy.see([prompt])
            after = policy.fast([prompt])[0].p_defect
    finally:
        policy.vision._original = original
    assert len(calls) == 1
    assert after == pytest.approx(alone, abs=1e-6)
    assert not policy.vision._seen


def test_references_are_shown_before_the_image_to_a_policy_that_reads_several(policy, tmp_path):
    picture().save(tmp_path / "good.png")
    one = Inspector(policy, mode="fast", references=[tmp_path / "good.png"], note="scratches are fine")
    if not policy.reads_several_images:
        with pytest.raises(LriadError, match="lriad remember"):
            one.inspect(picture(8, 8), "plate")
        return
    shown = one.inspect(picture(8, 8), "plate")
    assert shown.setting.startswith("1 reference ")
    assert shown.note == "scratches are fine"
    text = policy.prompt_text("plate", one.context)
    assert text.count(policy.processor.image_token) == 2
    assert "What is known of it: scratches are fine" in text
    assert shown.p_defect != Inspector(policy, mode="fast").inspect(picture(8, 8), "plate").p_defect
