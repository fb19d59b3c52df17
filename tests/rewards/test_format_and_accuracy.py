"""The two plain rewards, in every form in which TRL may hand over a completion."""

import pytest

from lriad.prompt import build_completion
from lriad.rewards import accuracy_reward, format_reward

RIGHT = build_completion("a dent near the rim", "defect")
COMPLETIONS = [
    RIGHT,
    "<think>fine</think>\n<answer>B</answer>",
    "<answer>A</answer>",
    "<think>x</think> <answer>A or B</answer>",
    "there is no defect",
    "",
]


def conversation(text):
    return [{"role": "assistant", "content": text}]


def parts(text):
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


@pytest.mark.parametrize("form", [str, conversation, parts])
def test_each_reward_against_hand_worked_cases(form):
    completions = [form(text) for text in COMPLETIONS]
    prompts = ["p"] * len(completions)
    assert format_reward(prompts, completions) == [1, 1, 0, 0, 0, 0]
    # The answer block counts without the format, an unparsable one is wrong whatever the image is.
    assert accuracy_reward(prompts, completions, label=["defect"] * 6) == [1, 0, 1, 0, 0, 0]
    assert accuracy_reward(prompts, completions, label=["normal"] * 6) == [0, 1, 0, 0, 0, 0]


def test_rewards_ignore_the_columns_that_trl_adds():
    extra = {"completion_ids": [[1]], "trainer_state": None, "category": ["gear"]}
    assert format_reward(["p"], [RIGHT], label=["defect"], **extra) == [1.0]
    assert accuracy_reward(["p"], [RIGHT], label=["defect"], **extra) == [1.0]


def test_a_conversation_without_a_message_scores_nothing():
    assert format_reward(["p"], [[]]) == [0.0]
    assert accuracy_reward(["p"], [[]], label=["normal"]) == [0.0]


def test_a_column_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        accuracy_reward(["p"], [RIGHT], label=["defect", "normal"])
