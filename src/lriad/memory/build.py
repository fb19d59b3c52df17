"""From the maps of good images to a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lriad.data.views import Views
from lriad.memory.memory import GoodImage, Look, Memory
from lriad.memory.patches import COMPARED, coreset, image_deviation, nearest, patches, spread

BANK = 2_000
"""Places that a memory keeps; twice as many, or all of them, are no better."""
CANDIDATES = 20_000
"""Places that these are chosen from, drawn evenly from all images."""


class Sighting(Protocol):
    """An image, by its hashes, its group, and the maps of each of its views (`Policy.see`)."""

    @property
    def sha256(self) -> str: ...
    @property
    def pixels(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def depths(self) -> list[list[Tensor]]: ...


def build(
    images: Sequence[Sighting],
    *,
    object_name: str,
    policy_sha256: str,
    look: Look,
    views: Views,
    seed: int = 0,
) -> Memory:
    """A memory of N good images of two groups or more, each calibrated against those of other groups.

    Args:
        images: The good images.
        object_name, policy_sha256, look, views: See `Memory`.
        seed: Of the draws.
    """
    scales = tuple(spread([view[level] for image in images for view in image.depths]) for level in range(COMPARED))
    vectors = [_vectors(image, scales) for image in images]
    drawn, owner_K = _candidates(vectors, seed)
    kept = torch.from_numpy(coreset(drawn.float(), BANK, seed))
    bank_KC, owner_K = drawn[kept].float(), owner_K[kept]
    groups = [image.group for image in images]
    good = _calibrated(images, vectors, bank_KC, [groups[owner] for owner in owner_K.tolist()])
    return Memory(object_name, policy_sha256, None, bank_KC, owner_K, scales, good, look, views)


def extend(memory: Memory, images: Sequence[Sighting], look: Look, seed: int = 0) -> Memory:
    """A memory with more good images.

    What is known of the old images stays as it is: their places in memory are candidates beside the new ones, and how
    far they stray was measured against fewer images, which as a rule overstates it.
    """
    vectors = [_vectors(image, memory.scales) for image in images]
    drawn, owner_K = _candidates(vectors, seed)
    candidates_KC = torch.cat([memory.bank_KC, drawn.float()])
    owner_K = torch.cat([memory.owner_K, owner_K + len(memory.good)])
    kept = torch.from_numpy(coreset(candidates_KC, BANK, seed))
    bank_KC, owner_K = candidates_KC[kept], owner_K[kept]
    groups = [*(image.group for image in memory.good), *(image.group for image in images)]
    new = _calibrated(images, vectors, bank_KC, [groups[owner] for owner in owner_K.tolist()])
    return replace(
        memory, bank_KC=bank_KC, owner_K=owner_K, good=(*memory.good, *new), look=Look.union([memory.look, look])
    )


def _vectors(image: Sighting, scales: Sequence[float]) -> Tensor:
    """All places of all views, (P, C), in half precision."""
    return torch.cat([patches(view, scales).flatten(0, 1) for view in image.depths]).half()


def _candidates(vectors: Sequence[Tensor], seed: int) -> tuple[Tensor, Tensor]:
    """Places that may be remembered, (K, C), equally many of each image, and of which image each is."""
    rng = np.random.default_rng(seed)
    share = max(1, CANDIDATES // len(vectors))
    drawn = [np.sort(rng.permutation(len(own))[:share]) for own in vectors]
    owner_K = torch.cat([torch.full((len(kept),), index) for index, kept in enumerate(drawn)])
    return torch.cat([own[torch.from_numpy(kept)] for own, kept in zip(vectors, drawn, strict=True)]), owner_K


def _calibrated(
    images: Sequence[Sighting], vectors: Sequence[Tensor], bank_KC: Tensor, group_of_K: Sequence[str]
) -> tuple[GoodImage, ...]:
    """The images, each with its deviation from the places in memory that are of other groups."""
    half_norms_K = bank_KC.square().sum(1) / 2
    numbers = {group: number for number, group in enumerate(dict.fromkeys(group_of_K))}
    number_K = torch.tensor([numbers[group] for group in group_of_K])
    good = []
    for image, own in zip(images, vectors, strict=True):
        distances = nearest(own.float(), bank_KC, half_norms_K, number_K == numbers.get(image.group, -1))
        good.append(GoodImage(image.sha256, image.pixels, image.group, image_deviation(distances.numpy())))
    return tuple(good)
