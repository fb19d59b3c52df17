"""Batch sizes and batches, with the memory of real models."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.inspection.batching import (
    MAX_BATCH,
    _free_in_cgroups,
    batch_size_for,
    free_memory,
    length_windows,
)

GIB = 1 << 30


def padded_tokens(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> int:
    return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches)


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 9))
def test_windows_hold_every_prompt_once_and_pad_no_more_than_arrival_order(lengths: list[int], size: int) -> None:
    batches = length_windows(lengths, size)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)
    arrival = [range(start, min(start + size, len(lengths))) for start in range(0, len(lengths), size)]
    assert padded_tokens(lengths, batches) <= padded_tokens(lengths, arrival)
    widths = [lengths[batch[0]] for batch in batches]
    assert widths == sorted(widths, reverse=True)


def test_prompts_of_one_length_stay_in_order() -> None:
    assert length_windows([7] * 5, 2) == [[0, 1], [2, 3], [4]]


def test_half_of_what_is_free_is_shared_by_the_processes() -> None:
    assert batch_size_for(10 * GIB, GIB) == 5
    assert batch_size_for(10 * GIB, GIB, processes=2) == 2
    assert batch_size_for(0, GIB) == 1
    assert batch_size_for(1000 * GIB, GIB) == MAX_BATCH


def test_free_memory_is_what_the_system_calls_available() -> None:
    assert 0 < free_memory("cpu") <= psutil.virtual_memory().total


@pytest.mark.gpu
def test_free_memory_of_a_gpu_falls_as_it_is_taken() -> None:
    import torch

    before = free_memory("cuda")
    taken = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")
    assert before - free_memory("cuda") >= taken.numel()


def group(folder: Path, version: int, limit: str, usage: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    key = "total_inactive_file" if version == 1 else "inactive_file"
    (folder / "memory.stat").write_text(f"inactive_anon 7\n{key} {cache}\n")


def test_limits_of_containers(tmp_path: Path) -> None:
    membership, mounts = tmp_path / "cgroup", tmp_path / "fs"
    assert _free_in_cgroups(membership, mounts) == []
    membership.write_text("5:cpu:/x\n4:memory:/job/7\n0::/job/7\n")
    group(mounts / "memory" / "job" / "7", 1, "9223372036854771712", 100, 0)
    group(mounts / "job" / "7", 2, "max", 100, 0)
    group(mounts / "job", 2, "1000", 300, 50)  # the parent's limit binds
    assert min(_free_in_cgroups(membership, mounts)) == 1000 - (300 - 50)
    # Docker with v1: the container's group is mounted at the top, under its path on the host it is not there.
    membership.write_text("4:memory:/docker/0123\n")
    group(mounts / "memory", 1, "512", 512, 0)
    assert _free_in_cgroups(membership, mounts) == [0]


_PEAK = """
import gc, sys
from PIL import Image
from lriad.inspection.batching import memory_per_prompt
from lriad.policy import load_policy

policy, mode, prompts, new_tokens = load_policy(sys.argv[1], device="cpu"), sys.argv[2], 8, 24
policy.end_tokens = list  # to the last token
images = [Image.effect_noise((320, 320), 30 + index).convert("RGB") for index in range(prompts)]
encoded = [policy.encode(image, "nut") for image in images]
run = policy.fast if mode == "fast" else lambda batch: policy.reason(batch, max_new_tokens=new_tokens)
run(encoded[:1])

def status(name):
    with open("/proc/self/status") as stream:
        return next(1024 * int(line.split()[1]) for line in stream if line.startswith(name))

gc.collect()
with open("/proc/self/clear_refs", "w") as stream:
    stream.write("5")  # forgets the peak
before = status("VmRSS")
run(encoded)
tokens = encoded[0]["input_ids"].shape[1]
estimate = memory_per_prompt(policy.base.config, tokens, 0 if mode == "fast" else new_tokens, 4)
print(prompts * estimate, status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is reset in /proc")
@pytest.mark.parametrize("mode", ["fast", "reason"])
def test_memory_of_a_prompt_is_an_upper_bound(mode: str) -> None:
    """In a process of its own, which holds nothing that others have left."""
    done = subprocess.run([sys.executable, "-c", _PEAK, "embedded", mode], capture_output=True, text=True, check=True)
    estimate, measured = map(int, done.stdout.split())
    assert measured < estimate
