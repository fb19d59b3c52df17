"""Making a memory from photographs of good parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lriad._version import __version__
from lriad.data._files import show
from lriad.data.image import open_image
from lriad.data.sample import Sample
from lriad.data.views import MAX_TILES, Views
from lriad.errors import LriadError
from lriad.memory.build import build, extend
from lriad.memory.memory import Look, Memory, load_memory
from lriad.memory.rule import MIN_LABELLED, Rule, channels_of, features_of, learn_rule, log_odds
from lriad.memory.seen import Seen, see
from lriad.prompt import build_prompt
from lriad.verdict import Mode

if TYPE_CHECKING:
    from lriad.policy import Policy

FEW = 10
"""Good images below which a user is told what so few can promise."""
_ASKED = 200
"""Good images that the policy is asked about at most, spread over all: its own scale on this product needs no more."""
_ODD = 5.0
"""Deviations from the others' median, in their spread, from which on a good image is named."""
_MIXED = 0.22
"""Silhouette of the images' features in two clusters from which on two products are suspected. Of one product it was at
most 0.18, of two that look different 0.25 and more (8 categories, 15 or 30 images of each)."""


@dataclass(frozen=True)
class Remembered:
    """A finished memory.

    Attributes:
        memory: The memory.
        warnings: What its maker should look at, one line each.
    """

    memory: Memory
    warnings: tuple[str, ...]


def remember(
    good: Sequence[Sample],
    output: str | Path,
    *,
    policy: str | Path | Policy = "embedded",
    defects: Sequence[Sample] = (),
    add_to: str | Path | None = None,
    views: Views | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Remembered:
    """Make a memory of one product's good parts, and write it to a file.

    Args:
        good: Images of good parts; those of one `group` are not compared with one another.
        output: The file. It is replaced only when the new memory is whole.
        policy: The policy that will inspect, as for `Inspector`; its weights must be on this machine.
        defects: Labelled images of defective parts: what the memory and the policy say is then combined by a rule that
            is learned from them and from the good ones.
        add_to: A memory that the good images are added to. What is known of its own images stays as it was measured;
            where they are still at hand, a memory of all is made anew and is the better one.
        views: Region of interest and tiles; None for those of `add_to`, or the whole image.
        device: Such as `cpu` or `cuda:1`; None takes the best there is.
        progress: Show a progress bar.

    Raises:
        LriadError: There are too few images, one cannot be read, they are of several products or cameras, or the policy
            has no eyes that can be tapped.
    """
    views_given = views
    before = load_memory(add_to) if add_to is not None else None
    object_name = _one_name([*good, *defects], before)
    for sample in good:
        if sample.label == "defect":
            raise LriadError(f"{show(sample.image)}: is labelled a defect: only good images are remembered")
    if 0 < len(defects) < MIN_LABELLED:
        raise LriadError(f"{len(defects)} defects: a rule needs {MIN_LABELLED}; leave them out, or find more")
    if defects and len({sample.group or sample.id for sample in defects}) < 2:
        raise LriadError("all defects are of one group: a rule needs those of two parts or more; leave them out")
    policy = with_eyes(policy, device)
    warnings: list[str] = []
    if before is not None:
        before.check_adapter(policy)
        if views_given not in (None, before.views):
            raise LriadError(f"{show(add_to or '')}: was made with {before.views}; give no other --roi or --tiles")
        if before.rule and not defects:
            warnings.append("what the memory had learned from defects is left out: give them again with --defects")
    views = before.views if before is not None else views_given or Views()
    seen = _new_ones(see(policy, good, views, before, progress=progress), before, warnings)
    look = Look.union([image.look for image in seen])
    if before is not None:
        memory = extend(before, seen, look)
    else:
        _check_enough(len(seen), len({image.group for image in seen}))
        memory = build(seen, object_name=object_name, policy_sha256=policy.policy_sha256, look=look, views=views)
        warnings += _mixed(seen)
    shown = see(policy, defects, views, memory, progress=progress)
    _check_apart(memory, shown)
    memory = replace(memory, versions=_versions(), adapter_sha256=policy.adapter_sha256, rule=None, defects=())
    warnings += _odd(memory, {image.sha256: image.sample.image for image in seen})
    memory = _ask(policy, memory, seen, shown)
    parts = len({image.group for image in memory.good})
    if parts < FEW:
        warnings.append(
            f"{parts} good parts can promise no false-alarm rate below 1 in {parts + 1}: give more for a lower one"
        )
    memory.save(output)
    return Remembered(memory, tuple(warnings))


def with_eyes(policy: str | Path | Policy, device: str | None = None) -> Policy:
    """The policy, loaded where it is only named.

    Args:
        policy, device: As for `remember`.

    Raises:
        LriadError: A server has it, or it cannot be loaded.
    """
    if not isinstance(policy, str | Path):
        return policy
    if str(policy).startswith(("http://", "https://")):
        raise LriadError("a memory needs the policy's own eyes, which a server does not show: load the policy here")
    from lriad.policy import load_policy

    return load_policy(str(policy), device=device)


def fitting_views(
    images: Sequence[Sample], policy: str | Path | Policy, roi: tuple[int, int, int, int] | None = None
) -> Views:
    """The tiles with which the policy's eyes see these images about as large as they are.

    An image wants as many as it is shrunk for the eyes, and all get what most of them want (the median), or none where
    these would not lie alike in all of them: a memory compares tile with tile. What cannot be read does not count.

    Args:
        images: Good images, and defects where there are any, for `remember`.
        policy: The policy that will inspect, as for `remember`.
        roi: Region of interest as left, top, width and height in pixels; None for the whole image.

    Raises:
        LriadError: A number of the region is out of its range, or the policy is a server's.
    """
    return explained_views(images, policy, roi)[0]


def explained_views(
    images: Sequence[Sample], policy: str | Path | Policy, roi: tuple[int, int, int, int] | None = None
) -> tuple[Views, str]:
    """As `fitting_views`, with the reason in words where there are none, or too few, else ''."""
    policy, whole = with_eyes(policy), Views(roi)
    sizes: list[tuple[int, int]] = []
    boxes: list[tuple[int, int]] = []
    for sample in images:
        with suppress(LriadError):
            size = open_image(sample.image).size
            [(left, top, right, bottom)] = whole.boxes(size)
            boxes.append((right - left, bottom - top))
            sizes.append(size)
    if not sizes:
        return whole, "none of them can be read"
    wanted = {box: _wanted_tiles(policy, images[0].object_name, box) for box in {*boxes}}
    most = median_low([wanted[box] for box in boxes])
    views = Views(roi, min(most, MAX_TILES))
    if len({views.layout(size) for size in sizes}) > 1:
        return whole, "they have several shapes, which tiles would not cut alike"
    if views.tiles == 1:
        return views, "the policy's eyes see them about as large as they are"
    return views, f"its eyes need {most}, more cannot be had" if most > MAX_TILES else ""


def _wanted_tiles(policy: Policy, object_name: str, size: tuple[int, int]) -> int:
    """How many tiles along its longer side an image, or a region, of this size wants."""
    # What the eyes are given is a matter of size alone.
    try:
        seen = policy.size_seen(policy.encode(Image.new("RGB", size), object_name))
    except LriadError:  # too long for its breadth: of its tiles each is a square
        size = (max(size), max(size))
        seen = policy.size_seen(policy.encode(Image.new("RGB", size), object_name))
    return max(1, round(max(own / given for own, given in zip(size, seen, strict=True))))


def _one_name(samples: Sequence[Sample], before: Memory | None) -> str:
    names = sorted({sample.object_name.strip() for sample in samples})
    if len(names) > 1:
        raise LriadError(f"a memory is of one product, these images are of {', '.join(names[:5])}: make one for each")
    if not names:
        raise LriadError("no images to remember: name a folder of good ones")
    build_prompt(names[0])
    if before is not None:
        before.check_name(names[0])
    return names[0]


def _new_ones(seen: Sequence[Seen], before: Memory | None, warnings: list[str]) -> list[Seen]:
    """Each good image once, without those that are in memory already."""
    known = {image.pixels for image in before.good} if before is not None else set()
    new = {image.pixels: image for image in seen if image.pixels not in known}
    if len(new) < len(seen):
        warnings.append(f"{len(seen) - len(new)} images are there twice, or in the memory already: counted once")
    if before is not None and not new:
        raise LriadError("all of these images are in the memory already; nothing was written")
    return list(new.values())


def _check_apart(memory: Memory, shown: Sequence[Seen]) -> None:
    """Raise LriadError where a good image is called a defect, too."""
    known = {image.pixels for image in memory.good}
    for image in shown:
        if image.pixels in known:
            raise LriadError(f"{show(image.sample.image)}: among the good images and among the defects: which is it?")


def _check_enough(images: int, groups: int) -> None:
    if groups < 2:
        what = f"{images} good image{'s' if images != 1 else ''}" + (" of one group" if images > 1 else "")
        raise LriadError(f"{what}: a memory needs two at least, to know how good parts differ; 10 or more are better")


def _mixed(seen: Sequence[Seen]) -> list[str]:
    """A line where the good images fall into two heaps."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from sklearn.preprocessing import StandardScaler

    warnings = []
    looks = Counter(image.look.grey for image in seen)
    if len(looks) > 1:
        warnings.append(f"{looks[True]} of the {len(seen)} good images are grey, the others in colour: one camera?")
    if len(seen) >= FEW:
        means_NF = StandardScaler().fit_transform([_pooled(image.depths) for image in seen])
        heap_N = KMeans(2, n_init=10, random_state=0).fit_predict(means_NF)
        smaller = int(min(heap_N.sum(), len(heap_N) - heap_N.sum()))
        if smaller >= max(3, len(seen) // 10) and silhouette_score(means_NF, heap_N) > _MIXED:
            one = next(image for image, heap in zip(seen, heap_N, strict=True) if heap == (heap_N.mean() < 0.5))
            warnings.append(
                f"the good images fall into two heaps, of {len(seen) - smaller} and {smaller} (one of the latter: "
                f"{show(one.sample.image)}): if these are two products, make a memory of each"
            )
    return warnings


def _pooled(views: Sequence[Sequence[Tensor]]) -> NDArray[np.float32]:
    """Mean and maximum of each channel of the two last depths over all views of an image."""
    return torch.cat([part for one in channels_of(views)[-2:] for part in (one.mean(1), one.amax(1))]).numpy()


def _odd(memory: Memory, names: dict[str, str]) -> list[str]:
    """A line for each good image that strays far more than the others: is it good?"""
    deviation_N = np.array([image.deviation for image in memory.good])
    middle = np.median(deviation_N)
    spread = max(1.4826 * float(np.median(np.abs(deviation_N - middle))), 0.1 * abs(float(middle)))
    return [
        f"{show(names[image.sha256])}: unlike the other good images "
        f"({(image.deviation - middle) / spread:.0f} times their usual spread): is it good? "
        "Kept, it widens what passes for usual"
        for image in memory.good
        if image.sha256 in names and image.deviation - middle > _ODD * spread
    ]


def _ask(policy: Policy, memory: Memory, seen: Sequence[Seen], shown: Sequence[Seen]) -> Memory:
    """The memory with what the policy, reading it, says of its own good images; and with rules, given defects."""
    from lriad.inspection.inspector import Inspector

    asked = seen[:: max(1, -(-len(seen) // _ASKED))]
    said: dict[str, dict[str, dict[str, Any]]] = {}
    for mode in get_args(Mode):
        rows = Inspector(policy, mode=mode, memory=memory).inspect_samples([image.sample for image in (*asked, *shown)])
        said[mode] = {}
        for row in rows:
            if row.get("error"):
                raise LriadError(row["error"])
            said[mode][row["image_sha256"]] = row
    good = tuple(
        replace(image, p={mode: rows[image.sha256]["p_defect"] for mode, rows in said.items()})
        if all(image.sha256 in rows for rows in said.values())
        else image
        for image in memory.good
    )
    if not shown:
        return replace(memory, good=good)
    if len(asked) < MIN_LABELLED:
        raise LriadError(f"{len(asked)} good images beside the defects: a rule needs {MIN_LABELLED}; add some")
    return replace(memory, good=good, rule=_rule(asked, shown, said), defects=tuple(image.pixels for image in shown))


def _rule(good: Sequence[Seen], defects: Sequence[Seen], said: dict[str, dict[str, dict[str, Any]]]) -> Rule:
    images = [*good, *defects]

    def column(name: str, rows: dict[str, dict[str, Any]]) -> NDArray[np.floating]:
        return np.array([rows[image.sha256][name] for image in images])

    return learn_rule(
        np.stack([features_of(image.depths) for image in images]),
        {mode: np.array([log_odds(p) for p in column("p_defect", rows)]) for mode, rows in said.items()},
        {mode: column("deviation", rows) for mode, rows in said.items()},
        np.array([False] * len(good) + [True] * len(defects)),
        [image.group for image in images],
    )


def _versions() -> dict[str, str]:
    return {"lriad": __version__} | {name: version(name) for name in ("torch", "transformers", "timm")}
