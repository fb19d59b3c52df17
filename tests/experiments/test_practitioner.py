"""The practitioner's case: its splits, its two rivals, and results that are not made twice."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from lriad.data import Sample, load_dataset
from lriad.data.synthetic import make_dataset

sys.path.append(str(Path(__file__).resolve().parents[2] / "experiments"))
practitioner = importlib.import_module("practitioner")
rivals = importlib.import_module("rivals")


def samples_of(good: int, defects: int, group_size: int = 0) -> list[Sample]:
    """Samples without files; in groups of mixed labels where a size is given."""
    labels = ["normal"] * good + ["defect"] * defects
    return [
        Sample(
            id=f"{i:04}",
            image=f"{i:04}.png",
            label=label,
            category="part",
            object_name="part",
            group=str(i % (len(labels) // group_size)) if group_size else None,
        )
        for i, label in enumerate(labels)
    ]


@pytest.fixture(scope="module")
def fabric(tmp_path_factory):
    """An easy procedural category: 40 good images, 20 defects."""
    folder = tmp_path_factory.mktemp("fabric") / "data"
    made = make_dataset("textures", folder, images=60, defect_ratio=1 / 3, categories=["woven_fabric"])
    return list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return tmp_path_factory.mktemp("output")


@pytest.mark.parametrize(("good", "defects"), [(250, 232), (229, 31), (60, 30), (58, 60)])
def test_training_takes_at_most_n_at_most_half_defects_and_half_of_each_label(good, defects):
    divided = practitioner.divide(samples_of(good, defects), 0)
    for n, train in divided.train.items():
        taken = sum(sample.label == "defect" for sample in train)
        assert len(train) <= n
        assert taken <= len(train) / 2
        assert taken == min(n // 2, defects // 2, good // 2)
        assert len(train) - taken == min(n - taken, good // 2)
    tested = [sample.label for sample in divided.test]
    assert min(100, defects // 2) <= tested.count("defect") <= 100
    assert min(100, good // 2) <= tested.count("normal") <= 100


@pytest.mark.parametrize("draw", range(3))
def test_no_group_is_on_both_sides_and_a_small_n_is_part_of_a_larger_one(draw):
    divided = practitioner.divide(samples_of(250, 150, group_size=13), draw)
    assert {s.group for s in divided.train[100]}.isdisjoint({s.group for s in divided.test})
    small, middle, large = ({s.id for s in divided.train[n]} for n in (20, 50, 100))
    assert small < middle < large
    assert len(large) == 100


def test_a_draw_is_always_the_same_whatever_the_order_and_differs_from_the_next():
    samples = samples_of(250, 150, group_size=13)
    first, again = practitioner.divide(samples, 1), practitioner.divide(samples[::-1], 1)
    assert first == again
    assert practitioner.divide(samples, 2).train[20] != first.train[20]


def test_rivals_beat_chance_clearly_on_an_easy_category(fabric, output):
    divided = practitioner.divide(fabric, 0, (20,))
    task = practitioner.Task("woven_fabric", fabric, divided.train[20], divided.test, 0, output)
    truth = practitioner.truth_of(divided.test)
    for run in (practitioner.run_logistic_regression, practitioner.run_patch_memory):
        [(judged, _)] = run(task).values()
        found = practitioner.measured(truth, judged)
        assert found["auroc"] >= 0.8
        assert found["balanced_accuracy"] >= 0.65
        [(again, _)] = run(task).values()
        np.testing.assert_array_equal(again.score_N, judged.score_N)


def test_features_are_made_once_and_belong_to_the_files_contents(fabric, tmp_path):
    few = fabric[:3]
    features = rivals.cached_features(few, tmp_path)
    assert features.pooled_NF.shape == (3, 2560)
    assert features.patches_NPC.shape == (3, 1600, 152)
    files = sorted(tmp_path.iterdir())
    stamps = [file.stat().st_mtime_ns for file in files]
    np.testing.assert_array_equal(rivals.cached_features(few, tmp_path).pooled_NF, features.pooled_NF)
    assert [file.stat().st_mtime_ns for file in sorted(tmp_path.iterdir())] == stamps
    assert {file.suffix for file in files} == {".npy"}
    assert rivals.list_key(few) != rivals.list_key(few[::-1])


def test_an_image_is_not_compared_with_its_own_patches():
    rng = np.random.default_rng(0)
    patches = rng.normal(size=(3, 4, 5)).astype(np.float32)
    memory, owner = patches.reshape(12, 5), np.repeat(np.arange(3), 4)
    np.testing.assert_allclose(rivals.patch_distances(patches, memory), 0, atol=1e-3)
    others = rivals.patch_distances(patches, memory, owner)
    for image in range(3):
        rest = memory[owner != image]
        expected = np.linalg.norm(patches[image][:, None] - rest[None], axis=2).min(1)
        np.testing.assert_allclose(others[image], expected, rtol=1e-3)


def test_coreset_covers_every_cluster():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 20)) * 50
    points = (centres.repeat([200, *[5] * 9], axis=0) + rng.normal(size=(245, 20))).astype(np.float32)
    chosen = rivals.greedy_coreset(points, 10)
    distances = np.linalg.norm(points[chosen][:, None] - centres[None], axis=2)
    assert sorted(distances.argmin(1)) == list(range(10))
    assert len(set(rivals.greedy_coreset(points, 200))) == 200


def counted(calls: list[int], **settings):
    """A method that scores by the truth and counts how often it is asked."""

    def run(task):
        calls.append(len(task.train))
        truth = practitioner.truth_of(task.test)
        return {"patch memory": (rivals.Judged(truth.astype(float), truth.astype(bool)), {})}

    return practitioner.Method(("patch memory",), settings, run, ("numpy",))


def test_a_cell_is_never_done_again_unless_settings_change(tmp_path):
    samples, calls = samples_of(60, 30), []
    file = tmp_path / "results" / "practitioner.json"
    method = counted(calls, level=1)
    practitioner.run_category("bottle", samples, [method], 2, tmp_path, file)
    # 45 images are all that may be trained on: N = 100 is N = 50.
    assert calls == [20, 45, 20, 45]
    document = practitioner.read_results(file)
    assert [(cell["n"], cell["train_images"]) for cell in document["cells"][::2]] == [(20, 20), (50, 45), (100, 45)]
    assert all(cell["auroc"] == cell["balanced_accuracy"] == 1 for cell in document["cells"])

    practitioner.run_category("bottle", samples, [method], 2, tmp_path, file)
    assert len(calls) == 4
    practitioner.run_category("bottle", samples, [counted(calls, level=2)], 1, tmp_path, file)
    assert len(calls) == 6
    after = practitioner.read_results(file)
    assert len(after["cells"]) == len(document["cells"])
    assert sorted(settings["level"] for settings in after["settings"].values()) == [1, 2]
    assert {path.name for path in file.parent.iterdir()} == {f"practitioner.{kind}" for kind in ("json", "md", "png")}


def test_report_has_means_intervals_and_differences_on_shared_cells():
    def cell(method, n, category, auroc):
        metrics = {"auroc": auroc, "balanced_accuracy": auroc, "recall_at_fpr_5": auroc}
        sides = {"train_images": n, "train_defects": n // 2, "test_images": 9, "test_defects": 4}
        return {"method": method, "n": n, "category": category, "draw": 0, "date": "2026-01-01", **metrics, **sides}

    ours = f"{practitioner.TRAINED}, reason"
    cells = [
        cell(ours, 20, "tile", 0.9),
        cell("patch memory", 20, "tile", 0.6),
        cell("patch memory", 20, "pcb", 0.8),
        cell(f"{practitioner.ZERO_SHOT}, fast", 0, "tile", 0.5),
    ]
    text = practitioner.to_markdown({"cells": cells, "settings": {}})
    assert "| patch memory | – | 70.0 [60.0, 80.0] | 2 |" in text
    assert "| patch memory | 30.0 [30.0, 30.0] (1) |" in text
    assert "| lr-iad zero-shot, fast | 40.0 [40.0, 40.0] (1) |" in text


def test_an_answer_that_is_none_is_wrong_whatever_the_truth():
    rows = [
        {"id": str(i), "truth": truth, "label": label, "p_defect": p}
        for i, (truth, label, p) in enumerate(
            [
                ("defect", "defect", 0.9),
                ("defect", "unparsable", 0.8),
                ("normal", "normal", 0.6),
                ("normal", "unparsable", 0.1),
            ]
        )
    ]
    judged, more = practitioner.judgement(rows)
    assert judged.defect_N.tolist() == [True, False, False, True]
    assert more["balanced_accuracy_p50"] == 0.75
    with pytest.raises(practitioner.LriadError, match="broken"):
        practitioner.judgement([*rows, {"id": "x", "truth": "normal", "error": "broken"}])


def test_policy_is_judged_as_it_is_with_a_memory_and_after_training(fabric, tmp_path, monkeypatch):
    monkeypatch.setattr(practitioner, "STEPS", 1)
    monkeypatch.setattr(practitioner, "TEST_IMAGES", 4)
    file = tmp_path / "results" / "practitioner.json"
    methods = practitioner.policy_methods("embedded")
    practitioner.run_category("pcb", fabric, methods, 1, tmp_path, file, sizes=(12,))
    cells = practitioner.read_results(file)["cells"]
    assert {(cell["method"], cell["n"]) for cell in cells} == {
        (practitioner.REMEMBERED, 12),
        *((f"{practitioner.ZERO_SHOT}, {mode}", 0) for mode in ("reason", "fast")),
        *((f"{practitioner.TRAINED}, {mode}", 12) for mode in ("reason", "fast")),
    }
    assert all(0 <= cell[metric] <= 1 for cell in cells for metric in practitioner.METRICS)
    of_policy = [cell for cell in cells if cell["method"] != practitioner.REMEMBERED]
    assert all(0 <= cell["balanced_accuracy_p50"] <= 1 for cell in of_policy)
    settings = practitioner.read_results(file)["settings"].values()
    assert {len(own["policy_sha256"]) for own in settings} == {64}
    assert str(tmp_path) not in file.read_text(), "no path of an image or a run is kept"


@pytest.mark.real
@pytest.mark.parametrize("category", practitioner.CATEGORIES)
def test_real_categories_leave_enough_to_test_on(category):
    samples = practitioner.real_category(category)
    for draw in range(3):
        divided = practitioner.divide(samples, draw)
        tested = [sample.label for sample in divided.test]
        assert tested.count("defect") >= 14
        assert tested.count("normal") >= 25
        assert len(divided.train[20]) == 20
        assert len(divided.train[50]) >= 45
        largest = divided.train[100]
        assert {s.id for s in largest}.isdisjoint({s.id for s in divided.test})
        assert ({s.group for s in largest} - {None}).isdisjoint({s.group for s in divided.test})


@pytest.mark.real
def test_rivals_beat_chance_on_real_images(output):
    # Not all of them: the reading of the files takes longer than all else.
    samples = practitioner.real_category("toy_alien")[::2]
    divided = practitioner.divide(samples, 0, (20,))
    task = practitioner.Task("toy_alien", samples, divided.train[20], divided.test, 0, output)
    for run in (practitioner.run_logistic_regression, practitioner.run_patch_memory):
        [(judged, _)] = run(task).values()
        assert practitioner.measured(practitioner.truth_of(divided.test), judged)["auroc"] >= 0.7


def test_the_real_folder_is_asked_for_by_name(monkeypatch):
    monkeypatch.delenv("LRIAD_REAL_DATA", raising=False)
    with pytest.raises(SystemExit, match="LRIAD_REAL_DATA"):
        practitioner.real_category("tile")


def test_manifest_line_gives_the_sample_back(tmp_path):
    sample = dataclasses.replace(samples_of(1, 0)[0], group="g", mask="m.png", split="test", dataset="d")
    listed = tmp_path / "list.jsonl"
    listed.write_text(practitioner._manifest_line(sample))
    [read] = load_dataset(f"jsonl:{listed}")
    expected = dataclasses.replace(sample, mask=None, split=None, image=str(Path(sample.image).resolve()))
    assert read == expected
