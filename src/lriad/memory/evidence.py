"""What a memory says of images that a policy is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lriad.data.image import file_sha256, open_image
from lriad.data.sample import Sample
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.memory.memory import Look, Memory

if TYPE_CHECKING:
    from lriad.policy import Policy

_BATCH = 16


def evidence_for(memory: Memory, policy: Policy, samples: Sequence[Sample]) -> dict[str, str]:
    """The evidence of each image, by its path; one that is in memory is compared with those of other groups.

    Raises:
        LriadError: The memory is of another policy or product, or looks at parts of an image; an image is unreadable.
    """
    memory.check_policy(policy)
    if memory.views != Views():
        raise LriadError("this memory looks at parts of images (--roi, --tiles): training needs one of whole images")
    lines = {}
    for start in range(0, len(samples), _BATCH):
        part = samples[start : start + _BATCH]
        prompts = []
        for sample in part:
            memory.check_name(sample.object_name)
            image = open_image(sample.image)
            memory.look.check(Look.of(image))
            prompts.append(policy.encode(image, sample.object_name))
        with policy.vision.holding():
            seen = policy.see(prompts)
        for sample, depths in zip(part, seen, strict=True):
            group = memory.group_of(file_sha256(sample.image)) or _known(memory, sample.group)
            lines[sample.image] = memory.judge(memory.distances(depths, group), group).evidence
    return lines


def _known(memory: Memory, group: str | None) -> str | None:
    """A sample's group where the memory has images of it."""
    return group if any(image.group == group for image in memory.good) else None
