"""From the maps of good images to a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lriad.data.views import Views
from lriad.memory.memory import GoodImage, Look, Memory, usual_fields
from lriad.memory.patches import COMPARED, beyond_usual, coreset, image_deviation, in_fields, nearest, patches, spread

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
    places = [_places(image, scales) for image in images]
    drawn, owner_K = _candidates(places, seed)
    kept = torch.from_numpy(coreset(drawn.float(), BANK, seed))
    bank_KC, owner_K = drawn[kept].float(), owner_K[kept]
    groups = [image.group for image in images]
    distances = _distances(groups, places, bank_KC, [groups[owner] for owner in owner_K.tolist()])
    usual_NVFF = torch.stack([_in_fields(maps) for maps in distances])
    good = _calibrated(images, distances, usual_NVFF, groups)
    return Memory(object_name, policy_sha256, None, bank_KC, owner_K, scales, usual_NVFF, good, look, views)


def extend(memory: Memory, images: Sequence[Sighting], look: Look, seed: int = 0) -> Memory:
    """A memory with more good images.

    What is known of the old images stays as it is: their places in memory are candidates beside the new ones, and how
    far they stray was measured against fewer images, which as a rule overstates it.
    """
    places = [_places(image, memory.scales) for image in images]
    drawn, owner_K = _candidates(places, seed)
    candidates_KC = torch.cat([memory.bank_KC, drawn.float()])
    owner_K = torch.cat([memory.owner_K, owner_K + len(memory.good)])
    kept = torch.from_numpy(coreset(candidates_KC, BANK, seed))
    bank_KC, owner_K = candidates_KC[kept], owner_K[kept]
    groups = [*(image.group for image in memory.good), *(image.group for image in images)]
    distances = _distances(
        [image.group for image in images], places, bank_KC, [groups[owner] for owner in owner_K.tolist()]
    )
    usual_NVFF = torch.stack([*memory.usual_NVFF, *(_in_fields(maps) for maps in distances)])
    new = _calibrated(images, distances, usual_NVFF, groups)
    return replace(
        memory,
        bank_KC=bank_KC,
        owner_K=owner_K,
        usual_NVFF=usual_NVFF,
        good=(*memory.good, *new),
        look=Look.union([memory.look, look]),
    )


def _places(image: Sighting, scales: Sequence[float]) -> list[Tensor]:
    """The vectors of each view's places, (H, W, C), in half precision."""
    return [patches(view, scales).half() for view in image.depths]


def _candidates(places: Sequence[Sequence[Tensor]], seed: int) -> tuple[Tensor, Tensor]:
    """Places that may be remembered, (K, C), equally many of each image, and of which image each is."""
    rng = np.random.default_rng(seed)
    share = max(1, CANDIDATES // len(places))
    flat = [torch.cat([view.flatten(0, 1) for view in views]) for views in places]
    drawn = [np.sort(rng.permutation(len(own))[:share]) for own in flat]
    owner_K = torch.cat([torch.full((len(kept),), index) for index, kept in enumerate(drawn)])
    return torch.cat([own[torch.from_numpy(kept)] for own, kept in zip(flat, drawn, strict=True)]), owner_K


def _distances(
    groups: Sequence[str], places: Sequence[Sequence[Tensor]], bank_KC: Tensor, group_of_K: Sequence[str]
) -> list[list[NDArray[np.float32]]]:
    """How far each image's places are from those in memory that are of other groups, a map (H, W) a view."""
    half_norms_K = bank_KC.square().sum(1) / 2
    numbers = {group: number for number, group in enumerate(dict.fromkeys(group_of_K))}
    number_K = torch.tensor([numbers[group] for group in group_of_K])
    found = []
    for group, views in zip(groups, places, strict=True):
        barred_K = number_K == numbers.get(group, -1)
        maps = [nearest(view.flatten(0, 1).float(), bank_KC, half_norms_K, barred_K) for view in views]
        found.append([one.unflatten(0, view.shape[:2]).numpy() for one, view in zip(maps, views, strict=True)])
    return found


def _in_fields(maps: Sequence[NDArray[np.float32]]) -> Tensor:
    # As the file holds it, so that a memory says the same before it is written.
    return torch.stack([in_fields(one) for one in maps]).half().float()


def _calibrated(
    images: Sequence[Sighting],
    distances: Sequence[Sequence[NDArray[np.float32]]],
    usual_NVFF: Tensor,
    groups: Sequence[str],
) -> tuple[GoodImage, ...]:
    """The images, each with its deviation from those of other groups.

    Args:
        images: The images.
        distances: Of each, a map a view.
        usual_NVFF: Of all images in memory.
        groups: Of these.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    number_N = torch.tensor([numbers[group] for group in groups])
    good = []
    for image, maps in zip(images, distances, strict=True):
        own_N = number_N == numbers[image.group]
        beyond = [beyond_usual(one, *usual_fields(usual_NVFF[:, view], own_N)).ravel() for view, one in enumerate(maps)]
        good.append(GoodImage(image.sha256, image.pixels, image.group, image_deviation(np.concatenate(beyond))))
    return tuple(good)
