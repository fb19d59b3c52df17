"""The format check and the parser: what they accept, and that nothing else gets through."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.verdict import Verdict, decide, follows_format, parse_label, parse_reasoning, what_decided

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
prose = st.text(max_size=60).filter(lambda text: not any(tag in text for tag in TAGS))
# Anything a policy may write: tags in any order, letters, words, loose text.
fragments = st.sampled_from([*TAGS, "A", "B", "A or B", "defect", "normal", "unknown", " ", "\n", "(A)", "Yes"])
scribble = st.lists(st.one_of(fragments, st.text(max_size=5)), max_size=12).map("".join)


@given(prose, st.sampled_from("AB"), st.text(" \n\t", max_size=3), st.text(" \n", max_size=2))
def test_the_template_follows_the_format(reasoning: str, letter: str, between: str, around: str) -> None:
    text = f"{around}<think>{reasoning}</think>{between}<answer>{letter}</answer>{around}"
    assert follows_format(text)
    assert parse_label(text) == {"A": "defect", "B": "normal"}[letter]
    assert parse_reasoning(text) == reasoning.strip()


@given(scribble)
def test_what_follows_the_format_is_exactly_one_block_of_each_and_one_letter(text: str) -> None:
    if follows_format(text):
        assert all(text.count(tag) == 1 for tag in TAGS)
        assert text.strip().startswith("<think>")
        assert text.strip().endswith(("<answer>A</answer>", "<answer>B</answer>"))
        assert parse_label(text) != "unparsable"


@given(scribble)
def test_a_label_comes_only_from_one_whole_answer_block(text: str) -> None:
    label = parse_label(text)
    if label != "unparsable":
        before, _, rest = text.partition("<answer>")
        inside, closed, after = rest.partition("</answer>")
        assert closed
        assert "answer>" not in (before + after).replace("</think>", "").replace("<think>", "")
        assert inside.strip().lower() in ({"a", "defect"} if label == "defect" else {"b", "normal"})


@given(prose)
def test_text_without_an_answer_block_is_unparsable(text: str) -> None:
    assert parse_label(text) == "unparsable"
    assert parse_label(f"<think>{text}</think>") == "unparsable"
    assert not follows_format(text)


@pytest.mark.parametrize(
    "answer",
    [
        "A or B",
        "A, B",
        "AB",
        "unknown",  # holds 'no', which a peer reads as 'no defect'
        "abnormal",  # holds 'normal'
        "not normal",
        "no defect",
        "Yes",
        "No",
        "C",
        "",
        " ",
        "A.",
        "(A)",
        "A defect",
        "Ａ",  # full width
        "<think>A</think>",
        "\x00",
    ],
)
def test_an_answer_that_is_not_one_choice_is_unparsable(answer: str) -> None:
    text = f"<think>x</think> <answer>{answer}</answer>"
    assert parse_label(text) == "unparsable"
    assert not follows_format(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>x</think> <answer>A</answer> <answer>B</answer>",
        "<think>x</think> <answer>A</answer> <answer>A</answer>",
        "<think>x</think> <answer><answer>A</answer></answer>",
        "<think>x</think> </answer>A<answer>",
        "<think>x</think> <answer>A",
        "<think>x</think> A</answer>",
        "<think>x</think> A",
        "A",
    ],
)
def test_duplicate_nested_or_open_answer_blocks_are_unparsable(text: str) -> None:
    assert parse_label(text) == "unparsable"
    assert not follows_format(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think>x</think> <answer>a</answer>",
        "<think>x</think> <answer> A </answer>",
        "<think>x</think> <answer>defect</answer>",
        "Sure! <think>x</think> <answer>A</answer>",
        "<think>x</think> <answer>A</answer> I hope this helps.",
        "<think>x</think> so <answer>A</answer>",
        "<think><think>x</think> <answer>A</answer>",
        "<think>x</think> <think>y</think> <answer>A</answer>",
        "<answer>A</answer> <think>x</think>",
        "<answer>A</answer>",
        "x</think> <answer>A</answer>",
    ],
)
def test_a_clear_answer_in_a_broken_format_is_read_but_earns_no_format_reward(text: str) -> None:
    assert parse_label(text) == "defect"
    assert not follows_format(text)


def test_reasoning_that_was_cut_off_is_kept() -> None:
    assert parse_reasoning("<think>there is a scratch on") == "there is a scratch on"
    assert parse_reasoning("<think>a scratch <answer>A</answer>") == "a scratch"
    assert parse_reasoning("no tags") == ""


@given(scribble, st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1)))
def test_decision(text: str, p_defect: float, threshold: float | None) -> None:
    label = parse_label(text)
    decision = decide(label, p_defect, threshold)
    if label == "unparsable":
        assert decision == "review"
    elif threshold is None:
        assert decision == label
    else:
        assert decision == ("defect" if p_defect >= threshold else "normal")


def test_without_a_probability_the_label_decides_where_no_threshold_was_asked_for() -> None:
    assert decide("defect", None, None) == "defect"
    assert decide("normal", None, 0.9) == decide("defect", None, 0.9) == "review"


def test_a_long_completion_full_of_tags_is_read_in_linear_time() -> None:
    """A hundred thousand opening tags: a backtracking pattern would not come back."""
    text = "<think>" * 100_000 + "x"
    assert not follows_format(text)
    assert parse_label(text) == "unparsable"
    assert parse_reasoning(text) == "x"


def test_verdict_is_json_ready() -> None:
    verdict = Verdict(
        label="normal",
        p_defect=0.25,
        decision="normal",
        reasoning="even",
        text="<think>even</think> <answer>B</answer>",
        follows_format=True,
        answer_forced=False,
        mode="reason",
        seconds=0.1,
        image_sha256="0" * 64,
        policy_sha256="1" * 64,
        adapter_sha256=None,
        prompt_version="lr-iad-1",
    )
    assert json.loads(json.dumps(verdict.to_dict())) == verdict.to_dict()


def test_an_answer_that_is_still_being_thought_about_is_no_verdict():
    assert parse_label("<think>maybe <answer>A</answer> or not</think>") == "unparsable"
    assert parse_label("<think>cut short <answer>A</answer>") == "defect"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, "p 0.300"),
        ({"decided_by": "label", "limit": None}, "p 0.300"),
        ({"decided_by": "p_defect", "limit": 0.5}, "p 0.300, limit 0.500"),
        ({"decided_by": "p_defect", "limit": 0.5, "normal_below": 0.2}, "p 0.300, limits 0.200 and 0.500"),
        ({"decided_by": "alarm_rate", "limit": 0.05, "alarm_rate": 0.0325}, "alarm rate 3.2%, limit 5.0%"),
        ({"decided_by": "score", "limit": 4.0, "normal_below": 4.0, "score": 7.125}, "score 7.12, limit 4.00"),
    ],
)
def test_the_number_that_decided_is_shown(fields: dict, shown: str) -> None:
    assert what_decided({"p_defect": 0.3, **fields}) == shown
