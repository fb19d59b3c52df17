from __future__ import annotations

from pathlib import Path

import pytest

from lriad.data.mvtec import MVTEC_AD_COUNTS, load_mvtec
from lriad.errors import LriadError

BOTTLE = (
    "bottle/train/good/000.png",
    "bottle/test/good/000.png",
    "bottle/test/broken_large/000.png",
    "bottle/ground_truth/broken_large/000_mask.png",
)


def test_sides_types_and_masks(pictures) -> None:
    root = pictures(*BOTTLE, "metal_nut/train/good/000.png", "metal_nut/test/bent/000.png")
    (root / "license.txt").touch()
    samples = load_mvtec(root)
    assert [(s.id, s.label, s.split, s.defect_type, s.object_name) for s in samples] == [
        ("bottle/train/good/000.png", "normal", "train", None, "bottle"),
        ("bottle/test/broken_large/000.png", "defect", "test", "broken_large", "bottle"),
        ("bottle/test/good/000.png", "normal", "test", None, "bottle"),
        ("metal_nut/train/good/000.png", "normal", "train", None, "metal nut"),
        ("metal_nut/test/bent/000.png", "defect", "test", "bent", "metal nut"),
    ]
    assert [s.mask for s in samples] == [
        None,
        str(root / "bottle/ground_truth/broken_large/000_mask.png"),
        None,
        None,
        None,
    ]
    assert {s.dataset for s in samples} == {"mvtec_ad"}


def test_without_any_mask_and_as_one_category(pictures) -> None:
    samples = load_mvtec(pictures(*BOTTLE[:3]) / "bottle")
    assert [s.id for s in samples] == [
        "train/good/000.png",
        "test/broken_large/000.png",
        "test/good/000.png",
    ]
    assert {(s.category, s.mask) for s in samples} == {("bottle", None)}


def test_own_parts_keep_the_name_of_their_folder(pictures) -> None:
    root = pictures("parts/lid/train/good/1.png", "parts/lid/test/dent/1.png") / "parts"
    assert {s.dataset for s in load_mvtec(root)} == {"parts"}


def test_loco(pictures) -> None:
    root = pictures(
        "pushpins/train/good/000.png",
        "pushpins/validation/good/000.png",
        "pushpins/test/good/000.png",
        "pushpins/test/logical_anomalies/000.png",
        "pushpins/test/structural_anomalies/000.png",
        "pushpins/ground_truth/logical_anomalies/000/000.png",
        "pushpins/ground_truth/logical_anomalies/000/001.png",
        "pushpins/ground_truth/structural_anomalies/000/000.png",
    )
    samples = load_mvtec(root)
    assert {s.dataset for s in samples} == {"mvtec_loco"}
    assert {s.id: (s.split, s.label) for s in samples} == {
        "pushpins/train/good/000.png": ("train", "normal"),
        "pushpins/validation/good/000.png": (None, "normal"),
        "pushpins/test/good/000.png": ("test", "normal"),
        "pushpins/test/logical_anomalies/000.png": ("test", "defect"),
        "pushpins/test/structural_anomalies/000.png": ("test", "defect"),
    }
    masks = {s.defect_type: s.mask for s in samples if s.mask}
    assert masks == {
        type_: str(root / f"pushpins/ground_truth/{type_}/000")
        for type_ in ("logical_anomalies", "structural_anomalies")
    }


def test_btad(pictures) -> None:
    root = pictures("01/train/ok/1.bmp", "01/test/ok/2.png", "01/test/ko/3.png", "01/ground_truth/ko/3.bmp")
    samples = load_mvtec(root)
    assert [(s.label, s.split, s.defect_type, s.object_name) for s in samples] == [
        ("normal", "train", None, "part"),
        ("defect", "test", "ko", "part"),
        ("normal", "test", None, "part"),
    ]
    assert samples[1].mask == str(root / "01/ground_truth/ko/3.bmp")


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["a/good/1.png"], r"looks like the folder layout .*; use folder:"),
        (["a/Data/Images/Normal/1.png"], r"looks like the visa layout .*; use visa:"),
        ([*BOTTLE, "bottle/test/1.png"], r"test/1.png: images lie outside the layout"),
        ([*BOTTLE, "bottle/broken/1.png"], r"bottle/broken: images lie outside the layout"),
        (["1.png"], r"holds no <category>/train/good"),
    ],
)
def test_other_layouts(pictures, paths: list[str], message: str) -> None:
    with pytest.raises(LriadError, match=message):
        load_mvtec(pictures(*paths))


def test_category_without_images(pictures, tmp_path: Path) -> None:
    root = pictures(*BOTTLE)
    (root / "cable/train/good").mkdir(parents=True)
    with pytest.raises(LriadError, match=r"cable: holds no image"):
        load_mvtec(root)


def test_official_counts() -> None:
    assert len(MVTEC_AD_COUNTS) == 15
    assert [sum(column) for column in zip(*MVTEC_AD_COUNTS.values(), strict=True)] == [3629, 467, 1258]
