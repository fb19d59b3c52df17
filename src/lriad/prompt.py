"""The paper's prompt (Section III-D), word for word, in one place.

A change of wording is a change of the method: it must come with a new `PROMPT_VERSION`, which every verdict records.
"""

from __future__ import annotations

from dataclasses import dataclass

from lriad.errors import LriadError

PROMPT_VERSION = "lr-iad-1"

TEMPLATE = """This is an image containing a {object_name}. Analyze the given image and determine if there is any \
defect in the object.
Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.
Options: (A) defect (B) normal.
The output answer format should be as follows:
<think></think> <answer>A or B</answer>
Please strictly follow the format."""

ANSWERS = {"defect": "A", "normal": "B"}
"""The letter of each label."""

MAX_OBJECT_NAME_CHARS = 200
MAX_NOTE_CHARS = 500


@dataclass(frozen=True)
class Context:
    """What is known besides the image; without any of it the prompt is the paper's.

    Attributes:
        evidence: A sentence on how the image compares with good samples, '' for none.
        note: What the user knows, in words, such as 'scratches under 2 mm are fine'; '' for none.
        references: Images of good samples that stand before the one to judge.
    """

    evidence: str = ""
    note: str = ""
    references: int = 0

    @property
    def version(self) -> str:
        """The prompt's version that a verdict records."""
        if self == PLAIN:
            return PROMPT_VERSION
        return f"{PROMPT_VERSION}+context-{2 if self.evidence else 1}"


PLAIN = Context()

UNUSUAL = ("ordinary", "slightly unusual", "unusual", "very unusual", "extremely unusual")
"""What a deviation is called; a small language model reads it sooner than digits."""
_LIMITS = (1.0, 2.0, 4.0, 8.0)
"""Deviations from which on the next word is used."""


def how_unusual(z: float) -> int:
    """Index of what a deviation is called, into `UNUSUAL`."""
    return sum(z >= limit for limit in _LIMITS)


def evidence_line(samples: int, place: str, z: float, as_high: int) -> str:
    """What a comparison with good samples says.

    Args:
        samples: Good samples that it was compared with.
        place: Where the image deviates most, in words.
        z: That deviation, in standard deviations of the good samples' own around their mean.
        as_high: How many of them deviate as much.
    """
    return (
        f"Compared with {samples} good samples, this one is {UNUSUAL[how_unusual(z)]}: "
        f"its most unusual place, {place}, deviates by {max(-9.9, min(99.9, z)):+.1f} on their scale, "
        f"as much as {as_high} of them."
    )


def check_note(note: str) -> str:
    """The note without surrounding white space.

    Raises:
        LriadError: It is empty, too long, or holds a line break or a control character.
    """
    text = note.strip()
    if not text or len(text) > MAX_NOTE_CHARS or not text.isprintable():
        raise LriadError(
            f"note {note[:40]!r}: expected 1 to {MAX_NOTE_CHARS} printable characters on one line, such as "
            "'scratches under 2 mm are fine'"
        )
    return text


def build_prompt(object_name: str, context: Context = PLAIN) -> str:
    """The text of the prompt for one object (Eq. 2), what is known besides behind its first sentence.

    Args:
        object_name: The object in words, such as `metal nut`; 1 to 200 characters on one line.
        context: What is known besides.

    Raises:
        LriadError: The name is empty, too long, or holds a line break or a control character.
    """
    name = object_name.strip()
    if not name or len(name) > MAX_OBJECT_NAME_CHARS or not name.isprintable():
        raise LriadError(
            f"object name {object_name[:40]!r}: expected 1 to {MAX_OBJECT_NAME_CHARS} printable characters "
            "on one line, such as 'metal nut'"
        )
    first, rest = TEMPLATE.format(object_name=name).split("\n", 1)
    known = []
    if context.references:
        known.append(f"All images but the last show good samples of the {name}; the last one is the given image.")
    if context.note:
        known.append(f"What is known of it: {context.note}")
    if context.evidence:
        known.append(context.evidence)
    return "\n".join([first, *known, rest])


def build_messages(object_name: str, context: Context = PLAIN) -> list[dict]:
    """The conversation that chat templates take: one user turn, the images first, then the prompt's text."""
    images = [{"type": "image"}] * (context.references + 1)
    return [{"role": "user", "content": [*images, {"type": "text", "text": build_prompt(object_name, context)}]}]


def build_completion(reasoning: str, label: str) -> str:
    """A completion in the strict format, as the supervised warm start teaches it."""
    return f"<think>{reasoning}</think> <answer>{ANSWERS[label]}</answer>"
