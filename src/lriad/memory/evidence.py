"""What a memory says of images that a policy is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lriad.data.sample import Sample
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.memory.memory import Memory
from lriad.memory.seen import see

if TYPE_CHECKING:
    from lriad.policy import Policy

_AT_ONCE = 64


def evidence_for(memory: Memory, policy: Policy, samples: Sequence[Sample]) -> dict[str, str]:
    """The evidence of each image, by its path; one that is in memory is compared with those of other groups.

    Raises:
        LriadError: The memory is of another policy or product, or looks at parts of an image; an image is unreadable.
    """
    memory.check_policy(policy)
    if memory.views != Views():
        raise LriadError("this memory looks at parts of images (--roi, --tiles): training needs one of whole images")
    for sample in samples:
        memory.check_name(sample.object_name)
    lines = {}
    for start in range(0, len(samples), _AT_ONCE):
        for image in see(policy, samples[start : start + _AT_ONCE], memory.views, memory):
            group = memory.group_of(image.pixels, image.sample.group)
            lines[image.sample.image] = memory.judge(memory.unusual(image.depths[0], 0, group), group).evidence
    return lines
