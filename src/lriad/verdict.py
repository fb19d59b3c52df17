"""What a completion says: the one strict format check, the one parser, and the record of an inspection."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

VerdictLabel = Literal["defect", "normal", "unparsable"]
Decision = Literal["defect", "normal", "review"]
Mode = Literal["reason", "fast"]
DecidedBy = Literal["label", "p_defect", "score", "alarm_rate"]

_TAG = r"</?(?:think|answer)>"
# The tempered dot keeps a second tag from hiding in the reasoning.
_STRICT = re.compile(rf"<think>(?:(?!{_TAG}).)*</think>\s*<answer>[AB]</answer>", re.DOTALL)
_ANSWER = re.compile(rf"<answer>((?:(?!{_TAG}).)*)</answer>", re.DOTALL)
_THINK = re.compile(rf"<think>((?:(?!{_TAG}).)*)(?:</think>|\Z|(?=<answer>))", re.DOTALL)
_MEANING: dict[str, VerdictLabel] = {"a": "defect", "b": "normal", "defect": "defect", "normal": "normal"}


def follows_format(text: str) -> bool:
    """Whether the whole completion is one think block, then one answer block with one capital letter (Eq. 3).

    White space may stand around and between the blocks, nothing else may.
    """
    return _STRICT.fullmatch(text.strip()) is not None


def parse_label(text: str) -> VerdictLabel:
    """The label that the completion states.

    It is read from a whole `<answer>` block that holds one letter, or the one word `defect` or `normal` (case and
    surrounding white space aside). No answer block, several, one inside the think block, or one holding anything
    else is `unparsable`: a label is never read from a substring and never assumed.
    """
    if text.count("<answer>") != 1 or text.count("</answer>") != 1:
        return "unparsable"
    match = _ANSWER.search(text)
    if match is None:
        return "unparsable"
    before, after = text[: match.start()], text[match.end() :]
    if before.count("<think>") > before.count("</think>") and "</think>" in after:
        return "unparsable"
    return _MEANING.get(match.group(1).strip().lower(), "unparsable")


def parse_reasoning(text: str) -> str:
    """The text of the first think block, also where the completion was cut off inside it; '' without one."""
    match = _THINK.search(text)
    return match.group(1).strip() if match else ""


def decide(label: VerdictLabel, p_defect: float | None, threshold: float | None) -> Decision:
    """The decision for a part.

    With a threshold, `defect` where `p_defect >= threshold`; without one, what the text said. An unparsable answer
    is `review` either way, and so is one that a threshold cannot judge for want of p_defect: a person looks at it.
    """
    if label == "unparsable":
        return "review"
    if threshold is None:
        return label
    if p_defect is None:
        return "review"
    return "defect" if p_defect >= threshold else "normal"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one inspection.

    Attributes:
        label: What the text said (the paper's metrics count this): `defect`, `normal` or `unparsable`.
        p_defect: The policy's probability of `defect` against `normal` where the answer stands, in [0, 1];
            None where a server gave no log-probabilities.
        decision: `defect`, `normal` or `review`: by the calibration or the threshold in use, else by the memory of good
            parts, else the label; unparsable is `review`.
        reasoning: The text of the think block.
        text: The whole completion.
        follows_format: Whether the completion passes the strict format check.
        answer_forced: True where the text reached no answer, so that p_defect was read after a forced `<answer>`.
        mode: `reason` (chain of thought) or `fast` (one forward pass, no reasoning).
        seconds: Time of the batch divided by its images.
        image_sha256: Hash of the image file's bytes (of the RGB pixels, where the image came from memory).
        policy_sha256: Hash of the base model's weights.
        adapter_sha256: Hash of the adapter's weights, None without one.
        prompt_version: Version of the prompt's wording.
        threshold: The threshold on p_defect in use, None without one.
        memory: Identity of the memory of good parts in use, None without one.
        p_missing: Why p_defect is None, in one line; None where it is not.
        setting: What the policy was given besides: `zero-shot`, `30 good`, `30 good + 25 labelled
            defects`, `1 reference` with its hash; with the views that were looked at.
        note: The user's words in the prompt, None without any.
        score: With a memory, what images are ranked by in place of p_defect: how unusual this one is among good ones
            (`Memory.rank`), or, where the memory knows labels, P(defect) by their rule. None without a memory.
        alarm_rate: How often a good part would be as unusual, by the good samples in memory; None without a memory.
        deviation: Of the image from the good samples, in their own standard deviations; None without a memory.
        unusual_place: Where it deviates most, in words; None without a memory.
        view: Left, top, right and bottom, in pixels, of the part of the image that the text speaks of; None where that
            is all of it.
        calibration: SHA-256 of the calibration that decided, None without one.
        decided_by: The field that decided: `label`; `p_defect` or `score` where that is `limit` or higher; `alarm_rate`
            where that is `limit` or lower. An unparsable answer is `review` whatever it is.
        limit: From (up to) which a part is defective; None where the label decided.
        normal_below: Of a calibration: what lies from there up to `limit` is `review`; None without one.
        probability: P(defect) by the calibration's scale, where it brings one.
        boxes: Left, top, right and bottom, in pixels, of what stands out in the heat-map; None without one.
        heatmap: On request, (H, W), NaN where nothing was looked at: with a memory the deviation of each place on the
            scale of `deviation`, else how much of the policy's answer without reasoning comes from it, in [0, 1]. Not
            part of `to_dict`.
    """

    label: VerdictLabel
    p_defect: float | None
    decision: Decision
    reasoning: str
    text: str
    follows_format: bool
    answer_forced: bool
    mode: Mode
    seconds: float
    image_sha256: str
    policy_sha256: str
    adapter_sha256: str | None
    prompt_version: str
    threshold: float | None = None
    memory: str | None = None
    p_missing: str | None = None
    setting: str = "zero-shot"
    note: str | None = None
    score: float | None = None
    alarm_rate: float | None = None
    deviation: float | None = None
    unusual_place: str | None = None
    view: tuple[int, int, int, int] | None = None
    calibration: str | None = None
    decided_by: DecidedBy = "label"
    limit: float | None = None
    normal_below: float | None = None
    probability: float | None = None
    boxes: tuple[tuple[int, int, int, int], ...] | None = None
    heatmap: Any = dataclasses.field(default=None, repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready fields."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(field.name for field in dataclasses.fields(Verdict) if field.name != "heatmap")
"""Of a verdict's line in a file."""


def what_decided(verdict: Mapping[str, Any]) -> str:
    """The number that decided, with its limit, in words; the policy's own p where the label did.

    Args:
        verdict: Its fields, see `Verdict.to_dict`.
    """
    value, limit = verdict.get(verdict.get("decided_by") or ""), verdict.get("limit")
    if limit is None or isinstance(value, str | None):
        return "–" if verdict["p_defect"] is None else f"p {verdict['p_defect']:.3f}"
    if verdict["decided_by"] == "alarm_rate":
        return f"alarm rate {value:.1%}, limit {limit:.1%}"
    name, digits = ("p", 3) if verdict["decided_by"] == "p_defect" else ("score", 2)
    if verdict.get("normal_below") not in (None, limit):
        return f"{name} {value:.{digits}f}, limits {verdict['normal_below']:.{digits}f} and {limit:.{digits}f}"
    return f"{name} {value:.{digits}f}, limit {limit:.{digits}f}"
