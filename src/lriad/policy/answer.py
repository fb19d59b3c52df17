"""Where the answer stands in a completion, and how its two letters are compared.

The probability p of the paper's Eq. 4 is read at that place, after the completion's own reasoning: the canonical
tokenisations of `<answer>A</answer>` and `<answer>B</answer>` are compared from their first differing token on. Forcing
the text `<answer>` and then reading the token `A` would be wrong for tokenizers that join `>` and `A` in one token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from lriad.prompt import ANSWERS

FAST_PREFIX = "<think></think> "
"""What stands before the answer block in `fast` mode: no reasoning."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy said of one image, and how sure it is.

    Attributes:
        text: The completion, '' where none was written (`fast` mode).
        p_defect: The policy's probability of `defect` against `normal` where the answer stands, in [0, 1]; None only
            from a server that gives no log-probabilities.
        forced: True where the completion opened no answer block, so that one was forced behind its reasoning.
        p_missing: Why p_defect is None, in one line.
    """

    text: str
    p_defect: float | None
    forced: bool
    p_missing: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerSlot:
    """The token ids around the answer's letter.

    Attributes:
        prefix: Ids of the completion up to the first token that differs between the two answers.
        defect: Ids of the part that only the answer A has; at least one.
        normal: Ids of the part that only the answer B has; at least one.
    """

    prefix: tuple[int, ...]
    defect: tuple[int, ...]
    normal: tuple[int, ...]


def text_before_answer(completion: str) -> tuple[str, bool]:
    """The completion's text before its answer block, and whether the block has to be forced.

    A completion that never opened the block gets its think block closed, where that is missing, and one space.
    """
    before, opened, _ = completion.partition("<answer>")
    if opened:
        return before, False
    before = before.rstrip()
    if not before:
        return FAST_PREFIX, True
    if not before.endswith("</think>"):
        before += "</think>"
    return before + " ", True


def answer_slot(tokenizer: Any, before: str) -> AnswerSlot:
    """The slot behind the text `before`, in the tokenizer's canonical tokenisation of the whole completion.

    What follows the letter is the same for both answers and is left out of the comparison.
    """
    ids = {
        # A special token that the completion spells out is text: it must not become an image's place.
        label: tokenizer(f"{before}<answer>{letter}</answer>", add_special_tokens=False, split_special_tokens=True)[
            "input_ids"
        ]
        for label, letter in ANSWERS.items()
    }
    a, b = ids["defect"], ids["normal"]
    shortest = min(len(a), len(b))
    start = next(i for i in range(shortest) if a[i] != b[i])
    # At least one token is left on either side, also where one answer's ids end with the other's.
    end = next((i for i in range(1, shortest - start) if a[-i] != b[-i]), shortest - start) - 1
    return AnswerSlot(tuple(a[:start]), tuple(a[start : len(a) - end]), tuple(b[start : len(b) - end]))


def p_defect_from_logprobs(defect: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """P(defect) normalised over the two answers, from their log-probabilities (any one shape)."""
    return torch.sigmoid(defect - normal)
