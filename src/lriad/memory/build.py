"""From the maps of good images to a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lriad.data.views import Views
from lriad.memory.memory import GoodImage, Look, Memory
from lriad.memory.patches import coreset, image_deviation, nearest, patches, spread

BANK = 2_000
"""Places that a memory keeps; more are not better (docs/results/memory.md)."""
CANDIDATES = 20_000
"""Places that these are chosen from, drawn evenly from all images."""


def build(
    images: Sequence[Sequence[Sequence[Tensor]]],
    sha256: Sequence[str],
    groups: Sequence[str],
    *,
    object_name: str,
    policy_sha256: str,
    look: Look,
    views: Views,
    seed: int = 0,
) -> Memory:
    """A memory of N good images, each calibrated against those of other groups.

    Args:
        images: Of each image its views, of each view its maps (`Policy.see`).
        sha256, groups: Of each image.
        object_name, policy_sha256, look, views: See `Memory`.
        seed: Of the draws.
    """
    depths = len(images[0][0])
    scales = tuple(spread([view[depth] for views in images for view in views]) for depth in range(depths))
    vectors = [torch.cat([patches(view, scales).flatten(0, 1) for view in views]).half() for views in images]
    drawn, owner_K = _candidates(vectors, seed)
    kept = torch.from_numpy(coreset(drawn.float(), BANK, seed))
    bank_KC, owner_K = drawn[kept].float(), owner_K[kept]
    good = _calibrated(vectors, sha256, groups, bank_KC, [groups[owner] for owner in owner_K.tolist()])
    return Memory(object_name, policy_sha256, None, bank_KC, owner_K, scales, good, look, views)


def extend(
    memory: Memory,
    images: Sequence[Sequence[Sequence[Tensor]]],
    sha256: Sequence[str],
    groups: Sequence[str],
    look: Look,
    seed: int = 0,
) -> Memory:
    """A memory with more good images.

    What is known of the old images stays: their places in memory are candidates beside the new ones, and their
    deviations, which more images can only make smaller, overstate how far good parts stray.
    """
    vectors = [torch.cat([patches(view, memory.scales).flatten(0, 1) for view in views]).half() for views in images]
    drawn, owner_K = _candidates(vectors, seed)
    candidates_KC = torch.cat([memory.bank_KC, drawn.float()])
    owner_K = torch.cat([memory.owner_K, owner_K + len(memory.good)])
    kept = torch.from_numpy(coreset(candidates_KC, BANK, seed))
    bank_KC, owner_K = candidates_KC[kept], owner_K[kept]
    all_groups = [*(image.group for image in memory.good), *groups]
    new = _calibrated(vectors, sha256, groups, bank_KC, [all_groups[owner] for owner in owner_K.tolist()])
    return replace(
        memory, bank_KC=bank_KC, owner_K=owner_K, good=(*memory.good, *new), look=Look.union([memory.look, look])
    )


def _candidates(vectors: Sequence[Tensor], seed: int) -> tuple[Tensor, Tensor]:
    """Places that may be remembered, (K, C), equally many of each image, and of which image each is."""
    rng = np.random.default_rng(seed)
    share = max(1, CANDIDATES // len(vectors))
    drawn = [np.sort(rng.permutation(len(own))[:share]) for own in vectors]
    owner_K = torch.cat([torch.full((len(kept),), index) for index, kept in enumerate(drawn)])
    return torch.cat([own[torch.from_numpy(kept)] for own, kept in zip(vectors, drawn, strict=True)]), owner_K


def _calibrated(
    vectors: Sequence[Tensor], sha256: Sequence[str], groups: Sequence[str], bank_KC: Tensor, group_of_K: Sequence[str]
) -> tuple[GoodImage, ...]:
    """The images, each with its deviation from the places in memory that are of other groups."""
    half_norms_K = bank_KC.square().sum(1) / 2
    numbers = {group: number for number, group in enumerate(dict.fromkeys(group_of_K))}
    number_K = torch.tensor([numbers[group] for group in group_of_K])
    return tuple(
        GoodImage(
            name,
            group,
            image_deviation(nearest(own.float(), bank_KC, half_norms_K, number_K == numbers.get(group, -1)).numpy()),
        )
        for own, name, group in zip(vectors, sha256, groups, strict=True)
    )
