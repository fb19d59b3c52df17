"""Whether the reasoning is true: the place and the kind of defect that it names, against mask and kind of the sample.

Measured on true detections only (a defect that the answer calls so): what is named of a false alarm or of a defect
that was missed has no truth to agree with. It is the agreement of words with the truth, and no proof that the answer
follows from them.

Places are the nine of `lriad.data.place`, kinds those that the procedural narration has names for. A word is read
wherever it stands as a whole word, in any case, whatever the sentence says of it; the object itself ('the potato
chip') is left out. Another vocabulary ('in the middle', 'a scuff') names nothing here, and 'top left' names two
places: the numbers are of policies that were taught these words.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lriad.data._files import show, walk_images
from lriad.data.image import open_image
from lriad.data.place import PLACES, place_of
from lriad.errors import LriadError
from lriad.evaluation.metrics import interval, resample_times
from lriad.verdict import parse_reasoning


@dataclass(frozen=True)
class Share:
    """How often true detections name what is true, of one aspect (place or kind).

    Attributes:
        n: Detections of which the truth is known.
        right: Share of them that name what is true and nothing else, in [0, 1]; None without any.
        interval: Its 95 % bootstrap interval; None where undefined or without resamples.
        none: How many of the n name nothing.
        several: How many of the n name more than one; such a detection is not right.
        constant: The share of right ones where every detection names the same: the best such word for these very
            detections. None without any.
        unknown: Detections without a mask (of a kind without a name), which are in no number above.
    """

    n: int
    right: float | None
    interval: tuple[float, float] | None
    none: int
    several: int
    constant: float | None
    unknown: int


@dataclass(frozen=True)
class Aspect:
    """The share per category, in the order of their names, and over all of them together."""

    per_category: dict[str, Share]
    pooled: Share


@dataclass(frozen=True)
class Faithfulness:
    """Whether the reasoning of true detections is true.

    Attributes:
        n: True detections with a reasoning.
        place: Whether the place named is that of the mask.
        kind: Whether the kind named is the sample's.
    """

    n: int
    place: Aspect
    kind: Aspect


@dataclass(frozen=True)
class _Claim:
    """What one true detection names, and what it would be right to name; nothing where that is not known."""

    category: str
    named: frozenset[str]
    true: frozenset[str]


def measure_faithfulness(
    rows: Iterable[Mapping[str, Any]], categories: Iterable[str], *, resamples: int, seed: int, level: float
) -> Faithfulness | None:
    """The faithfulness of the reasoning in prediction rows.

    The mask of each true detection is read once, of other images never. Intervals are of the detections, drawn with
    replacement within each category.

    Args:
        rows: Checked, of known truth, sorted by category; `reasoning` (or else the think block of `text`),
            `object_name`, `mask` and `defect_type` are read. Those of `fast` mode have no reasoning.
        categories: The name of each row's category.
        resamples: Number of bootstrap resamples, 0 for no intervals.
        seed: Of the bootstrap.
        level: Of the intervals.

    Returns:
        None where no true detection has a reasoning and a mask or a kind to compare it with.

    Raises:
        LriadError: A mask cannot be read.
    """
    places, kinds = [], []
    for row, category in zip(rows, categories, strict=True):
        reasoning = _reasoning(row)
        if reasoning is None or not row["truth"] == row["label"] == "defect":
            continue
        said = _without_object(reasoning, str(row.get("object_name") or ""))
        shown = true_places(read_mask(str(row["mask"]))) if row.get("mask") else frozenset[str]()
        places.append(_Claim(category, named_places(said), shown))
        kinds.append(_Claim(category, named_kinds(said), true_kinds(row.get("defect_type"))))
    if not any(claim.true for claim in (*places, *kinds)):
        return None
    place, kind = (_aspect(claims, resamples, seed, level) for claims in (places, kinds))
    return Faithfulness(len(places), place, kind)


def named_places(text: str) -> frozenset[str]:
    """The places, of PLACES, that a text names: 'upper left' is one place, and neither 'left' nor 'upper'."""
    return _named(text, PLACES)


def named_kinds(text: str) -> frozenset[str]:
    """The kinds of defect that a text names, by the narration's names: 'a loose thread' is `thread`."""
    return frozenset(_kind_of()[name] for name in _named(text, tuple(_kind_of())))


def true_places(mask: NDArray[np.bool_]) -> frozenset[str]:
    """The places that are right for a mask of shape (H, W); none where no pixel of it is True.

    The field of its centroid, which is what the policy was taught to name; and, for the centroid of a defect that is
    bent or in pieces may lie where nothing is, a field with at least half of its area.
    """
    rows, cols = np.nonzero(mask)
    if not rows.size:
        return frozenset()
    height, width = mask.shape
    area_9 = np.bincount(3 * (3 * rows // height) + 3 * cols // width, minlength=9)
    return frozenset({place_of(mask), *(PLACES[i] for i in np.flatnonzero(2 * area_9 >= rows.size))})


def true_kinds(defect_type: str | None) -> frozenset[str]:
    """The sample's kind of defect; none where it is not told, or not one that has a name here."""
    return frozenset(kind for kind in _kind_of().values() if kind == defect_type)


def read_mask(path: str) -> NDArray[np.bool_]:
    """A mask of shape (H, W), True where its file is not black.

    A folder holds several masks of one image, as in MVTec LOCO, and stands for their union.

    Raises:
        LriadError: A file is missing or no image, or a folder's masks are none or of different sizes.
    """
    files = [os.path.join(path, name) for name in walk_images(path, ".")] if os.path.isdir(path) else [path]
    masks = [_is_not_black(np.asarray(open_image(file))) for file in files]
    if len({mask.shape for mask in masks}) != 1:
        raise LriadError(f"{show(path)}: expected a folder of masks of one size; remove what is no mask of this image")
    return np.logical_or.reduce(masks)


def _is_not_black(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    # A reduction over the three colours, (H, W, 3) -> (H, W), would take twenty times as long.
    return (image[..., 0] | image[..., 1] | image[..., 2]) > 0


def _reasoning(row: Mapping[str, Any]) -> str | None:
    """What was reasoned, '' for an empty think block; None where the row does not say."""
    if row.get("mode") == "fast":
        return None
    if row.get("reasoning") is not None:
        return str(row["reasoning"])
    return None if row.get("text") is None else parse_reasoning(str(row["text"]))


def _without_object(text: str, object_name: str) -> str:
    """The text without the object's name, which tells nothing of a defect: 'the potato chip', 'the left door'."""
    return _whole_words((f"the {object_name}",)).sub("", text) if object_name else text


def _named(text: str, phrases: tuple[str, ...]) -> frozenset[str]:
    found = _whole_words(phrases).findall(text)
    return frozenset(" ".join(re.split(r"[\s-]+", phrase.lower())) for phrase in found)


@cache
def _whole_words(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Finds any of the phrases as whole words, the longest that fits, with blanks or hyphens between its words."""
    longest_first = sorted(phrases, key=len, reverse=True)
    words = "|".join(r"[\s-]+".join(map(re.escape, phrase.split())) for phrase in longest_first)
    return re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE)


@cache
def _kind_of() -> dict[str, str]:
    # Importing the narration imports what draws, too.
    from lriad.data.synthetic.narration import KIND_OF

    return KIND_OF


def _aspect(claims: Sequence[_Claim], resamples: int, seed: int, level: float) -> Aspect:
    by_category: dict[str, list[_Claim]] = {}
    for claim in claims:
        by_category.setdefault(claim.category, []).append(claim)
    intervals = _intervals([claim for claim in claims if claim.true], resamples, seed, level)
    per_category = {name: _share(own, intervals.get(name)) for name, own in by_category.items()}
    return Aspect(per_category, _share(claims, intervals.get(None)))


def _share(claims: Sequence[_Claim], bounds: tuple[float, float] | None) -> Share:
    known = [claim for claim in claims if claim.true]
    often = Counter(word for claim in known for word in claim.true)
    return Share(
        n=len(known),
        right=sum(map(_is_right, known)) / len(known) if known else None,
        interval=bounds,
        none=sum(not claim.named for claim in known),
        several=sum(len(claim.named) > 1 for claim in known),
        constant=max(often.values()) / len(known) if known else None,
        unknown=len(claims) - len(known),
    )


def _is_right(claim: _Claim) -> bool:
    return len(claim.named) == 1 and claim.named <= claim.true


def _intervals(
    claims: Sequence[_Claim], resamples: int, seed: int, level: float
) -> dict[str | None, tuple[float, float] | None]:
    """Interval of the share of right claims by category, and under None that of all of them."""
    if not claims or not resamples:
        return {}
    names, category_N = np.unique([claim.category for claim in claims], return_inverse=True)
    own_NC = category_N[:, None] == np.arange(len(names))
    strata = [np.flatnonzero(own_N) for own_N in own_NC.T]
    # The last set is that of all claims.
    in_set_NS = np.column_stack([own_NC, np.ones(len(claims))])
    right_NS = in_set_NS * np.array([[_is_right(claim)] for claim in claims])
    drawn = [times_BN @ right_NS for times_BN in resample_times(strata, len(claims), resamples, seed)]
    share_BS = np.concatenate(drawn) / in_set_NS.sum(0)
    sets = (*names.tolist(), None)
    return {name: interval(share_B, level) for name, share_B in zip(sets, share_BS.T, strict=True)}
