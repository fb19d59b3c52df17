import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import corpus, qwen_tokenizer

from lriad.policy import architecture
from lriad.policy.answer import FAST_PREFIX, answer_slot, p_defect_from_logprobs, text_before_answer

_TOKENIZERS = {}


def tokenizer(kind):
    if kind not in _TOKENIZERS:
        _TOKENIZERS[kind] = qwen_tokenizer() if kind == "joined" else architecture.build_tokenizer(corpus())
    return _TOKENIZERS[kind]


@pytest.mark.parametrize(
    ("completion", "before", "forced"),
    [
        ("<think>dark line</think> <answer>A</answer>", "<think>dark line</think> ", False),
        ("<think>dark line</think> <answer>", "<think>dark line</think> ", False),
        ("<think>dark line</think>", "<think>dark line</think> ", True),
        ("<think>dark li", "<think>dark li</think> ", True),
        ("", FAST_PREFIX, True),
        ("  \n", FAST_PREFIX, True),
    ],
)
def test_text_before_answer(completion, before, forced):
    assert text_before_answer(completion) == (before, forced)


def test_the_two_kinds_of_tokenizer_differ_in_what_they_join():
    joined = tokenizer("joined").convert_ids_to_tokens(tokenizer("joined")("<answer>A</answer>")["input_ids"])
    apart = tokenizer("apart").convert_ids_to_tokens(tokenizer("apart")("<answer>A</answer>")["input_ids"])
    assert ">A" in joined
    assert "A" in apart


@pytest.mark.parametrize("kind", ["joined", "apart"])
@given(reasoning=st.text(alphabet="abc XYZ.,é\n", max_size=40))
def test_slot_is_what_differs_between_the_whole_tokenisations(kind, reasoning):
    before = f"<think>{reasoning}</think> "
    slot = answer_slot(tokenizer(kind), before)
    a, b = (tokenizer(kind)(f"{before}<answer>{letter}</answer>")["input_ids"] for letter in "AB")
    assert slot.defect[0] != slot.normal[0]
    assert len(slot.defect) >= 1 <= len(slot.normal)
    n = len(slot.prefix)
    assert a[:n] == b[:n] == list(slot.prefix)
    assert a[n : n + len(slot.defect)] == list(slot.defect)
    assert b[n : n + len(slot.normal)] == list(slot.normal)
    assert a[n + len(slot.defect) :] == b[n + len(slot.normal) :]


def test_slot_survives_answers_of_different_length():
    class Oddly:
        def __call__(self, text, add_special_tokens, split_special_tokens):
            return {"input_ids": [1, 2, 3, 9] if ">A<" in text else [1, 3, 9]}

    slot = answer_slot(Oddly(), "")
    assert slot.prefix == (1,)
    assert slot.defect == (2, 3)
    assert slot.normal == (3,)


def test_probability_is_normalised_over_the_two_answers():
    defect, normal = torch.tensor([-1.0, 0.0]), torch.tensor([-1.0, -2.0])
    p = p_defect_from_logprobs(defect, normal)
    assert p[0] == 0.5
    assert torch.allclose(p, defect.exp() / (defect.exp() + normal.exp()))
