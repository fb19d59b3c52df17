"""Groups that teach nothing give way to others, in the same run whether it is stopped or not."""

import dataclasses
import json
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers.trainer_callback import PrinterCallback

from lriad import LriadError
from lriad.policy import load_policy
from lriad.training import Recipe, grpo, train
from lriad.training.grpo import GRPOTrainer, grpo_config, without_signal
from lriad.training.sampling import further_indices
from lriad.training.train import _check_launch, training_samples

GROUP = 4


@pytest.fixture(autouse=True)
def _answers_that_can_be_right(monkeypatch):
    """Random models never answer: what they write is right where its length says so, in about half of the groups."""

    def accuracy_reward(prompts, completions, **columns):
        return [float(len(completion[0]["content"]) % 6 == 0) for completion in completions]

    monkeypatch.setattr(grpo, "accuracy_reward", accuracy_reward)


def recipe_for(model: Path, data: str, output: Path, **changes) -> Recipe:
    settings = {
        "policy": str(model),
        "data": data,
        "output": str(output),
        "reward": "accuracy",
        "validation_fraction": 0.0,
        "prompts_per_step": 3,
        "group_size": GROUP,
        "completions_per_device": 6,
        "steps": 4,
        "max_completion_tokens": 12,
        "max_pixels": 12_544,
        "learning_rate": 1e-2,
        "lr_scheduler": "constant",
        "lora_dropout": 0.0,
        "report_to": [],
        "eval_steps": None,
        "dtype": "float32",
        "dynamic_sampling": 3,
    }
    return Recipe(**(settings | changes))


def metrics_of(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = ("step", "loss", "grad_norm", "accuracy", "reward", "groups_replaced", "groups_without_signal", "kl")
    return [{name: line[name] for name in kept if name in line} for line in lines if "loss" in line]


class Watched(GRPOTrainer):
    """Keeps every sampling, and what came out of it."""

    def _generate_single_turn(self, *args, **kwargs):
        self.generations += 1
        return super()._generate_single_turn(*args, **kwargs)

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        self.outputs.append(output)
        return output

    def _own_advantages(self, count):
        self.trained_on.append(self.sampled)
        return super()._own_advantages(count)


def watched(recipe: Recipe, folder: Path, *, shared: bool, kind: type[Watched] = Watched) -> Watched:
    torch.manual_seed(0)
    samples, _ = training_samples(recipe)
    policy = load_policy(recipe.policy, device="cpu", max_pixels=recipe.max_pixels)
    args = grpo_config(recipe, str(folder), world_size=1, use_cpu=True, bf16=False)
    trainer = kind(policy, recipe, samples, args, shared=shared)
    trainer.remove_callback(PrinterCallback)
    trainer.generations, trainer.outputs, trainer.trained_on = 0, [], []
    trainer.train()
    return trainer


@pytest.mark.parametrize("shared", [True, False])
def test_groups_without_signal_give_way_to_further_ones(parts, tmp_path, tiny_policy_dir, shared):
    trainer = watched(recipe_for(tiny_policy_dir, parts, tmp_path / "run"), tmp_path / "out", shared=shared)
    assert (trainer.stock_because is None) == shared
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert sum(step["groups_replaced"] for step in steps) > 0
    assert trainer.generations > len(steps), "some updates took further rounds"
    for output, sampled in zip(trainer.outputs, trainer.trained_on, strict=True):
        assert len({row["index"] for row in sampled.inputs[::GROUP]}) == 3, "no image twice in an update"
        for group in range(3):
            rows = sampled.inputs[group * GROUP : (group + 1) * GROUP]
            assert len({row["index"] for row in rows}) == 1
        # What is trained on is what was said about these very images.
        for i, row in enumerate(sampled.inputs):
            said = output["completion_ids"][i][output["completion_mask"][i].bool()].tolist()
            assert said == list(sampled.said[1][i])
            text = trainer.policy.tokenizer.decode(said, skip_special_tokens=True)
            assert sampled.scores["accuracy"][i] == float(len(text) % 6 == 0)
            prompt = trainer.policy.encode(row["image"], row["object_name"])
            mask = output["prompt_mask"][i].bool()
            assert output["prompt_ids"][i][mask].tolist() == prompt["input_ids"][0].tolist()
            assert row["p_correct"] == pytest.approx(sampled.scores["p_correct"][i].item())
            assert sampled.scores["is_defect"][i].item() == (row["label"] == "defect")
    if not shared:
        assert all(len(output["num_images"]) == 3 * GROUP for output in trainer.outputs)


class Replayed(Watched):
    """Is told what to say."""

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        self.generations += 1
        draw = random.Random(self.generations)
        return [[draw.randrange(10, 300) for _ in range(draw.randint(1, 12))] for _ in prompt_ids], None


def test_both_ways_replace_the_same_groups_and_learn_the_same(parts, tmp_path, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", reward="focal")
    ways = [watched(recipe, tmp_path / str(shared), shared=shared, kind=Replayed) for shared in (True, False)]
    ours, stock = ([entry for entry in way.state.log_history if "loss" in entry] for way in ways)
    assert sum(step["groups_replaced"] for step in ours) > 0
    for name in ("groups_replaced", "groups_without_signal", "accuracy", "reward"):
        assert [step[name] for step in ours] == pytest.approx([step[name] for step in stock], abs=1e-6)
    assert [step["loss"] for step in ours] == pytest.approx([step["loss"] for step in stock], abs=1e-4)
    assert [step["grad_norm"] for step in ours] == pytest.approx([step["grad_norm"] for step in stock], rel=1e-3)


def test_off_is_one_round(parts, tmp_path, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", dynamic_sampling=1)
    trainer = watched(recipe, tmp_path / "out", shared=True)
    assert trainer.generations == 4
    assert not any("groups_replaced" in entry for entry in trainer.state.log_history)


def test_what_has_no_signal_in_any_round_stays(parts, tmp_path, tiny_policy_dir, monkeypatch):
    monkeypatch.setattr(grpo, "accuracy_reward", lambda prompts, completions, **columns: [0.0] * len(completions))
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", steps=1, reward="focal", class_factor="dynamic")
    trainer = watched(recipe, tmp_path / "out", shared=True)
    assert trainer.generations == 3
    [step] = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert (step["groups_replaced"], step["groups_without_signal"]) == (0, 1)
    assert len(trainer._seen) == 9, "the class factor follows the errors of all that was sampled"


def test_resumed_is_unbroken(parts, tmp_path, tiny_policy_dir):
    # Two epochs: the order of images is another one after the resumption.
    unbroken = recipe_for(tiny_policy_dir, parts, tmp_path / "unbroken", steps=6, save_steps=3, lora_dropout=0.1)
    stopped = dataclasses.replace(unbroken, output=str(tmp_path / "stopped"), steps=3)
    train(unbroken)
    train(stopped)
    train(dataclasses.replace(stopped, steps=6))
    lines = metrics_of(tmp_path / "unbroken")
    assert len(lines) == 6
    assert sum(line["groups_replaced"] for line in lines[3:]) > 0
    assert metrics_of(tmp_path / "stopped") == lines
    name = "adapter/adapter_model.safetensors"
    assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_several_processes_are_refused_in_one_line(tmp_path):
    recipe = recipe_for("embedded", "synthetic:objects", tmp_path)
    with pytest.raises(LriadError, match="dynamic_sampling=3 is for one process, this is one of 2") as error:
        _check_launch(recipe, SimpleNamespace(num_processes=2))
    assert "\n" not in str(error.value)
    _check_launch(recipe, SimpleNamespace(num_processes=1))


def test_further_images_hang_on_seed_and_step_and_are_new():
    drawn = further_indices({1, 2, 3}, 100, 4, 0, 7)
    assert drawn == further_indices({3, 2, 1}, 100, 4, 0, 7)
    assert len(drawn) == len(set(drawn)) >= 9, "enough for three further rounds of three"
    assert not {1, 2, 3} & set(drawn)
    assert drawn != further_indices({1, 2, 3}, 100, 4, 0, 8)
    assert drawn != further_indices({1, 2, 3}, 100, 4, 1, 7)
    assert sorted(further_indices({1, 2}, 5, 4, 0, 0)) == [0, 3, 4], "a small data set runs out"
    assert further_indices({1, 2}, 5, 1, 0, 0) == []


def test_signal_is_a_difference_in_either_reward():
    accuracy = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    form = torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    assert without_signal(accuracy, form).tolist() == [True, False, False]
