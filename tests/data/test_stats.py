from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lriad.data import Sample, check_official, dataset_stats, load_dataset
from lriad.data.mvtec import MVTEC_AD_COUNTS
from lriad.data.visa import VISA_COUNTS


def many(count: int, label: str, category: str, dataset: str, split: str | None = None, start: int = 0) -> list[Sample]:
    return [
        Sample(f"{category}/{label}/{split}/{n}", "x.png", label, category, category, split, dataset=dataset)
        for n in range(start, start + count)
    ]


def official_mvtec() -> list[Sample]:
    samples = []
    for category, (train, test, defect) in MVTEC_AD_COUNTS.items():
        samples += many(train, "normal", category, "mvtec_ad", "train")
        samples += many(test, "normal", category, "mvtec_ad", "test")
        samples += many(defect, "defect", category, "mvtec_ad", "test")
    return samples


def official_visa() -> list[Sample]:
    samples = []
    for category, (normal, anomaly) in VISA_COUNTS.items():
        samples += many(normal, "normal", category, "visa")
        samples += many(anomaly, "defect", category, "visa")
    return samples


def test_table_1_of_the_paper() -> None:
    stats = dataset_stats(official_mvtec() + official_visa())
    totals = {counts.dataset: counts for counts in stats.totals}
    mvtec, visa, both = totals["mvtec_ad"], totals["visa"], totals["(all)"]
    assert (mvtec.defect, mvtec.good, round(mvtec.defect_percent, 2)) == (1258, 4096, 23.50)
    assert (mvtec.train, mvtec.test) == (3629, 1725)
    assert (visa.defect, visa.good, round(visa.defect_percent, 1)) == (1200, 9621, 11.1)
    assert both.images == mvtec.images + visa.images == 16175
    assert len(stats.categories) == 27
    assert stats.warnings() == []


def test_counts_labels_groups_and_sides() -> None:
    samples = [
        *many(3, "normal", "a", "d", "train"),
        *many(1, "defect", "a", "d", "test"),
        *many(2, "unknown", "a", "d"),
        *many(2, "defect", "b", "d"),
        *many(2, "unknown", "c", "d"),
        *many(1, "normal", "e", "d"),
    ]
    samples[0] = replace(samples[0], group="g")
    samples[3] = replace(samples[3], group="g")
    stats = dataset_stats(samples)
    rows = stats.to_rows()
    assert [row["category"] for row in rows] == ["a", "b", "c", "e", "(all)"]
    assert rows[0] == {
        "dataset": "d",
        "category": "a",
        "images": 6,
        "good": 3,
        "defect": 1,
        "defect_percent": 25.0,
        "unknown": 2,
        "groups": 1,
        "train": 3,
        "test": 1,
        "one_class": None,
    }
    assert [row["one_class"] for row in rows] == [None, "defect", "unknown", "normal", None]
    assert rows[2]["defect_percent"] is None
    assert rows[-1]["images"] == 11
    json.dumps(rows)
    warnings = stats.warnings()
    assert [line.split(":")[0] for line in warnings] == ["d/b", "d/c", "d/e"]
    assert "only defect images" in warnings[0]
    assert "no image is labelled" in warnings[1]
    assert "need defect ones too" in warnings[2]


def test_markdown() -> None:
    samples = [*many(3, "normal", "a|b", "d"), *many(1, "defect", "a|b", "d")]
    lines = dataset_stats(samples).to_markdown().splitlines()
    assert lines[0].startswith("| dataset | category | images | good | defect | defect % |")
    assert lines[2] == "| d | a\\|b | 4 | 3 | 1 | 25.00 | - | - | - | - | - |"
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_official_counts_match() -> None:
    checks = check_official(dataset_stats(official_mvtec() + official_visa()))
    assert [(check.name, check.matches) for check in checks] == [("MVTec-AD", True), ("VisA", True)]
    assert str(checks[0]) == "MVTec-AD: complete, all counts are the official ones"


def test_official_counts_differ() -> None:
    samples = [s for s in official_mvtec() if s.category != "zipper" and s.id != "bottle/defect/test/0"]
    samples = [s for s in samples if s.id != "cable/normal/train/0"]
    [check] = check_official(dataset_stats(samples))
    assert check.differences == (
        "bottle has 62 defect images instead of 63",
        "cable has 281 good images instead of 282",
        "cable has 223 train images instead of 224",
        "1 of 15 categories missing (zipper)",
    )
    assert str(check).startswith("MVTec-AD: not the official set: bottle has 62")
    assert not check.matches


def test_own_data_are_not_checked() -> None:
    assert check_official(dataset_stats(many(3, "normal", "bottle", "my bottles"))) == []


@pytest.mark.real
def test_real_data(real_data: Path) -> None:
    rows = {row["category"]: row for row in dataset_stats(load_dataset(f"folder:{real_data}/bsdata")).to_rows()}
    ball_screw = rows["ball_screw"]
    assert (ball_screw["good"], ball_screw["defect"], ball_screw["groups"]) == (250, 150, 30)
    assert ball_screw["defect_percent"] == 37.5
