"""The embedded policy's tower, with random weights: what it computes does not hang on how it is asked."""

import pytest
import timm
import torch

from lriad.data.place import PLACES
from lriad.policy.eyes import Eyes, _likeness


@pytest.fixture(scope="module")
def eyes():
    torch.manual_seed(0)
    eyes = Eyes(kinds=3, grid=3).eval()
    for module in eyes.backbone.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return eyes


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_timm_knows_it_by_name():
    tower = timm.create_model("lriad_eyes", kinds=5, grid=3, num_classes=0)
    assert isinstance(tower, Eyes)
    assert tower.num_features == 2 * 192 + 1 + 5 + 9 + 5 + 2


@torch.inference_mode()
def test_what_is_seen_in_a_picture_does_not_depend_on_the_batch(eyes, pictures):
    together = eyes(pictures)
    assert together.shape == (3, eyes.num_features, 3, 3)
    assert together.std() > 0.1
    for index in range(3):
        torch.testing.assert_close(eyes(pictures[index : index + 1])[0], together[index], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_the_logits_stand_behind_the_tokens_of_their_place(eyes, pictures):
    tokens, here, kind, somewhere = eyes.look(*eyes.sense(pictures))
    handed_on = eyes.hand_on(tokens, here, kind, somewhere)
    row, column = 2, 1
    place = handed_on[0, :, row, column]
    assert torch.equal(place[:384], tokens[0, 3 * row + column])
    assert place[384] == here[0, 3 * row + column] / 4
    assert torch.equal(place[385:388], kind[0, 3 * row + column] / 4)


@torch.inference_mode()
def test_the_heads_look_each_by_itself_and_their_logits_are_averaged(eyes, pictures):
    sensed = eyes.sense(pictures)
    tokens, *logits = eyes.look(*sensed)
    (own, *first), (others, *second) = (head(*sensed) for head in eyes.heads)
    assert torch.equal(tokens, torch.cat([own, others], 2))
    for mean, one, other in zip(logits, first, second, strict=True):
        assert (one - other).abs().max() > 1e-3
        torch.testing.assert_close(mean, (one + other) / 2)


def test_the_summary_says_where_the_strongest_token_is_and_of_which_kind():
    eyes = Eyes(kinds=4, grid=10)
    here = torch.zeros(1, 100)
    here[0, 7 * 10 + 1] = 30.0
    kind = torch.zeros(1, 100, 4)
    kind[0, 71, 2] = 8.0
    summary = eyes.hand_on(torch.zeros(1, 100, 384), here, kind, torch.tensor([4.0]))[0, -15:]
    assert (summary == summary[:, :1, :1]).all()
    fields, kinds, whether = summary[:, 0, 0].split([9, 4, 2])
    # Row 7 of ten lies wholly in the lowest third, column 1 in the left one.
    assert PLACES[int(fields.argmax())] == "lower left"
    assert fields.sum() == pytest.approx(4, abs=1e-5)
    assert kinds.tolist() == pytest.approx([0, 0, 4, 0], abs=1e-2)
    assert whether.tolist() == [7.5, 1.0]


def test_the_odd_place_of_a_regular_picture_is_least_like_the_rest():
    generator = torch.Generator().manual_seed(2)
    tile = torch.randn(16, 1, 2, generator=generator)
    regular = tile.repeat(1, 12, 6) + 0.05 * torch.randn(16, 12, 12, generator=generator)
    regular[:, 7, 4] = torch.randn(16, generator=generator)
    alike = _likeness(regular[None])
    assert alike.shape == (1, 8, 12, 12)
    for measure in alike[0]:
        assert divmod(int(measure.argmin()), 12) == (7, 4)


def test_a_picture_without_any_difference_is_finite():
    assert torch.isfinite(_likeness(torch.zeros(1, 8, 6, 6))).all()
