"""The prompt is the paper's, word for word (Section III-D)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.errors import LriadError
from lriad.prompt import (
    MAX_OBJECT_NAME_CHARS,
    PROMPT_VERSION,
    TEMPLATE,
    Context,
    build_completion,
    build_messages,
    build_prompt,
    check_note,
    evidence_line,
)
from lriad.verdict import follows_format, parse_label, parse_reasoning

PAPER = (
    "This is an image containing a metal nut. "
    "Analyze the given image and determine if there is any defect in the object.\n"
    "Output the thinking process in <think> </think> and final answer in <answer> </answer> tags.\n"
    "Options: (A) defect (B) normal.\n"
    "The output answer format should be as follows:\n"
    "<think></think> <answer>A or B</answer>\n"
    "Please strictly follow the format."
)


def test_prompt_is_the_papers_word_for_word() -> None:
    assert build_prompt("metal nut") == PAPER


def test_prompt_strips_the_name_and_changes_nothing_else() -> None:
    assert build_prompt("  metal nut ") == PAPER


@given(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=MAX_OBJECT_NAME_CHARS))
def test_any_printable_name_is_put_in_as_it_is(name: str) -> None:
    """Also one with braces, which must not be read as a format field."""
    assert build_prompt(name) == PAPER.replace("metal nut", name)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "tab\tbed", "x" * (MAX_OBJECT_NAME_CHARS + 1)])
def test_an_unusable_name_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(LriadError) as caught:
        build_prompt(name)
    assert "\n" not in str(caught.value)


def test_conversation_is_one_user_turn_image_first() -> None:
    [turn] = build_messages("screw")
    assert turn["role"] == "user"
    assert [part["type"] for part in turn["content"]] == ["image", "text"]
    assert turn["content"][1]["text"] == build_prompt("screw")


@pytest.mark.parametrize("label", ["defect", "normal"])
def test_built_completions_follow_the_format_and_mean_their_label(label: str) -> None:
    text = build_completion("The edge is even.", label)
    assert follows_format(text)
    assert parse_label(text) == label
    assert parse_reasoning(text) == "The edge is even."


# What is known besides


def test_without_anything_known_the_prompt_is_the_papers() -> None:
    assert build_prompt("gear", Context()) == TEMPLATE.format(object_name="gear")
    assert Context().version == PROMPT_VERSION


def test_what_is_known_stands_behind_the_first_sentence_and_changes_nothing_else() -> None:
    context = Context(evidence_line(30, "upper left", 4.56, 0), "scratches are fine", references=2)
    lines = build_prompt("gear", context).split("\n")
    plain = build_prompt("gear").split("\n")
    assert [lines[0], *lines[4:]] == plain
    assert "last one is the given image" in lines[1]
    assert lines[2].endswith("scratches are fine")
    assert "30 good samples" in lines[3]
    assert "upper left" in lines[3]
    assert "+4.6" in lines[3]
    assert "very unusual" in lines[3]
    assert context.version != PROMPT_VERSION
    content = build_messages("gear", context)[0]["content"]
    assert [part["type"] for part in content] == ["image", "image", "image", "text"]


@given(st.floats(-1e6, 1e6))
def test_evidence_is_one_line_of_a_bounded_length(z: float) -> None:
    line = evidence_line(1000, "lower right", z, 1000)
    assert "\n" not in line
    assert len(line) < 180


@pytest.mark.parametrize("note", ["", "  ", "two\nlines", "x" * 501, "bell\a"])
def test_an_unusable_note_is_refused_in_one_line(note: str) -> None:
    with pytest.raises(LriadError, match="note") as caught:
        check_note(note)
    assert "\n" not in str(caught.value)
