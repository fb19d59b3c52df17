"""The accuracy reward: what `focal` weighs, and the plain GRPO that the ablation compares with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lriad.rewards._completion import Completion, completion_text
from lriad.verdict import parse_label


def accuracy_reward(
    prompts: Sequence[Any], completions: Sequence[Completion], *, label: Sequence[str], **columns: Any
) -> list[float]:
    """1 where the completion's answer is the image's label, else 0; an unparsable answer is 0 for either
    label.

    Args:
        prompts: Not read.
        completions: One completion a row.
        label: Column: `defect` or `normal`.
        columns: TRL's other columns, not read.
    """
    return [
        float(parse_label(completion_text(completion)) == truth)
        for completion, truth in zip(completions, label, strict=True)
    ]
