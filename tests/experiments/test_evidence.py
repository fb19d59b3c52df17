"""The plan of the evidence, what is made of its numbers, and what counts as done."""

import dataclasses
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import _runs
import evidence

from lriad import LriadError
from lriad.policy import load_policy
from lriad.training.recipe import Recipe

ONE, OTHER, *_ = evidence.WAYS
METRICS = evidence.SHOWN
SMALL = {"group_size": 2, "completions_per_device": 8, "max_completion_tokens": 8, "max_pixels": 12_544}


@pytest.fixture
def runs():
    return _runs.plan("0" * 64, 3)


def record(name, way, seed, **numbers):
    return {
        "name": name,
        "way": way,
        "seed": seed,
        "numbers": dict.fromkeys(METRICS, 0.5) | numbers,
        "training": {"updates": 60, "updates_with_a_defect": 20, "right_of_defects": 0.6, "right_of_sound": 0.9},
        "seconds": {"train": 100.0, "test": 50.0},
    }


def records_of(runs, **numbers):
    """All of them done, with the same numbers."""
    return {run.key: record(run.name, run.way, run.seed, **numbers) for run in runs}


# The plan


def test_the_most_important_runs_come_first(runs):
    starts = len(evidence.ALL_WAYS)
    assert [(run.name, run.way) for run in runs[:starts]] == [("warm start", way) for way in evidence.ALL_WAYS]
    ways = len(evidence.WAYS)
    main = runs[starts : starts + 3 * 3 * ways]
    assert {run.way for run in main} == set(evidence.WAYS)
    assert [run.seed for run in main] == [seed for seed in range(3) for _ in range(3 * ways)]
    assert [run.name for run in main[: 3 * ways : ways]] == ["accuracy", "paper", "focal"]
    opened = [run for run in runs[starts:] if run.way in evidence.OPEN_WAYS]
    assert Counter(run.name for run in opened) == dict.fromkeys([*_runs.METHODS, *_runs.LONG_METHODS], 3 * 2)
    assert all(set(run.train.get("categories", [])) <= {*_runs.FAMILIES["parts"].categories} for run in opened)
    rest = runs[starts + len(main) + len(opened) :]
    assert {run.way for run in rest} == {evidence.ABLATION_WAY}
    assert Counter(run.seed for run in rest) == {0: len(rest) // 2, 1: len(rest) // 2}
    assert len(rest) == 2 * (len(evidence.ABLATIONS) + 2 * 5)


def test_every_run_is_another_and_all_recipes_are_sound(runs):
    assert len({run.key for run in runs}) == len({run.folder_name for run in runs}) == len(runs)
    for run in runs[len(evidence.ALL_WAYS) :]:
        recipe = run.recipe()
        steps = 240 if run.name in _runs.LONG_METHODS else 60
        assert (recipe.steps, recipe.seed, recipe.validation_fraction) == (steps, run.seed, 0)
        assert recipe.balance_classes == ("balanced classes" in run.name)
        assert run.train["seed"] == run.seed
        assert run.test["seed"] == 1000
        taught, tested = (
            set(part.get("categories", _runs.FAMILIES[part["family"]].categories)) for part in (run.train, run.test)
        )
        assert not taught & tested
    by_name = {run.name: run.recipe() for run in runs[len(evidence.ALL_WAYS) :]}
    assert by_name["focal, gamma 4"].gamma == 4
    assert by_name["focal, no format reward"].format_weight == 0
    assert by_name["accuracy, dynamic sampling"].dynamic_sampling > 1
    assert (by_name["paper"].class_factor, by_name["paper"].scale_rewards) == ("none", "group")
    rare = {run.name: run.train for run in runs if run.name.startswith("focal, 0.1 %")}
    assert rare["focal, 0.1 % defects"]["defects"] == 1
    for train in (run.train for run in runs if run.name.endswith(" % defects")):
        drawn = train["images"] * len(_runs.FAMILIES[train["family"]].categories)
        assert round(drawn * (1 - train["defect_ratio"])) >= train["total"] - train["defects"]


def test_a_key_hangs_on_policy_recipe_and_data_only(runs):
    again = _runs.plan("0" * 64, 2)
    assert {run.key for run in again} < {run.key for run in runs}
    assert not {run.key for run in _runs.plan("1" * 64, 3)} & {run.key for run in runs}
    run = runs[len(evidence.ALL_WAYS)]
    assert dataclasses.replace(run, name="called otherwise").key == run.key
    assert dataclasses.replace(run, settings={**run.settings, "gamma": 3.0}).key != run.key
    assert dataclasses.replace(run, settings={**run.settings, "logging_steps": 5}).key == run.key
    assert dataclasses.replace(run, test={**run.test, "images": 61}).key != run.key


def test_settings_at_their_defaults_do_not_tell():
    recipe = Recipe(policy="a", data="b", output="c", gamma=1.0)
    assert _runs.telling_settings(recipe) == {"gamma": 1.0}


def test_the_policys_hash_is_that_of_the_loaded_one(tiny_policy_dir):
    assert _runs.policy_sha256(str(tiny_policy_dir)) == load_policy(str(tiny_policy_dir)).policy_sha256


def test_rare_defects_come_from_all_categories():
    rows = [
        {"id": f"{category}{i}", "category": category, "label": "defect" if i < 3 else "normal"}
        for category in "abc"
        for i in range(20)
    ]
    kept = _runs.with_rare_defects(rows, 3, 40, seed=0)
    assert len(kept) == 40
    assert Counter(row["category"] for row in kept if row["label"] == "defect") == {"a": 1, "b": 1, "c": 1}
    assert max(Counter(row["category"] for row in kept).values()) <= 14
    assert kept == _runs.with_rare_defects(rows, 3, 40, seed=0)
    assert kept != _runs.with_rare_defects(rows, 3, 40, seed=1)
    assert [rows.index(row) for row in kept] == sorted(rows.index(row) for row in kept)
    with pytest.raises(LriadError, match="10 images with defect=True"):
        _runs.with_rare_defects(rows, 10, 40, seed=0)


# Numbers


def test_students_interval():
    found = evidence.estimate([0.1, 0.2, 0.3])
    assert found.mean == pytest.approx(0.2)
    half = 4.302653 * 0.1 / 3**0.5  # t of 2 degrees of freedom
    assert found.interval == pytest.approx((0.2 - half, 0.2 + half), abs=1e-6)
    assert evidence.estimate([0.4]).interval is None
    assert evidence.estimate([None, 0.4, None]).values == (0.4,)
    assert evidence.estimate([None]) is None


def test_how_often_training_was_right_is_told_of_the_second_half(tmp_path):
    right = [(0.1, 0.2), (None, 0.3), (0.5, 0.6), (None, 0.8)]  # an update without a defect says nothing of defects
    lines = [
        {"step": step, "loss": 0.0, "accuracy/normal": sound}
        | ({} if defects is None else {"accuracy/defect": defects})
        for step, (defects, sound) in enumerate(right, 1)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figures = _runs.training_figures(tmp_path / "metrics.jsonl")
    assert (figures["updates"], figures["updates_with_a_defect"]) == (4, 2)
    assert (figures["right_of_defects"], figures["right_of_sound"]) == (0.5, pytest.approx(0.7))
    assert _runs.training_figures(tmp_path / "nothing.jsonl") is None


def test_differences_are_paired_by_seed_and_way():
    done = {}
    for way, base in ((ONE, 0.7), (OTHER, 0.5)):
        done[f"warm{way}"] = record("warm start", way, None, recall=base)
        for seed in range(2):
            done[f"a{way}{seed}"] = record("accuracy", way, seed, recall=base + 0.1 * seed)
            done[f"f{way}{seed}"] = record("focal", way, seed, recall=base + 0.1 * seed + 0.02)
    done["alone"] = record("focal", ONE, 2, recall=1.0)
    found = evidence.difference(done, "focal", "accuracy", (ONE, OTHER), "recall")
    assert found.values == pytest.approx((0.02,) * 4), "what seeds and ways have in common does not widen it"
    assert found.interval == pytest.approx((0.02, 0.02))
    against = evidence.difference(done, "focal", "warm start", (ONE,), "recall")
    assert against.values == pytest.approx((0.02, 0.12, 0.3)), "the policy as it was goes with every seed"
    assert evidence.difference(done, "focal", "paper", (ONE,), "recall") is None


def test_one_seed_takes_the_bootstrap_over_images():
    done = {name: record(name, ONE, 0, recall=value) for name, value in (("focal", 0.9), ("accuracy", 0.8))}
    alone = evidence.difference(done, "focal", "accuracy", (ONE,), "recall")
    assert (alone.mean, alone.interval) == (pytest.approx(0.1), None)
    asked = []
    found = evidence.difference(
        done, "focal", "accuracy", (ONE,), "recall", lambda a, b, m: asked.append((a["name"], b["name"], m)) or (0, 0.2)
    )
    assert (found.interval, found.interval_from) == ((0, 0.2), "images")
    assert asked == [("focal", "accuracy", "recall")]
    done |= {f"{name} 2": record(name, OTHER, 0) for name in ("focal", "accuracy")}
    both = evidence.difference(done, "focal", "accuracy", (ONE, OTHER), "recall")
    assert (len(both.values), both.interval) == (2, None)


def test_the_page_tells_what_is_there(runs, tmp_path):
    records = records_of(runs)
    evidence.write_results(runs, records, {"of another plan": {"name": "old"}}, tmp_path / "output", tmp_path)
    page = (tmp_path / "evidence.md").read_text()
    for words in (
        f"{len(runs)} of {len(runs)} runs",
        "| focal − warm start ",
        " both ways ",
        "focal, 0.1 % defects",
        "paper, scaled by none",
        "50.0 [50.0, 50.0]",
        "seed 1: 20 of 60",
        " 60.00 |       90.00 | 75.00 |",
    ):
        assert words in page
    content = json.loads((tmp_path / "evidence.json").read_text())
    assert set(content["runs"]) == {"of another plan", *records}
    assert (tmp_path / "evidence.png").stat().st_size > 5000
    evidence.write_results(runs, {}, {}, tmp_path / "output", tmp_path)
    assert f"0 of {len(runs)} runs" in (tmp_path / "evidence.md").read_text()


# What counts as done


def test_done_is_what_a_folder_or_the_json_holds_under_the_key(runs, tmp_path):
    here, stored_only, changed = runs[2:5]
    folder = tmp_path / "runs" / here.folder_name
    (folder / "train" / "checkpoints").mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(record(here.name, here.way, here.seed, recall=0.25)))
    stored = {
        here.key: record(here.name, here.way, here.seed, recall=0.75),
        stored_only.key: record(stored_only.name, stored_only.way, stored_only.seed),
        "key of other settings": record(changed.name, changed.way, changed.seed),
    }
    done = evidence.done_records(runs, tmp_path, stored)
    assert list(done) == [here.key, stored_only.key]
    assert done[here.key]["numbers"]["recall"] == 0.25, "the folder's own"
    assert not (folder / "train" / "checkpoints").exists()


def test_runs_are_chosen_by_name(runs):
    assert {run.name for run in evidence.chosen(runs, ["focal", "warm*"])} == {"focal", "warm start"}
    assert evidence.chosen(runs, []) == runs
    with pytest.raises(LriadError, match=r"--only 'fokal': no such run; there are warm start; accuracy"):
        evidence.chosen(runs, ["fokal"])


def test_one_small_run_from_end_to_end(tiny_policy_dir, tmp_path, monkeypatch, capsys):
    scale = _runs.Scale(train_images={"objects": 2, "textures": 2, "watched": 2}, test_images=2, steps=1)
    half = {name: dataclasses.replace(family, defect_ratio=0.5) for name, family in _runs.FAMILIES.items()}
    monkeypatch.setattr(_runs, "FAMILIES", half)
    monkeypatch.setattr(_runs, "COMMON", _runs.COMMON | SMALL)
    runs = _runs.plan(_runs.policy_sha256(str(tiny_policy_dir)), 1, scale)
    options = ["--output", str(tmp_path), "--results", str(tmp_path / "docs"), "--policy", str(tiny_policy_dir)]
    options += ["--seeds", "1"]
    with pytest.raises(SystemExit):
        evidence.main(["--policy", str(tiny_policy_dir), "--table"])
    chosen = [run for run in runs if run.way == ONE and run.name in ("warm start", "focal")]
    for run in chosen:
        assert evidence.main([*options, "--one", run.key], scale) == 0
    for run in chosen:
        folder = tmp_path / "runs" / run.folder_name
        assert (folder / "test" / "predictions.jsonl").exists()
        assert not (folder / "train" / "checkpoints").exists()
    assert (tmp_path / "runs" / chosen[1].folder_name / "train" / "adapter").is_dir()
    before = [(tmp_path / "runs" / run.folder_name / "metrics.json").stat().st_mtime_ns for run in chosen]
    for run in chosen:
        evidence.main([*options, "--one", run.key], scale)
    after = [(tmp_path / "runs" / run.folder_name / "metrics.json").stat().st_mtime_ns for run in chosen]
    assert before == after, "a finished run is not done again"

    assert evidence.main([*options, "--table"], scale) == 0
    content = json.loads((tmp_path / "docs" / "evidence.json").read_text())
    assert set(content["runs"]) == {run.key for run in chosen}
    trained = content["runs"][chosen[1].key]
    assert trained["settings"]["reward"] == "focal"
    assert trained["numbers"]["n"] == 20
    assert trained["training"]["updates"] == 1
    assert trained["versions"]["torch"]
    differences = {(found["a"], found["b"]): found["metrics"] for found in content["summary"]["differences"]}
    assert differences["focal", "warm start"]["recall"]["interval_from"] == "images"
    assert f"2 of {len(runs)} runs are done" in capsys.readouterr().out
