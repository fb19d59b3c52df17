"""Evaluations as Markdown, CSV, JSON and terminal tables.

Tables for people give percentages with two decimals, as the paper does; CSV and JSON give fractions in full.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from lriad.errors import LriadError
from lriad.evaluation.metrics import METRICS

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from lriad.evaluation.evaluate import Block, Evaluation, Scores

COLUMNS = {
    "accuracy": "accuracy",
    "f1_macro": "F1 macro",
    "balanced_accuracy": "bal. acc.",
    "recall": "recall",
    "false_positive_rate": "FPR",
    "auroc": "AUROC",
    "average_precision": "AP",
    "recall_at_fpr_5": "recall at 5% FPR",
    "unparsable_rate": "unparsable",
    "f1_macro_paper": "F1 macro (paper)",
    "format_rate": "format",
}
COMPARED = (
    "accuracy",
    "f1_macro",
    "balanced_accuracy",
    "recall",
    "false_positive_rate",
    "auroc",
    "unparsable_rate",
)
COUNTS = ("n", "n_defect", "tp", "fp", "fn", "tn")
NO_VALUE = "–"

LEGEND = (
    "All numbers are percentages. recall: of the defects, how many were called so (the rest escape); FPR: of "
    "the normal images, how many were called defect (overkill). An unparsable answer is wrong for its class. "
    "pooled: all images together; mean: the unweighted mean over categories. F1 macro (paper) counts each "
    "different unparsable answer as a class of its own. recall at 5% FPR: at the best threshold on the score that "
    "calls at most 5 % of the normal images defect, read off these very labels, which is optimistic."
)


@dataclass(frozen=True)
class TextTable:
    """A table of strings: the first `left` columns are text, the others numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    left: int = 1
    notes: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (self.columns, *self.rows)]
        width = [max(3, *(len(row[i]) for row in cells)) for i in range(len(self.columns))]
        rule = [("-" * w) if i < self.left else ("-" * (w - 1) + ":") for i, w in enumerate(width)]

        def line(row: Sequence[str]) -> str:
            padded = [
                c.ljust(w) if i < self.left else c.rjust(w) for i, (c, w) in enumerate(zip(row, width, strict=True))
            ]
            return f"| {' | '.join(padded)} |"

        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([f"**{self.title}**", "", line(cells[0]), line(rule), *map(line, cells[1:]), *notes])

    def to_rich(self) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        notes = Text("\n".join(f"- {note}" for note in self.notes)) if self.notes else None
        table = Table(
            title=Text(self.title),
            title_justify="left",
            caption=notes,
            caption_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        for i, column in enumerate(self.columns):
            # A narrow terminal may break a line between words, never a number.
            cells = [row[i] for row in self.rows]
            words = [word for text in (column, *cells) for word in text.split()] if i < self.left else cells
            table.add_column(
                Text(column),
                justify="left" if i < self.left else "right",
                overflow="fold",
                min_width=min(20, max(map(len, [*words, *column.split()]), default=1)),
            )
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def percent(value: float | int | None) -> str:
    """`87.60` for 0.876; a dash where undefined."""
    return NO_VALUE if value is None else f"{100 * value:.2f}"


def percent_interval(bounds: tuple[float, float] | None) -> str:
    """`[86.9, 88.3]`; a dash where undefined."""
    return NO_VALUE if bounds is None else f"[{100 * bounds[0]:.1f}, {100 * bounds[1]:.1f}]"


def block_table(
    evaluation: Evaluation,
    block: Block,
    title: str,
    *,
    metrics: Sequence[str] = METRICS,
    intervals: bool = True,
    rename: Mapping[str, str] | None = None,
) -> TextTable:
    """Categories, pooled, mean of categories and the two constant predictors under one another.

    Args:
        evaluation: Has the constant predictors.
        block: Has the metrics to show.
        title: Of the table.
        metrics: Which to show; those that no image defines are left out.
        intervals: Whether those of the totals get a line and those of balanced accuracy a column.
        rename: Headings that differ from COLUMNS.
    """
    headings = {**COLUMNS, **(rename or {})}
    shown = [name for name in metrics if block.pooled.values[name] is not None]
    level = f"{evaluation.level:.0%}"
    columns = ["", "n", "defect", *(headings[name] for name in shown)]
    intervals = intervals and bool(block.pooled.intervals)
    with_interval = intervals and "balanced_accuracy" in shown
    if with_interval:
        columns.append(f"bal. acc. {level}")

    def line(name: str, scores: Scores) -> tuple[str, ...]:
        cells = [name, str(scores.values["n"]), str(scores.values["n_defect"])]
        cells += [percent(scores.values[metric]) for metric in shown]
        if with_interval:
            cells.append(percent_interval(scores.intervals.get("balanced_accuracy")))
        return tuple(cells)

    def interval_line(name: str, scores: Scores) -> tuple[str, ...]:
        cells = [percent_interval(scores.intervals.get(metric)) for metric in shown]
        return (name, "", "", *cells, *([""] if with_interval else []))

    rows = [line(name, scores) for name, scores in block.per_category.items()]
    for name, scores in (("pooled", block.pooled), ("mean of categories", block.mean)):
        rows.append(line(name, scores))
        if intervals:
            rows.append(interval_line(f"{name}, {level}", scores))
    for name, constant in (
        ("always normal", evaluation.always_normal),
        ("always defect", evaluation.always_defect),
    ):
        rows.append(line(f"{name}, pooled", constant.pooled))
        rows.append(line(f"{name}, mean", constant.mean))
    return TextTable(title, tuple(columns), rows)


def evaluation_tables(evaluation: Evaluation, *, narrow: bool = False) -> list[TextTable]:
    """The table of the labels, and that of the decisions at the threshold where there is one.

    Args:
        evaluation: To show.
        narrow: Whether to leave out the intervals and the metrics that decide least, as for a terminal.
    """

    def table(block: Block, title: str, rename: Mapping[str, str]) -> TextTable:
        shown = COMPARED if narrow else METRICS
        return block_table(evaluation, block, title, metrics=shown, intervals=not narrow, rename=rename)

    tables = [table(evaluation.by_label, "By what the answer says", {})]
    if evaluation.at_threshold is not None:
        title = f"{_decided(evaluation)}; a review is neither a found defect nor a false alarm"
        tables.append(table(evaluation.at_threshold, title, {"unparsable_rate": "review"}))
    return tables


def limits(evaluation: Evaluation) -> str:
    """Below which value a part is normal and from which on it is defective, in words; '' where no value decides."""
    below, above = _span(evaluation.normal_below), _span(evaluation.thresholds)
    # Of two that are equal one says it all. On a score, the upper one is known to the calibration alone.
    parts = [f"normal below {below}"] * (below not in ("", above)) + [f"defect from {above}"] * bool(above)
    return ", ".join(parts)


def _span(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{end(values):g}" for end in (min, max))) if values else ""


def _decided(evaluation: Evaluation) -> str:
    """What made the decisions, and at which values."""
    match evaluation.decided_by:
        case ("threshold",):
            return f"At the threshold ({_span(evaluation.thresholds)})"
        case ("memory",):
            by = "As the memory of good parts decides"
        case ("calibration",):
            by = "As the calibration decides"
        case several:
            by = f"As {' or '.join(several)} decides, each of some images"
    return f"{by} ({at})" if (at := limits(evaluation)) else by


def faithfulness_table(evaluation: Evaluation, *, narrow: bool = False) -> list[TextTable]:
    """The table of what the reasoning of found defects names; none where that was not measured.

    Args:
        evaluation: To show.
        narrow: Whether to leave out the categories, as for a terminal.
    """
    found = evaluation.faithfulness
    if found is None:
        return []
    rows: list[tuple[str, ...]] = []
    unknown = []
    for named, aspect, lacking in (("place", found.place, "mask"), ("kind", found.kind, "kind that has a name here")):
        for name, share in {**({} if narrow else aspect.per_category), "pooled": aspect.pooled}.items():
            if share.n:
                shares = (percent(share.right), percent_interval(share.interval), percent(share.constant))
                rows.append((name, named, str(share.n), *shares, str(share.none), str(share.several)))
        if aspect.pooled.unknown:
            unknown.append(f"{aspect.pooled.unknown} without a {lacking}")
    level = f"{evaluation.level:.0%}"
    notes = [
        f"Of the defects that were found ({found.n}): does the reasoning name the place of the mask, and the kind?",
        "constant: always naming the one that is right most often in these images; none, several: how many name "
        "none, or more than one, which is not right.",
        *([f"Not judged: {'; '.join(unknown)}."] if unknown else []),
    ]
    columns = ("", "named", "n", "right", level, "constant", "none", "several")
    return [TextTable("Faithfulness of the reasoning", columns, rows, left=2, notes=tuple(notes))]


def localisation_table(evaluation: Evaluation) -> list[TextTable]:
    """The table of where the heat-maps see the defects, a category a row; none where that was not measured."""
    if evaluation.localisation is None:
        return []
    shown = (
        ("pixel AUROC", "found", "pixel_auroc"),
        ("centre", "centre", "pixel_auroc"),
        ("AUPRO to 30% FPR", "found", "aupro"),
        ("centre", "centre", "aupro"),
        ("pointing", "found", "pointing"),
        ("centre", "centre", "pointing"),
        ("chance", "chance", "pointing"),
    )
    values = {
        name: [getattr(getattr(located, by), metric) for _, by, metric in shown]
        for name, located in evaluation.localisation.items()
    }
    rows = [
        (name, str(located.n), str(located.n_masks), *map(percent, values[name]))
        for name, located in evaluation.localisation.items()
    ]
    known = [[value for value in column if value is not None] for column in zip(*values.values(), strict=True)]
    means = (percent(sum(column) / len(column) if column else None) for column in known)
    rows.append(("mean of categories", "", "", *means))
    notes = (
        "pointing: how often the highest place of the heat-map lies in the defect, give or take one place.",
        "centre: of one map for all images, highest in the middle; chance: of maps of noise, which have a pixel AUROC "
        "of 50 and an AUPRO of 15.",
    )
    columns = ("", "n", "masks", *(title for title, _, _ in shown))
    return [TextTable("Where the defects are", columns, rows, notes=notes)]


def compare_table(
    evaluations: Mapping[str, Evaluation],
    average: Literal["pooled", "mean"] = "pooled",
    title: str | None = None,
) -> TextTable:
    """Systems side by side, one a row, with the constant predictors of the images they were evaluated on.

    Args:
        evaluations: By the system's name, such as `before` and `after`.
        average: Over all images, or the mean of categories.
        title: Of the table.
    """
    if not evaluations:
        raise LriadError("compare_table: no evaluation to compare; give at least one")
    # Constants depend on nothing but the images: once for each set of them.
    image_sets: dict[tuple, tuple[str, Evaluation]] = {}
    for name, evaluation in evaluations.items():
        image_sets.setdefault(_make_up(evaluation), (name, evaluation))
    same_images = len(image_sets) == 1
    first = next(iter(evaluations.values()))
    columns = ["", *([] if same_images else ["n", "defect"])]
    for metric in COMPARED:
        columns += [COLUMNS[metric], *([f"{first.level:.0%}"] if metric == "balanced_accuracy" else [])]

    def line(name: str, block: Block) -> tuple[str, ...]:
        scores = block.pooled if average == "pooled" else block.mean
        cells = [name, *([] if same_images else [str(scores.values["n"]), str(scores.values["n_defect"])])]
        for metric in COMPARED:
            cells.append(percent(scores.values[metric]))
            if metric == "balanced_accuracy":
                cells.append(percent_interval(scores.intervals.get(metric)))
        return tuple(cells)

    rows = [line(name, evaluation.by_label) for name, evaluation in evaluations.items()]
    for name, evaluation in image_sets.values():
        of = "" if same_images else f" (images of {name})"
        rows.append(line(f"always normal{of}", evaluation.always_normal))
        rows.append(line(f"always defect{of}", evaluation.always_defect))
    if title is None:
        n, n_defect = (first.by_label.pooled.values[name] for name in ("n", "n_defect"))
        averaged = "all images pooled" if average == "pooled" else "mean of categories"
        made_up = f": {n} images, {n_defect} with a defect" if same_images else ""
        title = f"Side by side, {averaged}{made_up} (percent)"
    return TextTable(title, tuple(columns), rows)


def _make_up(evaluation: Evaluation) -> tuple:
    return tuple(
        (name, scores.values["n"], scores.values["n_defect"])
        for name, scores in evaluation.by_label.per_category.items()
    )


def to_markdown(evaluation: Evaluation) -> str:
    """The whole report: what was evaluated, every table, the paper's numbers beside ours, what to mind."""
    from lriad.evaluation.paper import beside_paper

    parts = [evaluation.summary()]
    own = (*evaluation_tables(evaluation), *faithfulness_table(evaluation), *localisation_table(evaluation))
    parts += [table.to_markdown() for table in (*own, *beside_paper(evaluation))]
    parts.append(LEGEND + " " + _interval_legend(evaluation))
    if evaluation.notes:
        parts.append("\n".join(f"- {note}" for note in evaluation.notes))
    if evaluation.errors:
        listed = "\n".join(f"- {row['id']}: {row['error']}" for row in evaluation.errors)
        parts.append(f"**Not inspected ({len(evaluation.errors)}), and in no number above**\n\n{listed}")
    return _utf8("\n\n".join(parts) + "\n")


def to_rich(evaluation: Evaluation) -> Group:
    """The report for a terminal: the metrics that decide; the Markdown, CSV and JSON have all."""
    from rich.console import Group
    from rich.text import Text

    lines = []
    for name, scores in (("pooled", evaluation.by_label.pooled), ("mean", evaluation.by_label.mean)):
        if bounds := scores.intervals.get("balanced_accuracy"):
            lines.append(f"- balanced accuracy, {name}, {evaluation.level:.0%}: {percent_interval(bounds)}")
        if bounds := scores.intervals.get("recall_at_fpr_5"):
            value = percent(scores.values["recall_at_fpr_5"])
            lines.append(
                f"- {COLUMNS['recall_at_fpr_5']}, {name}, {evaluation.level:.0%}: {value} {percent_interval(bounds)}"
            )
    lines += [f"- {note}" for note in evaluation.notes]
    lines += [f"- not inspected: {row['id']}: {row['error']}" for row in evaluation.errors]
    tables = (
        *evaluation_tables(evaluation, narrow=True),
        *faithfulness_table(evaluation, narrow=True),
        *localisation_table(evaluation),
    )
    return Group(Text(evaluation.summary()), *(table.to_rich() for table in tables), *map(Text, lines))


def _utf8(text: str) -> str:
    """The text with a question mark for what no UTF-8 file can hold: file names of another encoding."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _interval_legend(evaluation: Evaluation) -> str:
    if not evaluation.resamples:
        return "No intervals were asked for."
    return (
        f"In brackets: {evaluation.level:.0%} percentile intervals of {evaluation.resamples} bootstrap "
        f"resamples of the images within each category and class (seed {evaluation.seed})."
    )


def to_csv(evaluation: Evaluation) -> str:
    """One line a category and average, with intervals.

    Columns: `predictor` (policy, at threshold, always normal, always defect), `over` (category, pooled,
    mean), `dataset`, `category`, counts, then each metric as a fraction, followed by its `_low` and `_high`;
    empty where undefined. At the threshold, `unparsable_rate` is the share under review.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = [f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")]
    writer.writerow(["predictor", "over", "dataset", "category", *COUNTS, *bounds])
    blocks = {
        "policy": evaluation.by_label,
        "at threshold": evaluation.at_threshold,
        "always normal": evaluation.always_normal,
        "always defect": evaluation.always_defect,
    }
    for predictor, block in blocks.items():
        if block is None:
            continue
        named = [("category", *evaluation.origin[name], scores) for name, scores in block.per_category.items()]
        for over, dataset, category, scores in (
            *named,
            ("pooled", "", "", block.pooled),
            ("mean", "", "", block.mean),
        ):
            cells: list[Any] = [predictor, over, dataset, category, *(scores.values[name] for name in COUNTS)]
            for metric in METRICS:
                cells += [scores.values[metric], *(scores.intervals.get(metric) or (None, None))]
            writer.writerow(["" if cell is None else cell for cell in cells])
    return _utf8(out.getvalue())


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything as JSON-safe values: undefined is null, never NaN."""
    from lriad.evaluation.paper import dataset_of, paper_rows

    found = {dataset_of(dataset) for dataset, _ in evaluation.origin.values()} - {None}
    document: dict[str, Any] = {
        "images": len(evaluation.outcomes),
        "categories": len(evaluation.origin),
        "not_inspected": [{"id": row["id"], "error": row["error"]} for row in evaluation.errors],
        "unknown_truth": evaluation.n_unknown,
        "by_label": _block_json(evaluation.by_label),
        "always_normal": _block_json(evaluation.always_normal),
        "always_defect": _block_json(evaluation.always_defect),
        "at_threshold": None,
        "faithfulness": asdict(evaluation.faithfulness) if evaluation.faithfulness else None,
        "localisation": {name: asdict(one) for name, one in (evaluation.localisation or {}).items()} or None,
        "bootstrap": {
            "resamples": evaluation.resamples,
            "seed": evaluation.seed,
            "level": evaluation.level,
            "strata": "category x class",
        },
        "notes": list(evaluation.notes),
        "paper": [row.to_dict() for row in paper_rows() if row.dataset in found],
    }
    if evaluation.at_threshold is not None:
        document["at_threshold"] = {
            "decided_by": list(evaluation.decided_by),
            "thresholds": list(evaluation.thresholds),
            "normal_below": list(evaluation.normal_below),
            **_block_json(evaluation.at_threshold, {"unparsable_rate": "review_rate"}),
        }
    return document


def _block_json(block: Block, rename: Mapping[str, str] | None = None) -> dict[str, Any]:
    names = rename or {}

    def scores_json(scores: Scores) -> dict[str, Any]:
        values = {names.get(name, name): value for name, value in scores.values.items()}
        ends = {names.get(name, name): list(b) if b else None for name, b in scores.intervals.items()}
        return {**values, "intervals": ends}

    return {
        "per_category": {name: scores_json(scores) for name, scores in block.per_category.items()},
        "pooled": scores_json(block.pooled),
        "mean_of_categories": scores_json(block.mean),
    }
