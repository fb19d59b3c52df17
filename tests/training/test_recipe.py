"""Recipes: YAML and back, overrides, and a clear line for every mistake."""

import dataclasses
import os
from importlib import resources
from pathlib import Path

import pytest
import yaml
from full_disk import files_up_to
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.errors import LriadError
from lriad.training.recipe import (
    Recipe,
    deepspeed_config,
    load_recipe,
    recipe_differences,
    save_recipe,
    shipped_recipes,
)

MINIMAL = "policy: embedded\ndata: synthetic:objects\noutput: runs/a\n"


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def recipe(**settings):
    return Recipe(**({"policy": "embedded", "data": "synthetic:objects", "output": "runs/a"} | settings))


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


# Shipped recipes


def test_the_shipped_recipes_load():
    assert shipped_recipes() == ["embedded-cpu", "paper-qwen2-vl-7b", "qwen2.5-vl-3b-one-gpu"]
    for name in shipped_recipes():
        assert isinstance(load_recipe(name), Recipe)


def test_the_paper_recipe_has_every_setting_of_section_iv_a():
    paper = load_recipe("paper-qwen2-vl-7b")
    assert paper.policy == "Qwen/Qwen2-VL-7B-Instruct"
    assert paper.prompts_per_step == 1 * 4 * 2
    assert (paper.epochs, paper.steps, paper.save_steps) == (1.0, None, 100)
    assert (paper.lora_rank, paper.lora_alpha, paper.lora_dropout) == (4, 16, 0.1)
    assert paper.lora_targets == ("q_proj", "v_proj")
    assert (paper.max_prompt_tokens, paper.max_pixels) == (1024, 401_408)
    assert (paper.gradient_checkpointing, paper.attention) == (False, "flash_attention_2")
    assert (paper.dtype, paper.deepspeed) == ("bfloat16", "zero3")
    assert (paper.reward, paper.paper_reading, paper.scale_rewards) == ("paper", "signed", "group")
    assert paper.split == "all"
    assert paper.validation_fraction == 0


def test_every_setting_of_the_paper_recipe_says_where_it_comes_from():
    path = resources.files("lriad") / "recipes" / "paper-qwen2-vl-7b.yaml"
    settings = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    sources = ("paper ", "not in the paper: ", "ours", "f has no value in the paper")
    assert [line for line in settings if not line.partition("  # ")[2].startswith(sources)] == []


def test_a_file_of_ones_own_and_a_shipped_name(recipe_file, monkeypatch, tmp_path):
    assert load_recipe(recipe_file(MINIMAL)) == recipe()
    monkeypatch.chdir(tmp_path)
    Path("embedded-cpu").mkdir()  # a folder of that name does not hide the shipped recipe
    assert load_recipe("embedded-cpu").policy == "embedded"
    Path("mine").write_text(MINIMAL)
    assert load_recipe("mine") == recipe()


# YAML and back

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip)
SETTINGS = st.fixed_dictionaries(
    {"policy": TEXT, "data": TEXT, "output": TEXT},
    optional={
        "categories": st.none() | st.lists(TEXT, min_size=1, max_size=3).map(tuple),
        "validation_data": st.none() | TEXT,
        "seed": st.integers(0, 2**32 - 1),
        "gamma": st.floats(0, 1e6),
        "learning_rate": st.floats(1e-12, 1.0),
        "steps": st.none() | st.integers(1, 10**9),
        "balance_classes": st.booleans(),
        "reward": st.sampled_from(["focal", "accuracy"]),
        "class_factor": st.sampled_from(["none", "inverse_frequency", "dynamic"]),
        "report_to": st.lists(st.sampled_from(["tensorboard", "wandb", "trackio"]), max_size=2).map(tuple),
    },
)


@settings(deadline=None, max_examples=50)
@given(SETTINGS)
def test_what_is_saved_is_what_is_read(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("run") / "config.yaml"
    written = Recipe(**settings)
    save_recipe(written, path)
    assert load_recipe(path) == written
    assert list(yaml.safe_load(path.read_text(encoding="utf-8"))) == [f.name for f in dataclasses.fields(Recipe)]
    assert os.listdir(path.parent) == ["config.yaml"]


def test_every_setting_is_documented():
    for field in dataclasses.fields(Recipe):
        assert f"\n        {field.name}: " in Recipe.__doc__


def test_a_recipe_that_cannot_be_written_leaves_the_old_one(tmp_path):
    with pytest.raises(LriadError, match=r"cannot write .*No such file"):
        save_recipe(recipe(), tmp_path / "absent" / "config.yaml")
    save_recipe(recipe(), tmp_path / "config.yaml")
    with pytest.raises(LriadError, match=r"cannot write .*File too large") as error, files_up_to(16):
        save_recipe(recipe(seed=1), tmp_path / "config.yaml")
    one_line(error)
    assert load_recipe(tmp_path / "config.yaml") == recipe()
    assert os.listdir(tmp_path) == ["config.yaml"]


# Overrides


@pytest.mark.parametrize(
    ("override", "name", "value"),
    [
        ("steps=20", "steps", 20),
        ("steps=null", "steps", None),
        ("gamma=1", "gamma", 1.0),
        ("learning_rate=1e-6", "learning_rate", 1e-6),
        ("balance_classes=true", "balance_classes", True),
        ("reward=accuracy", "reward", "accuracy"),
        ("class_factor=none", "class_factor", "none"),
        ("categories=[gear, bolt]", "categories", ("gear", "bolt")),
        ("categories=gear,bolt", "categories", ("gear", "bolt")),
        ("categories=001", "categories", ("001",)),
        ("categories=null", "categories", None),
        ("report_to=[]", "report_to", ()),
        ("validation_data=", "validation_data", None),
        ("output=2026-01-01", "output", "2026-01-01"),
        ("data=folder:my parts: line #3", "data", "folder:my parts: line #3"),
        ("data=jsonl:a=b.jsonl", "data", "jsonl:a=b.jsonl"),
    ],
)
def test_overrides_take_the_type_of_their_setting(recipe_file, override, name, value):
    loaded = getattr(load_recipe(recipe_file(MINIMAL), [override]), name)
    assert loaded == value
    assert type(loaded) is type(value)


def test_the_last_override_wins_and_the_rest_stays(recipe_file):
    path = recipe_file(MINIMAL + "gamma: 3\nbeta: 0.1\n")
    loaded = load_recipe(path, ["gamma=1", "gamma=0.5"])
    assert (loaded.gamma, loaded.beta) == (0.5, 0.1)


def test_overrides_can_complete_a_recipe(recipe_file):
    path = recipe_file("gamma: 3\n")
    with pytest.raises(LriadError, match="'policy' is missing; add policy=VALUE"):
        load_recipe(path, ["data=synthetic:objects", "output=a"])
    assert load_recipe(path, ["policy=embedded", "data=synthetic:objects", "output=runs/a"]) == recipe(gamma=3.0)


# Mistakes


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("gama", "gamma"),
        ("learning-rate", "learning_rate"),
        ("Seed", "seed"),
        ("save_step", "save_steps"),
        ("lr", "learning_rate"),
        ("num_generations", "group_size"),
        ("max_completion_length", "max_completion_tokens"),
        ("lora_r", "lora_rank"),
    ],
)
def test_an_unknown_key_names_the_nearest_right_one(recipe_file, key, nearest):
    path = recipe_file(MINIMAL + f"{key}: 1\n")
    with pytest.raises(LriadError, match=f"line 4: unknown key '{key}', did you mean '{nearest}'") as error:
        load_recipe(path)
    assert str(path) in one_line(error)
    with pytest.raises(LriadError, match=f"unknown key '{key}', did you mean '{nearest}'"):
        load_recipe(recipe_file(MINIMAL), [f"{key}=1"])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("gamma", -1, "a number >= 0"),
        ("gamma", "high", "a number >= 0"),
        ("gamma", True, "a number >= 0"),
        ("gamma", float("nan"), "a number >= 0"),
        ("gamma", None, "a number >= 0"),
        ("top_p", 0, "a number > 0 and <= 1"),
        ("alpha_defect", 1, "a number > 0 and < 1"),
        ("learning_rate", float("inf"), "a number > 0"),
        ("group_size", 1, "a whole number >= 2"),
        ("steps", 1.5, "a whole number >= 1, or null"),
        ("seed", 2**32, "a whole number >= 0 and <= 4294967295"),
        ("reward", "focal_loss", "one of focal, paper, accuracy"),
        ("balance_classes", "maybe", "true or false"),
        ("categories", [1, 2], "a list, each text"),
        ("categories", {"a": 1}, "a list, each text"),
        ("categories", [], "names of categories, or null"),
        ("lora_targets", [], "layers such as"),
        ("report_to", "tensorbord", "a list, each one of azure_ml"),
        ("policy", "", "text"),
        ("policy", None, "text"),
        ("policy", 7, "text"),
        ("completions_per_device", 5, "a divisor of prompts_per_step x group_size = 64"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(recipe_file, name, value, expected):
    settings = {"policy": "embedded", "data": "synthetic:objects", "output": "runs/a", name: value}
    with pytest.raises(LriadError, match=f"^{name} is ") as error:
        Recipe(**settings)
    assert expected in one_line(error)
    path = recipe_file(yaml.safe_dump(settings))
    with pytest.raises(LriadError) as error:
        load_recipe(path)
    assert str(path) in one_line(error)
    assert f"{name} is " in str(error.value)
    assert expected in str(error.value)


def test_a_wrong_override_is_named():
    with pytest.raises(LriadError, match="override 'gamma=-1': gamma is -1, expected a number >= 0"):
        load_recipe("embedded-cpu", ["gamma=-1"])
    with pytest.raises(LriadError, match=r"override 'report_to=\[a': .*expected a list"):
        load_recipe("embedded-cpu", ["report_to=[a"])
    with pytest.raises(LriadError, match="override 'gamma': expected key=value"):
        load_recipe("embedded-cpu", ["gamma"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy: a\ndata: [x\noutput: b\n", "line 3: not valid YAML"),
        ("policy: a\n\tdata: b\n", "line 2: not valid YAML"),
        ("policy: a\ndata: !!python/object/apply:os.system [ls]\n", "line 2: not valid YAML"),
        ("policy: 2024-99-99\n", "not valid YAML"),
        ("policy: \x01\n", "not valid YAML"),
        ("policy: a\ngamma: 1\npolicy: b\n", "line 3: 'policy' is set a second time (first on line 1)"),
        ("- a\n- b\n", "expected lines of the form 'key: value'"),
        ("just text\n", "expected lines of the form 'key: value'"),
        ("", "'policy' is missing"),
        ("[" * 1500, "not valid YAML"),
    ],
)
def test_a_file_that_is_not_a_recipe_gets_one_line(recipe_file, text, message):
    with pytest.raises(LriadError) as error:
        load_recipe(recipe_file(text))
    assert message in one_line(error)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(LriadError, match="did you mean 'embedded-cpu'"):
        load_recipe("embeded-cpu")
    with pytest.raises(LriadError, match="give a YAML file or one of: embedded-cpu, paper-qwen2-vl-7b"):
        load_recipe("zzz")
    with pytest.raises(LriadError, match="Is a directory"):
        load_recipe(tmp_path)
    (tmp_path / "image.yaml").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(LriadError, match="not a text file"):
        load_recipe(tmp_path / "image.yaml")


def test_a_configuration_that_cancels_is_refused_with_the_reason(recipe_file):
    path = recipe_file(MINIMAL + "reward: paper\nclass_factor: dynamic\n")
    with pytest.raises(LriadError, match=r"recipe .*cancels it") as error:
        load_recipe(path)
    one_line(error)
    assert load_recipe(path, ["scale_rewards=batch"]).scale_rewards == "batch"


# Resuming


def test_a_run_may_be_resumed_longer_and_elsewhere_but_not_otherwise():
    before = recipe(steps=10)
    assert recipe_differences(before, before) == []
    moved = dataclasses.replace(before, steps=20, epochs=2.0, output="runs/b", report_to=["wandb"])
    assert recipe_differences(before, moved) == []
    changed = dataclasses.replace(before, gamma=1.0, categories=["gear"])
    assert recipe_differences(before, changed) == ["categories: None -> ['gear']", "gamma: 2.0 -> 1.0"]


def test_deepspeed_is_a_stage_or_a_file():
    assert deepspeed_config(recipe()) is None
    assert deepspeed_config(recipe(deepspeed="my.json")) == "my.json"
    assert deepspeed_config(recipe(deepspeed="zero3"))["zero_optimization"]["stage"] == 3
    assert deepspeed_config(recipe(deepspeed="zero2"))["zero_optimization"]["stage"] == 2
