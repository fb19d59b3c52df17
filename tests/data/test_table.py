from __future__ import annotations

import os
import pickle
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lriad.data import Sample, SampleTable, load_dataset
from lriad.errors import LriadError

SAMPLES = [
    Sample("a/good/1.png", "a/good/1.png", "normal", "a", "a", "train", dataset="d"),
    Sample("a/bad/2.png", "a/bad/2.png", "defect", "a", "a", "test", "scratch", "g1", "a/mask/2.png", "d"),
    Sample("own id", "b/3.png", "unknown", "b_c", "b c", None, None, "g1", None, "e"),
]


def table(samples: list[Sample], root: str = "root") -> SampleTable:
    result = SampleTable(root)
    for sample in samples:
        result.append(sample)
    return result


def below(root: str, sample: Sample) -> Sample:
    return replace(
        sample, image=f"{root}/{sample.image}", mask=None if sample.mask is None else f"{root}/{sample.mask}"
    )


def test_gives_back_what_it_was_given() -> None:
    samples = table(SAMPLES)
    assert list(samples) == [below("root", sample) for sample in SAMPLES]
    assert len(samples) == 3
    assert samples[-1] == samples[2]
    assert samples[-2].mask == "root/a/mask/2.png"
    with pytest.raises(IndexError):
        samples[3]


def test_slices_filters_and_pickles() -> None:
    samples = table(SAMPLES)
    assert list(samples[1:]) == list(samples)[1:]
    assert list(samples[::-1]) == list(samples)[::-1]
    assert [sample.id for sample in samples.where(lambda kind: kind.category == "a")] == [
        "a/good/1.png",
        "a/bad/2.png",
    ]
    assert {kind.category for kind in samples.where(lambda kind: kind.split is None).kinds} == {"b_c"}
    assert list(pickle.loads(pickle.dumps(samples))) == list(samples)


def test_absolute_images_and_a_root_of_here() -> None:
    absolute = replace(SAMPLES[0], image="/elsewhere/1.png")
    assert table([absolute])[0].image == "/elsewhere/1.png"
    assert table(SAMPLES, ".")[0].image == "a/good/1.png"


def test_concatenation_prefixes_ids_and_keeps_paths() -> None:
    whole = SampleTable.concatenate([table(SAMPLES, "x"), table(SAMPLES, "y")], ["x/", "y/"])
    assert list(whole.ids()) == [f"{root}/{sample.id}" for root in "xy" for sample in SAMPLES]
    assert [sample.id for sample in whole] == list(whole.ids())
    assert whole[4].image == "y/a/bad/2.png"
    assert whole[4].mask == "y/a/mask/2.png"
    assert list(whole[3:].ids()) == list(whole.ids())[3:]


def test_refuses_an_object_name_that_no_prompt_can_hold() -> None:
    with pytest.raises(LriadError, match="object name"):
        table([replace(SAMPLES[0], object_name="two\nlines")])


fields = st.text("abc/", min_size=1, max_size=6)
optional = st.none() | fields
samples_strategy = st.lists(
    st.builds(
        Sample,
        id=fields,
        image=fields.map(lambda text: text.lstrip("/") or "a"),
        label=st.sampled_from(["defect", "normal", "unknown"]),
        category=fields,
        object_name=fields,
        split=st.sampled_from([None, "train", "test"]),
        defect_type=optional,
        group=optional,
        mask=optional.map(lambda text: text and (text.lstrip("/") or "a")),
        dataset=fields,
    )
)


@given(samples_strategy)
def test_any_samples_come_back(samples: list[Sample]) -> None:
    assert list(table(samples)) == [below("root", sample) for sample in samples]


def test_memory_is_that_of_the_paths(tmp_path: Path) -> None:
    count = 10_000
    folders = [f"part_{c}/{side}" for c in range(5) for side in ("good", "defect/scratch")]
    names = [f"camera_1_{number:08}.png" for number in range(count // len(folders))]
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        for name in names:
            os.close(os.open(f"{tmp_path}/{folder}/{name}", os.O_CREAT))
    load_dataset(f"folder:{tmp_path}", categories=["part_0"])  # imports are no part of the measurement

    tracemalloc.start()
    try:
        paths = [f"{tmp_path}/{folder}/{name}" for folder in folders for name in names]
        of_paths = tracemalloc.get_traced_memory()[0]
        del paths
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        samples = load_dataset(f"folder:{tmp_path}")
        after, peak = tracemalloc.get_traced_memory()
        eager = list(samples)
        of_samples = tracemalloc.get_traced_memory()[0] - after
    finally:
        tracemalloc.stop()
    assert len(eager) == len(samples) == count
    assert after - before < of_paths
    assert peak - before < 2 * of_paths
    assert of_samples > 1.5 * (after - before)
