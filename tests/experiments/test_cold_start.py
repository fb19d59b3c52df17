"""The policy that has hardly learned to judge: the shipped eyes, words of its own."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import cold_start

from lriad.errors import LriadError
from lriad.policy import load_policy


def test_it_makes_a_policy_with_the_shipped_eyes_and_other_words(tmp_path, monkeypatch):
    monkeypatch.setattr(cold_start, "IMAGES", 4)
    monkeypatch.setattr(cold_start, "eyes_categories", lambda config: ["mosaic_wall"])
    command = ["--output", str(tmp_path / "cold"), "--steps", "2"]
    cold_start.main(command)
    made, shipped = (load_policy(name, device="cpu") for name in (str(tmp_path / "cold"), "embedded"))
    eyes, words = ("vision_tower", "language_model")
    weights = {name: tensor for name, tensor in shipped.base.state_dict().items() if name.endswith("weight")}
    same = {name: made.base.state_dict()[name].equal(own) for name, own in weights.items() if "embed" not in name}
    assert {equal for name, equal in same.items() if eyes in name} == {True}
    assert {equal for name, equal in same.items() if words in name and "q_proj" in name} == {False}
    with pytest.raises(LriadError, match="is there already; give another --output"):
        cold_start.main(command)
