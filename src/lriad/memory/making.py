"""Making a memory from photographs of good parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch

from lriad._version import __version__
from lriad.data._files import show
from lriad.data.image import file_sha256, open_image
from lriad.data.sample import Sample
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.memory.build import build, extend
from lriad.memory.memory import Look, Memory, load_memory
from lriad.memory.rule import MIN_LABELLED, Rule, learn_rule, log_odds, pooled
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
_BATCH = 16


@dataclass(frozen=True)
class Remembered:
    """A finished memory.

    Attributes:
        memory: The memory.
        warnings: What its maker should look at, one line each.
    """

    memory: Memory
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Seen:
    """An image, and what the eyes make of its views."""

    sample: Sample
    sha256: str
    look: Look
    depths: list[list[torch.Tensor]]

    @property
    def group(self) -> str:
        return self.sample.group or self.sha256


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
        add_to: A memory that the good images are added to; it keeps the look of its own places, and how far its images
            stray, which more images can only overstate.
        views: Region of interest and tiles; None for those of `add_to`, or the whole image.
        device: Such as `cpu` or `cuda:1`; None takes the best there is.
        progress: Show a progress bar.

    Raises:
        LriadError: There are too few images, one cannot be read, they are of several products or cameras, or the policy
            has no eyes that can be tapped.
    """
    if isinstance(policy, str | Path):
        if str(policy).startswith(("http://", "https://")):
            raise LriadError("a memory needs the policy's own eyes, which a server does not show: load the policy here")
        from lriad.policy import load_policy

        policy = load_policy(str(policy), device=device)
    before = load_memory(add_to) if add_to is not None else None
    if before is not None:
        before.check_policy(policy)
        if views not in (None, before.views):
            raise LriadError(f"{show(add_to or '')}: was made with {before.views}; leave out --roi and --tiles")
    views = before.views if before is not None else views or Views()
    object_name = _one_name([*good, *defects], before)
    seen = _see(policy, good, object_name, views, progress)
    shown = _see(policy, defects, object_name, views, progress)
    warnings: list[str] = []
    seen = _new_ones(seen, shown, before, warnings)
    maps, hashes, groups = ([getattr(image, name) for image in seen] for name in ("depths", "sha256", "group"))
    look = Look.union([image.look for image in seen])
    if before is not None:
        memory = extend(before, maps, hashes, groups, look)
    else:
        _check_enough(len(seen), len(set(groups)))
        memory = build(
            maps,
            hashes,
            groups,
            object_name=object_name,
            policy_sha256=policy.policy_sha256,
            look=look,
            views=views,
        )
        warnings += _mixed(seen)
    memory = replace(memory, versions=_versions(), adapter_sha256=policy.adapter_sha256, rules={})
    warnings += _odd(memory, {image.sha256: image.sample.image for image in seen})
    memory = _ask(policy, memory, seen, shown, progress)
    if len(memory.good) < FEW:
        warnings.append(
            f"{len(memory.good)} good images can promise no false-alarm rate below 1 in {len(memory.good) + 1}; "
            "more can be added later (--add-to)"
        )
    memory.save(output)
    return Remembered(memory, tuple(warnings))


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


def _see(policy: Policy, samples: Sequence[Sample], object_name: str, views: Views, progress: bool) -> list[_Seen]:
    """The images as the policy's eyes see them; all must be readable."""
    from tqdm import tqdm

    seen: list[_Seen] = []
    problems: list[str] = []
    with tqdm(total=len(samples), desc="looking", unit="image", disable=not progress or not samples) as bar:
        for start in range(0, len(samples), _BATCH):
            batch: list[tuple[Sample, str, Look, list[Any]]] = []
            for sample in samples[start : start + _BATCH]:
                try:
                    image = open_image(sample.image)
                    prompts = [policy.encode(crop, object_name) for crop in views.crops(image)]
                    batch.append((sample, file_sha256(sample.image), Look.of(image), prompts))
                except LriadError as error:
                    problems.append(str(error))
            with policy.vision.holding():
                maps = iter(policy.see([prompt for *_, prompts in batch for prompt in prompts]))
            for sample, sha256, look, prompts in batch:
                seen.append(_Seen(sample, sha256, look, [[level.half() for level in next(maps)] for _ in prompts]))
            bar.update(len(samples[start : start + _BATCH]))
    if problems:
        raise LriadError(
            f"{len(problems)} of {len(samples)} images cannot be remembered; the first: {problems[0]}; "
            "mend or remove them, nothing was written"
        )
    return [
        _Seen(one.sample, one.sha256, one.look, [[level.float() for level in v] for v in one.depths]) for one in seen
    ]


def _new_ones(seen: Sequence[_Seen], shown: Sequence[_Seen], before: Memory | None, warnings: list[str]) -> list[_Seen]:
    """Each good image once, without those that are in memory already; none of them among the defects."""
    known = {image.sha256 for image in before.good} if before is not None else set()
    new = {image.sha256: image for image in seen if image.sha256 not in known}
    if len(new) < len(seen):
        warnings.append(f"{len(seen) - len(new)} images are there twice, or in the memory already: counted once")
    for image in shown:
        if image.sha256 in new or image.sha256 in known:
            raise LriadError(f"{show(image.sample.image)}: among the good images and among the defects: which is it?")
    if before is not None:
        for image in new.values():
            before.look.check(image.look)
        if not new:
            raise LriadError("all of these images are in the memory already; nothing was written")
    return list(new.values())


def _check_enough(images: int, groups: int) -> None:
    if groups < 2:
        what = f"{images} good image{'s' if images != 1 else ''}" + (" of one group" if images > 1 else "")
        raise LriadError(f"{what}: a memory needs two at least, to know how good parts differ; 10 or more are better")


def _mixed(seen: Sequence[_Seen]) -> list[str]:
    """A line where the good images fall into two heaps."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from sklearn.preprocessing import StandardScaler

    warnings = []
    looks = Counter(image.look.grey for image in seen)
    if len(looks) > 1:
        warnings.append(f"{looks[True]} of the {len(seen)} good images are grey, the others in colour: one product?")
    if len(seen) >= FEW:
        means_NF = StandardScaler().fit_transform([pooled(image.depths) for image in seen])
        heap_N = KMeans(2, n_init=10, random_state=0).fit_predict(means_NF)
        smaller = int(min(heap_N.sum(), len(heap_N) - heap_N.sum()))
        if smaller >= max(3, len(seen) // 10) and silhouette_score(means_NF, heap_N) > _MIXED:
            one = next(image for image, heap in zip(seen, heap_N, strict=True) if heap == (heap_N.mean() < 0.5))
            warnings.append(
                f"the good images fall into two heaps, of {len(seen) - smaller} and {smaller} (one of the latter: "
                f"{show(one.sample.image)}): if these are two products, make a memory of each"
            )
    return warnings


def _odd(memory: Memory, names: dict[str, str]) -> list[str]:
    """A line for each good image that strays far more than the others: is it good?"""
    deviation_N = np.array([image.deviation for image in memory.good])
    middle = np.median(deviation_N)
    spread = max(1.4826 * float(np.median(np.abs(deviation_N - middle))), 0.02 * float(middle))
    return [
        f"{show(names[image.sha256])}: unlike the other good images "
        f"({(image.deviation - middle) / spread:.0f} times their usual spread): is it good?"
        for image in memory.good
        if image.sha256 in names and image.deviation - middle > _ODD * spread
    ]


def _ask(policy: Policy, memory: Memory, seen: Sequence[_Seen], shown: Sequence[_Seen], progress: bool) -> Memory:
    """The memory with what the policy, reading it, says of its own good images; and with rules, given defects."""
    from lriad.inspection.inspector import Inspector

    step = max(1, -(-len(seen) // _ASKED))
    asked = seen[::step]
    said: dict[str, dict[str, Any]] = {}
    for mode in get_args(Mode):
        inspector = Inspector(policy, mode=mode, memory=memory)
        rows = list(
            inspector.inspect_samples(
                [replace(image.sample, object_name=memory.object_name) for image in [*asked, *shown]]
            )
        )
        said[mode] = {row["image_sha256"]: row for row in rows}
    good = tuple(
        replace(image, p={mode: rows[image.sha256]["p_defect"] for mode, rows in said.items() if image.sha256 in rows})
        if any(image.sha256 in rows for rows in said.values())
        else image
        for image in memory.good
    )
    rules = {mode: _rule(asked, shown, rows) for mode, rows in said.items()} if shown else {}
    return replace(memory, good=good, rules=rules)


def _rule(good: Sequence[_Seen], defects: Sequence[_Seen], rows: dict[str, Any]) -> Rule:
    for count, name in ((len(good), "good images"), (len(defects), "defects")):
        if count < MIN_LABELLED:
            raise LriadError(f"{count} {name}: a rule needs {MIN_LABELLED} of each; leave the defects out")
    images = [*good, *defects]
    return learn_rule(
        np.stack([pooled(image.depths) for image in images]),
        np.array([log_odds(rows[image.sha256]["p_defect"]) for image in images]),
        np.array([rows[image.sha256]["deviation"] for image in images]),
        np.array([False] * len(good) + [True] * len(defects)),
    )


def _versions() -> dict[str, str]:
    return {"lriad": __version__} | {name: version(name) for name in ("torch", "transformers", "timm")}
