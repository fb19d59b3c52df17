from __future__ import annotations

import pytest

from lriad.data import load_dataset
from lriad.data.visa import VISA_COUNTS, load_visa
from lriad.errors import LriadError

CANDLE = (
    "candle/Data/Images/Normal/0000.JPG",
    "candle/Data/Images/Normal/0001.JPG",
    "candle/Data/Images/Anomaly/000.JPG",
    "candle/Data/Masks/Anomaly/000.png",
)
SPLIT = """object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0000.JPG,
candle,test,normal,candle/Data/Images/Normal/0001.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
capsules,test,normal,capsules/Data/Images/Normal/000.JPG,
"""


def with_split(root, content: str = SPLIT):
    (root / "split_csv").mkdir()
    (root / "split_csv/1cls.csv").write_text(content)
    return root


def test_official_layout(pictures) -> None:
    root = with_split(pictures(*CANDLE))
    (root / "candle/image_anno.csv").write_text(
        "image,label,mask\n"
        'candle/Data/Images/Anomaly/000.JPG,"wax melded out of the candle,weird candle wick",m.png\n'
        "candle/Data/Images/Normal/0000.JPG,normal,\n"
    )
    samples = load_visa(root)
    assert [(s.id, s.label, s.split, s.defect_type) for s in samples] == [
        (CANDLE[2], "defect", "test", "wax melded out of the candle,weird candle wick"),
        (CANDLE[0], "normal", "train", None),
        (CANDLE[1], "normal", "test", None),
    ]
    assert samples[0].mask == str(root / CANDLE[3])
    assert {s.dataset for s in samples} == {"visa"}


def test_sides_are_taken_from_the_csv(pictures) -> None:
    root = with_split(pictures(*CANDLE))
    assert [s.id for s in load_dataset(f"visa:{root}", split="train")] == [CANDLE[0]]
    assert len(load_dataset(f"visa:{root}", split="test")) == 2


def test_without_the_csv_there_are_no_sides(pictures) -> None:
    root = pictures(*CANDLE)
    assert {s.split for s in load_visa(root)} == {None}
    with pytest.raises(LriadError, match=r"'candle' has no official .*split=all.*1cls.csv") as error:
        load_dataset(f"visa:{root}", split="test")
    assert "\n" not in str(error.value)


def test_one_category_and_no_masks(pictures) -> None:
    root = pictures(*CANDLE[:3])
    samples = load_visa(root / "candle")
    assert {(s.category, s.mask, s.split) for s in samples} == {("candle", None, None)}
    assert samples[0].id == "Data/Images/Anomaly/000.JPG"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            SPLIT.replace("test,anomaly", "test,normal"),
            r"1cls.csv:4: says normal, but 'candle/Data/Images/Anomaly",
        ),
        (SPLIT.replace("candle,train", "candle,val"), r"1cls.csv:2: split 'val' is not known"),
        ("image,label\ncandle/Data/Images/Normal/0000.JPG,normal\n", r"1cls.csv:2: has no column 'split'"),
        (SPLIT.replace("train,normal", "train,fine"), r"1cls.csv:2: label 'fine' is not understood"),
    ],
)
def test_wrong_csv(pictures, content: str, message: str) -> None:
    with pytest.raises(LriadError, match=message):
        load_visa(with_split(pictures(*CANDLE), content))


def test_incomplete_layout(pictures) -> None:
    root = pictures("candle/Data/1.png")
    with pytest.raises(LriadError, match=r"Data/Images: there is no such"):
        load_visa(root)


def test_official_counts() -> None:
    assert len(VISA_COUNTS) == 12
    assert [sum(column) for column in zip(*VISA_COUNTS.values(), strict=True)] == [9621, 1200]
