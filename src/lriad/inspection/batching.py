"""How many prompts go through the policy together, and which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

MAX_BATCH = 64
"""More gains nothing on a CPU: the embedded policy reasons on 4, 7, 8, 9 and 9 images a second of one core in batches
of 1, 4, 8, 16 and 32, its tower seeing one image at a time."""

_CACHE_COPIES = 3
"""The prompt's keys and values, the copy that decoding grows, and what concatenation holds for a moment."""
_TOWER_NUMBERS_PER_PIXEL = 100
"""What a convolutional tower holds at its widest: EfficientNet-Lite0 has 96 channels at half the image's side, in and
out of a depthwise convolution, and the kernel's own copies."""
_PIXELS_PER_IMAGE_TOKEN = 32 * 32


def memory_per_prompt(config: Any, tokens: int, new_tokens: int, dtype_bytes: int) -> int:
    """Bytes that one more prompt of a batch needs, at most: an estimate on the safe side.

    Args:
        config: The policy's transformers config.
        tokens: Tokens of the prompt, those of its image among them.
        new_tokens: Tokens of the completion at most; 0 in `fast` mode.
        dtype_bytes: Size of the model's numbers.
    """
    text = config.get_text_config()
    heads = text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    cache = 2 * text.num_hidden_layers * kv_heads * head_dim * (tokens + new_tokens)
    # Of one layer at a time: the residual and its norm, queries, keys, values and the attention's output, and the
    # three inner tensors of the gated MLP.
    prefill = tokens * (4 * text.hidden_size + 4 * heads * head_dim + 3 * text.intermediate_size)
    mask = tokens * (tokens + new_tokens)
    logits = 3 * text.vocab_size * 4  # in float32 whatever the model's
    tower = _tower_numbers(getattr(config, "vision_config", None), tokens)
    return dtype_bytes * (_CACHE_COPIES * cache + prefill + mask + tower) + logits


def _tower_numbers(vision: Any, tokens: int) -> int:
    """Numbers that the vision tower holds at once for an image of at most so many tokens."""
    patch = getattr(vision, "patch_size", None)
    if not isinstance(patch, int):
        return _TOWER_NUMBERS_PER_PIXEL * _PIXELS_PER_IMAGE_TOKEN * tokens
    # Qwen2-VL calls the tower's width embed_dim, and the language model's hidden_size.
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    inner = getattr(vision, "intermediate_size", None) or int(width * getattr(vision, "mlp_ratio", 4))
    pixels = 3 * patch**2 * getattr(vision, "temporal_patch_size", 1)
    patches = tokens * getattr(vision, "spatial_merge_size", 1) ** 2
    return patches * (2 * pixels + 8 * width + 2 * inner)


def free_memory(device: Any) -> int:
    """Bytes that may still be taken on a device: of a GPU its own, else this machine's or this container's.

    Args:
        device: A `torch.device`, or its name.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return min(psutil.virtual_memory().available, *_free_in_cgroups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")))


def _free_in_cgroups(membership: Path, mounts: Path) -> list[int]:
    """Bytes below the memory limit of each control group (Linux containers, v1 and v2) that this process is in."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    free = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            top, limit, usage = mounts / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif not controllers:
            top, limit, usage = mounts, "memory.max", "memory.current"
        else:
            continue
        # Inside a container the group may be mounted as the top, its path on the host not there: then only the top
        # is. A parent's limit binds its children.
        group = Path(path.lstrip("/"))
        for folder in (top / group, *(top / parent for parent in group.parents)):
            try:
                free.append(int((folder / limit).read_text()) - _held(folder, usage))
            except (OSError, ValueError):  # no such group, or a limit of "max"
                continue
    return free


def _held(folder: Path, usage: str) -> int:
    """Bytes that a control group holds; its file cache, which is given back when needed, aside."""
    counts = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    cached = int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))  # v1 counts children apart
    return int((folder / usage).read_text()) - cached


def batch_size_for(free: int, per_prompt: int, processes: int = 1) -> int:
    """Prompts that go through the policy together: as many as take half of the free memory, from 1 to `MAX_BATCH`.

    Args:
        free: Bytes that are free.
        per_prompt: Bytes that a prompt takes.
        processes: Processes that share what is free.
    """
    return max(1, min(MAX_BATCH, free // (2 * processes * max(1, per_prompt))))


def length_windows(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Indices of prompts in batches of about one length each, so that little is padded.

    Args:
        lengths: Tokens of each prompt.
        batch_size: Prompts in a batch; the last one may have fewer.

    Returns:
        Every index once, the longest first: a batch that does not fit fails at once. One batch is shorter than the
        others where the prompts do not fill them all: the one that leaves least padding.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    full, short = divmod(len(order), batch_size)
    if not short:
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    # A batch is as wide as its first prompt. With the short one at place k, the full ones start at 0, b, ..., and
    # behind it at kb + short, ...
    before = [0, *accumulate(batch_size * lengths[order[batch_size * k]] for k in range(full))]
    behind = [0, *accumulate(batch_size * lengths[order[-batch_size * k]] for k in range(1, full + 1))]
    tokens = [before[k] + short * lengths[order[batch_size * k]] + behind[full - k] for k in range(full + 1)]
    cut = batch_size * min(range(full + 1), key=lambda k: (tokens[k], -k))
    starts = [*range(0, cut + 1, batch_size), *range(cut + short, len(order) + 1, batch_size)]
    return [order[start:end] for start, end in pairwise(starts)]
