"""Drawing a part of a data set without tearing a group apart."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from lriad.data.sample import Sample
from lriad.errors import LriadError

_Group = tuple[str, bool, str]
_Stratum = tuple[str, str, str]


def split_by_group(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Draws about a fraction of the samples, every group whole, each category and label in proportion.

    Samples of one data set with the same `group` stay together; None is a group of its own. The draw goes
    through the groups in random order and moves one to the other side wherever this brings the strata (data
    set, category and label) closer to their shares, until no move does. What the shares cannot be met by is
    left over: a stratum that is one large group goes to one side, and a part may be empty.

    Args:
        samples: The samples; the result depends on which they are, not on their order.
        fraction: Share to draw, in [0, 1].
        seed: Seed of the random order.

    Returns:
        The rest and the drawn samples, each in the order of `samples`.

    Raises:
        LriadError: The fraction is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise LriadError(f"fraction {fraction} is out of range; give a number from 0 to 1")
    everything = list(samples)  # the result holds them all anyway
    groups = [_group(sample) for sample in everything]
    strata = [_stratum(sample) for sample in everything]
    members: dict[_Group, dict[_Stratum, int]] = {}
    for group, stratum in zip(groups, strata, strict=True):
        counts = members.setdefault(group, {})
        counts[stratum] = counts.get(stratum, 0) + 1
    missing = {stratum: fraction * size for stratum, size in Counter(strata).items()}  # still to be drawn

    order = sorted(members)
    random.Random(seed).shuffle(order)
    drawn: set[_Group] = set()
    moved = True
    while moved:  # ends: every move brings the shares closer, and there are finitely many draws
        moved = False
        for group in order:
            sign = -1 if group in drawn else 1
            change = sum(
                abs(missing[stratum] - sign * count) - abs(missing[stratum])
                for stratum, count in members[group].items()
            )
            if change < -1e-9:
                for stratum, count in members[group].items():
                    missing[stratum] -= sign * count
                drawn ^= {group}
                moved = True

    # Of ten categories with three defects each, a tenth is three and not none: labels as a whole come close to their
    # shares too, as long as every stratum stays within one sample of its own.
    label_missing: dict[str, float] = {}
    for (_, _, label), share in missing.items():
        label_missing[label] = label_missing.get(label, 0.0) + share
    for group in order:
        sign = -1 if group in drawn else 1
        labels = Counter[str]()
        for stratum, count in members[group].items():
            labels[stratum[2]] += count
        change = sum(abs(label_missing[x] - sign * n) - abs(label_missing[x]) for x, n in labels.items())
        if change < -1e-9 and all(abs(missing[s] - sign * n) < 1 for s, n in members[group].items()):
            for stratum, count in members[group].items():
                missing[stratum] -= sign * count
            for label, number in labels.items():
                label_missing[label] -= sign * number
            drawn ^= {group}
    rest = [sample for sample, group in zip(everything, groups, strict=True) if group not in drawn]
    return rest, [sample for sample, group in zip(everything, groups, strict=True) if group in drawn]


def _group(sample: Sample) -> _Group:
    alone = sample.group is None
    return sample.dataset, alone, sample.id if sample.group is None else sample.group


def _stratum(sample: Sample) -> _Stratum:
    return sample.dataset, sample.category, sample.label
