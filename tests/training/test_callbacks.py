import json
from types import SimpleNamespace

import pytest

from lriad.training.callbacks import (
    CollapseWarnings,
    append_metrics,
    read_metrics,
    truncate_metrics,
    validation_metrics,
)

STATE = SimpleNamespace(is_world_process_zero=True, global_step=7)


def feed(callback, logs, times=CollapseWarnings.WINDOW):
    for _ in range(times):
        callback.on_log(None, STATE, None, logs=dict(logs))


HEALTHY = {
    "reward": 1.5,
    "groups_without_signal": 0.3,
    "rewards/format_reward/mean": 0.99,
    "completions/clipped_ratio": 0.0,
    "kl": 0.01,
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups_without_signal": 0.95}, "no signal"),
        ({"rewards/format_reward/mean": 0.2}, "follow the format"),
        ({"completions/clipped_ratio": 0.9}, "max_completion_tokens"),
        ({"kl": 3.0}, "left its reference"),
    ],
)
def test_each_collapse_is_said_once_with_the_way_out(tmp_path, change, words):
    said = []
    callback = CollapseWarnings(tmp_path / "metrics.jsonl", said.append)
    feed(callback, HEALTHY)
    assert said == []
    feed(callback, HEALTHY | change, 2 * CollapseWarnings.WINDOW)
    assert len(said) == 1
    assert words in said[0]
    assert "\n" not in said[0]
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["warning"] == said[0]


def test_one_bad_step_is_no_collapse(tmp_path):
    said = []
    callback = CollapseWarnings(tmp_path / "metrics.jsonl", said.append)
    feed(callback, HEALTHY)
    feed(callback, HEALTHY | {"groups_without_signal": 1.0}, 1)
    assert said == []


@pytest.mark.parametrize(
    ("recall", "false_positive_rate", "unparsable", "words"),
    [(0.0, 0.0, 0.0, "called normal"), (1.0, 1.0, 0.0, "called defective"), (0.0, 0.0, 1.0, "cannot be read")],
)
def test_constant_answers_in_validation(tmp_path, recall, false_positive_rate, unparsable, words):
    said = []
    callback = CollapseWarnings(tmp_path / "metrics.jsonl", said.append)
    logs = {
        "validation/recall": recall,
        "validation/false_positive_rate": false_positive_rate,
        "validation/unparsable_rate": unparsable,
    }
    feed(callback, logs, 2)
    assert len(said) == 1
    assert words in said[0]


def test_resumed_run_does_not_repeat_a_warning(tmp_path):
    file = tmp_path / "metrics.jsonl"
    said = []
    feed(CollapseWarnings(file, said.append), HEALTHY | {"kl": 9.0})
    feed(CollapseWarnings(file, said.append), HEALTHY | {"kl": 9.0})
    assert len(said) == 1


def test_metrics_after_the_checkpoint_are_dropped(tmp_path):
    file = tmp_path / "metrics.jsonl"
    for step in range(1, 6):
        append_metrics(file, {"step": step, "loss": step / 10})
    with open(file, "a") as stream:
        stream.write('{"step": 6, "lo')
    truncate_metrics(file, 3)
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == [1, 2, 3]
    truncate_metrics(tmp_path / "none.jsonl", 3)


def test_validation_metrics_by_hand():
    truth = [True, True, False, False]
    labels = ["defect", "unparsable", "normal", "defect"]
    metrics = validation_metrics(truth, labels, [0.9, 0.4, 0.2, 0.6])
    assert metrics["accuracy"] == 0.5
    assert metrics["recall"] == 0.5
    assert metrics["false_positive_rate"] == 0.5
    assert metrics["unparsable_rate"] == 0.25
    assert metrics["auroc"] == 0.75
    assert metrics["p_correct/defect"] == pytest.approx(0.65)
    assert metrics["p_correct/normal"] == pytest.approx(0.6)


def test_validation_without_defects_says_nothing_of_recall():
    metrics = validation_metrics([False, False], ["normal", "defect"], [0.1, 0.8])
    assert "recall" not in metrics
    assert "auroc" not in metrics
    assert metrics["false_positive_rate"] == 0.5
