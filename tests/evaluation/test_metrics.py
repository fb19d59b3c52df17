import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lriad.evaluation.metrics import (
    DEFECT,
    NORMAL,
    UNPARSABLE,
    Outcomes,
    bootstrap,
    count_outcomes,
    f1_macro_paper,
    interval,
    label_rates,
    mean_of_categories,
    measure,
    resample_times,
    resampled_rates,
    resampled_score_rates,
    score_rates,
    strata_of,
)

quick = settings(max_examples=25, deadline=None)
image = st.tuples(st.sampled_from([NORMAL, DEFECT]), st.sampled_from([NORMAL, DEFECT, UNPARSABLE]), st.integers(-3, 3))
images = st.lists(image, min_size=2, max_size=40).filter(lambda rows: len({truth for truth, _, _ in rows}) == 2)


def outcomes_of(rows, category_N=None, follows_N=None):
    truth_N, said_N, score_N = np.array(rows).T
    category_N = np.zeros(len(rows), dtype=int) if category_N is None else np.array(category_N)
    words = ["normal", "defect", "unparsable: ?"]
    return Outcomes(
        ids=[f"{i:05}" for i in range(len(rows))],
        categories=[f"c{c}" for c in range(category_N.max() + 1)],
        category_N=category_N,
        truth_N=truth_N,
        said_N=said_N,
        score_N=score_N.astype(float),
        wording=[words[said] for said in said_N],
        follows_N=follows_N,
    )


def sklearn_rates(truth_N, said_N):
    kept = said_N != UNPARSABLE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels that are predicted and never true
        return {
            "accuracy": sk.accuracy_score(truth_N, said_N),
            "f1_macro": sk.f1_score(truth_N, said_N, labels=[NORMAL, DEFECT], average="macro", zero_division=0),
            "balanced_accuracy": sk.balanced_accuracy_score(truth_N, said_N),
            "recall": sk.recall_score(truth_N, said_N, labels=[DEFECT], average="macro", zero_division=0),
            "false_positive_rate": np.mean(said_N[truth_N == NORMAL] == DEFECT),
            "unparsable_rate": 1 - kept.mean(),
        }


@quick
@given(images)
def test_label_rates_are_those_of_scikit_learn(rows):
    truth_N, said_N, _ = np.array(rows).T
    ours = label_rates(count_outcomes(truth_N, said_N))
    for name, value in sklearn_rates(truth_N, said_N).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


@quick
@given(images)
def test_an_unparsable_answer_is_never_better_than_a_wrong_one_for_its_class(rows):
    truth_N, said_N, _ = np.array(rows).T
    wrong_N = np.where(said_N == UNPARSABLE, 1 - truth_N, said_N)
    unparsable, wrong = (label_rates(count_outcomes(truth_N, said)) for said in (said_N, wrong_N))
    for name in ("accuracy", "recall", "balanced_accuracy"):
        assert unparsable[name] == wrong[name]
    assert unparsable["false_positive_rate"] <= wrong["false_positive_rate"]


def test_rates_without_a_class_are_undefined_and_not_zero():
    values = measure(outcomes_of([(NORMAL, NORMAL, 0), (NORMAL, DEFECT, 1)]))
    assert values["accuracy"] == values["false_positive_rate"] == 0.5
    undefined = ("recall", "balanced_accuracy", "f1_macro", "auroc", "average_precision", "f1_macro_paper")
    assert [values[name] for name in undefined] == [None] * len(undefined)
    only_defects = measure(outcomes_of([(DEFECT, DEFECT, 0)]))
    assert only_defects["recall"] == 1
    assert only_defects["false_positive_rate"] is None


@quick
@given(images, st.integers(0, 100))
def test_each_resample_equals_scikit_learn_on_the_repeated_images(rows, seed):
    outcomes = outcomes_of(rows, follows_N=np.arange(len(rows)) % 2 == 0)
    (times_BN,) = resample_times(strata_of(outcomes), len(rows), 3, seed)
    ours = resampled_rates(outcomes, times_BN)
    for b, times_N in enumerate(times_BN.astype(int)):
        truth_N = np.repeat(outcomes.truth_N, times_N)
        said_N, score_N = np.repeat(outcomes.said_N, times_N), np.repeat(outcomes.score_N, times_N)
        expected = sklearn_rates(truth_N, said_N)
        expected["auroc"] = sk.roc_auc_score(truth_N, score_N)
        expected["average_precision"] = sk.average_precision_score(truth_N, score_N)
        expected["recall_at_fpr_5"] = score_rates(truth_N, score_N)["recall_at_fpr_5"]
        expected["format_rate"] = np.repeat(outcomes.follows_N, times_N).mean()
        for name, value in expected.items():
            assert ours[name][b] == pytest.approx(value, abs=1e-12), name


@quick
@given(images, st.floats(0.1, 10), st.floats(-5, 5))
def test_scores_count_by_their_order_only(rows, scale, shift):
    truth_N, _, score_N = np.array(rows).T
    once = resampled_score_rates(truth_N, score_N.astype(float), np.ones((1, len(rows))))
    again = resampled_score_rates(truth_N, scale * score_N + shift, np.ones((1, len(rows))))
    expected = score_rates(truth_N, score_N.astype(float))
    for name, value_B in once.items():
        assert np.allclose(value_B, again[name])
        assert np.allclose(value_B, expected[name])


def test_a_missing_score_leaves_the_curve_undefined():
    undefined = {"auroc": None, "average_precision": None, "recall_at_fpr_5": None}
    assert score_rates(np.array([0, 1]), np.array([0.1, np.nan])) == undefined
    assert score_rates(np.array([0, 1]), None) == score_rates(np.array([1, 1]), np.array([0.1, 0.2])) == undefined


def recall_by_trying_every_threshold(truth_N, score_N):
    recalls = [0.0]
    for threshold in set(score_N):
        called_N = score_N >= threshold
        if called_N[truth_N == NORMAL].mean() <= 0.05:
            recalls.append(called_N[truth_N == DEFECT].mean())
    return max(recalls)


@quick
@given(st.lists(st.integers(-30, 10), min_size=1, max_size=80), st.lists(st.integers(-10, 30), min_size=1))
def test_recall_at_a_false_positive_rate_is_the_best_of_all_thresholds(normal, defect):
    truth_N = np.repeat([NORMAL, DEFECT], [len(normal), len(defect)])
    score_N = np.array([*normal, *defect], dtype=float)
    assert score_rates(truth_N, score_N)["recall_at_fpr_5"] == recall_by_trying_every_threshold(truth_N, score_N)


@pytest.mark.parametrize(("normals", "expected"), [(19, 0.5), (20, 1), (39, 1), (59, 1), (60, 1)])
def test_one_false_alarm_in_twenty_is_allowed_and_no_more(normals, expected):
    truth_N = np.array([NORMAL] * normals + [DEFECT] * 2)
    score_N = np.array([2.0] + [0.0] * (normals - 1) + [1.0, 3.0])
    assert score_rates(truth_N, score_N)["recall_at_fpr_5"] == expected
    times = np.ones((2, len(truth_N)))
    assert resampled_score_rates(truth_N, score_N, times)["recall_at_fpr_5"].tolist() == [expected] * 2


def test_equal_scores_are_called_alike():
    """A constant predictor finds nothing at a low false-positive rate."""
    truth_N = np.array([NORMAL] * 40 + [DEFECT] * 10)
    assert score_rates(truth_N, np.ones(50))["recall_at_fpr_5"] == 0


@quick
@given(images)
def test_f1_macro_paper_is_f1_macro_where_all_answers_parse(rows):
    rows = [(truth, said % 2, score) for truth, said, score in rows]
    outcomes = outcomes_of(rows)
    assert f1_macro_paper(outcomes.truth_N, outcomes.wording) == pytest.approx(measure(outcomes)["f1_macro"])


def test_f1_macro_paper_falls_with_each_different_unparsable_answer():
    truth_N = np.array([DEFECT, NORMAL, DEFECT, NORMAL])
    said = ["defect", "normal"]
    same = f1_macro_paper(truth_N, [*said, "unparsable: ?", "unparsable: ?"])
    different = f1_macro_paper(truth_N, [*said, "unparsable: ?", "unparsable: !"])
    # Each class is found once of twice, with no false alarm: F1 = 2/3, over 3 and over 4 classes.
    assert same == pytest.approx(2 * (2 / 3) / 3)
    assert different == pytest.approx(2 * (2 / 3) / 4)


def test_a_resample_keeps_the_make_up_of_every_category():
    rng = np.random.default_rng(0)
    category_N = np.sort(rng.integers(0, 4, 200))
    rows = [(int(i % 3 == 0), 0, 0) for i in range(200)]
    outcomes = outcomes_of(rows, category_N)
    for times_BN in resample_times(strata_of(outcomes), 200, 20, 1):
        assert (times_BN >= 0).all()
        for stratum in strata_of(outcomes):
            assert (times_BN[:, stratum].sum(1) == stratum.size).all()


def test_chunks_add_up(monkeypatch):
    monkeypatch.setattr("lriad.evaluation.metrics._CHUNK_ELEMENTS", 50)
    outcomes = outcomes_of([(NORMAL, NORMAL, 0), (DEFECT, DEFECT, 1), (DEFECT, NORMAL, 1)] * 5)
    chunks = list(resample_times(strata_of(outcomes), 15, 10, 0))
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    assert bootstrap(outcomes, 10, 0).pooled["recall"].shape == (10,)


def test_the_bootstrap_agrees_with_the_binomial_and_between_categories_and_pool():
    rng = np.random.default_rng(3)
    truth_N = np.repeat([NORMAL, DEFECT], [600, 300])
    said_N = np.where(rng.random(900) < 0.8, truth_N, 1 - truth_N)
    outcomes = outcomes_of(list(zip(truth_N, said_N, said_N, strict=True)))
    drawn = bootstrap(outcomes, 2000, 0)
    recall = measure(outcomes)["recall"]
    low, high = interval(drawn.pooled["recall"], 0.95)
    assert low < recall < high
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(recall * (1 - recall) / 300), rel=0.15)
    # One category: pooled, its own and the mean of categories are the same numbers.
    for name, values_B in drawn.pooled.items():
        np.testing.assert_array_equal(values_B, drawn.per_category["c0"][name])
        np.testing.assert_allclose(values_B, drawn.mean[name])


@quick
@given(st.lists(images, min_size=1, max_size=3))
def test_the_mean_of_categories_is_the_mean_in_every_resample(groups):
    category_N = [c for c, rows in enumerate(groups) for _ in rows]
    outcomes = outcomes_of([row for rows in groups for row in rows], category_N)
    drawn = bootstrap(outcomes, 4, 0)
    for name in ("f1_macro", "auroc", "balanced_accuracy"):
        parts = [drawn.per_category[c][name] for c in outcomes.categories]
        np.testing.assert_allclose(drawn.mean[name], np.mean(parts, axis=0))


def test_the_mean_is_over_the_categories_that_define_a_metric():
    both = measure(outcomes_of([(NORMAL, NORMAL, 0), (DEFECT, DEFECT, 1)]))
    one = measure(outcomes_of([(NORMAL, DEFECT, 0)]))
    mean = mean_of_categories([both, one])
    assert mean["accuracy"] == 0.5
    assert mean["recall"] == mean["auroc"] == 1
    assert (mean["n"], mean["fp"]) == (3, 1)
