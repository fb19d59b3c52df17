import dataclasses
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lriad.errors import LriadError
from lriad.evaluation import compare_table, evaluate_predictions, paired_difference
from lriad.evaluation.metrics import METRICS


def made_rows(seed=0, right=0.7, categories=("nut", "bolt"), n=40, **fields):
    rng = random.Random(seed)
    rows = []
    for category in categories:
        for i in range(n):
            truth = "defect" if i % 4 == 0 else "normal"
            said = truth if rng.random() < right else rng.choice(["defect", "normal", "?"])
            rows.append(
                {
                    "id": f"{category}/{i}",
                    "category": category,
                    "dataset": "mine",
                    "truth": truth,
                    "label": said,
                    "p_defect": min(1.0, max(0.0, rng.gauss(0.6 if truth == "defect" else 0.4, 0.2))),
                    **fields,
                }
            )
    return rows


def test_everything_stands_side_by_side():
    evaluation = evaluate_predictions(made_rows(), resamples=200)
    block = evaluation.by_label
    assert list(block.per_category) == ["bolt", "nut"]
    assert block.pooled.values["n"] == 80
    for metric in METRICS[:-1]:  # the rows say nothing of the format
        parts = [scores.values[metric] for scores in block.per_category.values()]
        assert block.mean.values[metric] == pytest.approx(sum(parts) / 2)
        if metric != "f1_macro_paper":
            for scores in (block.pooled, block.mean, *block.per_category.values()):
                low, high = scores.intervals[metric]
                assert 0 <= low <= high <= 1
    assert evaluation.always_normal.pooled.values["accuracy"] == 0.75
    assert evaluation.always_defect.pooled.values["accuracy"] == 0.25
    for constant in (evaluation.always_normal, evaluation.always_defect):
        assert constant.pooled.values["balanced_accuracy"] == constant.mean.values["auroc"] == 0.5
        assert constant.pooled.values["average_precision"] == 0.25
        assert constant.pooled.values["recall_at_fpr_5"] == 0


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(order):
    rows = made_rows(n=8)
    expected = evaluate_predictions(rows, resamples=20).to_json()
    order.shuffle(rows)
    assert evaluate_predictions(rows, resamples=20).to_json() == expected


def test_a_seed_gives_the_same_intervals_and_another_others():
    rows = made_rows()
    one, same, other = (evaluate_predictions(rows, resamples=50, seed=seed).to_json() for seed in (1, 1, 2))
    assert one == same
    assert one["by_label"]["pooled"]["intervals"] != other["by_label"]["pooled"]["intervals"]


def test_errors_and_unknown_truths_are_counted_and_in_no_metric():
    rows = made_rows()
    more = [
        {"id": "bad", "category": "nut", "dataset": "mine", "truth": "defect", "error": "bad.png: is empty"},
        {"id": "new", "category": "nut", "dataset": "mine", "truth": "unknown", "label": "A"},
        {"id": "blank", "category": "nut", "dataset": "mine", "label": "A"},
    ]
    alone, together = evaluate_predictions(rows, resamples=0), evaluate_predictions(rows + more, resamples=0)
    assert together.by_label == alone.by_label
    assert together.n_unknown == 2
    assert [row["id"] for row in together.errors] == ["bad"]
    assert together.summary() == (
        "80 images of 2 categories, 20 with a defect (25.0%). Not inspected, in no number below: 1. "
        "Of unknown truth, left out: 2."
    )


def test_a_category_of_one_class_is_said_and_left_out_of_the_mean():
    rows = made_rows() + [{"id": f"x{i}", "category": "pin", "truth": "normal", "label": "B"} for i in range(3)]
    evaluation = evaluate_predictions(rows, resamples=20)
    pin = evaluation.by_label.per_category["pin"]
    assert pin.values["auroc"] is pin.values["f1_macro"] is pin.intervals["balanced_accuracy"] is None
    assert evaluation.by_label.mean.values["recall"] is not None
    assert any("pin (normal only)" in note for note in evaluation.notes)
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_scores_alone_give_only_what_needs_no_threshold():
    rows = [{"id": str(i), "truth": "defect" if i > 5 else "normal", "score": 100.0 * i} for i in range(9)]
    evaluation = evaluate_predictions(rows, resamples=20)
    values = evaluation.by_label.pooled.values
    assert values["auroc"] == values["average_precision"] == values["recall_at_fpr_5"] == 1
    assert values["accuracy"] is values["recall"] is values["unparsable_rate"] is None
    assert evaluation.by_label.pooled.intervals["auroc"] == (1, 1)
    assert evaluation.by_label.pooled.intervals["accuracy"] is None
    assert any("no threshold is assumed" in note for note in evaluation.notes)


def test_labels_alone_give_no_curve():
    rows = [{"id": "1", "truth": "defect", "label": "A"}, {"id": "2", "truth": "normal", "label": "B"}]
    evaluation = evaluate_predictions(rows, resamples=20)
    assert evaluation.by_label.pooled.values["accuracy"] == 1
    assert evaluation.by_label.pooled.values["auroc"] is None
    assert list(evaluation.by_label.per_category) == ["all"]


@pytest.mark.parametrize("missing", [range(80), range(1)], ids=["in all", "in one"])
def test_without_p_defect_the_curves_are_null_and_a_dash_with_the_reason(missing):
    """A server may give no log-probabilities: what the answers say is judged, the order of the scores is not."""
    rows = made_rows(right=1)
    for i in missing:
        rows[i] = {**rows[i], "p_defect": None, "p_missing": "the server gives no log-probabilities"}
    evaluation = evaluate_predictions(rows, resamples=20)
    report = evaluation.to_json()["by_label"]["pooled"]
    assert report["accuracy"] == 1
    assert report["auroc"] is report["average_precision"] is report["intervals"]["auroc"] is None
    table = compare_table({"server": evaluation})
    system = dict(zip(table.columns, table.rows[0], strict=True))
    assert (system["accuracy"], system["AUROC"]) == ("100.00", "–")
    assert any("AUROC and" in note and "(the server gives no log-probabilities)" in note for note in evaluation.notes)


def test_notes_say_what_a_table_hides():
    rows = made_rows(right=1)
    rows[0] = {**rows[0], "p_defect": None}
    rows[1] = {**rows[1], "label": ""}
    rows[2] = {**rows[2], "group": "plate 1"}
    rows[3] = {**rows[3], "group": "plate 1"}
    notes = " ".join(evaluate_predictions(rows, resamples=0).notes)
    assert "No score in 1 of 80 predictions" in notes
    assert "without a label, counted as unparsable: 1" in notes
    assert "2 images show 1 parts" in notes
    assert "recall is 20 of 20 defects" in notes
    assert "15.0% away" in notes  # three of twenty
    foreign = [{"id": "1", "truth": "defect", "label": "NG"}, {"id": "2", "truth": "normal", "label": "OK"}]
    assert any("Not one label is A, B, defect or normal" in n for n in evaluate_predictions(foreign, resamples=0).notes)


def test_decisions_are_measured_where_every_row_has_a_threshold():
    rows = made_rows(threshold=0.5)
    for row in rows:
        row["decision"] = "review" if row["label"] == "?" else "defect" if row["p_defect"] >= 0.5 else "normal"
    evaluation = evaluate_predictions(rows, resamples=20)
    block = evaluation.at_threshold
    assert evaluation.thresholds == (0.5,)
    reviews = sum(row["decision"] == "review" for row in rows)
    assert block.pooled.values["unparsable_rate"] == reviews / 80
    found = sum(row["decision"] == row["truth"] == "defect" for row in rows)
    assert block.pooled.values["recall"] == found / 20
    assert block.pooled.values["auroc"] is None
    assert evaluation.to_json()["at_threshold"]["pooled"]["review_rate"] == reviews / 80
    assert " review |" in evaluation.to_markdown()
    assert evaluate_predictions([{**rows[0], "threshold": None}, *rows[1:]], resamples=0).at_threshold is None


def test_the_reasoning_of_found_defects_is_measured_by_category(tmp_path):
    Image.new("L", (9, 9), 255).save(tmp_path / "whole.png")
    rows = made_rows(mask=str(tmp_path / "whole.png"), defect_type="cut", object_name="part")
    for i, row in enumerate(rows):
        row["reasoning"] = "A slit at the centre: a cut." if i % 8 else "A spot at the left: a burn."
    assert evaluate_predictions(made_rows(), resamples=20).faithfulness is None
    measured = evaluate_predictions(rows, resamples=20).faithfulness
    found = [row for row in rows if row["truth"] == row["label"] == "defect"]
    assert measured.n == measured.place.pooled.n == measured.kind.pooled.n == len(found)
    for aspect in (measured.place, measured.kind):
        assert aspect.pooled.right == sum("cut" in row["reasoning"] for row in found) / len(found)
        assert aspect.pooled.interval[0] <= aspect.pooled.right <= aspect.pooled.interval[1]
        assert aspect.pooled.constant == 1  # all the same: to say so always is never wrong
        assert list(aspect.per_category) == ["bolt", "nut"]
    rows[0]["label"] = "defect"  # so that the mask is read
    rows[0]["mask"] = str(tmp_path / "none.png")
    with pytest.raises(LriadError, match=r"none\.png: there is no such file"):
        evaluate_predictions(rows)


def test_data_sets_with_a_category_of_the_same_name_stay_apart():
    rows = made_rows(categories=("pcb",)) + [
        {**row, "id": "other/" + row["id"], "dataset": "visa"} for row in made_rows(categories=("pcb",))
    ]
    evaluation = evaluate_predictions(rows, resamples=0)
    assert evaluation.origin == {"mine/pcb": ("mine", "pcb"), "visa/pcb": ("visa", "pcb")}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "nothing to evaluate"),
        ([{"id": "1", "label": "A"}], "1 have no known truth"),
        ([{"id": "1", "truth": "normal", "error": "x"}], "1 are errors"),
        (
            [{"id": "1", "truth": "normal", "label": "A"}] * 2,
            "prediction 2: id '1' is also that of prediction 1",
        ),
        ([{"id": "1", "truth": "good", "label": "A"}], "prediction 1: truth 'good'"),
        (
            [{"id": "1", "truth": "normal", "p_defect": 0.5}, {"id": "2", "truth": "defect", "score": 0.5}],
            "two scales",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(rows, expected):
    with pytest.raises(LriadError, match=expected) as error:
        evaluate_predictions(rows)
    assert "\n" not in str(error.value)
    with pytest.raises(LriadError, match="resamples -1"):
        evaluate_predictions(made_rows(), resamples=-1)


def test_the_paired_difference_is_zero_with_itself_and_changes_sign_when_turned():
    a, b = (evaluate_predictions(made_rows(seed, right), resamples=0) for seed, right in ((0, 0.5), (1, 0.9)))
    none = paired_difference(a, a, resamples=100)
    assert (none.pooled, none.pooled_interval, none.mean_interval) == (0, (0, 0), (0, 0))
    one, other = paired_difference(a, b, resamples=300), paired_difference(b, a, resamples=300)
    assert (
        one.pooled
        == -other.pooled
        == pytest.approx(b.by_label.pooled.values["balanced_accuracy"] - a.by_label.pooled.values["balanced_accuracy"])
    )
    assert one.pooled_interval == pytest.approx(tuple(-end for end in reversed(other.pooled_interval)))
    assert one.pooled_interval[0] < one.pooled < one.pooled_interval[1]
    assert one.mean_interval[0] > 0  # 0.9 right against 0.5: no luck of the images


def test_a_paired_interval_is_narrower_than_two_separate_ones():
    rows = made_rows(right=0.6, n=100)
    better = [dict(row) for row in rows]
    for row in better[::9]:
        row["label"] = row["truth"]
    a, b = evaluate_predictions(rows), evaluate_predictions(better)
    low, high = paired_difference(a, b).pooled_interval
    widths = [e.by_label.pooled.intervals["balanced_accuracy"] for e in (a, b)]
    assert high - low < sum(top - bottom for bottom, top in widths) / 2


def test_a_difference_is_over_the_images_of_both():
    rows = made_rows(right=0.6)
    a, b = evaluate_predictions(rows, resamples=0), evaluate_predictions(rows[5:], resamples=0)
    difference = paired_difference(a, b, resamples=20)
    assert (difference.n, difference.left_out, difference.pooled) == (75, 5, 0)
    assert paired_difference(a, b, metric="auroc", resamples=0).pooled_interval is None
    other = evaluate_predictions([{**row, "id": "z" + row["id"]} for row in rows], resamples=0)
    with pytest.raises(LriadError, match="no image in common"):
        paired_difference(a, other)
    turned = {"defect": "normal", "normal": "defect"}
    other = evaluate_predictions([{**row, "truth": turned[row["truth"]]} for row in rows], resamples=0)
    with pytest.raises(LriadError, match="disagree on the truth"):
        paired_difference(a, other)
    with pytest.raises(LriadError, match="unknown metric 'acc'"):
        paired_difference(a, b, metric="acc")


def test_the_difference_of_undefined_metrics_is_undefined():
    rows = [{"id": str(i), "truth": "normal", "label": "B"} for i in range(4)]
    evaluation = evaluate_predictions(rows, resamples=0)
    difference = paired_difference(evaluation, evaluation, resamples=20)
    undefined = dataclasses.asdict(difference)
    assert [undefined[key] for key in ("pooled", "pooled_interval", "mean", "mean_interval")] == [None] * 4


def calibrated(low, high, **fields):
    """Rows that a calibration on p_defect has decided, with review between two limits."""
    rows = made_rows(calibration="c" * 64, threshold=high, normal_below=low, **fields)
    for row in rows:
        p = row["p_defect"]
        row["decision"] = "normal" if p < low else "defect" if p >= high else "review"
    return rows


@pytest.mark.parametrize(
    ("fields", "decided_by", "title"),
    [
        ({}, "calibration", "As the calibration decides (normal below 0.16, defect from 0.35);"),
        ({"normal_below": 0.35}, "calibration", "As the calibration decides (defect from 0.35);"),
        ({"normal_below": None}, "calibration", "As the calibration decides (defect from 0.35);"),  # earlier versions
        (
            {"threshold": None, "memory": "m" * 64, "score": 1.0, "normal_below": -1.5},
            "calibration",
            "As the calibration decides (normal below -1.5);",
        ),
        ({"calibration": None, "normal_below": None}, "threshold", "At the threshold (0.35);"),
        (
            {"calibration": None, "normal_below": None, "memory": "m" * 64, "score": 1.0, "threshold": None},
            "memory",
            "As the memory of good parts decides;",
        ),
    ],
)
def test_the_tables_say_what_decides(fields, decided_by, title):
    evaluation = evaluate_predictions([row | fields for row in calibrated(0.16, 0.35)], resamples=0)
    assert evaluation.decided_by == (decided_by,)
    assert title in evaluation.to_markdown()
    at = evaluation.to_json()["at_threshold"]
    assert at["decided_by"] == [decided_by]
    assert at["normal_below"] == list(evaluation.normal_below)


def test_several_limits_and_deciders_are_said():
    rows = calibrated(0.16, 0.35)
    rows[0] |= {"normal_below": 0.2, "threshold": 0.4}
    evaluation = evaluate_predictions(rows, resamples=0)
    assert (evaluation.normal_below, evaluation.thresholds) == ((0.16, 0.2), (0.35, 0.4))
    assert "(normal below 0.16 to 0.2, defect from 0.35 to 0.4)" in evaluation.to_markdown()
    rows[0] |= {"normal_below": None, "calibration": None}
    assert (
        "As calibration or threshold decides, each of some images"
        in evaluate_predictions(rows, resamples=0).to_markdown()
    )
    rows[0] |= {"threshold": None}
    undecided = evaluate_predictions(rows, resamples=0)
    assert (undecided.at_threshold, undecided.decided_by, undecided.thresholds) == (None, (), ())


def test_a_heat_map_that_cannot_be_read_ends_no_evaluation(tmp_path):
    rows = made_rows()
    rows[1]["image_sha256"] = "b" * 64
    (tmp_path / ("b" * 16 + ".npy")).write_bytes(b"PK\x03\x04")
    evaluation = evaluate_predictions(rows, maps=tmp_path, resamples=0)
    assert evaluation.localisation is None
    assert any(note.startswith("1 heat-maps could not be read") for note in evaluation.notes)
