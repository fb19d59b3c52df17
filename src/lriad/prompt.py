"""The paper's prompt (Section III-D), word for word, in one place.

A change of wording is a change of the method: it must come with a new `PROMPT_VERSION`, which every verdict records.
"""

from __future__ import annotations

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


def build_prompt(object_name: str) -> str:
    """The text of the prompt for one object (Eq. 2).

    Args:
        object_name: The object in words, such as `metal nut`; 1 to 200 characters on one line.

    Raises:
        LriadError: The name is empty, too long, or holds a line break or a control character.
    """
    name = object_name.strip()
    if not name or len(name) > MAX_OBJECT_NAME_CHARS or not name.isprintable():
        raise LriadError(
            f"object name {object_name[:40]!r}: expected 1 to {MAX_OBJECT_NAME_CHARS} printable characters "
            "on one line, such as 'metal nut'"
        )
    return TEMPLATE.format(object_name=name)


def build_messages(object_name: str) -> list[dict]:
    """The conversation that chat templates take: one user turn, the image first, then the prompt's text."""
    content = [{"type": "image"}, {"type": "text", "text": build_prompt(object_name)}]
    return [{"role": "user", "content": content}]


def build_completion(reasoning: str, label: str) -> str:
    """A completion in the strict format, as the supervised warm start teaches it."""
    return f"<think>{reasoning}</think> <answer>{ANSWERS[label]}</answer>"
