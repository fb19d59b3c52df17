"""What is in a data set: the paper's Table I, per category, and whether an official set is complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lriad.data.mvtec import MVTEC_AD_COUNTS
from lriad.data.sample import Sample
from lriad.data.visa import VISA_COUNTS

ALL = "(all)"
"""Stands for the category in the row of a whole data set, and for the data set in the row of everything."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of images of one category, or of a whole data set.

    Attributes:
        dataset: Name of the data set.
        category: The category, or `(all)`.
        images: All images.
        good: Images labelled normal.
        defect: Images labelled defect.
        unknown: Images without a label.
        groups: Distinct groups; images without one are not counted.
        train: Images on the official train side.
        test: Images on the official test side.
    """

    dataset: str
    category: str
    images: int
    good: int
    defect: int
    unknown: int
    groups: int
    train: int
    test: int

    @property
    def defect_percent(self) -> float | None:
        """Share of defects among the labelled images, in percent; None without one."""
        labelled = self.good + self.defect
        return 100 * self.defect / labelled if labelled else None

    @property
    def one_class(self) -> str | None:
        """The label of all labelled images, None where there are both; `unknown` where none is labelled."""
        if self.good and self.defect:
            return None
        return "normal" if self.good else "defect" if self.defect else "unknown"


@dataclass(frozen=True, slots=True)
class DatasetStats:
    """The counts of a collection of samples.

    Attributes:
        categories: One entry a category, by data set and category.
        totals: One entry a data set (the paper's Table I), and one of everything where there are several.
    """

    categories: tuple[Counts, ...]
    totals: tuple[Counts, ...]

    def to_rows(self) -> list[dict[str, Any]]:
        """The table as plain rows with equal keys, the totals last: for JSON, CSV or a terminal's table."""
        return [
            {
                "dataset": counts.dataset,
                "category": counts.category,
                "images": counts.images,
                "good": counts.good,
                "defect": counts.defect,
                "defect_percent": None if counts.defect_percent is None else round(counts.defect_percent, 2),
                "unknown": counts.unknown,
                "groups": counts.groups,
                "train": counts.train,
                "test": counts.test,
                "one_class": counts.one_class,
            }
            for counts in (*self.categories, *self.totals)
        ]

    def to_markdown(self) -> str:
        """The table in Markdown; `-` stands for none."""
        rows = self.to_rows()
        heads = [name.replace("_percent", " %").replace("_", " ") for name in rows[0]] if rows else []
        lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * 2 + "---:|" * (len(heads) - 3) + "---|"]
        for row in rows:
            cells = [f"{value:.2f}" if isinstance(value, float) else str(value or "-") for value in row.values()]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """One line for each category with one class only: what it can and cannot be used for."""
        lines = []
        for counts in self.categories:
            name = f"{counts.dataset}/{counts.category}"
            if counts.one_class == "unknown":
                lines.append(f"{name}: no image is labelled; it can be inspected, but not trained on or evaluated")
            elif counts.one_class is not None:
                other = "defect" if counts.one_class == "normal" else "normal"
                lines.append(
                    f"{name}: only {counts.one_class} images; it can be inspected, but balanced accuracy, "
                    f"F1, AUROC and AP need {other} ones too"
                )
        return lines


@dataclass(slots=True)
class _Tally:
    labels: dict[str, int] = field(default_factory=lambda: {"normal": 0, "defect": 0, "unknown": 0})
    splits: dict[str | None, int] = field(default_factory=lambda: {"train": 0, "test": 0, None: 0})
    groups: set[tuple[str, str]] = field(default_factory=set)

    def add(self, sample: Sample) -> None:
        self.labels[sample.label] += 1
        self.splits[sample.split] += 1
        if sample.group is not None:
            self.groups.add((sample.dataset, sample.group))

    def counts(self, dataset: str, category: str) -> Counts:
        return Counts(
            dataset=dataset,
            category=category,
            images=sum(self.labels.values()),
            good=self.labels["normal"],
            defect=self.labels["defect"],
            unknown=self.labels["unknown"],
            groups=len(self.groups),
            train=self.splits["train"],
            test=self.splits["test"],
        )


def dataset_stats(samples: Iterable[Sample]) -> DatasetStats:
    """Counts images, labels, groups and official sides per category and in all."""
    by_category: dict[tuple[str, str], _Tally] = {}
    by_dataset: dict[str, _Tally] = {}
    everything = _Tally()
    for sample in samples:
        by_category.setdefault((sample.dataset, sample.category), _Tally()).add(sample)
        by_dataset.setdefault(sample.dataset, _Tally()).add(sample)
        everything.add(sample)
    totals = [by_dataset[dataset].counts(dataset, ALL) for dataset in sorted(by_dataset)]
    if len(totals) > 1:
        totals.append(everything.counts(ALL, ALL))
    return DatasetStats(
        categories=tuple(by_category[key].counts(*key) for key in sorted(by_category)),
        totals=tuple(totals),
    )


@dataclass(frozen=True, slots=True)
class OfficialCheck:
    """How a data set compares with its authors' numbers.

    Attributes:
        name: `MVTec-AD` or `VisA`.
        differences: One phrase each; empty where all numbers are the official ones.
    """

    name: str
    differences: tuple[str, ...]

    @property
    def matches(self) -> bool:
        """Whether all categories are there with the official numbers."""
        return not self.differences

    def __str__(self) -> str:
        if self.matches:
            return f"{self.name}: complete, all counts are the official ones"
        return f"{self.name}: not the official set: " + "; ".join(self.differences)


def check_official(stats: DatasetStats) -> list[OfficialCheck]:
    """Compares the data sets called `mvtec_ad` and `visa` with their official counts (both sides of the set).

    Args:
        stats: Counts of whole data sets (`split="all"`).

    Returns:
        One check for each of the two that is there.
    """
    checks = []
    for dataset, name, official in (
        (
            "mvtec_ad",
            "MVTec-AD",
            {c: (train + test, defect, train) for c, (train, test, defect) in MVTEC_AD_COUNTS.items()},
        ),
        ("visa", "VisA", {c: (normal, anomaly, None) for c, (normal, anomaly) in VISA_COUNTS.items()}),
    ):
        found = {counts.category: counts for counts in stats.categories if counts.dataset == dataset}
        if found:
            checks.append(OfficialCheck(name, tuple(_differences(found, official))))
    return checks


def _differences(found: dict[str, Counts], official: Mapping[str, tuple[int, int, int | None]]) -> Iterator[str]:
    for category, (good, defect, train) in official.items():
        if category not in found:
            continue
        counts = found[category]
        for what, ours, theirs in (
            ("good", counts.good, good),
            ("defect", counts.defect, defect),
            ("train", counts.train, train),
        ):
            if theirs is not None and ours != theirs:
                yield f"{category} has {ours} {what} images instead of {theirs}"
    missing = [category for category in official if category not in found]
    if missing:
        yield f"{len(missing)} of {len(official)} categories missing ({', '.join(missing)})"
