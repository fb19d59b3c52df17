"""Why a part is sound or defective, in one or two plain sentences: the chain of thought that pretraining teaches."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lriad.data.sample import object_name_of

if TYPE_CHECKING:
    from lriad.data.synthetic.rendering import Rendering

# The first sentence is drawn before anything is known, so it cannot tell the verdict.
_OPENINGS = (
    "Checking the {name} part by part.",
    "Looking at the {name} from edge to edge.",
    "Going over the {name} step by step.",
    "Examining the {name} closely.",
)

_SOUND = (
    "The surface is even, the edges are whole, nothing is missing or out of place.",
    "The surface is clean, the shape is regular, nothing breaks the pattern.",
    "The surface looks the same all over, the edges are whole, no mark stands out.",
    "The shape is whole, the surface is even, and everything is in its place.",
)

_FOUND = (
    "The {what} shows {evidence}{at} that breaks {pattern}: {defect}.",
    "The {what} has {evidence}{at}, unlike {pattern} around it: {defect}.",
    "There is {evidence}{at} on the {what}, which does not fit {pattern}: {defect}.",
)

# Neither tells the verdict: what may be a defect is weighed in the answer.
_DOUBTFUL = (
    "There is {evidence}{at} on the {what}: it may be {defect}, it may belong there.",
    "The {what} shows {evidence}{at}, perhaps {defect}, perhaps only the way it is made.",
)

# Kind: what shows it, two ways to name the evidence, what it disturbs, its name.
_EVIDENCE: dict[str, tuple[str, tuple[str, str], str, str]] = {
    "scratch": ("surface", ("a long thin line", "a thin straight mark"), "the even surface", "a scratch"),
    "crack": ("surface", ("a jagged thin line", "a branching line"), "the even surface", "a crack"),
    "stain": ("surface", ("a spot of another tone", "a blurred spot"), "the even colour", "a stain"),
    "discolouration": (
        "surface",
        ("a soft patch of another colour", "a faded patch"),
        "the even colour",
        "a discolouration",
    ),
    "burn": (
        "surface",
        ("a charred brown spot", "a dark spot with a brown rim"),
        "the even colour",
        "a burn",
    ),
    "hole": ("surface", ("a dark round gap", "a gap with a sharp rim"), "the closed surface", "a hole"),
    "dent": ("surface", ("a shaded dip", "a hollow that catches the light"), "the even surface", "a dent"),
    "chip": ("edge", ("a rough gap", "a broken corner"), "the whole edge", "a chip"),
    "contamination": (
        "surface",
        ("foreign matter", "something that does not belong"),
        "the clean surface",
        "a contamination",
    ),
    "cut": ("surface", ("a gaping slit", "an open slit"), "the closed surface", "a cut"),
    "thread": (
        "surface",
        ("a loose winding thread", "a pulled thread"),
        "the regular weave",
        "a loose thread",
    ),
    "abrasion": (
        "surface",
        ("a patch of many fine lines", "a rubbed patch"),
        "the even surface",
        "an abrasion",
    ),
    "bent": ("shape", ("a warped place", "a place pushed out of line"), "the regular shape", "a bent part"),
    "missing": ("layout", ("an empty place", "a gap in the row"), "the regular layout", "a missing part"),
    "extra": (
        "layout",
        ("one piece too many", "a piece where none belongs"),
        "the regular layout",
        "an extra part",
    ),
    "misplaced": (
        "layout",
        ("a piece out of line", "a piece beside its place"),
        "the regular layout",
        "a misplaced part",
    ),
    "turned": (
        "layout",
        ("a piece that points another way", "a piece the wrong way round"),
        "the common direction",
        "a turned part",
    ),
    "swapped": (
        "layout",
        ("two pieces in each other's place", "two pieces out of order"),
        "the repeating order",
        "swapped parts",
    ),
    "miscount": (
        "layout",
        ("a wrong number of pieces", "too few or too many pieces"),
        "the regular layout",
        "a wrong count",
    ),
    "misprint": ("print", ("a mark that is wrong", "a faulty mark"), "the regular print", "a misprint"),
}
KIND_OF = {name.removeprefix("an ").removeprefix("a "): kind for kind, (_, _, _, name) in _EVIDENCE.items()}
"""Each kind of defect by its name without the article: 'loose thread' is `thread`."""

KINDS = tuple(_EVIDENCE)
"""Every kind of defect."""

_OTHER = ("surface", ("a place that looks different", "a mark that stands out"), "the rest", "a defect")


def narrate(object_name: str, defect_type: str | None, place: str | None, seed: int, *, doubtful: bool = False) -> str:
    """A chain of thought that fits a label.

    Args:
        object_name: The object in words, as in the prompt.
        defect_type: Kind of defect; None for a sound part. A kind that is not ours is called 'a defect'.
        place: Where it is, such as 'upper left'; None leaves the place out.
        seed: Chooses among several wordings. The opening sentence depends on it and on the object, never on the label.
        doubtful: Say it so that it is no verdict: of a faint defect, or of what looks like one on a sound part.

    Returns:
        Two sentences, 16 to 40 words.
    """
    opening = random.Random(f"opening {object_name} {seed}").choice(_OPENINGS).format(name=object_name)
    rng = random.Random(f"finding {object_name} {seed}")
    if defect_type is None:
        return f"{opening} {rng.choice(_SOUND)}"
    what, evidence, pattern, defect = _EVIDENCE.get(defect_type, _OTHER)
    finding = rng.choice(_DOUBTFUL if doubtful else _FOUND).format(
        what=what,
        evidence=rng.choice(evidence),
        at=f" at the {place}" if place else "",
        pattern=pattern,
        defect=defect,
    )
    return f"{opening} {finding}"


def telling_phrases(defect_type: str | None) -> tuple[str, ...]:
    """The phrases that tell one kind of defect from another: its evidence, and its name without the article."""
    if defect_type is None:
        return ()
    _, evidence, _, defect = _EVIDENCE.get(defect_type, _OTHER)
    return (*evidence, defect.removeprefix("an ").removeprefix("a "))


def describe(item: Rendering | Mapping[str, Any]) -> str:
    """The chain of thought for a rendering, or for a row of `samples.jsonl`."""
    if not isinstance(item, Mapping):
        item = {name: getattr(item, name) for name in ("category", "defect_type", "place", "part_seed")}
    return narrate(object_name_of(item["category"]), item["defect_type"], item["place"], item["part_seed"])
