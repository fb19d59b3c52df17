"""The paper's own numbers: Tables III to VI, what they imply, and how they stand beside ours.

The paper prints accuracy and F1-macro only. On a data set whose make-up is known, the two determine how many
defects were found and how many normal images were called defect, so the missing columns can be computed:

    python -m lriad.evaluation.paper

Numbers of the paper are percentages with two decimals, as printed; implied rates are fractions in [0, 1]. The
counts of images are those of the official data sets, train and test together ('All' of the paper's Table II).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from lriad.errors import LriadError
from lriad.evaluation.tables import NO_VALUE, TextTable, percent

if TYPE_CHECKING:
    from lriad.evaluation.evaluate import Evaluation

DATASETS = ("MVTec-AD", "VisA")
METHODS = ("LR-IAD", "AprilGAN", "AnomalyGPT")
"""The methods with a number per category."""

_SPELLINGS = {"mvtec": "MVTec-AD", "mvtecad": "MVTec-AD", "visa": "VisA"}
_ROUNDING = 0.01  # percentage points: two numbers printed with two decimals

NOTES = {
    "MVTec-AD": ("Table III's LR-IAD row pools the images; its AprilGAN and AnomalyGPT rows are means of categories.",),
    "VisA": (
        "Table III's LR-IAD row pools the images; its AnomalyGPT row is a mean of categories.",
        "Table III's AprilGAN row equals Table V's pipe_fryum row, which no answers on 600 images can give.",
        "WinCLIP's row is exactly 'always defect', pooled; 'always normal' has a higher accuracy than every method.",
    ),
}


@dataclass(frozen=True)
class PaperRow:
    """One printed result.

    Attributes:
        table: Roman number of the paper's table.
        dataset: One of DATASETS.
        category: As the data set spells it, or `all`.
        method: As the paper names it.
        accuracy: In percent.
        f1_macro: In percent.
        n_normal: Normal images of the official data set, train and test together.
        n_defect: Images with a defect.
    """

    table: str
    dataset: str
    category: str
    method: str
    accuracy: float
    f1_macro: float
    n_normal: int
    n_defect: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class ImpliedRates:
    """What an accuracy and an F1-macro imply, as fractions in [0, 1]."""

    recall: float
    false_positive_rate: float

    @property
    def balanced_accuracy(self) -> float:
        return (self.recall + 1 - self.false_positive_rate) / 2


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Every row of Tables III to VI."""
    text = (files("lriad.evaluation") / "paper_tables.csv").read_text(encoding="utf-8")
    return tuple(
        PaperRow(
            row["table"],
            row["dataset"],
            row["category"],
            row["method"],
            float(row["accuracy"]),
            float(row["f1_macro"]),
            int(row["n_normal"]),
            int(row["n_defect"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def paper_row(dataset: str, category: str, method: str) -> PaperRow | None:
    """One printed result (`category` may be `all`); None where the paper has none."""
    for row in paper_rows():
        if (row.dataset, row.category, row.method) == (dataset, category, method):
            return row
    return None


def category_rows(dataset: str, method: str) -> list[PaperRow]:
    """The results per category of one method."""
    return [r for r in paper_rows() if (r.dataset, r.method) == (dataset, method) and r.category != "all"]


def dataset_of(name: str) -> str | None:
    """The paper's name of a data set, however spelled (`mvtec`, `MVTec AD`, `visa`); None for others."""
    return _SPELLINGS.get("".join(c for c in name.lower() if c.isalnum()))


def accuracy_and_f1(tp: float, fp: float, n_defect: int, n_normal: int) -> tuple[float, float]:
    """Accuracy and F1-macro, in percent, of `tp` defects found and `fp` normal images called defect."""
    tn, wrong = n_normal - fp, n_defect - tp + fp
    f1_defect = 2 * tp / (2 * tp + wrong) if tp or wrong else 0.0
    f1_normal = 2 * tn / (2 * tn + wrong) if tn or wrong else 0.0
    return 100 * (tp + tn) / (n_defect + n_normal), 100 * (f1_defect + f1_normal) / 2


def recall_from_accuracy_f1(accuracy: float, f1_macro: float, n_defect: int, n_normal: int) -> tuple[ImpliedRates, ...]:
    """Recall of defects and false-positive rate behind an accuracy and an F1-macro.

    With C = tp + tn images right and E wrong, of n, e = E / 2 and S the sum of the two F1 scores,
    S = tp / (tp + e) + tn / (tn + e) = 2 - e n / (tp tn + e C + e^2): the sum and the product of tp and tn
    are known, so they are the roots of a quadratic. Every answer is taken to be one of the two classes.

    Args:
        accuracy: In percent.
        f1_macro: Over the two classes, in percent.
        n_defect: Images with a defect, at least 1.
        n_normal: Normal images, at least 1.

    Returns:
        The solution, or both where tp and tn may change places (few defects found, or nearly all found among
        many false alarms), by rising recall.

    Raises:
        LriadError: No answers on such images have that accuracy and that F1-macro.
    """
    n = n_defect + n_normal
    right = accuracy / 100 * n
    e = (n - right) / 2
    headroom = 2 - 2 * f1_macro / 100
    product = e * n / headroom - e * right - e * e if headroom > 0 else n_defect * n_normal
    root = math.sqrt(max(0.0, right * right - 4 * product))
    solutions: list[ImpliedRates] = []
    for found in ((right - root) / 2, (right + root) / 2):
        tp = min(max(found, right - n_normal, 0.0), n_defect, right)
        fp = n_normal - (right - tp)
        rates = ImpliedRates(tp / n_defect, fp / n_normal)
        again = accuracy_and_f1(tp, fp, n_defect, n_normal)
        fits = max(abs(again[0] - accuracy), abs(again[1] - f1_macro)) <= _ROUNDING
        if fits and rates not in solutions:
            solutions.append(rates)
    if not solutions:
        raise LriadError(
            f"accuracy {accuracy} and F1-macro {f1_macro} cannot both be on {n_defect} defects and "
            f"{n_normal} normal images with two answers; check the numbers and the counts"
        )
    return tuple(solutions)


def answers_from_accuracy_f1(accuracy: float, f1_macro: float, n_defect: int, n_normal: int) -> list[tuple[int, int]]:
    """Every (defects found, false alarms) in whole images whose accuracy and F1-macro round to the printed
    ones.

    None means that the row cannot come from these images; several are rare on one category.
    """
    n, half = n_defect + n_normal, _ROUNDING / 2 + 1e-9
    found = []
    for right in range(math.ceil((accuracy - half) / 100 * n), math.floor((accuracy + half) / 100 * n) + 1):
        for tp in range(max(0, right - n_normal), min(n_defect, right) + 1):
            fp = n_normal - (right - tp)
            if abs(accuracy_and_f1(tp, fp, n_defect, n_normal)[1] - f1_macro) <= half:
                found.append((tp, fp))
    return sorted(found)


def lowest_f1_macro(accuracy: float, n_defect: int, n_normal: int) -> float:
    """The lowest F1-macro over the two classes, in percent, that an accuracy (in percent) leaves room for.

    At a given accuracy the F1-macro is concave in the number of defects found, so its lowest is at one end:
    as few defects found as possible, or as many. An unparsable answer in place of a wrong one only raises it.
    """
    n = n_defect + n_normal
    right = accuracy / 100 * n
    ends = (max(0.0, right - n_normal), min(float(n_defect), right))
    return min(accuracy_and_f1(tp, n_normal - (right - tp), n_defect, n_normal)[1] for tp in ends)


def fewest_other_classes(accuracy: float, f1_macro: float, n_defect: int, n_normal: int) -> int:
    """How many other strings must have been counted as classes, at least, for an F1-macro to be so low.

    A class that no image has scores F1 = 0, so k of them divide the sum of the two F1 scores by 2 + k.
    """
    lowest_sum = 2 * lowest_f1_macro(accuracy, n_defect, n_normal)
    return max(0, math.ceil(lowest_sum / (f1_macro + _ROUNDING / 2)) - 2)


def mean_row(dataset: str, method: str) -> tuple[float, float]:
    """Mean accuracy and F1-macro over the printed categories, in percent."""
    rows = category_rows(dataset, method)
    return sum(r.accuracy for r in rows) / len(rows), sum(r.f1_macro for r in rows) / len(rows)


def implied_table(dataset: str) -> TextTable:
    """What Table V or VI implies for every category and method: defects found and false alarms."""
    table: list[tuple[str, ...]] = []
    for method in METHODS:
        for row in category_rows(dataset, method):
            answers = answers_from_accuracy_f1(row.accuracy, row.f1_macro, row.n_defect, row.n_normal)
            found = " or ".join(str(tp) for tp, _ in answers) or "impossible"
            alarms = " or ".join(str(fp) for _, fp in answers) or "impossible"
            counts = (str(row.n_defect), found, str(row.n_normal), alarms)
            table.append((method, row.category, *_printed(row), *counts))
    columns = ("method", "category", "accuracy", "F1-macro", "defects", "found", "normal", "false alarms")
    return TextTable(f"{dataset}: what the printed numbers imply", columns, table, left=2)


def totals_table(dataset: str) -> TextTable:
    """Table III and IV's rows of one data set, our means of its categories, and the constant predictors."""
    rows: list[tuple[str, ...]] = []
    for printed in (r for r in paper_rows() if r.dataset == dataset and r.category == "all"):
        implied = _implied(printed) if printed.method == "LR-IAD" else (NO_VALUE, NO_VALUE, NO_VALUE)
        rows.append((f"{printed.method}, Table {printed.table}", *_printed(printed), *implied))
    for method in METHODS:
        accuracy, f1_macro = mean_row(dataset, method)
        rows.append((f"{method}, mean of its categories", f"{accuracy:.2f}", f"{f1_macro:.2f}", *[NO_VALUE] * 3))
    whole = next(r for r in paper_rows() if r.dataset == dataset and r.category == "all")
    for name, tp, fp in (("always normal", 0, 0), ("always defect", whole.n_defect, whole.n_normal)):
        accuracy, f1_macro = accuracy_and_f1(tp, fp, whole.n_defect, whole.n_normal)
        rates = ImpliedRates(tp / whole.n_defect, fp / whole.n_normal)
        rows.append((f"{name}, pooled", f"{accuracy:.2f}", f"{f1_macro:.2f}", *_rates(rates)))
    columns = ("", "accuracy", "F1-macro", "recall (implied)", "FPR (implied)", "bal. acc. (implied)")
    return TextTable(f"{dataset}: the paper's totals", columns, rows, notes=NOTES[dataset])


def beside_paper(evaluation: Evaluation) -> list[TextTable]:
    """The paper's numbers beside ours, for each of its data sets that the evaluation has; else nothing."""
    tables = []
    for dataset in DATASETS:
        names = [n for n, (source, _) in evaluation.origin.items() if dataset_of(source) == dataset]
        if names:
            tables += [_categories_beside_paper(evaluation, dataset, names), totals_table(dataset)]
    return tables


def _categories_beside_paper(evaluation: Evaluation, dataset: str, names: Sequence[str]) -> TextTable:
    rows, differing, unknown = [], [], []
    for name in names:
        category = evaluation.origin[name][1]
        values = evaluation.by_label.per_category[name].values
        ours = [percent(values[metric]) for metric in ("accuracy", "f1_macro", "recall")]
        theirs = [paper_row(dataset, category, method) for method in METHODS]
        cells: list[str] = []
        for row in theirs:
            cells += [*_printed(row), _found(row)] if row else [NO_VALUE] * 3
        rows.append((name, str(values["n"]), str(values["n_defect"]), *ours, *cells))
        if theirs[0] is None:
            unknown.append(name)
        elif (values["n"], values["n_defect"]) != (
            theirs[0].n_normal + theirs[0].n_defect,
            theirs[0].n_defect,
        ):
            differing.append(name)
    columns = ["", "n", "defect"]
    columns += [f"{who} {what}" for who in ("ours", *METHODS) for what in ("acc.", "F1", "recall")]
    notes = ["The paper's recall is not printed in it: it is what its accuracy and F1-macro imply."]
    if differing:
        notes.append(
            "Not the same images: the paper's numbers are of train and test together, ours have other counts "
            f"in {', '.join(differing)}."
        )
    if unknown:
        notes.append(f"Not in the paper: {', '.join(unknown)}.")
    return TextTable(f"{dataset}: beside the paper's Tables V and VI", tuple(columns), rows, notes=tuple(notes))


def _printed(row: PaperRow) -> tuple[str, str]:
    return f"{row.accuracy:.2f}", f"{row.f1_macro:.2f}"


def _found(row: PaperRow) -> str:
    answers = answers_from_accuracy_f1(row.accuracy, row.f1_macro, row.n_defect, row.n_normal)
    return " or ".join(percent(tp / row.n_defect) for tp, _ in answers) or NO_VALUE


def _implied(row: PaperRow) -> tuple[str, str, str]:
    solutions = recall_from_accuracy_f1(row.accuracy, row.f1_macro, row.n_defect, row.n_normal)
    cells = zip(*(_rates(rates) for rates in solutions), strict=True)
    recall, false_positive_rate, balanced_accuracy = (" or ".join(cell) for cell in cells)
    return recall, false_positive_rate, balanced_accuracy


def _rates(rates: ImpliedRates) -> tuple[str, str, str]:
    return percent(rates.recall), percent(rates.false_positive_rate), percent(rates.balanced_accuracy)


def main() -> None:
    """Prints what the paper's tables imply, as Markdown."""
    for dataset in DATASETS:
        print(totals_table(dataset).to_markdown(), end="\n\n")
        print(implied_table(dataset).to_markdown(), end="\n\n")
        base = next(r for r in paper_rows() if r.dataset == dataset and r.method == "Qwen2-VL(base)")
        made_up = (base.n_defect, base.n_normal)
        print(
            f"Base model at accuracy {base.accuracy:.2f}: two classes leave an F1-macro of at least "
            f"{lowest_f1_macro(base.accuracy, *made_up):.2f}, printed is {base.f1_macro:.2f}; other strings "
            f"counted as classes: at least {fewest_other_classes(base.accuracy, base.f1_macro, *made_up)}.\n"
        )


if __name__ == "__main__":
    main()
