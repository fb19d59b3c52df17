"""Data sets: from a spec such as `folder:photos` to a sequence of samples."""

from lriad.data.sample import Label, Sample, Split
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
