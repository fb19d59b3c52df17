"""Whether a line's images are still like those that a calibration was made with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import ks_2samp

from lriad.calibration.bounds import check_share
from lriad.calibration.calibration import MIN_FOR_DRIFT, Binding, Calibration
from lriad.calibration.fit import first_values
from lriad.errors import LriadError

LEVEL = 0.01
"""How often a batch without drift is called drifted by chance."""


@dataclass(frozen=True)
class Drift:
    """One batch of images against the good ones of a calibration.

    Attributes:
        first, last: Ids of its first and last image.
        images: Inspected images in it, those known to be defective left out.
        n: Values that are compared: one a part.
        statistic: Kolmogorov-Smirnov: the largest difference between the two cumulative distributions, in [0, 1];
            None where n is below `MIN_FOR_DRIFT`.
        p_value: How often a batch of the same kind of images would differ as much; None likewise.
        drifted: Whether that is rarer than the level.
    """

    first: str
    last: str
    images: int
    n: int
    statistic: float | None
    p_value: float | None
    drifted: bool

    def __str__(self) -> str:
        if self.statistic is None:
            return f"{self.n} values, too few to compare ({MIN_FOR_DRIFT} are needed)"
        word = "drifted" if self.drifted else "no drift seen"
        return f"{word}: {self.n} values, KS {self.statistic:.3f}, p {self.p_value:.2g}"


def drift(
    calibration: Calibration, rows: Sequence[Mapping[str, Any]], batch: int | None = None, level: float = LEVEL
) -> list[Drift]:
    """Compare batches of inspected images with the good images of a calibration.

    With the good ones, because nearly all parts of a line are good while a calibration set is made of as many defects
    as could be found: against all of it every line would have drifted. Images that are known to be defective are left
    out; a share s of unknown defects moves the statistic by s at most, so that an alarm may also mean that defects
    have become frequent. Of each part the first image counts, for images of one part are not independent.

    Args:
        calibration: Of the settings that the images were inspected with.
        rows: Predictions in the order of inspection, their truth known or not; those with an `error` are left out.
        batch: Rows that are compared together; None for all. The last batch may be shorter.
        level: How often a batch without drift is called drifted by chance: each batch by itself, in the mean over
            calibrations (an unlucky set of good images is compared with all of them).

    Raises:
        LriadError: No image was inspected, known defects aside, or with other settings, the calibration has too few
            good images, or a setting is out of its range.
    """
    check_share("level", level)
    if batch is not None and batch < MIN_FOR_DRIFT:
        raise LriadError(f"batch {batch}: expected {MIN_FOR_DRIFT} or more images, fewer tell nothing")
    if len(calibration.good_values) < MIN_FOR_DRIFT:
        raise LriadError(
            f"this calibration has {len(calibration.good_values)} good parts to compare with, and "
            f"{MIN_FOR_DRIFT} are needed: calibrate with more good images"
        )
    inspected = [row for row in rows if not row.get("error")]
    for row in inspected:
        calibration.check(Binding.of(row))
        calibration.check_name(row.get("object_name"))
    kept = [row for row in inspected if row.get("truth") != "defect"]
    if not kept:
        raise LriadError("no inspected image to compare: give the predictions of a line, not of known defects alone")
    return [_compared(calibration, part, level) for part in _batches(kept, batch)]


def _batches(rows: Sequence[Mapping[str, Any]], size: int | None) -> Iterator[Sequence[Mapping[str, Any]]]:
    size = size or len(rows)
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _compared(calibration: Calibration, rows: Sequence[Mapping[str, Any]], level: float) -> Drift:
    values = first_values(rows, calibration.quantity)
    first, last = str(rows[0]["id"]), str(rows[-1]["id"])
    if len(values) < MIN_FOR_DRIFT:
        return Drift(first, last, len(rows), len(values), None, None, False)
    found = ks_2samp(calibration.good_values, values)
    statistic, p_value = float(found.statistic), float(found.pvalue)
    return Drift(first, last, len(rows), len(values), statistic, p_value, p_value < level)
