"""The rewards of GRPO (Section III-B), one a file, in TRL's signature.

A reward is called `reward(prompts, completions, **columns)` with one completion a row and returns one float a
row. Completions are conversations (`[[{"role": "assistant", "content": str}], ...]`) or plain strings.
"""

from lriad.rewards.accuracy import accuracy_reward
from lriad.rewards.class_factor import ClassFactor, class_name
from lriad.rewards.focal import FocalReward, check_not_cancelling, focal_reward, focal_weight
from lriad.rewards.format import format_reward

__all__ = [
    "ClassFactor",
    "FocalReward",
    "accuracy_reward",
    "check_not_cancelling",
    "class_name",
    "focal_reward",
    "focal_weight",
    "format_reward",
]
