"""The metrics of image-level anomaly detection, and their bootstrap intervals.

Arrays end in their dimensions: N images, B bootstrap resamples, G groups of equal scores. A rate that the
data do not define (the recall of a category without a defect) is NaN in arrays and None in results; it is
never 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NORMAL, DEFECT, UNPARSABLE = 0, 1, 2
"""Codes of what was said. Truth is NORMAL or DEFECT; a decision under review has the code of UNPARSABLE."""

LABEL_METRICS = (
    "accuracy",
    "f1_macro",
    "balanced_accuracy",
    "recall",
    "false_positive_rate",
    "unparsable_rate",
)
"""Metrics of what was said, computed from the counts of truth x said."""

SCORE_METRICS = ("auroc", "average_precision", "recall_at_fpr_5")
"""Metrics of the order of the scores; no threshold is given from outside."""

METRICS = (*LABEL_METRICS, *SCORE_METRICS, "f1_macro_paper", "format_rate")

MAX_FALSE_POSITIVE_RATE = 0.05
"""Of the operating point `recall_at_fpr_5`."""

_CHUNK_ELEMENTS = 1_000_000  # multiplicities held at once: keeps 10,000 images x 1000 resamples under 100 MB


@dataclass(frozen=True)
class Outcomes:
    """What was said of N images whose truth is known, sorted by category and id.

    Attributes:
        ids: Name of each image, unique.
        categories: Names of the C categories.
        category_N: Index into `categories`, in [0, C).
        truth_N: NORMAL or DEFECT.
        said_N: NORMAL, DEFECT or UNPARSABLE; None where the system gave scores only.
        score_N: The higher, the more likely a defect; NaN where missing; None where no image has one.
        wording: The answer as a string, for `f1_macro_paper`; None where there is no answer but scores or
            decisions.
        follows_N: Whether each completion follows the format; None where the rows do not say.
    """

    ids: list[str]
    categories: list[str]
    category_N: np.ndarray
    truth_N: np.ndarray
    said_N: np.ndarray | None
    score_N: np.ndarray | None
    wording: list[str] | None
    follows_N: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index_N: np.ndarray) -> Outcomes:
        """The outcomes of some images, in the order of `index_N`."""
        pick = index_N.tolist()
        return Outcomes(
            ids=[self.ids[i] for i in pick],
            categories=self.categories,
            category_N=self.category_N[index_N],
            truth_N=self.truth_N[index_N],
            said_N=None if self.said_N is None else self.said_N[index_N],
            score_N=None if self.score_N is None else self.score_N[index_N],
            wording=None if self.wording is None else [self.wording[i] for i in pick],
            follows_N=None if self.follows_N is None else self.follows_N[index_N],
        )


def label_rates(counts: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of what was said.

    An unparsable answer is wrong for its class, whichever that is: it lowers accuracy, F1, recall of defects
    and balanced accuracy, but it is no false alarm.

    Args:
        counts: Number of images, of shape (..., 2, 3): truth (normal, defect) x said (normal, defect,
            unparsable).

    Returns:
        Each of LABEL_METRICS, of shape (...), in [0, 1]; NaN where a class that it needs has no image.
    """
    tn, fp = counts[..., NORMAL, NORMAL], counts[..., NORMAL, DEFECT]
    fn, tp = counts[..., DEFECT, NORMAL], counts[..., DEFECT, DEFECT]
    normal, defect = counts[..., NORMAL, :].sum(-1), counts[..., DEFECT, :].sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, specificity = tp / defect, tn / normal
        # 2 tp / (2 tp + fp + misses), where the misses of a class are its images that were not given to it.
        f1_macro = (2 * tp / (tp + fp + defect) + 2 * tn / (tn + fn + normal)) / 2
        return {
            "accuracy": (tp + tn) / (normal + defect),
            "f1_macro": np.where((normal > 0) & (defect > 0), f1_macro, np.nan),
            "balanced_accuracy": (recall + specificity) / 2,
            "recall": recall,
            "false_positive_rate": fp / normal,
            "unparsable_rate": counts[..., UNPARSABLE].sum(-1) / (normal + defect),
        }


def count_outcomes(truth_N: np.ndarray, said_N: np.ndarray) -> np.ndarray:
    """Number of images, of shape (2, 3): truth x said."""
    return np.bincount(truth_N * 3 + said_N, minlength=6).reshape(2, 3)


def score_rates(truth_N: np.ndarray, score_N: np.ndarray | None) -> dict[str, float | None]:
    """AUROC, average precision and the recall at a false-positive rate of at most 5 %, by scikit-learn, in [0, 1].

    The last is the highest recall of any threshold on the score that calls at most 5 % of the normal images
    defect; with fewer than 20 of them that is none. The threshold is read off the labels that it is measured on,
    which is optimistic: this is a property of the ranking and no promise for other images. Few normal images make
    it coarse, and its bootstrap interval lie high, since many resamples lack the one false alarm that decides.

    None where only one class is present or where a score is missing: a curve of some of the images would not
    be comparable with one of all.
    """
    if score_N is None or np.isnan(score_N).any() or np.unique(truth_N).size < 2:
        return dict.fromkeys(SCORE_METRICS)
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    false_positive_rate_T, recall_T, _ = roc_curve(truth_N, score_N, drop_intermediate=False)
    return {
        "auroc": float(roc_auc_score(truth_N, score_N)),
        "average_precision": float(average_precision_score(truth_N, score_N)),
        "recall_at_fpr_5": float(recall_T[false_positive_rate_T <= MAX_FALSE_POSITIVE_RATE].max()),
    }


def resampled_score_rates(truth_N: np.ndarray, score_N: np.ndarray, times_BN: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of `score_rates` of B resamples at once, equal to those on each of them.

    Args:
        truth_N: NORMAL or DEFECT; both occur in every resample.
        score_N: Finite scores.
        times_BN: How often each image is in each resample.

    Returns:
        Each of SCORE_METRICS, of shape (B,).
    """
    order_N = np.argsort(score_N, kind="stable")
    start_G = np.flatnonzero(np.diff(score_N[order_N], prepend=-np.inf))
    sorted_BN = times_BN[:, order_N]
    defect_BG = np.add.reduceat(sorted_BN * truth_N[order_N], start_G, axis=1)
    all_BG = np.add.reduceat(sorted_BN, start_G, axis=1)
    normal_BG = all_BG - defect_BG
    defects_B, normals_B = defect_BG.sum(1), normal_BG.sum(1)
    below_BG = np.cumsum(normal_BG, axis=1) - normal_BG / 2  # a tie counts one half
    auroc_B = (defect_BG * below_BG).sum(1) / (defects_B * normals_B)
    # Precision at each threshold 'score >= that of the group', weighted by the recall that the group adds.
    found_BG = np.cumsum(defect_BG[:, ::-1], axis=1)
    flagged_BG = np.cumsum(all_BG[:, ::-1], axis=1)
    precision_BG = found_BG / np.maximum(flagged_BG, 1)
    allowed_BG = flagged_BG - found_BG <= MAX_FALSE_POSITIVE_RATE * normals_B[:, None]
    return {
        "auroc": auroc_B,
        "average_precision": (defect_BG[:, ::-1] * precision_BG).sum(1) / defects_B,
        "recall_at_fpr_5": (found_BG * allowed_BG).max(1) / defects_B,
    }


def f1_macro_paper(truth_N: np.ndarray, wording: list[str]) -> float | None:
    """F1-macro over every string that occurs among truths and answers, as scikit-learn averages it.

    Each different unparsable answer is then a class of its own with F1 = 0, which is the likely reason for
    the paper's F1-macro of its base model (Table IV): see docs/paper.md. None where only one class is
    present.
    """
    if np.unique(truth_N).size < 2:
        return None
    from sklearn.metrics import f1_score

    names = np.array(["normal", "defect"], dtype=object)[truth_N]
    return float(f1_score(names, np.array(wording, dtype=object), average="macro", zero_division=0))


def measure(outcomes: Outcomes) -> dict[str, float | int | None]:
    """Counts and all METRICS of the images together (pooled), without intervals."""
    truth_N = outcomes.truth_N
    values: dict[str, float | int | None] = {"n": len(outcomes), "n_defect": int(truth_N.sum())}
    values |= dict.fromkeys(("tp", "fp", "fn", "tn"))
    values |= dict.fromkeys(METRICS)
    if outcomes.said_N is not None:
        counts = count_outcomes(truth_N, outcomes.said_N)
        values |= {
            "tp": int(counts[DEFECT, DEFECT]),
            "fp": int(counts[NORMAL, DEFECT]),
            "fn": int(counts[DEFECT, NORMAL]),
            "tn": int(counts[NORMAL, NORMAL]),
        }
        values |= {name: _or_none(float(value)) for name, value in label_rates(counts).items()}
    if outcomes.wording is not None:
        values["f1_macro_paper"] = f1_macro_paper(truth_N, outcomes.wording)
    values |= score_rates(truth_N, outcomes.score_N)
    if outcomes.follows_N is not None:
        values["format_rate"] = float(outcomes.follows_N.mean())
    return values


def mean_of_categories(per_category: list[dict[str, float | int | None]]) -> dict[str, float | int | None]:
    """The unweighted mean over the categories that define a metric; counts are summed."""
    values: dict[str, float | int | None] = {}
    for name in per_category[0]:
        known = [value for values_c in per_category if (value := values_c[name]) is not None]
        if name in METRICS:
            values[name] = sum(known) / len(known) if known else None
        else:
            values[name] = sum(known) if known else None
    return values


def resample_times(strata: list[np.ndarray], n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is in each resample, in chunks of shape (b, n) whose b add up to `resamples`.

    Each stratum (array of image indices) is drawn from with replacement as often as it has images.
    """
    rng = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ELEMENTS // max(n, 1))
    for first in range(0, resamples, chunk):
        b = min(chunk, resamples - first)
        times_BN = np.zeros((b, n))
        for index_M in strata:
            m = index_M.size
            drawn_BM = rng.integers(0, m, (b, m)) + m * np.arange(b)[:, None]
            times_BN[:, index_M] = np.bincount(drawn_BM.ravel(), minlength=b * m).reshape(b, m)
        yield times_BN


def strata_of(outcomes: Outcomes) -> list[np.ndarray]:
    """Indices of the images of each category and class.

    A resample so keeps the make-up of the data set, and a metric is defined in all resamples or in none.
    """
    key_N = outcomes.category_N * 2 + outcomes.truth_N
    return [np.flatnonzero(key_N == key) for key in np.unique(key_N)]


@dataclass(frozen=True)
class Resampled:
    """Each metric's value in each of B resamples, of shape (B,), NaN where undefined."""

    per_category: dict[str, dict[str, np.ndarray]]
    pooled: dict[str, np.ndarray]
    mean: dict[str, np.ndarray]


def bootstrap(outcomes: Outcomes, resamples: int, seed: int) -> Resampled:
    """The metrics of `resamples` stratified bootstrap resamples of the images.

    Images are drawn with replacement within each category and class. One resample serves the categories, the
    pooled metrics and the mean of categories alike, so two systems on the same images and seed can be
    compared pairwise. `f1_macro_paper` is left out.
    """
    members = [np.flatnonzero(outcomes.category_N == c) for c in range(len(outcomes.categories))]
    subsets = [outcomes.take(index_M) for index_M in members]
    pooled: list[dict[str, np.ndarray]] = []
    parts: list[list[dict[str, np.ndarray]]] = [[] for _ in members]
    for times_BN in resample_times(strata_of(outcomes), len(outcomes), resamples, seed):
        pooled.append(resampled_rates(outcomes, times_BN))
        for part, subset, index_M in zip(parts, subsets, members, strict=True):
            part.append(resampled_rates(subset, times_BN[:, index_M]))
    joined = [_concatenated(part) for part in parts]
    return Resampled(
        per_category=dict(zip(outcomes.categories, joined, strict=True)),
        pooled=_concatenated(pooled),
        mean={name: _mean_where_defined(np.stack([part[name] for part in joined])) for name in joined[0]},
    )


def interval(values_B: np.ndarray, level: float) -> tuple[float, float] | None:
    """The percentile interval of bootstrap values; None where the metric is undefined."""
    if np.isnan(values_B).any():
        return None
    low, high = np.quantile(values_B, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def resampled_rates(outcomes: Outcomes, times_BN: np.ndarray) -> dict[str, np.ndarray]:
    """The metrics of each resample, each of shape (B,)."""
    truth_N, score_N = outcomes.truth_N, outcomes.score_N
    undefined_B = np.full(times_BN.shape[0], np.nan)
    rates = dict.fromkeys((*LABEL_METRICS, *SCORE_METRICS, "format_rate"), undefined_B)
    if outcomes.said_N is not None:
        cell_N6 = np.eye(6)[truth_N * 3 + outcomes.said_N]
        rates |= label_rates((times_BN @ cell_N6).reshape(-1, 2, 3))
    if score_N is not None and not np.isnan(score_N).any() and np.unique(truth_N).size == 2:
        rates |= resampled_score_rates(truth_N, score_N, times_BN)
    if outcomes.follows_N is not None:
        rates["format_rate"] = times_BN @ outcomes.follows_N / times_BN.sum(1)
    return rates


def _concatenated(chunks: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _mean_where_defined(values_CB: np.ndarray) -> np.ndarray:
    defined_CB = ~np.isnan(values_CB)
    count_B = defined_CB.sum(0)
    total_B = np.where(defined_CB, values_CB, 0).sum(0)
    return np.where(count_B > 0, total_B / np.maximum(count_B, 1), np.nan)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
