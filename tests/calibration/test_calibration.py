"""The file, what it is bound to, and its decisions."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from full_disk import files_up_to
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lriad.calibration import Binding, calibrate, load_calibration
from lriad.errors import LriadError


@pytest.fixture
def found(rows):
    rng = np.random.default_rng(0)
    made = rows(rng.beta(4, 2, 150), rng.beta(2, 4, 150))
    return calibrate(
        made,
        max_miss_rate=0.05,
        max_false_alarm_rate=0.05,
        cost_escape=500,
        cost_overkill=3,
        defect_rate=0.01,
        recalibrate="isotonic",
    )


def test_a_calibration_comes_back_as_it_was(found, rows, tmp_path):
    file = tmp_path / "new" / "parts.calibration.json"
    found.save(file)
    assert load_calibration(file) == found
    assert load_calibration(file).sha256 == found.sha256
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    plain = calibrate(rows([0.1 + 0.2] * 9), max_miss_rate=0.2, guarantee="mean", recalibrate=None)
    plain.save(file)
    assert load_calibration(file) == plain
    assert load_calibration(file).normal_below == 0.1 + 0.2
    assert plain.sha256 != found.sha256


def test_three_decisions(found):
    assert found.normal_below < found.defect_from
    assert found.decide("normal", found.normal_below) == "review"
    assert found.decide("defect", np.nextafter(found.normal_below, 0)) == "normal"
    assert found.decide("normal", found.defect_from) == "defect"
    assert found.decide("defect", np.nextafter(found.defect_from, 0)) == "review"
    for label, value in (("unparsable", 0.0), ("unparsable", 1.0), ("normal", None), ("normal", float("nan"))):
        assert found.decide(label, value) == "review"
    assert found.probability(None) is None
    assert dataclasses.replace(found, recalibration=None).probability(0.5) is None


def test_it_is_bound_to_what_it_was_made_with(found, rows):
    [row] = rows([0.9])
    found.check(Binding.of(row))
    found.check(Binding.of(row | {"note": "", "memory": ""}))  # as CSV has it
    with pytest.raises(LriadError, match=r"this calibration is for mode 'fast', not 'reason'; memory none, not d{12}:"):
        found.check(Binding.of(row | {"mode": "reason", "memory": "d" * 64}))
    found.check_name(" Tile")
    for name in ("nut", "", None):
        with pytest.raises(LriadError, match="this calibration is of 'tile', not of"):
            found.check_name(name)


def _changed(content, path, value):
    *path, last = path
    target = content
    for step in path:
        target = target[step]
    target[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "lriad-calibration-0", "format: "),
        (["calibration", "normal_below"], 0.01, "was changed since it was made"),
        (["calibration", "normal_below"], "0.01", "calibration.normal_below: "),
        (["calibration", "normal_below"], float("inf"), "calibration.normal_below: "),
        (["calibration", "normal_below"], float("nan"), "calibration.normal_below: "),
        (["calibration", "normal_below"], 0.999, "calibration: .*thresholds 0.999 and"),
        (["calibration", "good_values", 0], float("nan"), "calibration.good_values.0: "),
        (["calibration", "costs", "escape"], float("-inf"), "calibration.costs.escape: "),
        (["calibration", "recalibration", "share"], float("inf"), "calibration.recalibration.share: "),
        (["calibration", "defect_rate"], 10**400, "calibration.defect_rate: "),
        (["calibration", "promises", 0, "rate"], 0.001, "was changed since it was made"),
        (["calibration", "promises", 0, "error"], "hit", r"calibration.promises.0.error: "),
        (["calibration", "binding", "mode"], 3, "calibration.binding.mode: "),
        (["calibration", "good", "parts"], 1.5, "calibration.good.parts: "),
        (["calibration", "good_values", 0], None, "calibration.good_values.0: "),
        (["calibration", "quantity"], "speed", "calibration.quantity: "),
        (["calibration"], None, "calibration: "),
    ],
)
def test_a_changed_file_is_refused(found, tmp_path, path, value, message):
    file = tmp_path / "parts.calibration.json"
    found.save(file)
    content = _changed(json.loads(file.read_text()), path, value)
    file.write_text(json.dumps(content))
    with pytest.raises(LriadError, match=message) as refused:
        load_calibration(file)
    assert str(refused.value).startswith(f"{file}: ")
    assert "\n" not in str(refused.value)


def test_a_number_too_large_for_a_float_is_refused(found, tmp_path):
    file = tmp_path / "parts.calibration.json"
    found.save(file)
    file.write_text(file.read_text().replace('"defect_rate": 0.01', '"defect_rate": 1e999'))
    with pytest.raises(LriadError, match=r"calibration.defect_rate: "):
        load_calibration(file)


def test_names_of_any_encoding_are_kept(rows, tmp_path):
    strange = {"object_name": "Bl\udce4ttchen", "note": "caf\udce9 ß"}
    made = rows([0.9] * 9, **strange)
    found = calibrate(made, max_miss_rate=0.2, guarantee="mean")
    file = tmp_path / "parts.calibration.json"
    found.save(file)
    assert file.read_bytes().isascii()
    loaded = load_calibration(file)
    assert loaded == found
    loaded.check(Binding.of(made[0]))
    loaded.check_name(strange["object_name"])
    with pytest.raises(LriadError, match="not of"):
        loaded.check_name("Bl\udce5ttchen")


def test_rows_of_our_inspector_without_a_setting_are_zero_shot(found, rows):
    [row] = rows([0.9])
    del row["setting"]
    found.check(Binding.of(row))
    assert Binding.of({"id": "1", "score": 3.0}).setting is None  # another system's


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe\x00", b'{"format": "lriad-calibration-1"', b"null"])
def test_a_foreign_file_is_refused(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_bytes(content)
    with pytest.raises(LriadError, match="damaged, truncated or no calibration") as refused:
        load_calibration(file)
    assert "\n" not in str(refused.value)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 0.999))
def test_a_truncated_file_is_refused(found, tmp_path, share):
    file = tmp_path / "parts.calibration.json"
    found.save(file)
    whole = file.read_bytes().rstrip()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(LriadError, match="damaged, truncated or no calibration"):
        load_calibration(file)


def test_what_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(LriadError, match="no such calibration; make one with lriad calibrate"):
        load_calibration(tmp_path / "none.json")
    with pytest.raises(LriadError, match="cannot be read"):
        load_calibration(tmp_path)


def test_a_full_disk_leaves_the_old_calibration(found, rows, tmp_path):
    file = tmp_path / "parts.calibration.json"
    old = calibrate(rows([0.9] * 9), max_miss_rate=0.2, guarantee="mean")
    old.save(file)
    with file.open("rb") as reader:
        # Who reads while a new one is written has the old one, whole.
        found.save(file)
        assert json.load(reader)["sha256"] == old.sha256
    old.save(file)
    with files_up_to(1000), pytest.raises(LriadError, match="cannot be written"):
        found.save(file)
    assert load_calibration(file) == old
    assert list(tmp_path.iterdir()) == [file]


def test_the_summary_says_what_is_promised_and_what_it_costs(found):
    text = found.summary()
    for line in (
        "promised: at most 5 % of defective parts are passed as normal (confidence 97.5 %, from 150 defective parts)",
        "promised: at most 5 % of good parts are called defective (confidence 97.5 %, from 150 good parts)",
        "promised: both together with confidence 95 %",
        f"missed here: {found.defective.normal} of 150 defective parts, ",
        f"false alarms here: {found.good.defect} of 150 good parts, ",
        "at 1 % defective parts",
        "cost of errors: ",
        "expected calibration error: ",
        "note: the costs do not move the thresholds",
    ):
        assert line in text
    low_and_high = (found.miss_rate.low, found.miss_rate.high)
    assert low_and_high[0] <= found.miss_rate.share <= low_and_high[1]
    missed, alarms = found.defective.normal / 150, found.good.defect / 150
    assert found.cost_per_1000 == pytest.approx(1000 * (0.01 * missed * 500 + 0.99 * alarms * 3))


def test_the_embedded_policy_is_calibrated_from_its_own_predictions(tmp_path: Path):
    from lriad.data import load_dataset
    from lriad.data.synthetic import make_dataset
    from lriad.evaluation import read_predictions
    from lriad.inspection import inspect_to_file

    folder = make_dataset("textures", tmp_path / "data", images=20, defect_ratio=0.5, seed=5, categories=["leather"])
    samples = load_dataset(f"jsonl:{folder / 'samples.jsonl'}")
    for name in ("predictions.jsonl", "predictions.csv"):
        inspect_to_file(samples, tmp_path / name, mode="fast")
    made = read_predictions(tmp_path / "predictions.jsonl")
    found = calibrate(made, max_miss_rate=0.2, max_false_alarm_rate=0.2, guarantee="mean")
    found.save(tmp_path / "textures.calibration.json")
    loaded = load_calibration(tmp_path / "textures.calibration.json")
    passed = 0
    for row in made:
        loaded.check(Binding.of(row))
        loaded.check_name(row["object_name"])
        passed += row["truth"] == "defect" and loaded.decide(row["label"], row["p_defect"]) == "normal"
    assert passed == loaded.defective.normal <= loaded.promises[0].beyond
    assert loaded.defective.parts + loaded.good.parts == len(samples)
    again = calibrate(
        read_predictions(tmp_path / "predictions.csv"), max_miss_rate=0.2, max_false_alarm_rate=0.2, guarantee="mean"
    )
    assert again.binding == found.binding
    assert again.normal_below == pytest.approx(found.normal_below, abs=1e-6)
