"""From prediction rows to an evaluation: every number of the report, and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lriad.errors import LriadError
from lriad.evaluation import metrics, tables
from lriad.evaluation.faithfulness import Faithfulness, measure_faithfulness
from lriad.evaluation.metrics import DEFECT, NORMAL, UNPARSABLE, Outcomes
from lriad.evaluation.predictions import check_row, ranked_by

if TYPE_CHECKING:
    from rich.console import Group

    from lriad.evaluation.localisation import Located

LEVEL = 0.95
_CODES = {"normal": NORMAL, "defect": DEFECT, "unparsable": UNPARSABLE, "review": UNPARSABLE}


@dataclass(frozen=True)
class Scores:
    """Metrics of one set of images.

    Attributes:
        values: `n`, `n_defect`, the counts `tp`, `fp`, `fn`, `tn`, and each of `metrics.METRICS` as a
            fraction in [0, 1], None where the images do not define it. In a mean of categories, counts are
            sums.
        intervals: 95 % bootstrap interval of each metric, None where undefined; empty without resamples.
    """

    values: dict[str, Any]
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """Metrics per category, over all images together, and averaged over categories."""

    per_category: dict[str, Scores]
    pooled: Scores
    mean: Scores


@dataclass(frozen=True)
class Evaluation:
    """What a system's predictions are worth.

    Attributes:
        by_label: Metrics of what the answers say, and of the scores.
        always_normal: The constant predictor on the same images; its scores are all equal.
        always_defect: The other one.
        ranked_by: What the scores are.
        at_threshold: Metrics of `decision`, where every row has a threshold, a calibration or a memory; review stands
            in place of unparsable.
        decided_by: What made those decisions: of `threshold`, `calibration` and `memory` one, or several; none where
            `at_threshold` is None.
        thresholds: The different values of p_defect from which on a part is defective, ascending; none where a memory
            of good parts decides, or a calibration on its score.
        normal_below: The different values of `ranked_by` below which a part is normal, where a calibration decides,
            ascending. Between them and the thresholds is review.
        faithfulness: Whether the reasoning of the defects that were found is true; None where they have none, or
            neither masks nor known kinds to compare it with.
        localisation: Whether the heat-maps show where the defects are, by category; None without heat-maps or masks.
        origin: (dataset, category) behind each category's name.
        errors: Rows of images that could not be inspected; they are in no metric.
        n_unknown: Number of images whose truth is unknown; they are in no metric.
        notes: What a reader should mind, one sentence each.
        resamples: Number of bootstrap resamples, 0 for none.
        seed: Of the bootstrap.
        level: Of the intervals.
        outcomes: What was said of each image.
    """

    by_label: Block
    always_normal: Block
    always_defect: Block
    ranked_by: Literal["p_defect", "score"]
    at_threshold: Block | None
    decided_by: tuple[str, ...]
    thresholds: tuple[float, ...]
    normal_below: tuple[float, ...]
    faithfulness: Faithfulness | None
    localisation: dict[str, Located] | None
    origin: dict[str, tuple[str, str]]
    errors: tuple[dict[str, Any], ...]
    n_unknown: int
    notes: tuple[str, ...]
    resamples: int
    seed: int
    level: float
    outcomes: Outcomes = field(repr=False)

    def summary(self) -> str:
        """What was evaluated and what was left out, on one line."""
        n, n_defect = len(self.outcomes), int(self.outcomes.truth_N.sum())
        plural = "category" if len(self.origin) == 1 else "categories"
        text = f"{n} images of {len(self.origin)} {plural}, {n_defect} with a defect ({n_defect / n:.1%})."
        if self.errors:
            text += f" Not inspected, in no number below: {len(self.errors)}."
        if self.n_unknown:
            text += f" Of unknown truth, left out: {self.n_unknown}."
        return text

    def to_markdown(self) -> str:
        """The report as Markdown."""
        return tables.to_markdown(self)

    def to_csv(self) -> str:
        """One line a category and average; see `tables.to_csv`."""
        return tables.to_csv(self)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-safe values."""
        return tables.to_json(self)

    def to_rich(self) -> Group:
        """The report for a terminal."""
        return tables.to_rich(self)


@dataclass(frozen=True)
class Difference:
    """How much better one system is than another on the same images.

    Attributes:
        metric: One of `metrics.METRICS`.
        pooled: Value over all images together, of b minus a, in [-1, 1]; None where undefined.
        pooled_interval: Its 95 % interval by the paired bootstrap.
        mean: The same, averaged over categories.
        mean_interval: Its interval.
        n: Number of images that both systems answered for.
        left_out: Number of images that only one of them answered for.
    """

    metric: str
    pooled: float | None
    pooled_interval: tuple[float, float] | None
    mean: float | None
    mean_interval: tuple[float, float] | None
    n: int
    left_out: int


def evaluate_predictions(
    rows: Iterable[Mapping[str, Any]], *, maps: str | Path | None = None, resamples: int = 1000, seed: int = 0
) -> Evaluation:
    """Evaluates predictions of our inspector or of any other system.

    The result does not depend on the order of the rows.

    Args:
        rows: Each with `id` (or `image`), `truth`, `category`, and one or more of `label`, `p_defect`,
            `score`, `error`; `lriad.evaluation.predictions` describes the fields and reads them from files. The
            masks of defects that were found and reasoned about are read, with `maps` those of all.
        maps: The folder of the heat-maps that `Inspector(maps=...)` has written, to be compared with masks.
        resamples: Number of bootstrap resamples for the 95 % intervals; 0 for no intervals.
        seed: Of the bootstrap.

    Raises:
        LriadError: A row is wrong, an id occurs twice, no image has both a known truth and a prediction, or a
            mask cannot be read.

    Example:
        >>> answers = [("a.png", "defect", "A"), ("b.png", "normal", "B")]
        >>> rows = [{"id": name, "truth": truth, "label": label} for name, truth, label in answers]
        >>> evaluate_predictions(rows, resamples=0).by_label.pooled.values["accuracy"]
        1.0
    """
    if resamples < 0:
        raise LriadError(f"resamples {resamples}: expected 0 (no intervals) or more, such as 1000")
    checked = [check_row(row, f"prediction {number}") for number, row in enumerate(rows, 1)]
    _check_setting(checked)
    _refuse_duplicates(checked)
    errors = tuple(row for row in checked if row.get("error"))
    answered = [row for row in checked if not row.get("error")]
    known = [row for row in answered if row["truth"] != "unknown"]
    if not known:
        raise LriadError(
            f"nothing to evaluate: of {len(checked)} predictions, {len(errors)} are errors and "
            f"{len(answered)} have no known truth; give rows a 'truth', or name the data set they are of"
        )
    origin = _category_names(known)
    name_of = {key: name for name, key in origin.items()}
    known.sort(key=lambda row: (name_of[row["dataset"], row["category"]], row["id"]))
    names = [name_of[row["dataset"], row["category"]] for row in known]
    outcomes = _outcomes(known, names, list(origin))
    by_label = _block(outcomes, resamples, seed)
    at_threshold, thresholds, normal_below = None, (), ()
    decided_by = tuple(sorted({_decider(row) for row in known}))
    if "" in decided_by:
        decided_by = ()
    else:
        thresholds, normal_below = (
            tuple(sorted({row[name] for row in known} - {None})) for name in ("threshold", "normal_below")
        )
        said_N = np.array([_CODES[row["decision"]] for row in known])
        decisions = replace(outcomes, said_N=said_N, wording=None, score_N=None, follows_N=None)
        at_threshold = _block(decisions, resamples, seed)
    notes = list(_notes(known, outcomes, by_label))
    located = None
    if maps is not None:
        located, unreadable = _localisation(known, names, maps)
        if unreadable:
            notes.append(f"{unreadable} heat-maps could not be read: remove them, and inspect their images again.")
    return Evaluation(
        by_label=by_label,
        always_normal=_constant(outcomes, NORMAL),
        always_defect=_constant(outcomes, DEFECT),
        ranked_by=ranked_by(known),
        at_threshold=at_threshold,
        decided_by=decided_by,
        thresholds=thresholds,
        normal_below=normal_below,
        faithfulness=measure_faithfulness(known, names, resamples=resamples, seed=seed, level=LEVEL),
        localisation=located,
        origin=origin,
        errors=errors,
        n_unknown=len(answered) - len(known),
        notes=tuple(notes),
        resamples=resamples,
        seed=seed,
        level=LEVEL,
        outcomes=outcomes,
    )


def paired_difference(
    a: Evaluation, b: Evaluation, *, metric: str = "balanced_accuracy", resamples: int = 1000, seed: int = 0
) -> Difference:
    """The metric of `b` minus that of `a` on the images that both answered for, with its paired interval.

    Both systems meet the same resamples, so what makes an image hard for both does not widen the interval. An
    interval without 0 says that the difference is more than the luck of the images.

    Raises:
        LriadError: The systems share no image, or disagree on the truth or category of one.
    """
    if metric not in metrics.METRICS or metric == "f1_macro_paper":
        raise LriadError(f"paired_difference: unknown metric {metric!r}; expected one of {', '.join(metrics.METRICS)}")
    common = sorted(set(a.outcomes.ids) & set(b.outcomes.ids))
    if not common:
        raise LriadError("paired_difference: the two systems have no image in common; evaluate them on the same data")
    ours, theirs = _subset(a.outcomes, common), _subset(b.outcomes, common)
    for i, image in enumerate(common):
        first = (ours.truth_N[i], ours.categories[ours.category_N[i]])
        if first != (theirs.truth_N[i], theirs.categories[theirs.category_N[i]]):
            raise LriadError(
                f"paired_difference: the two systems disagree on the truth or category of {image!r}; "
                "evaluate them on the same data"
            )
    blocks = [_block(outcomes, 0, seed) for outcomes in (ours, theirs)]
    pooled, mean = (
        _difference(*(getattr(block, average).values[metric] for block in blocks)) for average in ("pooled", "mean")
    )
    pooled_interval = mean_interval = None
    if resamples:
        drawn_a, drawn_b = (metrics.bootstrap(outcomes, resamples, seed) for outcomes in (ours, theirs))
        pooled_interval = metrics.interval(drawn_b.pooled[metric] - drawn_a.pooled[metric], LEVEL)
        mean_interval = metrics.interval(drawn_b.mean[metric] - drawn_a.mean[metric], LEVEL)
    left_out = len(a.outcomes) + len(b.outcomes) - 2 * len(common)
    return Difference(metric, pooled, pooled_interval, mean, mean_interval, len(common), left_out)


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else b - a


def _subset(outcomes: Outcomes, ids: Sequence[str]) -> Outcomes:
    """The outcomes of some images, in the order of `ids`, with the categories that occur in them."""
    position = {image: i for i, image in enumerate(outcomes.ids)}
    taken = outcomes.take(np.array([position[image] for image in ids]))
    used, category_N = np.unique(taken.category_N, return_inverse=True)
    return replace(taken, categories=[outcomes.categories[c] for c in used], category_N=category_N)


def _refuse_duplicates(rows: Sequence[Mapping[str, Any]]) -> None:
    first: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if row["id"] in first:
            raise LriadError(
                f"prediction {number}: id {row['id']!r} is also that of prediction {first[row['id']]}; keep "
                "one an image"
            )
        first[row["id"]] = number


def _category_names(rows: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """(dataset, category) by a unique name, sorted: the category's, with its data set where two share it."""
    keys = sorted({(row["dataset"], row["category"]) for row in rows})
    shared = [category for _, category in keys]
    names = {(f"{d or '-'}/{c}" if shared.count(c) > 1 else c): (d, c) for d, c in keys}
    if len(names) < len(keys):
        raise LriadError(f"categories {shared}: their names cannot be told apart; rename one of them")
    return dict(sorted(names.items()))


def _outcomes(rows: Sequence[Mapping[str, Any]], names: Sequence[str], categories: list[str]) -> Outcomes:
    """Rows of known truth, sorted by category and id, as arrays."""
    index = {name: i for i, name in enumerate(categories)}
    labelled = any(row["label"] is not None for row in rows)
    labels = [row["label"] or "unparsable" for row in rows]
    # `fast` inspection writes nothing that could follow the format.
    follows = [None if row.get("mode") == "fast" else row["follows_format"] for row in rows]
    return Outcomes(
        ids=[row["id"] for row in rows],
        categories=categories,
        category_N=np.array([index[name] for name in names]),
        truth_N=np.array([_CODES[row["truth"]] for row in rows]),
        said_N=np.array([_CODES[label] for label in labels]) if labelled else None,
        score_N=_scores(rows),
        wording=[_wording(row, label) for row, label in zip(rows, labels, strict=True)] if labelled else None,
        follows_N=None if None in follows else np.array(follows),
    )


def _wording(row: Mapping[str, Any], label: str) -> str:
    return label if label != "unparsable" else f"unparsable: {row.get('answer', '')}"


def _scores(rows: Sequence[Mapping[str, Any]]) -> np.ndarray | None:
    """What images are ranked by, NaN where a row lacks it; None where all do."""
    name = ranked_by(rows)
    values = [row[name] for row in rows]
    if all(value is None for value in values):
        return None
    return np.array([np.nan if value is None else value for value in values])


def _decider(row: Mapping[str, Any]) -> str:
    """What made a row's decision; '' where none was made besides what the answer says."""
    if row["decision"] is None:
        return ""
    if row.get("calibration"):
        return "calibration"
    if row["threshold"] is not None:
        return "threshold"
    return "memory" if row.get("memory") else ""


def _check_setting(rows: Sequence[Mapping[str, Any]]) -> None:
    """Zero-shot, k good, k good and n labelled: numbers of different settings never stand in one row of a table."""
    settings = sorted({str(row["setting"]) for row in rows if row.get("setting")})
    if len(settings) > 1:
        raise LriadError(f"predictions of several settings ({'; '.join(settings[:3])}): evaluate each by itself")


def _block(outcomes: Outcomes, resamples: int, seed: int) -> Block:
    per_category = {
        name: metrics.measure(outcomes.take(np.flatnonzero(outcomes.category_N == c)))
        for c, name in enumerate(outcomes.categories)
    }
    pooled, mean = metrics.measure(outcomes), metrics.mean_of_categories(list(per_category.values()))
    if not resamples:
        return Block({name: Scores(values) for name, values in per_category.items()}, Scores(pooled), Scores(mean))
    drawn = metrics.bootstrap(outcomes, resamples, seed)
    return Block(
        {name: Scores(values, _intervals(drawn.per_category[name])) for name, values in per_category.items()},
        Scores(pooled, _intervals(drawn.pooled)),
        Scores(mean, _intervals(drawn.mean)),
    )


def _intervals(values: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float] | None]:
    return {name: metrics.interval(values_B, LEVEL) for name, values_B in values.items()}


def _localisation(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], maps: str | Path
) -> tuple[dict[str, Located] | None, int]:
    from lriad.evaluation.localisation import measure_localisation

    return measure_localisation(rows, names, maps)


def _constant(outcomes: Outcomes, said: int) -> Block:
    """A predictor that says the same of every image, with the same score."""
    n = len(outcomes)
    word = "defect" if said == DEFECT else "normal"
    same = replace(
        outcomes, said_N=np.full(n, said), wording=[word] * n, score_N=np.full(n, float(said)), follows_N=None
    )
    return _block(same, 0, 0)


def _notes(rows: Sequence[Mapping[str, Any]], outcomes: Outcomes, block: Block) -> Iterable[str]:
    """What a reader of the tables should mind, one sentence each."""
    setting = next((row["setting"] for row in rows if row.get("setting")), "zero-shot")
    if setting != "zero-shot":
        yield f"Setting: {setting}; not to be compared with zero-shot as if it were the same task."
    one_class = [
        f"{name} ({'defect' if scores.values['n_defect'] else 'normal'} only)"
        for name, scores in block.per_category.items()
        if scores.values["n_defect"] in (0, scores.values["n"])
    ]
    if one_class:
        yield (
            f"One class only, so metrics that need both are undefined there and the mean of categories is "
            f"over the others: {', '.join(one_class)}."
        )
    pooled = block.pooled.values
    if outcomes.said_N is None:
        yield "Scores without labels: no threshold is assumed, so only the metrics of their order are given."
    else:
        unlabelled = sum(row["label"] is None for row in rows)
        if unlabelled:
            yield f"Predictions without a label, counted as unparsable: {unlabelled}."
        strange = sorted({row["answer"] for row in rows if row.get("answer") and "text" not in row})
        if strange and pooled["unparsable_rate"] == 1:
            yield (
                f"Not one label is A, B, defect or normal (first: {strange[0][:40]!r}): all are counted as "
                "unparsable; translate the system's words."
            )
        for name, hit, total, of in (
            ("recall", pooled["tp"], pooled["n_defect"], "defects"),
            ("FPR", pooled["fp"], pooled["n"] - pooled["n_defect"], "normal images"),
        ):
            if total and hit in (0, total):
                yield (
                    f"{name} is {hit} of {total} {of}: a bootstrap cannot tell how sure that is; by the rule "
                    f"of three the true rate may be {min(1, 3 / total):.1%} away (95 %)."
                )
    whys = (" ".join(str(row["p_missing"]).split())[:200] for row in rows if row.get("p_missing"))
    reason = next((f" ({why})" for why in whys), "")
    if outcomes.score_N is None:
        yield f"The predictions have no p_defect and no score{reason}: no AUROC and no other metric of their order."
    elif np.isnan(outcomes.score_N).any():
        missing = int(np.isnan(outcomes.score_N).sum())
        yield (
            f"No score in {missing} of {len(rows)} predictions{reason}: AUROC and the other metrics of their order "
            "need one in all of them."
        )
    groups = [(row["dataset"], row["category"], row["group"]) for row in rows if row.get("group")]
    if len(set(groups)) < len(groups):
        yield (
            f"{len(groups)} images show {len(set(groups))} parts (groups): they are resampled as if "
            "independent, so true intervals are wider."
        )
