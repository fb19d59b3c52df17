"""Data sets: from a spec such as `folder:photos` to a sequence of samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lriad._lazy import attributes_from
from lriad.data.sample import Label, Sample, Split

if TYPE_CHECKING:
    from lriad.data.spec import load_dataset
    from lriad.data.split import split_by_group
    from lriad.data.stats import DatasetStats, check_official, dataset_stats
    from lriad.data.table import SampleTable

__all__ = [
    "DatasetStats",
    "Label",
    "Sample",
    "SampleTable",
    "Split",
    "check_official",
    "dataset_stats",
    "load_dataset",
    "split_by_group",
]

__getattr__ = attributes_from(
    __name__,
    {
        "DatasetStats": "lriad.data.stats",
        "SampleTable": "lriad.data.table",
        "check_official": "lriad.data.stats",
        "dataset_stats": "lriad.data.stats",
        "load_dataset": "lriad.data.spec",
        "split_by_group": "lriad.data.split",
    },
)
