"""Good images of each category: which are drawn, what is left to test, and what comes of their memories."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_data import make_parts
from tiny_models import save_tiny_model

from lriad.data import Sample, load_dataset
from lriad.data.sample import Label, Split
from lriad.errors import LriadError
from lriad.evaluation import evaluate_predictions
from lriad.inspection import evaluate_policy, inspect_to_file
from lriad.inspection.few_shot import divide
from lriad.memory import load_memory
from lriad.policy import Policy, load_policy

NUT = ("set", "nut")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("images")
    for shade in range(60):
        Image.new("RGB", (4, 4), (shade, 0, 0)).save(folder / f"{shade:02}.png")
    return sorted(map(str, folder.iterdir()))


def make(
    images: list[str],
    good: int,
    defects: int = 0,
    *,
    category: str = "nut",
    groups: int | None = None,
    split: Split | None = None,
) -> list[Sample]:
    """Samples of one category with pictures that differ, in so many groups in turn."""
    labels: list[Label] = ["normal"] * good + ["defect"] * defects
    return [
        Sample(
            id=f"{category}/{split}/{index}",
            image=images[index],
            label=label,
            category=category,
            object_name=category,
            split=split,
            group=None if groups is None else f"part {index % groups}",
            dataset="set",
        )
        for index, label in enumerate(labels)
    ]


def ids(samples: object) -> set[str]:
    return {sample.id for sample in samples}  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None)
@given(
    good=st.integers(2, 12),
    groups=st.none() | st.integers(20, 24),
    defects=st.none() | st.integers(5, 6),
    seed=st.integers(0, 100),
)
def test_neither_what_is_drawn_nor_its_groups_are_tested_and_a_seed_draws_the_same(
    images: list[str], good: int, groups: int | None, defects: int | None, seed: int
) -> None:
    good = good if defects is None else max(good, 5)
    samples = make(images, 30, 20, groups=groups) + make(images, 14, 12, category="screw")
    one = divide(samples, samples, good, defects, seed)
    for category, own in one.shots.items():
        assert len(own.good) == good
        assert len(own.defects) == (defects or 0)
        assert {sample.label for sample in own.good.values()} == {"normal"}
        assert {sample.label for sample in own.defects.values()} <= {"defect"}
        drawn = [*own.good.values(), *own.defects.values()]
        assert {sample.category for sample in drawn} == {category[1]}
        tested = [sample for sample in one.test if sample.category == category[1]]
        assert not ids(drawn) & ids(tested)
        assert not {sample.group for sample in drawn} & {sample.group for sample in tested} - {None}
        for side in (own.good, own.defects):
            assert len({sample.group or sample.id for sample in side.values()}) == len(side)
        # All others are tested.
        left_out = [s for s in samples if s.category == category[1] and s.id not in ids(tested)]
        assert ids(left_out) == ids(
            s
            for s in samples
            if s.category == category[1] and (s.id in ids(drawn) or s.group in {d.group for d in drawn} - {None})
        )
    shuffled = random.Random(seed).sample(samples, len(samples))
    again = divide(shuffled, shuffled, good, defects, seed)
    assert again.shots == one.shots
    assert ids(again.test) == ids(one.test)


def test_other_seeds_draw_others_and_a_smaller_draw_is_a_part_of_a_larger_one(images: list[str]) -> None:
    samples = make(images, 30, 20)
    small, large, other = (divide(samples, samples, *given) for given in ((5, 5, 3), (9, 8, 3), (5, 5, 4)))
    assert small.shots[NUT].good.items() < large.shots[NUT].good.items()
    assert small.shots[NUT].defects.items() < large.shots[NUT].defects.items()
    assert small.shots[NUT].good != other.shots[NUT].good
    # Nor does it matter which other categories there are.
    with_more = samples + make(images, 9, 3, category="screw")
    assert divide(with_more, with_more, 5, None, 3).shots[NUT].good == small.shots[NUT].good


def test_the_train_side_is_drawn_first_whatever_side_is_tested(images: list[str]) -> None:
    """As MVTec-AD has it: good images to train on, and to test on good ones and all defects."""
    train = make(images[:12], 12, split="train")
    test = make(images[12:], 8, 10, split="test")
    few = divide(test, train + test, 10)
    assert ids(few.shots[NUT].good.values()) < ids(train)
    assert few.test == test
    more = divide(test, train + test, 14, 5)
    assert ids(more.shots[NUT].good.values()) > ids(train)
    assert ids(more.test) == ids(test) - ids(more.shots[NUT].good.values()) - ids(more.shots[NUT].defects.values())
    whole = divide(train + test, train + test, 10)
    assert ids(whole.test) == ids(train + test) - ids(few.shots[NUT].good.values())


def test_copies_count_once_so_that_all_memories_know_as_many(images: list[str]) -> None:
    samples = [replace(sample, image=images[index // 3]) for index, sample in enumerate(make(images, 18))]
    drawn = divide(samples, samples, 5).shots[NUT].good
    assert len({sample.image for sample in drawn.values()}) == len(drawn) == 5


@pytest.mark.parametrize(
    ("good", "defects", "groups", "asked", "words"),
    [
        (8, 6, None, (1, None), "good 1"),
        (8, 6, None, (5, 4), "defects 4"),
        (8, 12, None, (4, 5), "good 4"),
        (8, 6, None, (9, None), "'nut': has 8 good images of 8 parts .*9 of different"),
        (8, 6, None, (8, None), "'nut': has 8 good images of 8 parts .*none would be left"),
        (8, 0, 3, (4, None), "'nut': has 8 good images of 3 parts .*4 of different"),
        (8, 0, 4, (4, None), "'nut': has 8 good images of 4 parts .*none would be left"),
        (8, 9, None, (5, 5), "'nut': has 9 defective images of 9 parts .*half .*5 of different"),
        (4, 2, 3, (2, None), None),
        (2, 2, 2, (2, None), "none would be left"),
    ],
)
def test_too_few_are_told_in_one_line_with_category_and_counts(
    images: list[str], good: int, defects: int, groups: int | None, asked: tuple, words: str | None
) -> None:
    samples = make(images, 20, 20, category="alien") + make(images, good, defects, groups=groups)
    if words is None:
        assert divide(samples, samples, *asked).test
        return
    with pytest.raises(LriadError, match=words) as caught:
        divide(samples, samples, *asked)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_one_memory_is_told(images: list[str], tmp_path: Path) -> None:
    samples = make(images, 8)
    named = [replace(sample, object_name=f"nut {index % 2}") for index, sample in enumerate(samples)]
    with pytest.raises(LriadError, match="'nut': holds 'nut 0', 'nut 1'"):
        divide(named, named, 2)
    gone = [replace(sample, image=str(tmp_path / "gone.png")) for sample in samples]
    with pytest.raises(LriadError, match=r"gone\.png"):
        divide(gone, gone, 2)


# --- with a policy ---


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return load_policy(str(save_tiny_model("fast_vlm", tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


def draw_two_sets(folder: Path) -> list[Sample]:
    """Two categories of 12 images, 4 of them defective; one has them in pairs of one group."""
    make_parts(folder, 12, "square")
    make_parts(folder, 12, "disc")
    samples = [*load_dataset(f"folder:{folder}")]
    return [
        replace(sample, group=f"pair {index // 2}" if sample.category == "disc" else None)
        for index, sample in enumerate(samples)
    ]


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def without_time(rows: list[dict]) -> dict[str, dict]:
    return {row["id"]: {name: value for name, value in row.items() if name != "seconds"} for row in rows}


def test_each_category_has_its_memory_all_in_one_table_and_resumed_it_is_as_unbroken(
    policy: Policy, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = draw_two_sets(tmp_path / "set")
    _, shots, test = divide(samples, samples, 3, seed=1)
    run, broken = tmp_path / "run", tmp_path / "broken"
    settings = {"shots": shots, "policy": policy, "mode": "fast", "batch_size": 4}
    evaluation = evaluate_policy(test, run, **settings)
    assert "disc: 3 good parts can promise" in caplog.text
    rows = rows_of(run)
    assert Counter(row["id"] for row in rows) == Counter(sample.id for sample in test)
    assert {row["setting"] for row in rows} == {"3 good"}
    assert len({(row["category"], row["memory"]) for row in rows}) == len({row["memory"] for row in rows}) == 2
    assert evaluation.decided_by == ("memory",)
    assert evaluation.by_label.per_category.keys() == {"disc", "square"}
    assert any("Setting: 3 good" in note for note in evaluation.notes)

    # Stopped while the second memory was made, and again at the third image.
    (broken / "memories").mkdir(parents=True)
    first = run / "memories" / "disc.memory"
    (broken / "memories" / first.name).write_bytes(first.read_bytes())
    there = (broken / "memories" / first.name).stat()
    lines = (run / "predictions.jsonl").read_bytes().splitlines(keepends=True)
    (broken / "predictions.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:40])
    again = evaluate_policy(test, broken, **settings)
    assert (broken / "memories" / first.name).stat() == there
    one, other = ({load_memory(file).sha256 for file in (folder / "memories").iterdir()} for folder in (run, broken))
    assert one == other
    found, expected = without_time(rows_of(broken)), without_time(rows)
    assert found.keys() == expected.keys()
    for id_, row in expected.items():
        for name, value in row.items():
            assert found[id_][name] == (pytest.approx(value, abs=1e-4) if isinstance(value, float) else value), name
    assert again.to_markdown() == evaluation.to_markdown()

    # Other images, another policy: what is there stays.
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    drawn = divide(samples, samples, 3, seed=2)
    with pytest.raises(LriadError, match=r"\.memory: was made of other images"):
        evaluate_policy(drawn.test, run, **settings | {"shots": drawn.shots})
    with pytest.raises(LriadError, match="no other memory"):
        evaluate_policy(test, run, **settings, memory=first)
    with pytest.raises(LriadError, match="a server does not show"):
        evaluate_policy(test, run, **settings | {"policy": "http://localhost:1/v1#model"})
    with pytest.raises(LriadError, match="holds rows made with"):
        evaluate_policy(test, run, policy=policy, mode="fast")
    discs = [sample for sample in test if sample.category == "disc"]
    another = replace(load_memory(first), versions={})  # of as many images
    with pytest.raises(LriadError, match="holds rows of disc made with memory"):
        inspect_to_file(discs, run / "predictions.jsonl", policy=policy, mode="fast", memory=another)
    assert {path: path.read_bytes() for path in kept} == kept

    # Zero-shot and three good never stand in one table.
    zero_shot = [{**row, "id": f"{row['id']} again", "setting": "zero-shot"} for row in rows]
    with pytest.raises(LriadError, match="several settings"):
        evaluate_predictions([*rows, *zero_shot])


def test_labelled_defects_are_named_in_the_setting_and_a_copy_of_one_is_not_tested(
    policy: Policy, tmp_path: Path
) -> None:
    samples = [*load_dataset(make_parts(tmp_path / "set", 30))]
    _, shots, test = divide(samples, samples, 5, 5)
    known = next(iter(shots["set", "square"].defects.values()))
    copy = replace(known, id="copy", image=str(tmp_path / "copy.png"))
    Image.fromarray(np.asarray(Image.open(known.image))).save(copy.image)
    evaluation = evaluate_policy([*test, copy], tmp_path / "run", shots=shots, policy=policy, mode="fast")
    rows = rows_of(tmp_path / "run")
    assert {row["setting"] for row in rows} == {"5 good + 5 labelled defects"}
    assert {row["decided_by"] for row in rows} == {"score"}
    assert {row["id"] for row in rows} == ids(test)
    assert any(note.startswith("1 images of the data set are in the memory") for note in evaluation.notes)
