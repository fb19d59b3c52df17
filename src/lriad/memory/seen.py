"""Images as a policy's eyes see them, with what tells them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from lriad.data._files import show
from lriad.data.image import file_sha256, open_image, pixel_hash
from lriad.data.sample import Sample
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.memory.memory import Look, Memory

if TYPE_CHECKING:
    from lriad.policy import Policy

_BATCH = 16
"""Views that are looked at together, about."""
_LARGEST_HALF = 65_000.0


@dataclass(frozen=True)
class Seen:
    """An image, and what the eyes make of its views.

    Attributes:
        sample: The image.
        sha256: Of its file.
        pixels: Of its pixels, so that a copy is known whatever its file is.
        look: What its camera tells of it.
        depths: Of each view the maps of `Policy.see`, in half precision.
    """

    sample: Sample
    sha256: str
    pixels: str
    look: Look
    depths: list[list[torch.Tensor]]

    @property
    def group(self) -> str:
        """What it is not compared with: the images of its sample's group, else copies of itself."""
        return self.sample.group or self.pixels


def see(
    policy: Policy, samples: Sequence[Sample], views: Views, memory: Memory | None = None, *, progress: bool = False
) -> list[Seen]:
    """The images as the policy's eyes see them.

    Args:
        policy: The policy.
        samples: The images, of one product.
        views: Which parts of them are looked at.
        memory: What they must look like, None for anything.
        progress: Show a progress bar.

    Raises:
        LriadError: One cannot be read, or does not look like those in memory; all are tried, the first is named.
    """
    seen: list[Seen] = []
    problems: list[str] = []
    with tqdm(total=len(samples), desc="looking", unit="image", disable=None if progress and samples else True) as bar:
        together = max(1, _BATCH // views.tiles**2)
        for start in range(0, len(samples), together):
            part = samples[start : start + together]
            batch: list[tuple[Sample, str, str, Look, list[Any]]] = []
            for sample in part:
                try:
                    image = open_image(sample.image)
                    look = Look.of(image, views)
                    if memory is not None:
                        memory.look.check(look)
                    prompts = [policy.encode(crop, sample.object_name) for crop in views.crops(image)]
                    batch.append((sample, file_sha256(sample.image), pixel_hash(image), look, prompts))
                except LriadError as error:
                    text, name = str(error), show(sample.image)
                    problems.append(text if name in text else f"{name}: {text}")
            with policy.vision.holding():
                maps = iter(policy.see([prompt for *_, prompts in batch for prompt in prompts]))
            for sample, sha256, pixels, look, prompts in batch:
                depths = [rounded(next(maps)) for _ in prompts]
                seen.append(Seen(sample, sha256, pixels, look, depths))
            bar.update(len(part))
    if problems:
        raise LriadError(
            f"{len(problems)} of {len(samples)} images cannot be used; the first: {problems[0]}; "
            "mend or remove them, nothing was written"
        )
    return seen


def rounded(depths: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The maps of a view in half precision; some towers have a few channels beyond what it holds."""
    return [level.clamp(-_LARGEST_HALF, _LARGEST_HALF).half() for level in depths]
