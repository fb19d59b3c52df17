"""Prompts that are computed once: in parts, on several cores, continued by rows that end at different times."""

import pytest
import torch
from PIL import Image
from tiny_models import FAMILIES, save_tiny_model

from lriad.policy import load_policy
from lriad.policy import policy as policy_module
from lriad.policy.shared_prefix import collate, decode, packed_rows


@pytest.fixture(scope="module", params=FAMILIES)
def policy(request, tmp_path_factory):
    folder = save_tiny_model(request.param, tmp_path_factory.mktemp(request.param) / "model")
    return load_policy(str(folder), device="cpu", max_pixels=112 * 112)


@pytest.fixture(scope="module")
def prompts(policy):
    sizes = [(90, 60), (64, 120), (112, 112), (60, 60), (56, 100)]
    return [
        policy.encode(Image.effect_noise(size, 60).convert("RGB"), "gear " * i or "nut") for i, size in enumerate(sizes)
    ]


def greedy(logits):
    return logits.argmax(-1)


def test_rows_that_end_leave_the_others_alone(policy, prompts):
    """A fifth of the vocabulary ends a completion, so that rows leave the batch one after the other."""
    ends = range(0, len(policy.tokenizer), 5)
    with torch.inference_mode():
        prefilled = policy.prefill(prompts)
        rows = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
        together = decode(policy.base, prefilled, rows, greedy, max_new_tokens=12, end_tokens=ends, watch=[5, 6])
        for index, row in enumerate(rows.tolist()):
            alone = decode(
                policy.base,
                policy.prefill([prompts[row]]),
                torch.tensor([0]),
                greedy,
                max_new_tokens=12,
                end_tokens=ends,
                watch=[5, 6],
            )
            assert alone.ids[0] == together.ids[index]
            length = len(alone.ids[0])
            assert torch.allclose(alone.watched[0, :length], together.watched[index, :length], atol=1e-4)
    lengths = {len(ids) for ids in together.ids}
    assert all(ids[-1] in ends or len(ids) == 12 for ids in together.ids)
    assert not any(token in ends for ids in together.ids for token in ids[:-1])
    assert len(lengths) > 1, "they do end at different times"


def test_what_was_cut_off_is_scored_from_where_it_stopped(policy, prompts):
    """Rows that ended, rows cut off, and a text that reads back as other tokens from somewhere on."""
    ends = range(0, len(policy.tokenizer), 9)
    with torch.inference_mode():
        prefilled = policy.prefill(prompts)
        rows = torch.tensor([4, 0, 1, 2, 3, 1, 0])
        decoded = decode(
            policy.base,
            prefilled,
            rows,
            greedy,
            max_new_tokens=5,
            end_tokens=ends,
            watch=policy.letters,
            keep_cut_off=True,
        )
        assert decoded.cut_off is not None
        assert decoded.cut_off.completions == [index for index, ids in enumerate(decoded.ids) if ids[-1] not in ends]
        texts = policy.text_of(decoded.ids)
        texts[decoded.cut_off.completions[0]] = "another text"
        p = policy.p_defect(prefilled, rows, texts, decoded)
        assert torch.allclose(p, policy.p_defect(prefilled, rows, texts), atol=1e-5)


@pytest.mark.parametrize("tokens", [1, 10_000])
def test_parts_on_several_cores_give_what_one_batch_gives(policy, prompts, tokens, monkeypatch):
    completions = policy.reason(prompts, max_new_tokens=6)
    quick = policy.fast(prompts)
    threads = torch.get_num_threads()
    monkeypatch.setattr(policy_module, "CPU_TOKENS", tokens)
    torch.set_num_threads(2)
    try:
        again, quick_again = policy.reason(prompts, max_new_tokens=6), policy.fast(prompts)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    for one, other in zip([*completions, *quick], [*again, *quick_again], strict=True):
        assert one.text == other.text
        assert one.p_defect == pytest.approx(other.p_defect, abs=1e-5)


def test_a_placeholder_in_a_completion_is_no_image(policy, prompts):
    """High temperatures sample anything."""
    image = policy.config.image_token_id
    ids = torch.tensor([[30, 31, 32], [30, image, 32], [33, 34, 35]])
    rows, mask = torch.tensor([0, 0, 1]), torch.ones_like(ids)
    batch = policy.collate(prompts[:2])
    with torch.no_grad():
        packed = packed_rows(policy.base, batch, rows, ids, mask, policy.tokenizer.pad_token_id)
        logits = policy.base(**packed.inputs).logits[:, :-1].log_softmax(-1)
        values = logits.gather(-1, packed.labels[:, 1:, None].clamp(min=0))[..., 0]
        expanded = policy.base(**policy.prefill(prompts[:2]).continuation(rows, ids, mask)).logits[:, :-1]
        expected = expanded.log_softmax(-1).gather(-1, ids[..., None])[..., 0]
    unpacked = packed.unpacked(values)
    assert torch.allclose(unpacked[[0, 2]], expected[[0, 2]], atol=1e-5)
    assert torch.allclose(unpacked[1, :2], expected[1, :2], atol=1e-5)


def test_gradients_reach_the_prompt(policy, prompts):
    """A shared prefix is part of what is trained, not a constant."""
    weight = next(p for name, p in policy.base.named_parameters() if name.endswith("layers.0.self_attn.v_proj.weight"))
    prefilled = policy.prefill(prompts[:1])
    prefilled.cache.layers[-1].keys.sum().backward()
    assert weight.grad is not None
    assert weight.grad.norm() > 0
    policy.base.zero_grad()


def test_collate_fills_up_to_a_width():
    prompt = {"input_ids": torch.tensor([[5, 6]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    batch = collate([prompt], [[7]], 9, "cpu", 5)
    assert batch["input_ids"].tolist() == [[9, 9, 5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1, 1, 1]]


@torch.inference_mode()
@pytest.mark.parametrize(
    ("items", "together", "threads", "expected"),
    [
        (4, 3, 2, [2, 2]),
        (9, 4, 2, [3, 3, 3]),
        (3, 1, 2, [1, 1, 1]),
        (4, 4, 2, [4]),
        (4, 3, 1, [3, 1]),
        (5, 2, 8, [2, 2, 1]),
    ],
)
def test_each_core_takes_as_many_items_as_the_others(policy, items, together, threads, expected):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        parts = policy.in_parts(list, range(items), together)
    finally:
        torch.set_num_threads(before)
    assert [len(part) for part in parts] == expected
    assert [item for part in parts for item in part] == [*range(items)]
