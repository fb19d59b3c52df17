"""Which thresholds are chosen, what is counted, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.calibration import calibrate
from lriad.calibration.fit import check_settings
from lriad.data.sample import Sample
from lriad.errors import LriadError

from .conftest import make_rows

quick = settings(max_examples=60, deadline=None)
values = st.lists(st.floats(0, 1), min_size=12, max_size=60)


def samples_of(made):
    """What is known of the rows' images before they are inspected."""
    return [Sample(row["id"], row["id"], row["truth"], "tile", "tile", group=row["group"]) for row in made]


def decisions(found, made):
    return [found.decide(row["label"], row["p_defect"]) for row in made]


@quick
@given(values, values, st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.1, 0.3]))
def test_what_is_counted_is_what_is_decided(defect, good, miss, alarm):
    made = make_rows(defect, good)
    found = calibrate(made, max_miss_rate=miss, max_false_alarm_rate=alarm, guarantee="mean")
    said = decisions(found, made)
    for counts, kind in ((found.defective, said[: len(defect)]), (found.good, said[len(defect) :])):
        assert {name: kind.count(name) for name in ("normal", "review", "defect")} == {
            "normal": counts.normal,
            "review": counts.review,
            "defect": counts.defect,
        }
        assert counts.parts == counts.images == len(kind)
    assert found.defective.normal <= found.promises[0].beyond
    assert found.good.defect <= found.promises[1].beyond
    # A step further would break a promise, or one threshold keeps both.
    if found.normal_below < found.defect_from:
        assert sum(value <= found.normal_below for value in defect) > found.promises[0].beyond
        below = np.nextafter(found.defect_from, -np.inf)
        assert sum(value >= below for value in good) > found.promises[1].beyond


@quick
@given(values, values, st.floats(0.1, 100), st.floats(0.1, 100), st.floats(0.01, 0.9))
def test_costs_find_the_cheapest_threshold(defect, good, escape, overkill, rate):
    found = calibrate(make_rows(defect, good), cost_escape=escape, cost_overkill=overkill, defect_rate=rate)
    assert found.normal_below == found.defect_from
    defect_N, good_N = np.array(defect), np.array(good)

    def cost(threshold):
        missed, alarms = (defect_N < threshold).mean(), (good_N >= threshold).mean()
        return 1000 * (rate * missed * escape + (1 - rate) * alarms * overkill)

    assert found.cost_per_1000 == pytest.approx(cost(found.defect_from))
    assert found.cost_per_1000 <= min(map(cost, [*defect, *good, 2.0])) + 1e-9
    assert found.promises == ()
    assert any("no promise" in note for note in found.notes())


def test_between_kinds_that_do_not_overlap_costs_choose_the_middle(rows):
    found = calibrate(rows([0.9, 0.95], [0.1, 0.3]), cost_escape=1, cost_overkill=1)
    assert found.defect_from == pytest.approx(0.6)


def test_one_promise_makes_fewest_of_the_other_errors(rows):
    defect, good = [0.3, 0.5, 0.7, 0.9], [0.1, 0.2, 0.4, 0.6]
    missed = calibrate(rows(defect, good), max_miss_rate=0.4, guarantee="mean")
    assert (missed.normal_below, missed.defect_from) == (0.5, 0.5)
    assert (missed.defective.normal, missed.good.defect) == (1, 1)
    alarms = calibrate(rows(defect, good), max_false_alarm_rate=0.4, guarantee="mean")
    assert alarms.defect_from == np.nextafter(0.4, 1)
    assert (alarms.good.defect, alarms.defective.normal) == (1, 1)


def test_where_one_threshold_keeps_both_promises_it_has_fewest_false_alarms_or_costs_least(rows):
    defect, good = [0.5, 0.7, 0.8, 0.9], [0.1, 0.2, 0.3, 0.6]
    settings = {"max_miss_rate": 0.4, "max_false_alarm_rate": 0.4, "guarantee": "mean"}
    found = calibrate(rows(defect, good), **settings)
    assert (found.normal_below, found.defect_from) == (0.7, 0.7)
    assert (found.defective.normal, found.good.defect) == (1, 0)
    careful = calibrate(rows(defect, good), **settings, cost_escape=10, cost_overkill=1)
    assert careful.normal_below == careful.defect_from == pytest.approx(0.4)
    assert (careful.defective.normal, careful.good.defect) == (0, 1)
    assert careful.promises == found.promises


def test_costs_never_leave_the_promise(rows):
    rng = np.random.default_rng(0)
    made = rows(rng.normal(0.6, 0.1, 200).clip(0, 1), rng.normal(0.5, 0.1, 200).clip(0, 1))
    promised = calibrate(made, max_miss_rate=0.05)
    # Cheap escapes would have it higher by far.
    cheap = calibrate(made, max_miss_rate=0.05, cost_escape=1, cost_overkill=1000)
    assert calibrate(made, cost_escape=1, cost_overkill=1000).defect_from > promised.defect_from
    assert cheap.defective == promised.defective
    assert cheap.defect_from <= promised.defect_from
    dear = calibrate(made, max_miss_rate=0.05, cost_escape=1000, cost_overkill=1)
    assert dear.defect_from < promised.defect_from


def test_a_band_for_review_where_no_threshold_keeps_both(rows):
    defect, good = np.linspace(0.2, 0.9, 99), np.linspace(0.1, 0.8, 99)
    found = calibrate(
        rows(defect, good), max_miss_rate=0.1, max_false_alarm_rate=0.05, guarantee="mean", defect_rate=0.25
    )
    assert found.normal_below == defect[9]
    assert found.defect_from == np.nextafter(good[-5], 1)
    expected = 0.25 * found.defective.review / 99 + 0.75 * found.good.review / 99
    assert found.review_share == pytest.approx(expected)
    assert found.review_share > 0.4
    assert found.decide("defect", 0.5) == "review"
    text = found.summary()
    assert "between them review" in text
    assert "25 % defective" in text


@pytest.mark.parametrize(
    ("defects", "good", "settings", "message"),
    [
        (20, 50, {"max_miss_rate": 0.02}, r"20 defective .* no miss rate below 13.9 % .* 95 %: 2 % needs 149"),
        (148, 50, {"max_miss_rate": 0.02}, "needs 149"),
        (0, 50, {"max_miss_rate": 0.02}, "0 defective parts can promise no miss rate"),
        (149, 300, {"max_miss_rate": 0.02, "max_false_alarm_rate": 0.1}, "97.5 %: 2 % needs 183"),
        (200, 3, {"max_false_alarm_rate": 0.1}, r"3 good .* no false-alarm rate below 63.2 %.*needs 29 "),
        (48, 3, {"max_miss_rate": 0.02, "guarantee": "mean"}, "below 2.04 % in the mean: 2 % needs 49"),
    ],
)
def test_too_few_labels_say_what_they_can_promise_and_how_many_are_needed(rows, defects, good, settings, message):
    made = rows(np.linspace(0.5, 1, defects), np.linspace(0, 0.5, good))
    with pytest.raises(LriadError, match=message) as refused:
        calibrate(made, **settings)
    assert "\n" not in str(refused.value)
    with pytest.raises(LriadError, match=message):
        check_settings(samples_of(made), **settings)


def test_the_needed_number_of_labels_is_enough(rows):
    found = calibrate(rows(np.linspace(0.4, 1, 149)), max_miss_rate=0.02)
    assert found.normal_below == found.defect_from == 0.4
    assert found.false_alarm_rate is None
    assert found.miss_rate.high == pytest.approx(1 - 0.025 ** (1 / 149))
    assert str(found.promises[0]) == (
        "at most 2 % of defective parts are passed as normal (confidence 95 %, from 149 defective parts)"
    )
    only_good = calibrate(rows([], np.linspace(0, 0.4, 59)), max_false_alarm_rate=0.05)
    assert only_good.defect_from == np.nextafter(0.4, 1)
    assert only_good.review_share == 0


def test_a_part_is_as_good_as_the_worst_of_its_images(rows):
    made = rows([0.9, 0.2, 0.8, None], [0.1, 0.7, 0.3, None])
    for row, group in zip(made, ["a", "a", "b", "b", "c", "c", "d", "e"], strict=True):
        row["group"] = group
    found = calibrate(made, max_miss_rate=0.4, max_false_alarm_rate=0.5, guarantee="mean")
    # a 0.2, b 0.8; c 0.7, d 0.3, e is not read and so no false alarm
    assert (found.defective.images, found.defective.parts, found.good.parts) == (4, 2, 3)
    assert (found.normal_below, found.defect_from) == (0.2, np.nextafter(0.3, 1))
    assert found.defective.normal == 0
    assert (found.good.defect, found.good.review, found.good.no_value) == (1, 2, 1)
    assert found.defect_values == (0.8, 0.9)
    assert found.good_values == (0.1, 0.3)
    assert any("8 images show 5 parts" in note for note in found.notes())


def test_copies_of_a_file_are_one_part(rows):
    made = rows(np.full(149, 0.8), image_sha256="b" * 64)
    with pytest.raises(LriadError, match="1 defective parts can promise"):
        calibrate(made, max_miss_rate=0.02)


def test_unknown_truth_and_errors_are_counted_and_left_out(rows):
    made = rows([0.9] * 9, [0.1] * 9)
    more = rows([0.0, 0.0, 0.0], name="more")
    more[0]["truth"] = "unknown"
    more[1] = {"id": "x", "category": "tile", "dataset": "", "truth": "defect", "error": "unreadable"}
    more[2] |= {"truth": "unknown", "mode": "reason"}
    found = calibrate(made + more, max_miss_rate=0.2, guarantee="mean")
    assert (found.defective.parts, found.unknown, found.errors) == (9, 2, 1)
    assert any("left out: 2 images of unknown truth, 1 that were not inspected" in note for note in found.notes())


def test_with_a_memory_the_score_decides(rows):
    made = rows(np.linspace(2, 5, 20), np.linspace(-2, 1, 20), memory="c" * 64, setting="30 good")
    for row in made:
        row["score"], row["p_defect"] = row["p_defect"], 0.5
    found = calibrate(made, max_miss_rate=0.1, guarantee="mean")
    assert found.quantity == "score"
    assert found.normal_below == made[1]["score"]
    assert found.binding.memory == "c" * 64


def test_scores_of_another_system_are_calibrated_too(rows):
    made = [{"id": row["id"], "category": "all", "dataset": "", "truth": row["truth"], "label": None,
             "p_defect": None, "score": 10 * row["p_defect"]} for row in rows([0.5, 0.9], [0.1, 0.2])]  # fmt: skip
    found = calibrate(made, max_miss_rate=0.5, guarantee="mean")
    assert (found.quantity, found.normal_below, found.object_names) == ("score", 5, ())


def test_several_products_are_noted(rows):
    made = rows([0.9] * 9, [0.1] * 9) + rows([0.8] * 9, name="nut", object_name="metal nut")
    found = calibrate(made, max_miss_rate=0.2, guarantee="mean")
    assert found.object_names == ("metal nut", "tile")
    assert any("mixture of 2 products" in note for note in found.notes())


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("mode", "reason", "mode 'fast', not 'reason'"),
        ("policy_sha256", "b" * 64, "policy a{12}, not b{12}"),
        ("memory", "b" * 64, "memory none, not b{12}"),
        ("setting", "30 good", "setting 'zero-shot'"),
        ("note", "scratches are fine", "note none"),
        ("adapter_sha256", "b" * 64, "adapter none"),
        ("prompt_version", "lr-iad-2", "prompt_version"),
    ],
)
def test_rows_of_several_settings_are_refused(rows, field, value, named):
    made = rows([0.9] * 9) + rows([0.9], name="other", **{field: value})
    with pytest.raises(LriadError, match=f"several settings .*'image-0' and 'other-0': {named}"):
        calibrate(made, max_miss_rate=0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "nothing to keep"),
        ({"max_miss_rate": 2}, "max miss rate 2: expected a number between 0 and 1"),
        ({"max_false_alarm_rate": 0}, "max false-alarm rate 0"),
        ({"max_miss_rate": 1e-17}, "max miss rate 1e-17: expected 1e-09 or more"),
        ({"max_miss_rate": 0.1, "confidence": 95}, "confidence 95"),
        ({"max_miss_rate": 0.1, "guarantee": "always"}, "guarantee 'always'"),
        ({"cost_escape": 5}, "one cost alone"),
        ({"cost_escape": 5, "cost_overkill": -1}, "cost of an overkill -1"),
        ({"cost_escape": float("nan"), "cost_overkill": 1}, "cost of an escape nan"),
        ({"cost_escape": 5, "cost_overkill": 1, "defect_rate": 1}, "defect rate 1"),
        ({"max_miss_rate": 0.5, "guarantee": "mean", "recalibrate": "magic"}, "recalibrate 'magic'"),
        ({"max_miss_rate": 0.5, "guarantee": "mean", "recalibrate": "isotonic"}, "4 defective parts with a value"),
    ],
)
def test_settings_out_of_range_are_refused_before_and_after_inspection(rows, settings, message):
    made = rows([0.9, 0.8, 0.7, 0.6], [0.1, 0.2])
    with pytest.raises(LriadError, match=message):
        calibrate(made, **settings)
    with pytest.raises(LriadError, match=message):
        check_settings(samples_of(made), **settings)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (make_rows([], []), "no prediction of known truth"),
        (make_rows([0.5], truth="unknown"), "no prediction of known truth"),
        (make_rows([None, None]), "no prediction has both a p_defect and a readable answer"),
        (make_rows([0.9] * 9, p_defect=None), "no prediction has both a score"),
        (make_rows([0.9] * 9) + make_rows([0.9], p_defect=None, score=3.0, name="x"), "two scales"),
    ],
)
def test_rows_that_nothing_can_be_learned_from_are_refused(made, message):
    with pytest.raises(LriadError, match=message):
        calibrate(made, max_miss_rate=0.2, guarantee="mean")


def test_mostly_unreadable_answers_leave_thresholds_finite(rows):
    """More unreadable defects than the promise needs: the threshold need not find a single one."""
    found = calibrate(rows([None] * 9 + [0.4], [None] * 9 + [0.6]), max_miss_rate=0.3, guarantee="mean")
    assert found.defect_from == np.nextafter(0.6, 1)
    assert (found.defective.normal, found.good.defect) == (1, 0)
    found = calibrate(rows([None] * 9 + [0.4], [None] * 9 + [0.6]), max_false_alarm_rate=0.3, guarantee="mean")
    assert found.defect_from == 0.4


def test_before_inspection_labels_and_groups_are_counted(rows):
    made = rows(np.full(20, 0.9), np.full(20, 0.1))
    check_settings(samples_of(made), max_miss_rate=0.2, recalibrate="isotonic")
    for row in made[1:20]:
        row["group"] = "one part"
    with pytest.raises(LriadError, match="2 defective parts can promise"):
        check_settings(samples_of(made), max_miss_rate=0.2)
    with pytest.raises(LriadError, match="give labelled defects and good images"):
        check_settings(samples_of(made[:20]), cost_escape=1, cost_overkill=1)


def test_the_command_refuses_what_cannot_be_kept_before_it_inspects(tmp_path, monkeypatch, capsys):
    from lriad import cli
    from lriad.data.synthetic import make_dataset

    folder = make_dataset("textures", tmp_path / "data", images=4, defect_ratio=0.5, categories=["leather"])
    output = tmp_path / "leather.calibration.json"
    arguments = ["--policy", "embedded", "--data", f"jsonl:{folder / 'samples.jsonl'}", "--output", str(output)]
    for options, message in (([], "nothing to keep"), (["--max-miss-rate", "0.02"], "needs 149")):
        monkeypatch.setattr("sys.argv", ["lriad", "calibrate", *arguments, *options])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
