"""From the maps of good images to a memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lriad.data.views import Views
from lriad.memory.memory import Bank, GoodImage, Look, Memory, banks_of_views
from lriad.memory.patches import (
    COMPARED,
    FIELDS,
    beyond_usual,
    coreset,
    image_deviation,
    in_fields,
    patches,
    spread,
    two_nearest,
)

BANK = 2_000
"""Places that a memory keeps, of all scales together; of whole images twice as many, or all, are no better."""
CANDIDATES = 20_000
"""Places that those of a scale are chosen from, drawn evenly from all images."""


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
    banks = _banks(places, look, seed)
    groups = [image.group for image in images]
    good, usual_NVFF, others_NV2FF = _calibrated(images, places, banks, look, groups)
    return Memory(object_name, policy_sha256, None, banks, scales, usual_NVFF, others_NV2FF, good, look, views)


def extend(memory: Memory, images: Sequence[Sighting], look: Look, seed: int = 0) -> Memory:
    """A memory with more good images.

    What is known of the old images stays as it is: their places in memory are candidates beside the new ones, and how
    far they stray was measured against fewer images, which as a rule overstates it.
    """
    places = [_places(image, memory.scales) for image in images]
    banks = _banks(places, look, seed, memory)
    groups = [*(image.group for image in memory.good), *(image.group for image in images)]
    new, usual_NVFF, others_NV2FF = _calibrated(images, places, banks, look, groups, memory.usual_NVFF)
    return replace(
        memory,
        banks=banks,
        usual_NVFF=torch.cat([memory.usual_NVFF, usual_NVFF]),
        others_NV2FF=torch.cat([memory.others_NV2FF, others_NV2FF]),
        good=(*memory.good, *new),
        look=Look.union([memory.look, look]),
    )


def _places(image: Sighting, scales: Sequence[float]) -> list[Tensor]:
    """The vectors of each view's places, (H, W, C), in half precision."""
    return [patches(view, scales).half() for view in image.depths]


def _banks(places: Sequence[Sequence[Tensor]], look: Look, seed: int, before: Memory | None = None) -> tuple[Bank, ...]:
    """What is remembered of each scale: of these images, and of those of a memory before them."""
    banks = []
    for scale, views in enumerate(look.scales):
        drawn, owner_K = _candidates([[image[view] for view in views] for image in places], seed)
        drawn = drawn.float()
        if before is not None:
            known = before.banks[scale]
            drawn = torch.cat([known.places_KC, drawn])
            owner_K = torch.cat([known.owner_K, owner_K + len(before.good)])
        kept = torch.from_numpy(coreset(drawn, BANK // len(look.scales), seed))
        banks.append(Bank(drawn[kept], owner_K[kept]))
    return tuple(banks)


def _candidates(places: Sequence[Sequence[Tensor]], seed: int) -> tuple[Tensor, Tensor]:
    """Places that may be remembered, (K, C), equally many of each image, and of which image each is."""
    rng = np.random.default_rng(seed)
    share = max(1, CANDIDATES // len(places))
    flat = [torch.cat([view.flatten(0, 1) for view in views]) for views in places]
    drawn = [np.sort(rng.permutation(len(own))[:share]) for own in flat]
    owner_K = torch.cat([torch.full((len(kept),), index) for index, kept in enumerate(drawn)])
    return torch.cat([own[torch.from_numpy(kept)] for own, kept in zip(flat, drawn, strict=True)]), owner_K


def _calibrated(
    images: Sequence[Sighting],
    places: Sequence[Sequence[Tensor]],
    banks: Sequence[Bank],
    look: Look,
    groups: Sequence[str],
    before_MVFF: Tensor | None = None,
) -> tuple[tuple[GoodImage, ...], Tensor, Tensor]:
    """N images, each with its deviation from those of other groups, and what is usual in them and in these others.

    Args:
        images: The images.
        places: Of each.
        banks, look: See `Memory`.
        groups: Of all images in memory, these the last.
        before_MVFF: What is usual in those before them; None where there are none.

    Returns:
        The images, and `usual_NVFF` and `others_NV2FF` of `Memory`.
    """
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    number_N = torch.tensor([numbers[group] for group in groups])
    bank_of_view = banks_of_views(banks, look)
    before_MVFF = torch.empty(0, len(places[0]), FIELDS, FIELDS) if before_MVFF is None else before_MVFF
    of_group = [_Others(len(numbers)) for _ in places[0]]
    for known_VFF, number in zip(before_MVFF, number_N, strict=False):
        for others, fields_FF in zip(of_group, known_VFF, strict=True):
            others.add(fields_FF, int(number))
    distances, usual = [], []
    for views, number in zip(places, number_N[len(before_MVFF) :].tolist(), strict=True):
        maps, fields = [], []
        for view, bank, others in zip(views, bank_of_view, of_group, strict=True):
            vectors = view.flatten(0, 1).float()
            near = two_nearest(vectors, bank.places_KC, bank.half_norms_K, number_N[bank.owner_K], number)
            first_HW, group_HW, second_HW = (one.unflatten(0, view.shape[:2]) for one in near)
            # As the file holds it, so that a memory says the same before it is written.
            fields.append(in_fields(first_HW[None])[0].half().float())
            known = group_HW.unique()
            without_GHW = (second_HW - first_HW) * (group_HW == known[:, None, None])
            others.add(fields[-1], number, known, in_fields(without_GHW))
            maps.append(first_HW.numpy())
        distances.append(maps)
        usual.append(torch.stack(fields))
    good, others_NV2FF = [], []
    for image, maps in zip(images, distances, strict=True):
        others_V2FF = torch.stack([others.mean_and_spread(numbers[image.group]) for others in of_group])
        others_NV2FF.append(others_V2FF)
        beyond = [beyond_usual(one, *own).ravel() for one, own in zip(maps, others_V2FF, strict=True)]
        good.append(GoodImage(image.sha256, image.pixels, image.group, image_deviation(np.concatenate(beyond))))
    return tuple(good), torch.stack(usual), torch.stack(others_NV2FF)


class _Others:
    """For each group, how far images of other groups stray in the fields of a view, were that group not in memory.

    Were it only left out of the mean, others would stray less where it alone is like them, and its own images would
    seem more unusual than new ones.
    """

    def __init__(self, groups: int) -> None:
        self.count_G = torch.zeros(groups)
        self.sum_GFF = torch.zeros(groups, FIELDS, FIELDS, dtype=torch.float64)
        self.squares_GFF = torch.zeros_like(self.sum_GFF)

    def add(self, fields_FF: Tensor, own: int, known_N: Tensor | None = None, more_NFF: Tensor | None = None) -> None:
        """Count an image of the group `own`, which strays further without some known groups."""
        stray_GFF = fields_FF.double().repeat(len(self.count_G), 1, 1)
        if known_N is not None and more_NFF is not None:
            stray_GFF[known_N] += more_NFF
        counted_G = (torch.arange(len(self.count_G)) != own).float()
        self.count_G += counted_G
        self.sum_GFF += counted_G[:, None, None] * stray_GFF
        self.squares_GFF += counted_G[:, None, None] * stray_GFF.square()

    def mean_and_spread(self, group: int) -> Tensor:
        """Over the images of the other groups, (2, F, F), as the file holds it."""
        count = float(self.count_G[group])
        mean_FF = self.sum_GFF[group] / count
        variance_FF = (self.squares_GFF[group] - count * mean_FF.square()).clamp(min=0) / max(1, count - 1)
        return torch.stack([mean_FF, variance_FF.sqrt()]).half().float()
