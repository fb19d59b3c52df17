"""A policy judged on a data set: what the report knows of the samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from PIL import Image

from lriad.data import load_dataset
from lriad.data.synthetic import make_dataset
from lriad.errors import LriadError
from lriad.inspection import evaluate_policy
from lriad.policy import Completion


class OneAnswer:
    """Says the same of every image, with a reason."""

    name = "one-answer"
    policy_sha256 = "a" * 64
    adapter_sha256 = None
    operating_point: ClassVar[dict[str, float]] = {}

    def encode(self, image: Image.Image, object_name: str) -> str:
        return object_name

    def reason(self, prompts: Sequence[str], *, max_new_tokens: int = 512) -> list[Completion]:
        text = "<think>There is a gap at the centre: {}.</think> <answer>A</answer>"
        return [Completion(text.format("a scratch"), 0.9, False) for _ in prompts]


def test_the_reasoning_is_judged_by_the_masks_and_kinds_of_the_data_set(tmp_path: Path) -> None:
    made = make_dataset("objects", tmp_path / "set", images=16, defect_ratio=0.5, size=64, categories=["gear"])
    samples = list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))
    places = [json.loads(line)["place"] for line in (made / "samples.jsonl").read_text().splitlines()]
    kinds = [sample.defect_type for sample in samples if sample.label == "defect"]

    measured = evaluate_policy(samples, tmp_path / "run", policy=OneAnswer()).faithfulness
    assert measured is not None
    assert measured.n == measured.place.pooled.n == measured.kind.pooled.n == 8
    assert measured.kind.pooled.right == kinds.count("scratch") / 8
    assert measured.kind.pooled.constant == max(map(kinds.count, kinds)) / 8
    assert measured.place.pooled.right is not None
    assert places.count("centre") / 8 <= measured.place.pooled.right <= 1
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())["faithfulness"]
    assert report["kind"]["pooled"]["right"] == measured.kind.pooled.right
    assert "Faithfulness of the reasoning" in (tmp_path / "run" / "table.md").read_text()

    # Kinds and masks as they are now, without a new inspection.
    corrected = [replace(s, defect_type=s.defect_type and "scratch", mask=None) for s in samples]
    again = evaluate_policy(corrected, tmp_path / "run", policy=OneAnswer()).faithfulness
    assert again is not None
    assert (again.kind.pooled.right, again.place.pooled.n, again.place.pooled.unknown) == (1, 0, 8)

    lost = next(sample.mask for sample in samples if sample.mask)
    Path(lost).unlink()
    with pytest.raises(LriadError, match="there is no such file") as caught:
        evaluate_policy(samples, tmp_path / "run", policy=OneAnswer())
    assert str(caught.value).startswith(lost)
