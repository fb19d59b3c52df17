"""A run that is killed and started again is the run that was never stopped."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_data import make_parts

# An epoch has 8 updates at most: the kill falls into the second one, where the order of images is another.
STEPS, SAVE_EVERY, KILL_AFTER = 14, 3, 11
# Wall-clock figures, and what Trainer counts since the last start.
NOT_COMPARED = ("time", "runtime", "per_second", "train_loss", "num_tokens", "flos", "epoch")


def command(model: Path, data: str, output: Path, *more: str) -> list[str]:
    settings = {
        "policy": model,
        "data": data,
        "output": output,
        "steps": STEPS,
        "save_steps": SAVE_EVERY,
        "eval_steps": 5,
        "prompts_per_step": 2,
        "group_size": 4,
        "completions_per_device": 4,
        "max_completion_tokens": 12,
        "max_pixels": 12544,
        "reward": "paper",
        "paper_reading": "ungated",
        "learning_rate": 0.01,
        "lora_dropout": 0.1,
        "report_to": "[]",
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    return [sys.executable, "-m", "lriad", "train", "embedded-cpu", *overrides, *more]


def lines_of(run: Path) -> list[dict]:
    lines = []
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        lines.append({k: v for k, v in line.items() if not any(word in k for word in NOT_COMPARED)})
    return lines


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, tiny_policy_dir):
    folder = tmp_path_factory.mktemp("unbroken")
    data = make_parts(folder / "parts")
    subprocess.run(command(tiny_policy_dir, data, folder / "run"), check=True, capture_output=True)
    return data, folder / "run"


def test_killed_and_resumed_is_unbroken(unbroken, tmp_path, tiny_policy_dir):
    data, expected = unbroken
    run = tmp_path / "run"
    with subprocess.Popen(
        command(tiny_policy_dir, data, run), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        metrics = run / "metrics.jsonl"
        while process.poll() is None:
            if metrics.exists() and f'"step": {KILL_AFTER}, "loss"' in metrics.read_text():
                os.kill(process.pid, signal.SIGKILL)
                break
            time.sleep(0.02)
        process.wait()
        assert process.returncode == -signal.SIGKILL
    assert not (run / "adapter").exists()
    assert max(line["step"] for line in lines_of(run)) < STEPS

    resumed = subprocess.run(command(tiny_policy_dir, data, run), capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert lines_of(run) == lines_of(expected)
    name = "adapter/adapter_model.safetensors"
    assert (run / name).read_bytes() == (expected / name).read_bytes()


def test_checkpoint_cut_off_by_a_kill_is_not_resumed_from(tmp_path):
    from lriad.training.callbacks import COMPLETE, complete_checkpoints

    for step, complete in ((4, True), (8, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if complete:
            (folder / COMPLETE).write_text("{}")
    assert [path.name for path in complete_checkpoints(tmp_path)] == ["checkpoint-4", "checkpoint-8"]


def test_full_disk_is_one_line_and_keeps_what_was_done(unbroken, tmp_path, tiny_policy_dir):
    data, _ = unbroken

    def small_files() -> None:
        # A file-size limit refuses a write in the same place as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))

    run = tmp_path / "run"
    result = subprocess.run(command(tiny_policy_dir, data, run), capture_output=True, text=True, preexec_fn=small_files)
    assert result.returncode == 2
    assert "error: " in result.stderr
    assert "no space left" in result.stderr
    assert "Traceback" not in result.stderr
    assert (run / "config.yaml").exists()
