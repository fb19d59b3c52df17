"""Evaluation with k good images of each category, and perhaps n labelled defects: which, and the memories of them."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from lriad.data.sample import Label, Sample
from lriad.data.views import Views
from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.policy import Policy

logger = logging.getLogger(__name__)

Category = tuple[str, str]
"""Data set and category."""

_ADJECTIVES: dict[Label, str] = {"normal": "good", "defect": "defective"}


class Shots(NamedTuple):
    """What the memory of one category is made of: images of different groups, by the hash of their pixels."""

    good: dict[str, Sample]
    defects: dict[str, Sample]


class Division(NamedTuple):
    """What is drawn of each category, and what is tested: no drawn image, nor one that shares a group with it.

    Attributes:
        good: Good images of each category among the drawn ones.
        shots: The drawn ones by category.
        test: What is tested.
    """

    good: int
    shots: dict[Category, Shots]
    test: list[Sample]


def divide(
    samples: Sequence[Sample], pool: Sequence[Sample], good: int, defects: int | None = None, seed: int = 0
) -> Division:
    """Draw what is remembered of each category, and leave the others of the samples to be tested.

    Of a group (a sample without one is its own) at most one good and one defective image is drawn, and of images with
    the same pixels one, so that all memories know as many. Images of the train side come first. What is drawn of a
    category depends on the seed, its name and its images alone, and is a part of what a larger number draws. Groups are
    those of a category: a memory is compared with no other's images.

    Args:
        samples: What is to be tested, such as one side of a data set.
        pool: What is drawn from: the whole data set, whatever the side.
        good: Good images of each category: 2 or more, with defects `MIN_LABELLED` or more.
        defects: Labelled defects of each category: `MIN_LABELLED` or more, at most half of its defective groups; None
            for none.
        seed: Of the draw.

    Raises:
        LriadError: A number is out of its range; a category has too few images to draw so many, or would have no good
            (defective) one left to test, or has several object names; an image that was drawn cannot be read.
    """
    from lriad.memory.rule import MIN_LABELLED

    if good < 2:
        raise LriadError(f"good {good}: a memory needs 2 images or more; 10 or more are better")
    if defects is not None and min(good, defects) < MIN_LABELLED:
        raise LriadError(f"good {good}, defects {defects}: to learn from labels takes {MIN_LABELLED} or more of each")
    counts: dict[Label, int] = {"normal": good, "defect": defects or 0}
    shots: dict[Category, Shots] = {}
    test: list[Sample] = []
    known = by_category(pool)
    for category, asked in by_category(samples).items():
        own, name = known.get(category, []), category[1]
        _check_object(name, own)
        known_pixels: set[str] = set()
        drawn = {
            label: _draw(own, label, count, f"{seed} {name} {label}", known_pixels) for label, count in counts.items()
        }
        groups = {_group(sample) for one in drawn.values() for sample in one.values()}
        left = [sample for sample in asked if _group(sample) not in groups]
        for label, count in counts.items():
            _check_counts(name, label, count, len(drawn[label]), own, asked, left)
        shots[category] = Shots(drawn["normal"], drawn["defect"])
        test += left
    return Division(good, shots, test)


def by_category(samples: Sequence[Sample]) -> dict[Category, list[Sample]]:
    """The samples of each category, in order."""
    found: dict[Category, list[Sample]] = {}
    for sample in samples:
        found.setdefault((sample.dataset, sample.category), []).append(sample)
    return found


def _draw(own: Sequence[Sample], label: Label, count: int, seed: str, known_pixels: set[str]) -> dict[str, Sample]:
    """So many images of a label by their pixels, or fewer where there are no more; `known_pixels` gets those."""
    from lriad.data.image import open_image, pixel_hash

    order = sorted((sample for sample in own if sample.label == label), key=lambda sample: sample.id)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda sample: sample.split != "train")
    drawn: dict[str, Sample] = {}
    groups = set()
    for sample in order:
        if len(drawn) == count:
            break
        if _group(sample) in groups:
            continue
        pixels = pixel_hash(open_image(sample.image))
        if pixels not in known_pixels:
            known_pixels.add(pixels)
            groups.add(_group(sample))
            drawn[pixels] = sample
    return drawn


def _group(sample: Sample) -> tuple[bool, str]:
    return (True, sample.id) if sample.group is None else (False, sample.group)


def _check_object(category: str, own: Sequence[Sample]) -> None:
    names = sorted({sample.object_name for sample in own})
    if len(names) > 1:
        raise LriadError(
            f"category {category!r}: holds {', '.join(map(repr, names[:3]))}, a memory is of one product: "
            "give each a category of its own"
        )


def _check_counts(
    category: str,
    label: Label,
    count: int,
    drawn: int,
    own: Sequence[Sample],
    asked: Sequence[Sample],
    left: Sequence[Sample],
) -> None:
    """Raise LriadError where so many could not be drawn, or none of those that were asked for is left to test."""
    groups = [_group(sample) for sample in own if sample.label == label]
    there = f"category {category!r}: has {len(groups)} {_ADJECTIVES[label]} images of {len(set(groups))} parts (groups)"
    instead = "draw fewer, or leave it out with --categories"
    at_most_half = label == "defect" and 2 * count > len(set(groups))
    if drawn < count or at_most_half:
        half = ", at most half of which may be drawn" if label == "defect" else ""
        raise LriadError(f"{there}{half}; {count} of different parts are to be drawn: {instead}")
    if any(sample.label == label for sample in asked) and not any(sample.label == label for sample in left):
        raise LriadError(f"{there}; none would be left to test beside the parts that are drawn: {instead}")


def make_memories(
    shots: Mapping[Category, Shots], folder: str | Path, policy: Policy, views: Views | None = None
) -> dict[Category, Path]:
    """Make a memory of each category, `<category>.memory`, unless it is there.

    Args:
        shots: What they are made of.
        folder: Where to; made if missing.
        policy: The policy that inspects.
        views: Region of interest and tiles; None for the whole image.

    Raises:
        LriadError: A memory that is there was made of other images, with another policy, adapter or other views; or as
            `remember`.
    """
    from lriad.memory import load_memory, remember

    names = [category for _, category in shots]
    files: dict[Category, Path] = {}
    for (dataset, category), own in shots.items():
        name = category if names.count(category) == 1 else f"{dataset}/{category}"
        file = Path(folder) / f"{quote(os.fsencode(name), safe=' ')}.memory"
        files[dataset, category] = file
        if not file.exists():
            good, defects = [*own.good.values()], [*own.defects.values()]
            made = remember(good, file, policy=policy, defects=defects, views=views, progress=True)
            for line in made.warnings:
                logger.warning("%s: %s", name, line)
            continue
        memory = load_memory(file)
        there = (
            {(image.pixels, image.group) for image in memory.good},
            {*memory.defects},
            memory.object_name,
            memory.views,
            memory.policy_sha256,
            memory.adapter_sha256,
        )
        wanted = (
            {(pixels, sample.group or pixels) for pixels, sample in own.good.items()},
            {*own.defects},
            next(iter(own.good.values())).object_name.strip(),
            views or Views(),
            policy.policy_sha256,
            policy.adapter_sha256,
        )
        if there != wanted:
            raise LriadError(
                f"{file}: was made of other images, or with another policy or views; "
                "give another --output, or remove that folder"
            )
    return files
