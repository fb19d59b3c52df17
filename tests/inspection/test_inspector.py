"""The Inspector: order, batches, errors, modes, decisions. The policy is a stand-in that reads a colour."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.inspection import Inspector
from lriad.policy import Completion
from lriad.prompt import PROMPT_VERSION
from lriad.verdict import FIELDS

SAMPLE_FIELDS = {
    "id",
    "image",
    "category",
    "object_name",
    "dataset",
    "split",
    "defect_type",
    "group",
    "truth",
}
VERDICT_FIELDS = set(FIELDS)


class RedPolicy:
    """P(defect) is the red of the first pixel; says A from one half on; blue images get no answer."""

    name = "red"
    policy_sha256 = "a" * 64
    adapter_sha256 = None
    operating_point: ClassVar[dict[str, float]] = {}

    def __init__(self, refused: str | None = None) -> None:
        self.batches: list[int] = []
        self.refused = refused

    def encode(self, image: Image.Image, object_name: str) -> tuple[Image.Image, str]:
        return image, object_name

    def reason(self, prompts: Sequence[Any], *, max_new_tokens: int = 512) -> list[Completion]:
        self.batches.append(len(prompts))
        if self.refused in [name for _, name in prompts]:
            raise LriadError(f"{self.refused}: the prompt is too long")
        assert all(image.mode == "RGB" for image, _ in prompts)
        texts = [self._say(*image.getpixel((0, 0)), name) for image, name in prompts]
        return [self._completion(image, text) for (image, _), text in zip(prompts, texts, strict=True)]

    def fast(self, prompts: Sequence[Any]) -> list[Completion]:
        return [replace(self._completion(image, "<answer>"), text="") for image, _ in prompts]

    @staticmethod
    def _completion(image: Image.Image, text: str) -> Completion:
        return Completion(text, image.getpixel((0, 0))[0] / 255, "<answer>" not in text)

    @staticmethod
    def _say(red: int, _: int, blue: int, name: str) -> str:
        if blue:
            return f"I see a {name} and"
        return f"<think>a {name}</think> <answer>{'A' if red >= 128 else 'B'}</answer>"


def photograph(path: Path, red: int, blue: int = 0) -> Path:
    Image.new("RGB", (4, 4), (red, 0, blue)).save(path)
    return path


def sample_of(path: Path, object_name: str = "metal nut") -> Sample:
    return Sample(path.name, str(path), "normal", "metal_nut", object_name, "test", None, "g1", None, "set")


def test_verdict_of_one_image(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", red=204)
    verdict = Inspector(RedPolicy()).inspect(path, "metal nut")
    assert (verdict.label, verdict.decision, verdict.p_defect) == ("defect", "defect", 0.8)
    assert (verdict.reasoning, verdict.follows_format, verdict.answer_forced) == ("a metal nut", True, False)
    assert verdict.image_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (verdict.policy_sha256, verdict.adapter_sha256) == ("a" * 64, None)
    assert (verdict.mode, verdict.prompt_version, verdict.threshold) == ("reason", PROMPT_VERSION, None)
    assert verdict.seconds >= 0


def test_an_image_in_memory_is_inspected_like_a_file(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", red=204)
    inspector = Inspector(RedPolicy())
    from_memory = inspector.inspect(Image.open(path).convert("RGBA"), "metal nut")
    assert from_memory.p_defect == inspector.inspect(path, "metal nut").p_defect
    assert from_memory.image_sha256 == hashlib.sha256(bytes([204, 0, 0] * 16)).hexdigest()


@pytest.mark.parametrize(
    ("threshold", "red", "decision"),
    [
        (None, 255, "defect"),
        (None, 0, "normal"),
        (0.9, 204, "normal"),
        (0.8, 204, "defect"),
        (0.1, 51, "defect"),
    ],
)
def test_threshold_decides_and_the_label_stays_what_the_text_said(
    tmp_path: Path, threshold: float | None, red: int, decision: str
) -> None:
    path = photograph(tmp_path / "a.png", red)
    verdict = Inspector(RedPolicy(), threshold=threshold).inspect(path, "metal nut")
    assert verdict.decision == decision
    assert verdict.label == ("defect" if red >= 128 else "normal")
    assert (verdict.decided_by, verdict.limit) == ("label" if threshold is None else "p_defect", threshold)


def test_a_folder_that_cannot_be_made_for_heat_maps_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("maps", "overlays"):
        inspector = Inspector("embedded", mode="fast", **{name: tmp_path / "file" / "maps"})
        with pytest.raises(LriadError, match="no folder can be made there"):
            inspector.loaded()


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_a_text_without_an_answer_is_for_review_with_a_forced_probability(
    tmp_path: Path, threshold: float | None
) -> None:
    path = photograph(tmp_path / "a.png", red=255, blue=255)
    verdict = Inspector(RedPolicy(), threshold=threshold).inspect(path, "metal nut")
    assert (verdict.label, verdict.decision, verdict.p_defect) == ("unparsable", "review", 1.0)
    assert verdict.answer_forced
    assert not verdict.follows_format
    assert verdict.text == "I see a metal nut and"


@pytest.mark.parametrize(("red", "label"), [(0, "normal"), (127, "normal"), (128, "defect"), (255, "defect")])
def test_fast_mode_reads_the_probability_and_writes_no_text(tmp_path: Path, red: int, label: str) -> None:
    policy = RedPolicy()
    verdict = Inspector(policy, mode="fast").inspect(photograph(tmp_path / "a.png", red), "metal nut")
    assert (verdict.label, verdict.decision, verdict.mode) == (label, label, "fast")
    assert (verdict.text, verdict.reasoning, verdict.follows_format) == ("", "", False)
    assert policy.batches == []


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reds=st.lists(st.one_of(st.integers(0, 255), st.none()), max_size=9), batch_size=st.integers(1, 4))
def test_rows_come_in_order_whatever_the_batches_and_the_bad_images(
    tmp_path: Path, reds: list[int | None], batch_size: int
) -> None:
    samples = []
    for index, red in enumerate(reds):
        path = tmp_path / f"{index}.png"
        path.write_bytes(b"not an image") if red is None else photograph(path, red)
        samples.append(sample_of(path))
    policy = RedPolicy()
    rows = list(Inspector(policy, batch_size=batch_size).inspect_samples(iter(samples)))
    assert [row["id"] for row in rows] == [sample.id for sample in samples]
    assert all(size <= batch_size for size in policy.batches)
    for red, row in zip(reds, rows, strict=True):
        if red is None:
            assert row.keys() == SAMPLE_FIELDS | {"error"}
            assert "\n" not in row["error"]
        else:
            assert row.keys() == SAMPLE_FIELDS | VERDICT_FIELDS
            assert row["p_defect"] == red / 255
            assert row["truth"] == "normal"


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x89PNG\r\n\x1a\n"], ids=["missing", "empty", "text", "cut"])
def test_a_bad_image_is_one_line_and_needs_no_policy(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bad.png"
    if content is not None:
        path.write_bytes(content)
    inspector = Inspector(str(tmp_path / "no such policy"))
    with pytest.raises(LriadError, match=r"bad\.png") as caught:
        inspector.inspect(path, "metal nut")
    assert "\n" not in str(caught.value)


def test_a_prompt_that_cannot_be_built_is_an_error_row_and_the_others_go_on(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", red=0)
    rows = list(Inspector(RedPolicy()).inspect_samples([sample_of(path), sample_of(path, ""), sample_of(path)]))
    assert ["error" in row for row in rows] == [False, True, False]


def test_what_the_policy_refuses_is_singled_out_of_its_batch(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", red=0)
    names = ["screw", "screw", "poem", "screw", "screw"]
    inspector = Inspector(RedPolicy(refused="poem"), batch_size=5)
    rows = list(inspector.inspect_samples([sample_of(path, name) for name in names]))
    assert [row.get("error") for row in rows] == [None, None, "poem: the prompt is too long", None, None]


def test_broken_weights_never_pass_a_part(tmp_path: Path) -> None:
    """NaN compares false with every threshold."""

    class Broken(RedPolicy):
        def reason(self, prompts: Sequence[Any], **_: Any) -> list[Completion]:
            return [Completion("", float("nan"), False)] * len(prompts)

    with pytest.raises(LriadError, match="nan"):
        Inspector(Broken(), threshold=0.5).inspect(photograph(tmp_path / "a.png", 255), "nut")


def test_a_policy_that_cannot_be_loaded_is_no_error_of_the_images(tmp_path: Path) -> None:
    path = photograph(tmp_path / "a.png", red=0)
    with pytest.raises(LriadError, match="no such policy"):
        list(Inspector(str(tmp_path / "no such policy")).inspect_samples([sample_of(path)]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "slow"},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"batch_size": 0},
        {"max_new_tokens": 0},
    ],
)
def test_settings_out_of_range_are_refused_at_once(wrong: dict) -> None:
    with pytest.raises(LriadError):
        Inspector(RedPolicy(), **wrong)


def test_images_are_read_one_window_ahead_and_no_further(tmp_path: Path) -> None:
    """A million samples must not be drawn from a lazy source before the first verdict."""
    path = photograph(tmp_path / "a.png", red=0)
    drawn = []

    def source():  # type: ignore[no-untyped-def]
        for index in range(1000):
            drawn.append(index)
            yield sample_of(path)

    next(Inspector(RedPolicy(), batch_size=3).inspect_samples(source()))
    assert len(drawn) == 9, "a window of one batch, and one of two"
