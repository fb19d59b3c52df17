import dataclasses
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_data import make_parts

from lriad import LriadError, Sample
from lriad.policy import load_policy
from lriad.rewards import ClassFactor
from lriad.training import Recipe, load_recipe, train
from lriad.training.advantages import group_normalise
from lriad.training.grpo import GRPOTrainer, grpo_config
from lriad.training.sampling import balanced_indices, drawn_samples
from lriad.training.train import training_samples, vision_fingerprint


def recipe_for(model: Path, data: str, output: Path, **changes) -> Recipe:
    # Random models never answer in the format; the ungated reading of Eq. 4 still tells their completions apart.
    settings = {
        "policy": str(model),
        "data": data,
        "output": str(output),
        "reward": "paper",
        "paper_reading": "ungated",
        "validation_fraction": 0.3,
        "prompts_per_step": 2,
        "group_size": 4,
        "completions_per_device": 4,
        "steps": 2,
        "max_completion_tokens": 12,
        "max_pixels": 12_544,
        "learning_rate": 1e-2,
        "lr_scheduler": "constant",
        "lora_dropout": 0.0,
        "report_to": [],
        "eval_steps": None,
        "dtype": "float32",
    }
    return Recipe(**(settings | changes))


def metrics_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def trainer_for(recipe: Recipe, tmp_path: Path) -> GRPOTrainer:
    samples, _ = training_samples(recipe)
    policy = load_policy(recipe.policy, device="cpu", max_pixels=recipe.max_pixels)
    args = grpo_config(recipe, str(tmp_path / "checkpoints"), world_size=1, use_cpu=True, bf16=False)
    return GRPOTrainer(policy, recipe, samples, args)


def test_every_family_trains_its_q_and_v_and_nothing_else(model_dir, parts, tmp_path):
    recipe = recipe_for(model_dir, parts, tmp_path / "run")
    before = load_policy(str(model_dir), device="cpu")
    run = train(recipe)
    lines = metrics_of(run)
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert all(line["grad_norm"] > 0 for line in lines if "loss" in line)
    assert any("validation/balanced_accuracy" in line for line in lines)
    assert any(line.get("kl", 0) > 0 for line in lines), "the second step has left the reference"

    after = load_policy(str(run), device="cpu")
    adapted = {name for name, _ in after.model.named_parameters() if "lora_" in name}
    assert adapted
    assert all(".q_proj." in name or ".v_proj." in name for name in adapted)
    assert not any("vision" in name or "visual" in name for name in adapted)
    assert vision_fingerprint(after.base) == vision_fingerprint(before.base)
    assert after.policy_sha256 == before.policy_sha256
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == str(
        model_dir
    )


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_family_trains_on_a_gpu(model_dir, parts, tmp_path, dtype):
    run = train(recipe_for(model_dir, parts, tmp_path / "run", dtype=dtype))
    losses = [line["loss"] for line in metrics_of(run) if "loss" in line]
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))
    after = load_policy(str(run))
    assert after.device.type == "cuda"
    assert any(weights.any() for name, weights in after.model.named_parameters() if "lora_B" in name)


@pytest.mark.gpu
def test_the_embedded_policy_trains_on_a_gpu(parts, tmp_path):
    changes = {"reward": "focal", "group_size": 2, "completions_per_device": 4, "max_completion_tokens": 80}
    run = train(recipe_for("embedded", parts, tmp_path / "run", dtype="auto", **changes))
    assert [line["step"] for line in metrics_of(run) if "loss" in line] == [1, 2]


def test_advantages_are_those_of_the_captured_rewards(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run")
    trainer = trainer_for(recipe, tmp_path)
    captured = {}
    original = trainer._generate_and_score_completions

    def capture(inputs):
        output = original(inputs)
        captured["inputs"], captured["advantages"] = inputs, output["advantages"].clone()
        return output

    trainer._generate_and_score_completions = capture
    trainer.train()
    inputs = captured["inputs"]
    assert all(0 <= row["p_correct"] <= 1 for row in inputs)
    weights = torch.tensor([(1 - row["p_correct"]) ** recipe.gamma for row in inputs])
    expected = group_normalise(weights.view(2, 4), epsilon=recipe.epsilon_std).flatten()
    assert torch.allclose(captured["advantages"], expected, atol=1e-4)


def test_p_correct_is_that_of_the_policy_alone(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run")
    trainer = trainer_for(recipe, tmp_path)
    rows = trainer.train_dataset[[0, 1, 2]]
    inputs = [{key: rows[key][i] for key in rows} for i in range(3)]
    texts = ["<think>x</think> <answer>A</answer>", "<think>y", ""]
    trainer.model.train()
    p = trainer._answer_probabilities(inputs, texts)
    assert trainer.model.training
    alone = load_policy(str(tiny_policy_dir), device="cpu", max_pixels=recipe.max_pixels)
    prompts = [alone.encode(*pair) for pair in zip(rows["image"], rows["object_name"], strict=True)]
    expected = alone.score(prompts, texts)
    assert p.tolist() == pytest.approx([answer.p_defect for answer in expected], abs=1e-5)


def test_focal_mode_weighs_hard_prompts_and_keeps_class_factors(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(
        tiny_policy_dir, parts, tmp_path / "run", reward="focal", class_factor="dynamic", save_steps=1, steps=2
    )
    run = train(recipe)
    state = json.loads((run / "checkpoints" / "checkpoint-2" / "lriad_state.json").read_text())
    rates = state["class_factor"]["error_rates"]
    assert set(rates) == {"defect", "normal"}
    assert any(rate > 0.5 for rate in rates.values()), "random models are always wrong"
    assert ClassFactor({"defect": 1, "normal": 1}, "dynamic").state_dict()["error_rates"] != rates
    assert any(line.get("focal_weight/max") for line in metrics_of(run))


def test_finished_run_is_not_trained_again(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", save_steps=1)
    run = train(recipe)
    before = (run / "adapter" / "adapter_model.safetensors").read_bytes()
    losses = [line for line in metrics_of(run) if "loss" in line]
    assert train(recipe) == run
    assert (run / "adapter" / "adapter_model.safetensors").read_bytes() == before
    assert [line for line in metrics_of(run) if "loss" in line] == losses


def test_run_folder_of_another_recipe_is_refused(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", steps=1)
    train(recipe)
    with pytest.raises(LriadError, match="gamma"):
        train(dataclasses.replace(recipe, gamma=1.0))


def test_long_prompts_are_refused_with_the_way_out(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", max_prompt_tokens=20)
    with pytest.raises(LriadError, match="max_prompt_tokens=20"):
        train(recipe)


def test_targets_outside_the_language_model_are_refused(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", lora_targets=["nothing_like_it"])
    with pytest.raises(LriadError, match="'nothing_like_it' is no layer"):
        train(recipe)


def test_one_class_only_is_refused(tmp_path, tiny_policy_dir):
    folder = tmp_path / "parts"
    target = folder / "square" / "good"
    target.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(target / "0.png")
    with pytest.raises(LriadError, match="only normal images"):
        train(recipe_for(tiny_policy_dir, f"folder:{folder}", tmp_path / "run"))


def test_unlabelled_images_are_left_out(tmp_path, tiny_policy_dir):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    rows = [("a.png", "defect"), ("a.png", "normal")]
    for i in range(len(rows)):
        Image.new("RGB", (32, 32 + i)).save(tmp_path / f"{i}.png")
    lines = [{"image": f"{i}.png", "label": label, "category": "x"} for i, (_, label) in enumerate(rows)]
    lines.append({"image": "a.png", "label": "unknown", "category": "x"})
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = recipe_for(tiny_policy_dir, f"jsonl:{tmp_path / 'list.jsonl'}", tmp_path / "run", validation_fraction=0)
    samples, validation = training_samples(recipe)
    assert sorted(sample.label for sample in samples) == ["defect", "normal"]
    assert validation == []


def test_completions_must_divide():
    recipe = load_recipe("embedded-cpu")
    with pytest.raises(LriadError, match="do not divide"):
        grpo_config(recipe, "x", world_size=3, use_cpu=True, bf16=False)


def test_balanced_indices_show_both_labels_alike():
    labels = ["normal"] * 9 + ["defect"] * 2
    indices = balanced_indices(labels)
    assert set(indices) == set(range(11))
    drawn = [labels[i] for i in indices]
    assert drawn.count("defect") == drawn.count("normal") == 9


def test_training_never_opens_a_mask(tmp_path, tiny_policy_dir):
    parts = make_parts(tmp_path / "parts", 6)
    mask = tmp_path / "parts" / "square" / "mask" / "spot"
    mask.mkdir(parents=True)
    for image in (tmp_path / "parts" / "square" / "defect" / "spot").iterdir():
        (mask / image.name).write_bytes(b"not an image: whoever opens it fails")
    samples, _ = training_samples(recipe_for(tiny_policy_dir, parts, tmp_path / "run"))
    assert any(isinstance(sample, Sample) and sample.mask for sample in samples)
    train(recipe_for(tiny_policy_dir, parts, tmp_path / "run", steps=1))


def test_balanced_classes_are_not_weighed_for_their_frequency_again(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(
        tiny_policy_dir,
        parts,
        tmp_path / "run",
        reward="focal",
        class_factor="inverse_frequency",
        balance_classes=True,
        validation_fraction=0,
    )
    trainer = trainer_for(recipe, tmp_path)
    assert trainer.class_factor.factors(["defect", "normal"]) == [1.0, 1.0]
    assert len(trainer.train_dataset) == len(drawn_samples(training_samples(recipe)[0], recipe)) == 16


def test_changed_labels_do_not_resume_an_old_run(tmp_path, tiny_policy_dir):
    data = make_parts(tmp_path / "parts")
    recipe = recipe_for(tiny_policy_dir, data, tmp_path / "run", save_steps=1, steps=1)
    train(recipe)
    good = tmp_path / "parts" / "square" / "good"
    next(good.iterdir()).rename(tmp_path / "parts" / "square" / "defect" / "spot" / "relabelled.png")
    with pytest.raises(LriadError, match="have changed since"):
        train(recipe)


def test_longer_run_goes_on(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", steps=None, epochs=0.5, validation_fraction=0)
    train(recipe)
    train(dataclasses.replace(recipe, epochs=1.0))
    assert [line["step"] for line in metrics_of(tmp_path / "run") if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_failed_start_does_not_claim_the_folder(tmp_path, parts, tiny_policy_dir):
    broken = recipe_for(tiny_policy_dir, parts, tmp_path / "run", max_prompt_tokens=20, steps=1)
    with pytest.raises(LriadError, match="max_prompt_tokens"):
        train(broken)
    train(dataclasses.replace(broken, max_prompt_tokens=1024))


def test_validation_images_that_are_trained_on_are_refused(tmp_path, parts, tiny_policy_dir):
    recipe = recipe_for(tiny_policy_dir, parts, tmp_path / "run", validation_data=parts)
    with pytest.raises(LriadError, match="is trained on too"):
        training_samples(recipe)
