import csv
import io
import json

import pytest
from rich.console import Console

from lriad.errors import LriadError
from lriad.evaluation import compare_table, evaluate_predictions
from lriad.evaluation.paper import answers_from_accuracy_f1, category_rows
from lriad.evaluation.tables import TextTable


def answers(tp, fp, n_defect, n_normal, category="nut", dataset=""):
    """Rows of a system that finds `tp` of the defects and calls `fp` normal images defect."""
    rows = []
    for truth, n, called in (("defect", n_defect, tp), ("normal", n_normal, fp)):
        for i in range(n):
            label = "A" if i < called else "B"
            name = f"{dataset}{category}/{truth}/{i}"
            rows.append({"id": name, "truth": truth, "category": category, "dataset": dataset, "label": label})
    return rows


def lines_of(markdown):
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in cells}


def test_markdown_has_every_line_and_all_columns():
    evaluation = evaluate_predictions(answers(3, 2, 4, 16) + answers(1, 0, 5, 5, "pin"), resamples=100)
    table = lines_of(evaluation.to_markdown())
    heads = table[""]
    assert heads[:2] == ["n", "defect"]
    assert table["nut"][heads.index("accuracy")] == "85.00"
    assert table["nut"][heads.index("recall")] == "75.00"
    assert table["nut"][heads.index("FPR")] == "12.50"
    assert table["pooled"][heads.index("recall")] == "44.44"
    assert table["mean of categories"][heads.index("recall")] == "47.50"
    assert table["always defect, pooled"][heads.index("recall")] == "100.00"
    assert table["always normal, mean"][heads.index("accuracy")] == "65.00"
    assert table["pooled, 95%"][heads.index("recall")].startswith("[")
    assert len({len(line) for line in table.values()}) == 1


def test_a_bar_in_a_name_does_not_break_the_table():
    table = TextTable("t", ("", "n"), [("a|b\nc", "1")])
    assert table.to_markdown().splitlines()[-1] == "| a\\|b c |   1 |"


def test_csv_has_one_line_a_category_and_average():
    evaluation = evaluate_predictions(answers(3, 2, 4, 16, dataset="mine"), resamples=50)
    rows = list(csv.DictReader(io.StringIO(evaluation.to_csv())))
    assert [(row["predictor"], row["over"]) for row in rows] == [
        (predictor, over)
        for predictor in ("policy", "always normal", "always defect")
        for over in ("category", "pooled", "mean")
    ]
    assert (rows[0]["dataset"], rows[0]["category"]) == ("mine", "nut")
    assert [rows[0][name] for name in ("n", "n_defect", "tp", "fp", "fn", "tn")] == [
        "20",
        "4",
        "3",
        "2",
        "1",
        "14",
    ]
    assert float(rows[0]["accuracy"]) == 0.85
    assert float(rows[0]["accuracy_low"]) <= 0.85 <= float(rows[0]["accuracy_high"])
    assert rows[0]["auroc"] == rows[0]["auroc_low"] == ""


def test_json_is_json():
    evaluation = evaluate_predictions(answers(3, 2, 4, 16) + answers(0, 0, 0, 3, "pin"), resamples=50)
    document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert document["by_label"]["per_category"]["nut"]["accuracy"] == 0.85
    assert document["by_label"]["per_category"]["pin"]["recall"] is None
    assert len(document["by_label"]["pooled"]["intervals"]["accuracy"]) == 2
    assert document["at_threshold"] is None
    assert document["paper"] == []


def reasoned(reasoning, category="nut", n=3):
    """Found defects of the kind 'cut', all with the same reasoning."""
    rows = answers(n, 0, n, 20, category)
    return [{**row, "defect_type": "cut", "reasoning": reasoning} for row in rows]


def test_the_table_of_the_reasoning_has_what_is_known_beside_the_constant():
    rows = reasoned("At the left: a cut.") + reasoned("At the left: a burn.", "pin", 1)
    evaluation = evaluate_predictions(rows, resamples=50)
    markdown = evaluation.to_markdown()
    table = markdown[markdown.index("**Faithfulness") :]
    lines = lines_of(table[: table.index("\n\n-")])
    assert lines[""] == ["named", "n", "right", "95%", "constant", "none", "several"]
    assert lines["nut"] == ["kind", "3", "100.00", "[100.0, 100.0]", "100.00", "0", "0"]
    assert lines["pooled"][:3] == ["kind", "4", "75.00"]
    assert "Not judged: 4 without a mask." in table
    assert evaluation.to_json()["faithfulness"]["kind"]["per_category"]["pin"]["right"] == 0
    json.dumps(evaluation.to_json(), allow_nan=False)


def test_without_truth_to_compare_with_there_is_no_table_of_the_reasoning():
    evaluation = evaluate_predictions(answers(3, 2, 4, 16), resamples=0)
    assert "Faithfulness" not in evaluation.to_markdown()
    assert evaluation.to_json()["faithfulness"] is None


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_shows_the_operating_point_and_the_reasoning(width):
    rows = [{**row, "p_defect": 0.9 if row["label"] == "A" else 0.1} for row in reasoned("At the left: a cut.")]
    console = Console(width=width, file=io.StringIO())
    console.print(evaluate_predictions(rows, resamples=50).to_rich())
    printed = console.file.getvalue()
    assert "recall at 5% FPR, pooled, 95%: 100.00 [100.0, 100.0]" in printed
    [line] = [line.split() for line in printed.splitlines() if " kind " in line and "pooled" in line]
    assert line == ["pooled", "kind", "3", "100.00", "[100.0,", "100.0]", "100.00", "0", "0"]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_terminal_breaks_no_number(width):
    evaluation = evaluate_predictions(answers(3, 2, 4, 16), resamples=50)
    console = Console(width=width, file=io.StringIO())
    console.print(compare_table({"before": evaluation, "after": evaluation}).to_rich())
    if width >= 80:
        console.print(evaluation.to_rich())
    printed = console.file.getvalue()
    assert printed.count("85.00") >= 2
    assert "always" in printed


def test_systems_side_by_side_with_the_constants():
    before, after = (evaluate_predictions(answers(tp, 2, 4, 16), resamples=50) for tp in (1, 3))
    table = compare_table({"before": before, "after": after})
    assert [row[0] for row in table.rows] == ["before", "after", "always normal", "always defect"]
    assert "20 images, 4 with a defect" in table.title
    heads = table.columns
    assert [row[heads.index("recall")] for row in table.rows] == ["25.00", "75.00", "0.00", "100.00"]
    assert table.rows[0][heads.index("95%")].startswith("[")
    mean = compare_table({"before": before}, "mean")
    assert "mean of categories" in mean.title


def test_systems_on_different_images_have_their_own_constants():
    one, other = evaluate_predictions(answers(1, 2, 4, 16)), evaluate_predictions(answers(1, 2, 8, 8))
    table = compare_table({"a": one, "b": other})
    assert table.columns[1:3] == ("n", "defect")
    assert [row[0] for row in table.rows[2:]] == [
        "always normal (images of a)",
        "always defect (images of a)",
        "always normal (images of b)",
        "always defect (images of b)",
    ]
    with pytest.raises(LriadError, match="at least one"):
        compare_table({})


def test_the_answers_behind_the_papers_table_give_the_papers_numbers():
    rows = []
    for row in category_rows("VisA", "LR-IAD"):
        ((tp, fp),) = answers_from_accuracy_f1(row.accuracy, row.f1_macro, row.n_defect, row.n_normal)
        rows += answers(tp, fp, row.n_defect, row.n_normal, row.category, "visa")
    evaluation = evaluate_predictions(rows, resamples=0)
    values = evaluation.by_label.pooled.values
    assert (round(100 * values["accuracy"], 2), round(100 * values["f1_macro"], 2)) == (
        87.60,
        59.54,
    )  # Table III
    assert (round(100 * values["recall"], 1), round(100 * values["balanced_accuracy"], 1)) == (19.5, 57.8)
    markdown = evaluation.to_markdown()
    beside = next(part for part in markdown.split("\n\n") if "LR-IAD acc." in part and part.startswith("|"))
    line = lines_of(beside)["candle"]
    assert line[2:8] == ["92.55", "63.28", "18.00"] * 2
    assert "Not the same images" not in markdown
    assert "WinCLIP, Table III" in markdown
    assert {row["dataset"] for row in evaluation.to_json()["paper"]} == {"VisA"}


def test_other_images_than_the_papers_are_said():
    markdown = evaluate_predictions(
        answers(5, 0, 63, 20, "bottle", "mvtec_ad") + answers(1, 1, 2, 2, "cup", "mvtec_ad"), resamples=0
    ).to_markdown()
    assert "Not the same images" in markdown
    assert "ours have other counts in bottle." in markdown
    assert "Not in the paper: cup." in markdown
    assert "the paper's totals" not in evaluate_predictions(answers(5, 0, 63, 20), resamples=0).to_markdown()
