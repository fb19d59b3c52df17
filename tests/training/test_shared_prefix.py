"""A step whose prompts are shared gives what stock TRL gives, completion for completion."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from lriad.policy import load_policy
from lriad.policy import shared_prefix as prefix
from lriad.training import Recipe, shared_prefix
from lriad.training.grpo import GRPOTrainer, grpo_config
from lriad.training.shared_prefix import sampler
from lriad.training.train import training_samples

STEPS = 20
GROUP = 3


class Replay(GRPOTrainer):
    """Is told what to say, and keeps what it computes."""

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        draw = random.Random(self.state.global_step)
        end = self.policy.tokenizer.eos_token_id
        said = [[draw.randrange(10, 300) for _ in range(draw.randint(1, 12))] for _ in prompt_ids]
        # Some end, some are cut off; one of them is the end token alone.
        return [[end], *(ids + [end] * draw.randint(0, 1) for ids in said[1:])], None

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: Any, attention_mask: Any, keep: int, *a, **k):
        result = super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, keep, *a, **k)
        if torch.is_grad_enabled() and self.state.global_step == 0:
            for row, mask, logps, entropies in zip(input_ids, attention_mask, *result[:2], strict=True):
                seen = tuple(row[mask.bool()].tolist())
                length = int(mask[-keep:].sum())
                self.seen[seen] = (logps[:length].detach(), entropies[:length].detach())
        return result


class Gradients(TrainerCallback):
    """The first update's gradients."""

    def __init__(self) -> None:
        self.first: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not self.first:
            self.first = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def trained(recipe: Recipe, folder: Path, *, shared: bool) -> tuple[Replay, Gradients, dict[str, list[float]]]:
    torch.manual_seed(0)
    samples, _ = training_samples(recipe)
    policy = load_policy(recipe.policy, device="cpu", max_pixels=recipe.max_pixels, attention=recipe.attention)
    args = grpo_config(recipe, str(folder), world_size=1, use_cpu=True, bf16=False)
    gradients = Gradients()
    trainer = Replay(policy, recipe, samples, args, [gradients], shared=shared)
    trainer.remove_callback(PrinterCallback)
    trainer.seen = {}
    # Both matrices of LoRA: with B at zero, as it starts, A would have no gradient.
    generator = torch.Generator().manual_seed(1)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    trainer.train()
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    return trainer, gradients, {name: [step[name] for step in steps] for name in ("loss", "grad_norm")}


def recipe_for(model: Path, data: str, **changes: Any) -> Recipe:
    settings: dict[str, Any] = {
        "policy": str(model),
        "data": data,
        "output": "unused",
        "reward": "paper",
        "paper_reading": "ungated",
        "validation_fraction": 0.0,
        "prompts_per_step": 3,
        "group_size": GROUP,
        "completions_per_device": 3 * GROUP,
        "steps": STEPS,
        "max_completion_tokens": 13,
        "max_pixels": 12_544,
        "learning_rate": 2e-4,
        "lr_scheduler": "constant",
        "lora_dropout": 0.0,
        "report_to": [],
        "eval_steps": None,
        "save_steps": 1000,
        "dtype": "float32",
        "attention": "sdpa",
    }
    return Recipe(**(settings | changes))


def assert_same_steps(ours: Any, stock: Any) -> None:
    (our_trainer, our_gradients, our_steps), (stock_trainer, stock_gradients, stock_steps) = ours, stock
    assert our_trainer.stock_because is None
    assert stock_trainer.stock_because
    assert our_trainer.seen.keys() == stock_trainer.seen.keys()
    assert len({len(key) for key in our_trainer.seen}) > 3, "prompts and completions of several lengths"
    for key, expected in stock_trainer.seen.items():
        for ours_of, stock_of in zip(our_trainer.seen[key], expected, strict=True):
            assert torch.allclose(ours_of, stock_of, rtol=0, atol=1e-5)
    assert our_gradients.first.keys() == stock_gradients.first.keys() != set()
    for name, expected in stock_gradients.first.items():
        scale = expected.norm()
        assert scale > 0
        assert (our_gradients.first[name] - expected).norm() <= 1e-4 * scale, name
    assert len(our_steps["loss"]) == STEPS
    assert our_steps["loss"] == pytest.approx(stock_steps["loss"], abs=1e-4)
    # Without a reference the loss itself is 0 while its gradient is not.
    assert our_steps["grad_norm"] == pytest.approx(stock_steps["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_a_shared_prompt_changes_nothing(model_dir, parts, tmp_path, beta):
    recipe = recipe_for(model_dir, parts, beta=beta)
    stock = trained(recipe, tmp_path / "stock", shared=False)
    assert_same_steps(trained(recipe, tmp_path / "expanded", shared=True), stock)
    # Checkpointed layers take no cache: packed rows.
    recipe = dataclasses.replace(recipe, gradient_checkpointing=True)
    assert_same_steps(trained(recipe, tmp_path / "packed", shared=True), stock)


def test_a_group_may_be_split_over_micro_batches(parts, tmp_path, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, group_size=4, completions_per_device=12, steps=2)
    _, whole, steps = trained(recipe, tmp_path / "whole", shared=True)
    for size in (6, 2):
        split = dataclasses.replace(recipe, completions_per_device=size)
        _, gradients, split_steps = trained(split, tmp_path / str(size), shared=True)
        assert split_steps["loss"] == pytest.approx(steps["loss"], abs=1e-5)
        for name, expected in whole.first.items():
            assert (gradients.first[name] - expected).norm() <= 1e-4 * expected.norm()


def test_what_cannot_be_shared_is_trained_as_stock_and_said_in_one_line(
    parts, tmp_path, tiny_policy_dir, monkeypatch, caplog
):
    recipe = recipe_for(tiny_policy_dir, parts, steps=2)
    _, _, stock = trained(recipe, tmp_path / "stock", shared=False)
    monkeypatch.setattr(shared_prefix, "disagreement", lambda *_: 0.5)
    trainer, _, steps = trained(recipe, tmp_path / "run", shared=True)
    assert steps["loss"] == pytest.approx(stock["loss"], abs=1e-5)
    [record] = [record for record in caplog.records if record.name == shared_prefix.__name__]
    line = record.getMessage()
    assert "as in stock TRL" in line
    assert "wrong by 0.5" in line
    assert "\n" not in line
    assert trainer.rollout is None


def test_obstacles_that_are_known_beforehand(parts, tmp_path, tiny_policy_dir, monkeypatch):
    trainer, _, _ = trained(recipe_for(tiny_policy_dir, parts, steps=1), tmp_path / "run", shared=True)
    prompt = trainer.policy.collate(trainer.rollout.prompts[:1])
    assert trainer._obstacle(prompt) is None
    monkeypatch.setattr(trainer, "use_vllm", True)
    assert "vLLM" in trainer._obstacle(prompt)
    monkeypatch.setattr(trainer, "use_vllm", False)
    monkeypatch.setattr(shared_prefix, "is_deepspeed_zero3_enabled", lambda: True)
    assert "sharded" in trainer._obstacle(prompt)
    monkeypatch.undo()
    trainer.policy.base.config.get_text_config()._attn_implementation = "flash_attention_2"
    assert "flash_attention_2" in trainer._obstacle(prompt)


def test_the_probe_sees_wrong_positions(model_dir, monkeypatch):
    policy = load_policy(str(model_dir), device="cpu", max_pixels=12_544)
    prompt = policy.collate([policy.encode(Image.effect_noise((90, 60), 50).convert("RGB"), "gear")])
    said = [[20, 21, 22, 23, 24, 25], [30, 31]]
    compare = lambda: prefix.disagreement(policy.base, prompt, said, 0)  # noqa: E731
    with torch.no_grad():
        assert compare() < 1e-5
        right = prefix.position_ids
        monkeypatch.setattr(prefix, "position_ids", lambda model, batch: right(model, batch).flip(-1))
        assert compare() > 0.01


def test_samples_follow_the_distribution_of_stock_generation(tiny_policy_dir):
    from scipy.stats import chi2_contingency

    policy = load_policy(str(tiny_policy_dir), device="cpu", max_pixels=12_544)
    prompt = policy.encode(Image.effect_noise((90, 60), 50).convert("RGB"), "gear")
    count = 3000
    torch.manual_seed(0)
    with torch.no_grad():
        stock = policy.base.generate(
            **policy.collate([prompt]),
            num_return_sequences=count,
            max_new_tokens=2,
            do_sample=True,
            temperature=0.7,
            top_k=0,
            top_p=0.9,
            eos_token_id=511,
            pad_token_id=0,
        )[:, -2:]
        ours = torch.tensor(
            prefix.decode(
                policy.base,
                policy.prefill([prompt]),
                torch.zeros(count, dtype=torch.long),
                sampler(0.7, 0.9),
                max_new_tokens=2,
                end_tokens=[511],
            ).ids
        )
    for step in (0, 1):
        tokens = stock[:, step].bincount(minlength=512).topk(8).indices
        table = [[int((said[:, step] == token).sum()) for token in tokens] for said in (stock, ours)]
        table = [[*row, count - sum(row)] for row in table]
        assert chi2_contingency(table).pvalue > 1e-3
        assert set(ours[:, step].tolist()) <= set(range(512))
