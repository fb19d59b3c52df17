"""The format reward (Eq. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lriad.rewards._completion import Completion, completion_text
from lriad.verdict import follows_format


def format_reward(prompts: Sequence[Any], completions: Sequence[Completion], **columns: Any) -> list[float]:
    """1 where the whole completion is one think block, then one answer block with one letter; else 0.

    Eq. 3: R_format = 1 under C1 (the output has the format), 0 under C2 (it has not).
    """
    return [float(follows_format(completion_text(completion))) for completion in completions]
