from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lriad.data import Sample
from lriad.data.manifest import LABELS, load_csv, load_jsonl
from lriad.errors import LriadError


def jsonl(folder: Path, *rows: object) -> Path:
    path = folder / "parts.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def text(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    path = folder / "parts.csv"
    path.write_bytes(content.encode(encoding))
    return path


def failure(load, path: Path) -> str:
    with pytest.raises(LriadError) as error:
        load(path)
    assert str(error.value).isprintable()
    return str(error.value)


def test_the_least_that_a_line_needs(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"image": "./a/1.png", "label": "defect"}, "", {"image": "2.png", "label": "good"})
    image = str(tmp_path / "a/1.png")
    samples = load_jsonl(path)
    assert samples[0] == Sample("a/1.png", image, "defect", "part", "part", dataset="parts")
    assert samples[1].label == "normal"
    assert len(samples) == 2


def test_all_fields(tmp_path: Path) -> None:
    sample = Sample(
        id="n 1",
        image="img/1.png",
        label="defect",
        category="metal_nut",
        object_name="steel nut",
        split="test",
        defect_type="bent",
        group="7",
        mask="masks/1.png",
        dataset="mine",
    )
    row = {**asdict(sample), "place": "upper left", "size": 3}
    loaded = load_jsonl(jsonl(tmp_path, row))[0]
    root = str(tmp_path)
    assert asdict(loaded) == {**asdict(sample), "image": f"{root}/img/1.png", "mask": f"{root}/masks/1.png"}
    with (tmp_path / "parts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerow(row)
    assert load_csv(tmp_path / "parts.csv")[0] == loaded


def test_category_and_object_name_complete_each_other(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"image": "1.png", "label": 0, "category": "metal_nut"},
        {"image": "2.png", "label": 1, "object_name": "toy alien"},
    )
    names = [(s.category, s.object_name) for s in load_jsonl(path)]
    assert names == [("metal_nut", "metal nut"), ("toy_alien", "toy alien")]


def test_order_of_the_file_and_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonl(tmp_path, *({"image": f"{n}.png", "label": "ok"} for n in (3, 1, 2)))
    monkeypatch.chdir(tmp_path)
    assert [s.image for s in load_jsonl("parts.jsonl")] == ["3.png", "1.png", "2.png"]


@pytest.mark.parametrize(
    ("value", "label"),
    [
        *[(word, label) for word, label in LABELS.items()],
        *[(word.upper(), label) for word, label in LABELS.items()],
        (True, "defect"),
        (False, "normal"),
        (1, "defect"),
        (0, "normal"),
        (None, "unknown"),
        (" Good ", "normal"),
    ],
)
def test_labels(tmp_path: Path, value: object, label: str) -> None:
    assert load_jsonl(jsonl(tmp_path, {"image": "1.png", "label": value}))[0].label == label


@pytest.mark.parametrize("value", ["A", "B", "defects", "not good", "2", 0.5, 1.0, ["defect"], {"a": 1}])
def test_labels_that_nobody_can_be_sure_of(tmp_path: Path, value: object) -> None:
    message = failure(
        load_jsonl, jsonl(tmp_path, {"image": "1.png", "label": "ok"}, {"image": "2.png", "label": value})
    )
    assert "parts.jsonl:2: label" in message
    assert "write defect" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image": "1.png", "label": "ok"', "not valid JSON (Expecting ',' delimiter at column"),
        ("[" * 100_000, "not valid JSON"),
        ('{"image": 1' + "0" * 5000 + "}", "not valid JSON"),
        ('["1.png", "ok"]', "expected a JSON object"),
        ('{"image": "1.png"}', "has no 'label'"),
        ('{"image": "1.png", "lable": "ok"}', "did you mean 'lable'?"),
        ('{"label": "ok"}', "has no 'image'"),
        ('{"image": "", "label": "ok"}', "'image' is empty"),
        ('{"image": null, "label": "ok"}', "'image' is empty"),
        ('{"image": ["1.png"], "label": "ok"}', "expected text"),
        ('{"image": "1.png", "label": "ok", "group": 1.5}', "'group' is '1.5'; expected text"),
        ('{"image": "1.png", "label": "ok", "split": "val"}', "split 'val' is not known"),
        ('{"image": "a\\u0000.png", "label": "ok"}', "control character"),
        ('{"image": "\\ud800.png", "label": "ok"}', "half a character"),
        ('{"image": "1.png", "label": "ok", "object_name": "' + "x" * 300 + '"}', "object name"),
        ('{"image": "../1.png", "label": "ok"}', "climbs out of the manifest's folder"),
        ('{"image": "a/../../1.png", "label": "ok"}', "climbs out"),
        ('{"image": "..\\\\1.png", "label": "ok"}', "climbs out"),
        ('{"image": "1.png", "label": "ok", "mask": "../m.png"}', "mask '../m.png' climbs out"),
    ],
)
def test_broken_lines_name_file_and_line(tmp_path: Path, line: str, message: str) -> None:
    text_ = failure(load_jsonl, jsonl(tmp_path, {"image": "0.png", "label": "ok"}, "", line))
    assert "parts.jsonl:3: " in text_
    assert message in text_


def test_absolute_paths_are_the_users_own_list(tmp_path: Path) -> None:
    sample = load_jsonl(jsonl(tmp_path, {"image": "/photos/1.png", "label": "ok"}))[0]
    assert sample.image == sample.id == "/photos/1.png"


def test_an_exact_repeat_counts_once(tmp_path: Path) -> None:
    row = {"image": "1.png", "label": "ok"}
    assert len(load_jsonl(jsonl(tmp_path, row, {**row, "image": "./1.png", "label": "normal"}))) == 1


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"label": "defect"}, "on line 1 with another label ('normal' there, 'defect' here); keep one"),
        ({}, {"label": "unknown"}, "with another label"),
        ({"split": "train"}, {"split": "test"}, "with another split ('train' there, 'test' here)"),
        (
            {"category": "a"},
            {"category": "b"},
            "another category ('a' there, 'b' here); keep one of the two lines, or",
        ),
        ({"id": "x"}, {"id": "x", "image": "2.png"}, "id 'x' is also on line 1 with another image"),
        ({"id": "x"}, {"id": "y", "label": "defect"}, "with another label"),
        ({}, {"id": "y", "label": "defect"}, "with another label"),
        ({"id": "y"}, {"label": "defect"}, "with another label"),
        ({"id": "x", "group": "1"}, {"id": "y", "group": "2"}, "with another group"),
    ],
)
def test_lines_that_disagree(tmp_path: Path, first: dict, second: dict, message: str) -> None:
    row = {"image": "1.png", "label": "ok"}
    text_ = failure(load_jsonl, jsonl(tmp_path, {**row, **first}, {"image": "0.png", "label": 1}, {**row, **second}))
    assert "parts.jsonl:3: " in text_
    assert "line 1" in text_
    assert message in text_


def test_two_questions_about_one_image(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path,
        {"id": "board", "image": "1.png", "label": "ok", "category": "board"},
        {"id": "plug", "image": "1.png", "label": "ng", "category": "plug"},
    )
    assert [(s.id, s.label) for s in load_jsonl(path)] == [("board", "normal"), ("plug", "defect")]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_as_spreadsheets_write_it(tmp_path: Path, separator: str, encoding: str, end: str) -> None:
    rows = [
        ["Image", " LABEL", "defect_type"],
        ['"größe, 1.png"', "NG", '"chip; ""big"""'],
        ["2.png", "ok"],
        ["", ""],
    ]
    samples = load_csv(text(tmp_path, end.join(separator.join(row) for row in rows) + end, encoding))
    assert [(s.id, s.label, s.defect_type) for s in samples] == [
        ("größe, 1.png", "defect", 'chip; "big"'),
        ("2.png", "normal", None),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "parts.csv: empty; the first line must name the columns"),
        ("image,label\n", "parts.csv: lists no image"),
        ("image\n1.png\n", "parts.csv:2: has no 'label'"),
        ("file,label\n1.png,ok\n", "parts.csv:2: has no 'image'"),
        ("image,label,label\n1.png,ok,ok\n", "parts.csv:1: the column 'label' is there twice"),
        ("image,label\n1.png,ok\n2,5.png,ok\n", "parts.csv:3: 3 cells under 2 columns"),
        ('image,label\n1.png,ok\n"2.png,ok\n', "not valid CSV"),
        ("image,label\n1.png,ok\n2.png,maybe\n", "parts.csv:3: label 'maybe'"),
        ("image,label\n1.png,ok\n1.png,ng\n", "parts.csv:3: image"),
        ("image,label\n" + "x" * 200_000 + ",ok\n", "parts.csv:2: not valid CSV"),
    ],
)
def test_wrong_csv(tmp_path: Path, content: str, message: str) -> None:
    assert message in failure(load_csv, text(tmp_path, content))


@pytest.mark.parametrize(("load", "suffix"), [(load_csv, "csv"), (load_jsonl, "jsonl")])
def test_files_that_cannot_be_read(tmp_path: Path, load, suffix: str, without_rights) -> None:
    latin = tmp_path / f"latin.{suffix}"
    latin.write_bytes("image,label\ngr\u00f6\u00dfe.png,ok\n".encode("latin-1"))
    assert "not UTF-8" in failure(load, latin)
    assert "no such file" in failure(load, tmp_path / "absent")
    assert "a folder, not a file" in failure(load, tmp_path)
    latin.chmod(0)
    with without_rights():
        assert "no permission" in failure(load, latin)


def test_empty_jsonl(tmp_path: Path) -> None:
    assert "lists no image" in failure(load_jsonl, jsonl(tmp_path))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([b"", b'{"image": "1.png", "label": "ok"}\n', b"image,label\n"]))
def test_any_bytes_load_or_give_one_line(tmp_path: Path, content: bytes, start: bytes) -> None:
    path = tmp_path / "parts"
    path.write_bytes(start + content)
    messages = []
    for load in (load_jsonl, load_csv):
        try:
            load(path)
        except LriadError as error:
            messages.append(str(error))
    assert all(message.isprintable() for message in messages)
