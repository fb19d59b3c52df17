"""Two processes train one policy: the run ends as a run of one process does, and its checkpoints are whole."""

import json
import math
import os
import socket
import subprocess
import sys

import pytest
from tiny_data import make_parts

from lriad.policy import load_policy
from lriad.training.callbacks import complete_checkpoints


def launched(model, data, output, *more):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "policy": model,
        "data": data,
        "output": output,
        "steps": 4,
        "save_steps": 2,
        "eval_steps": 4,
        "prompts_per_step": 4,
        "group_size": 4,
        "completions_per_device": 8,
        "max_completion_tokens": 8,
        "max_pixels": 12544,
        "learning_rate": 0.01,
        "report_to": "[]",
    }
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"),
            *("--master_addr", "127.0.0.1", "--master_port", str(port)),
            *("-m", "lriad", "train", "embedded-cpu"),
            *(f"{key}={value}" for key, value in settings.items()),
            *more,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1"},
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_policy_dir):
    folder = tmp_path_factory.mktemp("two")
    result = launched(tiny_policy_dir, make_parts(folder / "parts"), folder / "run")
    assert result.returncode == 0, result.stderr
    return folder, result


def test_two_processes_share_their_prompts(run):
    folder, result = run
    assert "prompt of its own" not in result.stderr, "nothing fell back to stock TRL"
    lines = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 4
    assert all(math.isfinite(loss) for loss in losses)
    checkpoint = complete_checkpoints(folder / "run/checkpoints")[-1]
    assert {f"rng_state_{rank}.pth" for rank in (0, 1)} <= {file.name for file in checkpoint.iterdir()}
    assert load_policy(str(folder / "run")).adapter_sha256


def test_a_finished_run_of_two_processes_is_not_trained_again(run, tiny_policy_dir):
    folder, _ = run
    before = (folder / "run/metrics.jsonl").read_text()
    again = launched(tiny_policy_dir, f"folder:{folder / 'parts'}", folder / "run")
    assert again.returncode == 0, again.stderr[-3000:]
    assert (folder / "run/metrics.jsonl").read_text() == before
