import csv
import json
import logging
from dataclasses import replace

import pytest

from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.evaluation import evaluate_predictions, read_predictions
from lriad.evaluation.predictions import NO_PREDICTION, check_row, ranked_by

ROWS = [
    {"id": "nut/1.png", "truth": "defect", "category": "nut", "label": "A", "p_defect": 0.9},
    {"id": "nut/2.png", "truth": "normal", "category": "nut", "label": "normal", "p_defect": 0.2},
    {"id": "nut/3.png", "truth": "normal", "category": "nut", "label": "A or B", "p_defect": 0.5},
]


def write_jsonl(path, rows, end="\n"):
    path.write_text("\n".join(json.dumps(row) for row in rows) + end, encoding="utf-8")
    return path


def write_csv(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list({name: None for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    return path


def samples():
    return [
        Sample(f"nut/{i}.png", f"/data/nut/{i}.png", label, "nut", "nut", dataset="mine")
        for i, label in ((1, "defect"), (2, "normal"), (3, "normal"))
    ]


def message(path, **kwargs):
    with pytest.raises(LriadError) as error:
        read_predictions(path, **kwargs)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_jsonl_and_csv_say_the_same(tmp_path):
    from_jsonl = read_predictions(write_jsonl(tmp_path / "p.jsonl", ROWS))
    from_csv = read_predictions(write_csv(tmp_path / "p.csv", ROWS))
    assert [row["label"] for row in from_jsonl] == ["defect", "normal", "unparsable"]
    assert from_jsonl[2]["answer"] == "A or B"
    a, b = (evaluate_predictions(rows, resamples=20).to_json() for rows in (from_jsonl, from_csv))
    assert a == b


def test_rows_of_a_server_without_log_probabilities_are_read(tmp_path):
    rows = [{**row, "p_defect": None, "p_missing": "the server gives none"} for row in ROWS]
    for path in (write_jsonl(tmp_path / "p.jsonl", rows), write_csv(tmp_path / "p.csv", rows)):
        found = read_predictions(path)
        assert [(row["p_defect"], row["p_missing"]) for row in found] == [(None, "the server gives none")] * 3


@pytest.mark.parametrize(
    ("said", "label"),
    [("A", "defect"), (" b ", "normal"), ("DEFECT", "defect"), ("normal", "normal"), ("", None), (None, None)]
    + [(word, "unparsable") for word in ("abnormal", "no defect", "AB", "not normal", "yes", 1, "unparsable")],
)
def test_labels_are_whole_words_never_substrings(said, label):
    assert check_row({"id": "1", "label": said, "p_defect": 0.5}, "here")["label"] == label


def test_our_own_rows_keep_the_words_in_place_of_the_answer():
    row = {"id": "1", "label": "unparsable", "p_defect": 0.5}
    said = {"a": "<answer> A or B </answer>", "b": "<think>cut", "c": "<answer>A</answer><answer>B</answer>"}
    answers = [check_row({**row, "text": text}, "here")["answer"] for text in said.values()]
    assert answers == ["A or B", "", "A"]


def test_checking_twice_changes_nothing():
    for row in ROWS:
        once = check_row(row, "here")
        assert check_row(once, "there") == once


def test_truth_comes_from_the_data_set(tmp_path):
    bare = [{"id": row["id"], "label": row["label"]} for row in ROWS]
    rows = read_predictions(write_jsonl(tmp_path / "p.jsonl", bare), samples())
    assert [(row["truth"], row["category"], row["dataset"]) for row in rows] == [
        ("defect", "nut", "mine"),
        ("normal", "nut", "mine"),
        ("normal", "nut", "mine"),
    ]
    by_image = [{"image": f"/data/{row['id']}", "score": 17.5} for row in ROWS]
    rows = read_predictions(write_csv(tmp_path / "p.csv", by_image), samples())
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert rows[0]["score"] == 17.5


def test_masks_come_from_the_data_set_and_from_nowhere_else(tmp_path):
    rows = [{**ROWS[0], "mask": "theirs.png", "reasoning": "a cut", "defect_type": "cut"}, *ROWS[1:]]
    for path in (write_jsonl(tmp_path / "p.jsonl", rows), write_csv(tmp_path / "p.csv", rows)):
        alone = read_predictions(path)
        assert [row["mask"] for row in alone] == [None] * 3
        assert evaluate_predictions(alone, resamples=0).faithfulness.kind.pooled.right == 1
        data = [replace(sample, mask=f"{sample.id}.mask.png", defect_type="burn") for sample in samples()]
        joined = read_predictions(path, data)
        assert [(row["mask"], row["defect_type"]) for row in joined] == [
            (f"nut/{i}.png.mask.png", "burn") for i in (1, 2, 3)
        ]


def test_missing_predictions_are_refused_or_counted(tmp_path):
    path = write_jsonl(tmp_path / "p.jsonl", ROWS[:1])
    text = message(path, samples=samples())
    assert "2 of 3" in text
    assert "'nut/2.png'" in text
    rows = read_predictions(path, samples(), allow_missing=True)
    assert [row.get("error") for row in rows] == [None, NO_PREDICTION, NO_PREDICTION]
    evaluation = evaluate_predictions(rows, resamples=0)
    assert len(evaluation.outcomes) == 1
    assert [row["id"] for row in evaluation.errors] == ["nut/2.png", "nut/3.png"]
    assert "Not inspected, in no number below: 2." in evaluation.to_markdown()


def test_an_error_row_needs_no_prediction(tmp_path):
    path = write_csv(tmp_path / "p.csv", [*ROWS[:2], {"id": "nut/3.png", "error": "is\nempty"}])
    rows = read_predictions(path, samples())
    assert rows[2]["error"] == "is empty"
    assert rows[2]["truth"] == "normal"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"p_defect": 1.2}, "p_defect 1.2 is not in [0, 1]"),
        ({"p_defect": -0.1}, "p_defect -0.1"),
        ({"p_defect": float("nan")}, "p_defect nan is not a finite number"),
        ({"p_defect": "high"}, "p_defect 'high'"),
        ({"p_defect": True}, "p_defect True"),
        ({"score": float("inf")}, "score inf"),
        ({"score": [1]}, "score [1]"),
        ({"truth": "bad"}, "truth 'bad'; expected defect, normal or unknown"),
        ({"decision": "maybe"}, "decision 'maybe'"),
        ({"follows_format": "perhaps"}, "follows_format 'perhaps'"),
        ({"label": None, "p_defect": None}, "no label, p_defect, score or error"),
        ({"id": None}, "no id and no image"),
        ({"id": "nut/1.png"}, "is also at"),
    ],
)
def test_a_bad_field_is_named_with_its_line(tmp_path, row, expected):
    path = write_jsonl(tmp_path / "p.jsonl", [ROWS[0], {**ROWS[1], **row}])
    text = message(path)
    assert text.startswith(f"{path}:2: ")
    assert expected in text


def test_a_bad_cell_of_a_csv_is_named_with_its_line(tmp_path):
    path = write_csv(tmp_path / "p.csv", [{**ROWS[0], "text": "two\nlines"}, {**ROWS[1], "p_defect": 2}])
    assert message(path).startswith(f"{path}:4: p_defect 2 is not in [0, 1]")


def test_what_contradicts_the_data_set_is_named(tmp_path):
    path = write_jsonl(tmp_path / "p.jsonl", [{**ROWS[0], "truth": "normal"}])
    assert "truth 'normal' contradicts the data set, which has 'defect' for 'nut/1.png'" in message(
        path, samples=samples()
    )
    path = write_jsonl(tmp_path / "p.jsonl", [{**ROWS[0], "id": "bolt/1.png"}])
    assert "'bolt/1.png' is not in the data set" in message(path, samples=samples())


def test_a_row_cut_off_by_a_kill_is_reported_and_left_out(tmp_path, caplog):
    path = write_jsonl(tmp_path / "p.jsonl", ROWS)
    whole = path.read_bytes()
    for length in range(whole.rindex(b"{") + 1, len(whole) - 2):
        path.write_bytes(whole[:length])
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            assert len(read_predictions(path)) == 2
        assert f"{path}:3: the last row is cut off" in caplog.text
    path.write_bytes(whole[:-1])  # only the line end is missing
    assert len(read_predictions(path)) == 3

    path = write_csv(tmp_path / "p.csv", [*ROWS[:2], {**ROWS[2], "text": 'cut "here"', "error": ""}])
    whole = path.read_bytes()
    for ending in (b"A or", b'"cut ""he'):
        path.write_bytes(whole[: whole.index(ending) + len(ending)])
        caplog.clear()
        assert len(read_predictions(path)) == 2
        assert f"{path}:4: the last row is cut off" in caplog.text


def test_a_line_cut_inside_a_character_is_a_cut_off_line(tmp_path, caplog):
    whole = (json.dumps(ROWS[0]) + "\n" + json.dumps({"id": "é"}, ensure_ascii=False)).encode()
    path = tmp_path / "p.jsonl"
    path.write_bytes(whole[: whole.index("é".encode()) + 1])
    assert len(read_predictions(path)) == 1
    assert "cut off" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("p.jsonl", b'{"id": "1", "la\n{"id": "2", "label": "A"}\n', ":1: not a line of JSON"),
        ("p.jsonl", b'{"id": "1", "label": "A"}\n{"id": "2", "la\n', ":2: not a line of JSON"),
        ("p.jsonl", b'{"id": "1", "label": "A"}\n\xff\n', ":2: not a line of JSON in UTF-8"),
        ("p.jsonl", b"[1]\n", ":1: expected a JSON object"),
        ("p.jsonl", b"[" * 5000 + b"\n", ":1: not a line of JSON"),
        ("p.jsonl", b"", ": no predictions in it"),
        ("p.csv", b"", ": no predictions in it"),
        ("p.csv", b"id,label\n1\n2,A\n", ":2: not valid CSV (not as many cells"),
        ("p.csv", b"id,label\n1,A,B\n", ":2: not valid CSV (not as many cells"),
        ("p.csv", b'id,label\n1,"A\n', ":2: not valid CSV"),
        ("p.xlsx", b"PK", ": expected a .jsonl or a .csv file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, content, expected):
    path = tmp_path / name
    path.write_bytes(content)
    assert message(path).startswith(f"{path}{expected}")


def test_a_missing_file_is_one_line(tmp_path):
    assert "No such file" in message(tmp_path / "none.jsonl")


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    path = tmp_path / "p.csv"
    path.write_bytes(b"\xef\xbb\xbfid,truth,label\r\n1,defect,A\r\n2,normal,B\r\n")
    assert [row["id"] for row in read_predictions(path)] == ["1", "2"]
    path = tmp_path / "p.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 7, "truth": "defect", "label": "A"}\n')
    assert read_predictions(path)[0]["id"] == "7"


def test_a_file_name_of_another_encoding_survives_in_both_forms(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    path = tmp_path / "p.csv"
    path.write_bytes(b"id,truth,label\ncaf\xe9.png,defect,A\nb,normal,B\n")
    rows = read_predictions(path)
    assert rows[0]["id"] == name
    assert read_predictions(write_jsonl(tmp_path / "p.jsonl", rows))[0]["id"] == name
    failed = [*rows, {"id": "2" + name, "category": name, "error": "broken"}]
    evaluate_predictions(failed, resamples=0).to_markdown().encode("utf-8")


def test_what_images_are_ranked_by():
    p, score, both = {"p_defect": 0.5}, {"score": 2.0}, {"p_defect": 0.5, "score": 2.0}
    assert ranked_by([p, both]) == "p_defect"
    assert ranked_by([score, {"label": "A"}]) == ranked_by([]) == "score"
    assert ranked_by([{**both, "memory": "a" * 64}]) == "score"
    with pytest.raises(LriadError, match="two scales"):
        ranked_by([p, score])


def test_the_lower_limit_is_a_number():
    row = {"id": "1", "label": "A"}
    assert check_row({**row, "normal_below": "0.25"}, "here")["normal_below"] == 0.25
    assert check_row({**row, "normal_below": ""}, "here")["normal_below"] is None
    with pytest.raises(LriadError, match="here: normal_below 'low' is not a finite number"):
        check_row({**row, "normal_below": "low"}, "here")
