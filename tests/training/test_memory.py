"""Training with a memory of good parts."""

from __future__ import annotations

import json

import pytest
from tiny_data import make_parts

from lriad import LriadError, load_dataset, remember, train
from lriad.training import load_recipe
from lriad.training.grpo import training_dataset


def settings(model, data, output, memory):
    given = {
        "policy": model,
        "data": data,
        "output": output,
        "memory": memory,
        "steps": 1,
        "prompts_per_step": 2,
        "group_size": 2,
        "completions_per_device": 4,
        "max_completion_tokens": 6,
        "max_pixels": 12544,
        "report_to": "[]",
    }
    return load_recipe("embedded-cpu", [f"{key}={value}" for key, value in given.items()])


@pytest.fixture(scope="module")
def remembered(tmp_path_factory, tiny_policy_dir):
    folder = tmp_path_factory.mktemp("remembered")
    data = make_parts(folder / "parts")
    good = [sample for sample in load_dataset(data) if sample.label == "normal"]
    remember(good, folder / "m", policy=str(tiny_policy_dir))
    return data, folder / "m"


def test_a_run_reads_the_memory(remembered, tmp_path, tiny_policy_dir):
    data, memory = remembered
    run = train(settings(tiny_policy_dir, data, tmp_path / "run", memory))
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any("loss" in step for step in steps)


def test_the_prompts_have_the_evidence(remembered, tmp_path, tiny_policy_dir):
    data, memory = remembered
    samples = list(load_dataset(data))
    recipe = settings(tiny_policy_dir, data, tmp_path / "run", memory)
    rows = training_dataset(samples, recipe, {samples[0].image: "Compared with 7 good samples."})
    assert "Compared with 7 good samples." in rows[0]["prompt"][0]["content"]
    assert rows[0]["context"].evidence == "Compared with 7 good samples."
    assert "Compared" not in rows[1]["prompt"][0]["content"]


def test_a_memory_of_another_product_or_policy_ends_the_run_at_once(remembered, tmp_path, tiny_policy_dir):
    _, memory = remembered
    other = make_parts(tmp_path / "parts", category="circle")
    with pytest.raises(LriadError, match="not of a 'circle'"):
        train(settings(tiny_policy_dir, other, tmp_path / "run", memory))
