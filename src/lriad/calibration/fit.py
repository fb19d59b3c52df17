"""From labelled predictions to thresholds that keep a promise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lriad.calibration.bounds import check_rate, check_share, images_needed, order_statistic, percent, upper_bound
from lriad.calibration.calibration import (
    Binding,
    Calibration,
    Costs,
    Counts,
    Promise,
    Quantity,
    as_text,
    part_of,
    scale,
    value_of,
)
from lriad.calibration.recalibration import Method, Recalibration, check_parts, learn
from lriad.errors import LriadError
from lriad.evaluation.predictions import ranked_by

if TYPE_CHECKING:
    from lriad.data.sample import Sample

Guarantee = Literal["probability", "mean"]
Rows = Sequence[Mapping[str, Any]]
Floats = NDArray[np.floating]


def calibrate(
    rows: Rows,
    *,
    max_miss_rate: float | None = None,
    max_false_alarm_rate: float | None = None,
    confidence: float = 0.95,
    guarantee: Guarantee = "probability",
    cost_escape: float | None = None,
    cost_overkill: float | None = None,
    defect_rate: float | None = None,
    recalibrate: Method | None = None,
) -> Calibration:
    """Set thresholds on labelled predictions.

    A threshold that is to miss few defects is one of the defects' own values, so many from below that the promise is
    kept (`order_statistic`); one that is to raise few false alarms lies just above one of the good parts' values. A
    part without a value goes to review: it is no miss and no false alarm, and counts among the parts. The images of
    one group, and copies of one file, are one part: a defective one is missed where any of its images is passed, a
    good one is a false alarm where any of them is called defective.

    One promise gives the threshold that keeps it and makes fewest of the other errors. Where one threshold can keep
    two, it is that with fewest false alarms; where none can, what lies between the two thresholds goes to review. With
    costs it is the cheapest of those that keep the promises; choosing among them breaks none, for an error that a
    threshold makes is made by all beyond it. Costs alone promise nothing.

    Args:
        rows: As `read_predictions` gives them, of one policy and setting. Those of unknown truth and those with an
            `error` are counted and left out.
        max_miss_rate, max_false_alarm_rate: What is promised at most, from `SMALLEST_RATE` to below 1.
        confidence: In how many of all calibrations the promises are kept, all of them together: two have half of the
            doubt each (Bonferroni).
        guarantee: `probability`: with that confidence; `mean`: in the mean over calibrations (`upper_bound`).
        cost_escape, cost_overkill: Of a missed defect and of a false alarm; both or none.
        defect_rate: Share of defective parts on the line, in (0, 1); None takes that of the parts here.
        recalibrate: How a probability is learned besides; see `lriad.calibration.recalibration.learn`.

    Raises:
        LriadError: A setting is out of its range, rows are of several policies or settings or have no values, or there
            are too few labels for a promise: the line says how many are needed.
    """
    inspected = [row for row in rows if not row.get("error")]
    known = [row for row in inspected if row["truth"] != "unknown"]
    binding, quantity = _binding(known), _quantity(known)
    defects = [row for row in known if row["truth"] == "defect"]
    good = [row for row in known if row["truth"] == "normal"]
    defect_N, good_N = _worst(defects, quantity, min, math.inf), _worst(good, quantity, max, -math.inf)
    promises, costs = _settled(
        len(defect_N),
        len(good_N),
        max_miss_rate=max_miss_rate,
        max_false_alarm_rate=max_false_alarm_rate,
        confidence=confidence,
        guarantee=guarantee,
        cost_escape=cost_escape,
        cost_overkill=cost_overkill,
        defect_rate=defect_rate,
        recalibrate=recalibrate,
    )
    rate = len(defect_N) / (len(defect_N) + len(good_N)) if defect_rate is None else defect_rate
    weights = None if costs is None else (rate * costs.escape, (1 - rate) * costs.overkill)
    normal_below, defect_from = thresholds(defect_N, good_N, promises, weights)
    return Calibration(
        binding=binding,
        object_names=tuple(sorted({as_text(row["object_name"]) for row in known if row.get("object_name")})),
        quantity=quantity,
        promises=promises,
        confidence=float(confidence) if promises and guarantee == "probability" else None,
        normal_below=normal_below,
        defect_from=defect_from,
        defective=_counts(defects, quantity, defect_N, normal_below, defect_from),
        good=_counts(good, quantity, good_N, normal_below, defect_from),
        unknown=len(inspected) - len(known),
        errors=len(rows) - len(inspected),
        defect_rate=None if defect_rate is None else float(defect_rate),
        costs=costs,
        recalibration=None if recalibrate is None else _recalibration(known, quantity, recalibrate),
        defect_values=tuple(sorted(first_values(defects, quantity))),
        good_values=tuple(sorted(first_values(good, quantity))),
    )


def check_settings(samples: Iterable[Sample], **settings: Any) -> None:
    """Whether samples may suffice for a calibration, before they are inspected.

    They may turn out to be too few nevertheless: copies of a file are one part, and some may not be read.

    Args:
        samples: To be inspected; labels and groups are looked at.
        settings: As for `calibrate`.

    Raises:
        LriadError: As of `calibrate`, of whatever is wrong by then.
    """
    parts: dict[str, set[str]] = {"defect": set(), "normal": set(), "unknown": set()}
    for sample in samples:
        row = {"id": sample.id, "dataset": sample.dataset, "category": sample.category, "group": sample.group}
        parts[sample.label].add(part_of(row))
    _settled(len(parts["defect"]), len(parts["normal"]), **settings)


def _settled(
    defective: int,
    good: int,
    *,
    max_miss_rate: float | None = None,
    max_false_alarm_rate: float | None = None,
    confidence: float = 0.95,
    guarantee: Guarantee = "probability",
    cost_escape: float | None = None,
    cost_overkill: float | None = None,
    defect_rate: float | None = None,
    recalibrate: Method | None = None,
) -> tuple[tuple[Promise, ...], Costs | None]:
    """What so many labelled parts can promise, and the costs; raises LriadError where a setting cannot be kept."""
    for name, rate in (("max miss rate", max_miss_rate), ("max false-alarm rate", max_false_alarm_rate)):
        if rate is not None:
            check_rate(name, rate)
    for name, share in (("confidence", confidence), ("defect rate", defect_rate)):
        if share is not None:
            check_share(name, share)
    if guarantee not in get_args(Guarantee):
        raise LriadError(f"guarantee {guarantee!r}: expected probability or mean")
    if recalibrate is not None:
        if recalibrate not in get_args(Method):
            raise LriadError(f"recalibrate {recalibrate!r}: expected temperature or isotonic")
        check_parts(defective, good)
    costs = _costs(cost_escape, cost_overkill)
    promised = (max_miss_rate is not None) + (max_false_alarm_rate is not None)
    if not promised and costs is None:
        raise LriadError("nothing to keep: give a max miss rate, a max false-alarm rate, or both costs")
    if costs is not None and not (defective and good):
        raise LriadError("costs weigh misses against false alarms: give labelled defects and good images")
    own_confidence = None if guarantee == "mean" else 1 - (1 - confidence) / max(promised, 1)
    promises = []
    if max_miss_rate is not None:
        promises.append(_promise("miss", max_miss_rate, own_confidence, defective))
    if max_false_alarm_rate is not None:
        promises.append(_promise("false alarm", max_false_alarm_rate, own_confidence, good))
    return tuple(promises), costs


def thresholds(
    defect_N: Floats, good_N: Floats, promises: Sequence[Promise], weights: tuple[float, float] | None
) -> tuple[float, float]:
    """Below which value a part is normal, and from which on it is defective.

    Args:
        defect_N: Worst value of each defective part, ascending, +inf without one.
        good_N: Worst value of each good part, ascending, -inf without one.
        promises: Made with so many parts.
        weights: What it costs to miss all defects, and to call all good parts defective; None to cost nothing.
    """
    values = np.unique(np.concatenate([defect_N, good_N]))
    values = values[np.isfinite(values)]
    # All that can be told apart: from 'everything is defective' to 'nothing is'.
    least, most = values[0], np.nextafter(values[-1], np.inf)
    low, high = least, most
    for promise in promises:
        if promise.error == "miss":
            high = min(high, defect_N[promise.beyond])
        else:
            low = max(low, np.nextafter(good_N[-1 - promise.beyond], np.inf))
    if low > high:
        return float(high), float(low)
    if weights is None:
        chosen = high if any(promise.error == "miss" for promise in promises) else low
        return float(chosen), float(chosen)
    # From just above a value to the next one all thresholds decide alike: of what is allowed of that, the middle.
    start_C = np.maximum(np.append(least, np.nextafter(values, np.inf)), low)
    end_C = np.minimum(np.append(values, most), high)
    candidate_C = ((start_C + end_C) / 2)[start_C <= end_C]
    missed_C = np.searchsorted(defect_N, candidate_C) / len(defect_N)
    alarms_C = 1 - np.searchsorted(good_N, candidate_C) / len(good_N)
    chosen = candidate_C[np.argmin(weights[0] * missed_C + weights[1] * alarms_C)]
    return float(chosen), float(chosen)


def first_values(rows: Rows, quantity: Quantity) -> list[float]:
    """The first value of each part, in order: independent of one another, and like those of single images."""
    values: dict[str, float] = {}
    for row in rows:
        value = value_of(row, quantity)
        if value is not None:
            values.setdefault(part_of(row), float(value))
    return list(values.values())


def _costs(escape: float | None, overkill: float | None) -> Costs | None:
    if escape is None and overkill is None:
        return None
    if escape is None or overkill is None:
        raise LriadError("one cost alone weighs nothing: give that of an escape and that of an overkill")
    for name, cost in (("escape", escape), ("overkill", overkill)):
        if not 0 < cost < math.inf:
            raise LriadError(f"cost of an {name} {cost:g}: expected a number above 0")
    return Costs(float(escape), float(overkill))


def _binding(rows: Rows) -> Binding:
    """What all rows were made with."""
    if not rows:
        raise LriadError("no prediction of known truth: label some images, or give the data set with --data")
    first = Binding.of(rows[0])
    for row in rows:
        differences = first.differences(Binding.of(row))
        if differences:
            raise LriadError(
                f"predictions of several settings (of {rows[0]['id']!r} and {row['id']!r}: {differences}): "
                "calibrate each by itself"
            )
    return first


def _quantity(rows: Rows) -> Quantity:
    """What images are ranked by, of which at least one has it."""
    quantity = ranked_by(rows)
    if not any(value_of(row, quantity) is not None for row in rows):
        raise LriadError(f"no prediction has both a {quantity} and a readable answer: nothing can be decided by it")
    return quantity


def _worst(rows: Rows, quantity: Quantity, worse: Any, harmless: float) -> Floats:
    """The worst value of each part, ascending; `harmless` for one that goes to review with all its images."""
    values: dict[str, float] = {}
    for row in rows:
        value = value_of(row, quantity)
        part = part_of(row)
        values[part] = worse(values.get(part, harmless), harmless if value is None else value)
    return np.sort(np.array(list(values.values()), float))


def _promise(error: Literal["miss", "false alarm"], rate: float, confidence: float | None, parts: int) -> Promise:
    k = order_statistic(parts, rate, confidence)
    if k:
        return Promise(error, float(rate), confidence, parts, k - 1)
    kind, name = ("defective", "miss rate") if error == "miss" else ("good", "false-alarm rate")
    how = "in the mean" if confidence is None else f"with confidence {percent(confidence)}"
    best = f"no {name} below {percent(upper_bound(0, parts, confidence))}" if parts else f"no {name}"
    raise LriadError(
        f"{parts} {kind} parts can promise {best} {how}: {percent(rate)} needs {images_needed(rate, confidence)} "
        "labelled ones; label more, or promise less"
    )


def _counts(rows: Rows, quantity: Quantity, worst_N: Floats, normal_below: float, defect_from: float) -> Counts:
    judged_N = worst_N[np.isfinite(worst_N)]
    normal, defect = int((judged_N < normal_below).sum()), int((judged_N >= defect_from).sum())
    no_value = sum(value_of(row, quantity) is None for row in rows)
    return Counts(len(rows), no_value, len(worst_N), normal, len(worst_N) - normal - defect, defect)


def _recalibration(rows: Rows, quantity: Quantity, method: Method) -> Recalibration:
    with_value = [(row, value) for row in rows if (value := value_of(row, quantity)) is not None]
    return learn(
        method,
        np.array([scale(value, quantity) for _, value in with_value]),
        np.array([row["truth"] == "defect" for row, _ in with_value]),
        [part_of(row) for row, _ in with_value],
        np.array([value for _, value in with_value]) if quantity == "p_defect" else None,
    )
