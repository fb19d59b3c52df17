"""An evaluation as one file to hand on: figures, plots, tables and every picture, read in a browser without a network.

Names and reasoning come from files and from a model, so nothing of them is trusted: all is escaped, and the page's
content security policy runs no script but its own and loads nothing from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lriad._version import __version__
from lriad.calibration.bounds import interval
from lriad.calibration.reliability import reliability
from lriad.evaluation import plots
from lriad.evaluation.evaluate import Evaluation
from lriad.evaluation.metrics import DEFECT, NORMAL
from lriad.evaluation.paper import beside_paper
from lriad.evaluation.predictions import check_row, map_of
from lriad.evaluation.tables import LEGEND, TextTable, evaluation_tables, faithfulness_table, limits, localisation_table
from lriad.evaluation.thumbnails import Thumbnail, Wanted, make_thumbnails, share_out
from lriad.explain import scale_of
from lriad.verdict import parse_reasoning

MAX_BYTES = 30_000_000
"""Of the file: pictures are made as small as that takes, and the most wrong images have theirs first."""

KINDS = {
    "missed": "Missed",
    "false-alarm": "False alarm",
    "review": "To review",
    "unparsable": "Unparsable",
    "undecided": "Not decided",
    "unknown": "Truth unknown",
    "found": "Found",
    "passed": "Passed",
}
"""What became of an image, in the order of the gallery; wrong ones first, right ones last."""

_TIERS = {"missed": 0, "false-alarm": 0, "found": 2, "passed": 2}
_WEIGHTS = (4.0, 2.0, 1.0)  # of a picture's bytes, by tier
_PAGE_BYTES = 2_000_000  # kept for tables, plots and the page itself
_TEXT_BYTES = 8_000_000
_MOST_CARDS = 20_000
_LONGEST_TEXT = 4000
_LONGEST_NAME = 300
_MOST_ERRORS = 1000
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Card:
    """One image of the gallery.

    Attributes:
        row: Its checked prediction.
        category: Its name in the tables.
        kind: One of KINDS.
        value: What images are ranked by; None where it is missing.
        wrongness: At most 1; above 0 where the value is on the wrong side of what decides.
        reasoning: What the policy wrote.
    """

    row: dict[str, Any]
    category: str
    kind: str
    value: float | None
    wrongness: float
    reasoning: str

    @property
    def tier(self) -> int:
        return _TIERS.get(self.kind, 1)


@dataclass(frozen=True)
class _Figure:
    """One number that matters, with what it is of; `link` leads to the images of some kinds, parted by blanks."""

    name: str
    value: str
    notes: tuple[str, ...]
    kinds: str = ""
    link: str = ""


def write_report(
    evaluation: Evaluation,
    rows: Iterable[Mapping[str, Any]],
    folder: str | Path,
    maps: str | Path | None = None,
    title: str = "Inspection report",
) -> Path:
    """Write `report.html` into a folder, which is made if missing.

    Picture files that a row's `image` names are read; those that are missing become placeholders. Give no rows with
    an `image` that nobody vouches for.

    Args:
        evaluation: Of these rows.
        rows: Predictions, as `evaluate_predictions` takes them; those of unknown truth are shown, too.
        folder: Where to write.
        maps: The folder that `Inspector(maps=...)` wrote heat-maps into; None for none.
        title: Of the page.

    Returns:
        The file.

    Raises:
        LriadError: A row is wrong.
    """
    checked = [check_row(row, f"prediction {number}") for number, row in enumerate(rows, 1)]
    cards = _cards(evaluation, [row for row in checked if not row.get("error")])
    shown = cards[:_MOST_CARDS]
    limit, texts = _limited([card.reasoning for card in shown])
    records = [_record(card, text) for card, text in zip(shown, texts, strict=True)]
    room = MAX_BYTES - _PAGE_BYTES - sum(len(_json(record)) + 80 for record in records)
    thumbnails = _thumbnails(shown, room, None if maps is None else Path(maps))
    for record, thumbnail in zip(records, thumbnails, strict=True):
        record.update(_picture_fields(thumbnail))
    page = _render(
        title=title,
        evaluation=evaluation,
        origin=_origin(checked),
        figures=_figures(evaluation),
        plots=_plots(evaluation, cards),
        tables=_tables(evaluation),
        legend=_legend(evaluation),
        data=_data(records),
        kinds=KINDS,
        ranked_by=evaluation.ranked_by,
        has_cards=bool(cards),
        has_maps=any(thumbnail.heatmap for thumbnail in thumbnails),
        remarks=_remarks(len(cards), thumbnails, limit),
        errors=evaluation.errors[:_MOST_ERRORS],
        made=_made_with(evaluation, checked),
    )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.html"
    file.write_bytes(page.encode("utf-8"))
    return file


def _cards(evaluation: Evaluation, rows: Sequence[dict[str, Any]]) -> list[_Card]:
    """The images, the most wrong first: missed and false alarms, then what is open, then what is right."""
    by_score = evaluation.ranked_by == "score"
    name_of = {key: name for name, key in evaluation.origin.items()}
    values = [row[evaluation.ranked_by] for row in rows]
    kinds = [_kind(row, by_decision=evaluation.at_threshold is not None) for row in rows]
    suspicions, bounds = values, [_bounds(row) for row in rows]
    if by_score:
        # A score has no scale: the rank among the images stands for the value, and the share of them that are called
        # normal for the threshold.
        suspicions = _ranks(values)
        decided = [kind for kind in kinds if kind in ("missed", "passed", "found", "false-alarm")]
        normal = sum(kind in ("missed", "passed") for kind in decided) / len(decided) if decided else 0.5
        bounds = [(normal, normal)] * len(rows)
    cards = [
        _Card(
            row=row,
            category=name_of.get((row["dataset"], row["category"]), row["category"]),
            kind=kind,
            value=value,
            wrongness=_wrongness(row["truth"], suspicion, *bound),
            reasoning=_reasoning(row),
        )
        for row, kind, value, suspicion, bound in zip(rows, kinds, values, suspicions, bounds, strict=True)
    ]
    return sorted(cards, key=lambda card: (card.tier, -card.wrongness, card.row["id"]))


def _bounds(row: Mapping[str, Any]) -> tuple[float, float]:
    """Of p_defect: below which value a part is normal, and from which on it is defective."""
    defect_from = 0.5 if row["threshold"] is None else row["threshold"]
    return defect_from if row["normal_below"] is None else row["normal_below"], defect_from


def _ranks(values: Sequence[float | None]) -> list[float | None]:
    """The share of the other values that are smaller, those that are equal counting half; in [0, 1]."""
    known = np.sort([value for value in values if value is not None])

    def rank(value: float) -> float:
        below, not_above = (np.searchsorted(known, value, side=side) for side in ("left", "right"))
        return float(below + not_above) / 2 / len(known)

    return [None if value is None else rank(value) for value in values]


def _kind(row: Mapping[str, Any], *, by_decision: bool) -> str:
    """One of KINDS; by the decision where the evaluation has decisions, else by what the answer says."""
    said = row["decision"] if by_decision and row["decision"] else row["label"]
    if row["label"] == "unparsable":
        return "unparsable"
    if said is None:
        return "undecided"
    if said == "review":
        return "review"
    if row["truth"] == "unknown":
        return "unknown"
    if row["truth"] == "defect":
        return "found" if said == "defect" else "missed"
    return "false-alarm" if said == "defect" else "passed"


def _wrongness(truth: str, suspicion: float | None, normal_below: float, defect_from: float) -> float:
    """How far a suspicion is on the wrong side of its limit, all in [0, 1]: 1 is as wrong as can be, below 0 is right.

    Of unknown truth, how close it is to a limit, below 0.
    """
    if suspicion is None:
        return 0.0
    low, high = (min(max(limit, 1e-6), 1 - 1e-6) for limit in (normal_below, defect_from))
    if truth == "unknown":
        return -min(abs(suspicion - low), abs(suspicion - high))
    return (low - suspicion) / low if truth == "defect" else (suspicion - high) / (1 - high)


def _reasoning(row: Mapping[str, Any]) -> str:
    """What the policy wrote: its reasoning, or all of it where it has none or its answer cannot be read."""
    text = str(row.get("text") or "")
    if row["label"] == "unparsable" and text:
        return text
    return str(row.get("reasoning") or "") or parse_reasoning(text) or text


def _limited(texts: Sequence[str]) -> tuple[int | None, list[str]]:
    """The texts, cut where they would take too much of the file, and the number of characters they are cut at."""

    def cut(limit: int) -> list[str]:
        return [text if len(text) <= limit else text[:limit] + " …" for text in texts]

    limit = _LONGEST_TEXT
    while limit > 1 and sum(len(_json(text)) for text in cut(limit)) > _TEXT_BYTES:
        limit = limit * 3 // 4
    return (limit if any(len(text) > limit for text in texts) else None), cut(limit)


def _record(card: _Card, reasoning: str) -> dict[str, Any]:
    """What the page shows of an image, besides its picture."""
    row = card.row
    record = {
        "id": row["id"][:_LONGEST_NAME],
        "category": card.category[:_LONGEST_NAME],
        "kind": card.kind,
        "truth": row["truth"],
        "type": str(row.get("defect_type") or "")[:_LONGEST_NAME],
        "label": row["label"],
        "decision": row["decision"],
        "value": card.value,
        "threshold": row["threshold"],
        "normal_below": row["normal_below"],
        "p_defect": row["p_defect"],
        "probability": _number_or_none(row.get("probability")),
        "alarm_rate": row["alarm_rate"],
        "deviation": row["deviation"],
        "place": str(row.get("unusual_place") or "")[:_LONGEST_NAME],
        "boxes": _boxes(row.get("boxes")),
        "reasoning": reasoning,
    }
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in record.items()
        if value not in (None, "", [])
    }


def _number_or_none(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _boxes(value: Any) -> list[list[float]]:
    """Boxes of four numbers each; none where they are anything else."""
    boxes = value if isinstance(value, list | tuple) else []
    known = [[_number_or_none(edge) for edge in box] for box in boxes[:20] if isinstance(box, list | tuple)]
    return [[edge for edge in box if edge is not None] for box in known if len(box) == 4 and None not in box]


def _thumbnails(cards: Sequence[_Card], room: int, maps: Path | None) -> list[Thumbnail]:
    """Of each card; `room` is for their Base64, which takes four bytes for three."""
    weights = np.array([_WEIGHTS[card.tier] for card in cards])
    rooms = share_out(weights, room * 3 // 4)
    wanted = [
        Wanted(
            image=str(card.row.get("image") or ""),
            room=bytes_,
            heatmap=None if maps is None else map_of(card.row, maps),
            scale=scale_of(card.row.get("memory")),
        )
        for card, bytes_ in zip(cards, rooms.tolist(), strict=True)
    ]
    return make_thumbnails(wanted)


def _picture_fields(thumbnail: Thumbnail) -> dict[str, Any]:
    fields: dict[str, Any] = {"missing": thumbnail.missing} if thumbnail.missing else {"size": thumbnail.size}
    for name in ("picture", "heatmap"):
        if data := getattr(thumbnail, name):
            fields[name] = base64.b64encode(data).decode()
    return fields


def _json(value: Any) -> str:
    """JSON in ASCII that can stand inside any HTML element: no character of it means anything there."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _data(records: Sequence[Mapping[str, Any]]) -> Markup:
    return Markup("[" + ",\n".join(map(_json, records)) + "]")


def _figures(evaluation: Evaluation) -> list[_Figure]:
    """The numbers that decide, over all images together."""
    block = evaluation.at_threshold or evaluation.by_label
    values, n = block.pooled.values, len(evaluation.outcomes)
    n_defect = values["n_defect"]
    n_good = n - n_defect
    figures = [_Figure("Images", f"{n}", (f"{n_defect} with a defect, {n_good} good",))]
    if values["tp"] is not None:
        found, missed, alarms = values["tp"], values["fn"], values["fp"]
        if n_defect:
            notes = (f"{found} of {n_defect}", _range(found, n_defect))
            link = f"{missed} missed" if missed else ""
            figures.append(_Figure("Defects found", f"{values['recall']:.1%}", notes, "missed", link))
        if n_good:
            notes = (f"{alarms} of {n_good} good", _range(alarms, n_good))
            link = f"{alarms} false alarm{'s' if alarms > 1 else ''}" if alarms else ""
            rate = values["false_positive_rate"]
            figures.append(_Figure("False alarms", f"{rate:.1%}", notes, "false-alarm", link))
        share = values["unparsable_rate"]
        if share:
            kind = "review" if evaluation.at_threshold else "unparsable"
            note = f"{share:.1%} of the images"
            figures.append(_Figure(KINDS[kind], f"{share * n:.0f}", (note,), f"{kind} unparsable", "show them"))
    scores = evaluation.by_label.pooled
    if scores.values["auroc"] is not None:
        bounds = scores.intervals.get("auroc")
        note = f"{evaluation.level:.0%}: {bounds[0]:.3f} to {bounds[1]:.3f}" if bounds else "no interval asked for"
        figures.append(_Figure("AUROC", f"{scores.values['auroc']:.3f}", (note,)))
    return figures


def _range(count: int, n: int) -> str:
    # The bootstrap's interval of a rate of 0 or 1 is that rate alone, which a reader would take for certainty.
    low, high = interval(count, n)
    return f"95%: {100 * low:.1f} to {high:.1%}"


def _plots(evaluation: Evaluation, cards: Sequence[_Card]) -> list[plots.Plot]:
    """What the images define: curves need both classes and a score of every image."""
    outcomes = evaluation.outcomes
    decided = evaluation.at_threshold or evaluation.by_label
    drawn: list[plots.Plot] = []
    known = [card for card in cards if card.row["truth"] != "unknown"]
    truth_N, score_N = outcomes.truth_N, outcomes.score_N
    values = decided.pooled.values
    scores = evaluation.by_label.pooled.values
    if score_N is not None and scores["auroc"] is not None:
        found, alarms = values["tp"], values["fp"]
        roc_point = None if found is None else (values["false_positive_rate"], values["recall"])
        dot = "" if found is None else " The dot: what was decided."
        text = f"AUROC {scores['auroc']:.3f}.{dot} Dashed: chance."
        drawn.append(plots.roc(truth_N, score_N, roc_point, text))
        precise_point = (values["recall"], found / (found + alarms)) if found is not None and found + alarms else None
        text = f"Average precision {scores['average_precision']:.3f}.{dot if precise_point else ''} Dashed: chance."
        drawn.append(plots.precision_recall(truth_N, score_N, precise_point, text))
    if len(evaluation.origin) > 1 and (bars := plots.categories(evaluation.by_label, decided, evaluation.origin)):
        drawn.append(bars)
    by_p = evaluation.ranked_by == "p_defect"
    if score_N is not None and not np.isnan(score_N).all():
        there_N = ~np.isnan(score_N)
        # On a score, a threshold on p_defect has no place.
        spans = (evaluation.normal_below, evaluation.thresholds if by_p else ())
        lines = sorted({end(span) for span in spans if span for end in (min, max)})
        drawn.append(
            plots.histogram(truth_N[there_N], score_N[there_N], lines, limits(evaluation), evaluation.ranked_by, by_p)
        )
    p_N = [card.row["p_defect"] for card in known]
    if by_p and None not in p_N:
        p_truth_N = np.array([DEFECT if card.row["truth"] == "defect" else NORMAL for card in known])
        drawn.append(plots.reliability_diagram(reliability(np.array(p_N, float), p_truth_N)))
    return drawn


def _tables(evaluation: Evaluation) -> list[tuple[TextTable, int]]:
    """Each table, and how many of its rows come before its totals."""
    own = [(table, len(evaluation.origin)) for table in evaluation_tables(evaluation)]
    others = (*faithfulness_table(evaluation), *localisation_table(evaluation), *beside_paper(evaluation))
    return [*own, *((table, len(table.rows)) for table in others)]


def _remarks(n: int, thumbnails: Sequence[Thumbnail], limit: int | None) -> list[str]:
    """What the gallery does not show of n images."""
    missing = Counter(thumbnail.missing for thumbnail in thumbnails)
    remarks = []
    if len(thumbnails) < n:
        remarks.append(f"Only the first {len(thumbnails)} of {n} images are here; the figures above are of all.")
    if missing["path"]:
        remarks.append(f"Without a picture, because no data set was named to find it in: {missing['path']}.")
    if missing["file"]:
        remarks.append(f"Without a picture, because their files cannot be read: {missing['file']}.")
    if missing["room"]:
        remarks.append(
            f"Without a picture, because the report stays below {MAX_BYTES // 1_000_000} MB: {missing['room']}; the "
            "most wrong have theirs first."
        )
    if limit is not None:
        remarks.append(f"Reasoning is cut off after {limit} characters; the predictions have all of it.")
    return remarks


def _legend(evaluation: Evaluation) -> str:
    if not evaluation.resamples:
        return LEGEND
    return (
        f"{LEGEND} In brackets: {evaluation.level:.0%} intervals by {evaluation.resamples} bootstrap resamples of the "
        "images within each category and class."
    )


def _origin(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which products were judged by which policy, and when that was reported; all of it stands at the page's end."""
    products = sorted({str(row.get("object_name") or row["category"])[:_LONGEST_NAME] for row in rows})
    policies = sorted({str(row["policy_sha256"])[:12] for row in rows if row.get("policy_sha256")})
    parts = [_some(products), f"policy {_some(policies)}" if policies else "", f"reported {date.today().isoformat()}"]
    return " · ".join(part for part in parts if part)


def _some(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _made_with(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """What the predictions say of how they were made."""
    answered = [row for row in rows if not row.get("error")]
    names = {
        "policy_sha256": "Policy",
        "adapter_sha256": "Adapter",
        "mode": "Mode",
        "prompt_version": "Prompt",
        "setting": "Setting",
        "note": "Note in the prompt",
        "memory": "Memory of good parts",
        "calibration": "Calibration",
    }
    made = []
    for field, name in names.items():
        found = sorted({str(row[field]) for row in answered if row.get(field)})
        if found:
            made.append((name, ", ".join(value[:_LONGEST_NAME] for value in found[:5])))
    if at := limits(evaluation):
        made.append((f"Decided by {'p_defect' if evaluation.thresholds else evaluation.ranked_by}", at))
    return [*made, ("Report", f"lriad {__version__}")]


def _render(**values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; script-src {_source(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template("report.html.j2").render(
        values, style=Markup(style), script=Markup(script), policy=Markup(policy)
    )


def _source(text: str) -> str:
    """How a content security policy names an inline style or script: by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _printable(value: Any) -> Any:
    """A text with a replacement character for what no page can hold: controls, and file names of another encoding."""
    return type(value)(_UNPRINTABLE.sub("\ufffd", value)) if isinstance(value, str) else value
