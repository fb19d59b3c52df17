"""Where a policy's answer comes from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chat_server import answers_of, serve
from PIL import Image, ImageDraw
from tiny_models import save_tiny_model

from lriad import Inspector
from lriad.errors import LriadError
from lriad.explain.relevance import relevance
from lriad.policy import load_policy


@pytest.fixture(scope="module")
def embedded():
    return load_policy("embedded")


def stained(x: int, y: int) -> Image.Image:
    """A grey sheet with a dark stain."""
    rng = np.random.default_rng(0)
    sheet = Image.fromarray(rng.normal(150, 4, (320, 320, 3)).clip(0, 255).astype(np.uint8))
    ImageDraw.Draw(sheet).ellipse((x - 14, y - 14, x + 14, y + 14), fill=(30, 20, 20))
    return sheet


@pytest.mark.parametrize(("x", "y"), [(60, 80), (250, 200)])
def test_the_stain_is_the_highest_place(embedded, x, y):
    prompt = embedded.encode(stained(x, y), "painted sheet")
    [(heat, p_defect)] = relevance(embedded, [prompt])
    assert p_defect == pytest.approx(embedded.fast([prompt])[0].p_defect, abs=1e-5)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs((column + 0.5) * 320 / heat.shape[1] - x) < 30
    assert abs((row + 0.5) * 320 / heat.shape[0] - y) < 30
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() <= 1


def test_a_batch_sees_what_one_image_sees_whatever_came_before(embedded):
    prompts = [embedded.encode(stained(x, 100), "painted sheet") for x in (60, 200)]
    together = relevance(embedded, prompts)
    embedded.fast(prompts)  # in inference mode, whose tensors gradients cannot pass
    for one, alone in zip(together, (relevance(embedded, [prompt])[0] for prompt in prompts), strict=True):
        np.testing.assert_allclose(one.heatmap, alone.heatmap, atol=1e-4)


def test_nothing_of_the_policy_changes(embedded):
    prompt = embedded.encode(stained(60, 60), "painted sheet")
    before = embedded.fast([prompt])[0].p_defect
    relevance(embedded, [prompt])
    assert embedded.fast([prompt])[0].p_defect == before
    assert all(parameter.grad is None for parameter in embedded.model.parameters())


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_large_policies_have_maps_of_their_own_shape(kind, tmp_path):
    policy = load_policy(str(save_tiny_model(kind, tmp_path / "model")), device="cpu")
    wide = Image.new("RGB", (224, 112), (90, 90, 90))
    ImageDraw.Draw(wide).rectangle((150, 20, 190, 60), fill=(255, 255, 255))
    [(heat, _)] = relevance(policy, [policy.encode(wide, "sheet")])
    assert heat.shape[1] > heat.shape[0]
    assert np.isfinite(heat).all()
    assert heat.max() > 0


def test_the_gradient_is_that_of_the_answer(embedded):
    """Along the gradient the answer rises as much as it says: a small step at one depth, by finite differences."""
    prompt = embedded.encode(stained(100, 100), "painted sheet")
    embedded.see([prompt])
    chosen = embedded.depths.known
    block = embedded.depths.stack[chosen[0]]
    batch = embedded.collate([prompt], [embedded.answer_slots(["<think></think> "])[0].prefix])
    defect, normal = embedded.letters

    def difference(step: torch.Tensor | float) -> torch.Tensor:
        handle = block.register_forward_hook(lambda _, __, output: output + step)
        try:
            with embedded.vision.differentiable():
                logits = embedded.base(**batch, logits_to_keep=1).logits[0, -1].double()
        finally:
            handle.remove()
        return logits[defect] - logits[normal]

    watching = embedded.depths.watching(gradients_from=chosen[0])
    with torch.enable_grad(), embedded.vision.differentiable(), watching as kept:
        logits = embedded.base(**batch, logits_to_keep=1).logits[0, -1].float()
        [slope] = torch.autograd.grad(logits[defect] - logits[normal], [kept[chosen[0]]])
    with torch.no_grad():
        step = 1e-3 * slope / slope.norm()
        rise = difference(step) - difference(-step)
    assert rise.item() == pytest.approx(2e-3 * slope.norm().item(), rel=0.05)


def test_a_verdict_has_a_map_on_request_only(embedded):
    image = stained(60, 80)
    plain = Inspector(embedded, mode="fast").inspect(image, "painted sheet")
    assert plain.heatmap is None
    assert plain.boxes is None
    asked = Inspector(embedded, mode="fast", heatmap=True)
    verdict = asked.inspect(image, "painted sheet")
    assert verdict.p_defect == pytest.approx(plain.p_defect, abs=1e-5)
    assert any(left < 60 < right and top < 80 < bottom for left, top, right, bottom in verdict.boxes)
    explained = asked.explain(image, "painted sheet")
    np.testing.assert_allclose(explained.heatmap, verdict.heatmap, atol=1e-4)
    assert explained.boxes == verdict.boxes


def test_tiles_are_put_together(embedded):
    from lriad.data.views import Views

    large = Image.new("RGB", (640, 320), (150, 150, 150))
    large.paste(stained(60, 80), (320, 0))
    verdict = Inspector(embedded, mode="fast", heatmap=True, views=Views(tiles=2)).inspect(large, "painted sheet")
    row, column = np.unravel_index(np.nanargmax(verdict.heatmap), verdict.heatmap.shape)
    assert abs((column + 0.5) * 640 / verdict.heatmap.shape[1] - 380) < 40
    assert abs((row + 0.5) * 320 / verdict.heatmap.shape[0] - 80) < 40


def test_a_server_shows_no_map(embedded):
    with serve(answers_of(embedded)) as server, pytest.raises(LriadError, match="shows no heat-map"):
        Inspector(f"{server.address}#model", heatmap=True).loaded()
