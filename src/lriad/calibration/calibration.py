"""A calibration: thresholds, what they promise, and what they were made with. One JSON file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from lriad.calibration.bounds import interval, percent
from lriad.calibration.recalibration import Recalibration, log_odds
from lriad.data._files import show
from lriad.errors import LriadError
from lriad.verdict import Decision

FORMAT = "lriad-calibration-1"
MIN_FOR_DRIFT = 20
"""Images of which a distribution is compared at least."""

Quantity = Literal["p_defect", "score"]


@dataclass(frozen=True)
class Binding:
    """What all that a calibration says is true of: the fields of a verdict by these names."""

    policy_sha256: str | None
    adapter_sha256: str | None
    mode: str | None
    prompt_version: str | None
    memory: str | None
    setting: str | None
    note: str | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Binding:
        """That of a prediction; what another system's row does not say is None."""
        names = [field.name for field in dataclasses.fields(cls)]
        values = {name: as_text(row[name]) if row.get(name) else None for name in names}
        if values["policy_sha256"]:  # Rows of earlier versions have no setting: there was only this one.
            values["setting"] = values["setting"] or "zero-shot"
        return cls(**values)

    def differences(self, other: Binding) -> str:
        """What another has in place of this one's; '' where they are equal."""
        pairs = [(name, value, getattr(other, name)) for name, value in vars(self).items()]
        return "; ".join(
            f"{name.removesuffix('_sha256')} {_short(ours)}, not {_short(theirs)}"
            for name, ours, theirs in pairs
            if ours != theirs
        )


@dataclass(frozen=True)
class Promise:
    """What a threshold keeps, of parts like those that it was set with.

    Attributes:
        error: `miss`: a defective part that is passed as normal; `false alarm`: a good part that is called defective.
            A part that goes to review is neither.
        rate: The share of defective (good) parts that is in error at most.
        confidence: In how many of all calibrations this is so, of this promise alone; None where it is so in the mean.
        parts: Defective (good) parts that the threshold was set with.
        beyond: How many of them may lie beyond it for the promise to be kept.
    """

    error: Literal["miss", "false alarm"]
    rate: float
    confidence: float | None
    parts: int
    beyond: int

    def __str__(self) -> str:
        what = "defective parts are passed as normal" if self.error == "miss" else "good parts are called defective"
        how = "in the mean over calibrations" if self.confidence is None else f"confidence {percent(self.confidence)}"
        kind = "defective" if self.error == "miss" else "good"
        return f"at most {percent(self.rate)} of {what} ({how}, from {self.parts} {kind} parts)"


@dataclass(frozen=True)
class Counts:
    """What becomes of the parts of one truth. The images of a group are one part, judged by the worst of them.

    Attributes:
        images: Of them, those without a value included.
        no_value: Images with an unparsable answer or without a value; they go to review.
        parts: normal + review + defect.
        normal, review, defect: Parts by decision.
    """

    images: int
    no_value: int
    parts: int
    normal: int
    review: int
    defect: int


@dataclass(frozen=True)
class Rate:
    """A share of the parts that were counted, with its 95 % interval (Clopper-Pearson)."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, parts: int) -> Rate | None:
        """None of no parts."""
        return cls(count / parts, *interval(count, parts)) if parts else None

    def __str__(self) -> str:
        return f"{percent(self.share)} [{percent(self.low)}, {percent(self.high)}]"


@dataclass(frozen=True)
class Costs:
    """What one missed defect (`escape`) and one false alarm (`overkill`) cost, in any one unit."""

    escape: float
    overkill: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds for one policy, prompt, mode, memory and product. Made by `calibrate`, read by `load_calibration`.

    Attributes:
        binding: What it is true of.
        object_names: The products that it was made with.
        quantity: What decides: `p_defect`, or with a memory `score`.
        promises: What the thresholds keep, all of them together with `confidence`; none where costs alone decided.
        confidence: Of the promises together; None where they are kept in the mean.
        normal_below: A part with a lower value is normal.
        defect_from: A part with this value or a higher one is defective; one between the two goes to review. Equal to
            `normal_below` where there is no review between them.
        defective, good: What becomes of the parts that it was made with.
        unknown, errors: Images that were left out: of unknown truth, and not inspected.
        defect_rate: Of the line, as it was given; None where it is taken to be that of the parts here.
        costs: As they were given.
        recalibration: How a value becomes a probability; None where it was not asked for.
        defect_values, good_values: The values of the images, the first with a value of each part, ascending.
    """

    binding: Binding
    object_names: tuple[str, ...]
    quantity: Quantity
    promises: tuple[Promise, ...]
    confidence: float | None
    normal_below: float
    defect_from: float
    defective: Counts
    good: Counts
    unknown: int
    errors: int
    defect_rate: float | None
    costs: Costs | None
    recalibration: Recalibration | None
    defect_values: tuple[float, ...]
    good_values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not -math.inf < self.normal_below <= self.defect_from < math.inf:
            raise ValueError(f"thresholds {self.normal_below} and {self.defect_from}")

    @property
    def miss_rate(self) -> Rate | None:
        """Share of the defective parts here that are passed as normal.

        Where a promise set the threshold, the upper end of the interval is exact; where costs did, the parts here were
        chosen among, and new ones fare worse.
        """
        return Rate.of(self.defective.normal, self.defective.parts)

    @property
    def false_alarm_rate(self) -> Rate | None:
        """Share of the good parts here that are called defective; see `miss_rate`."""
        return Rate.of(self.good.defect, self.good.parts)

    @property
    def rate_of_defects(self) -> float:
        """Of the line: as it was given, else that of the parts here."""
        own = self.defective.parts / (self.defective.parts + self.good.parts)
        return own if self.defect_rate is None else self.defect_rate

    @property
    def review_share(self) -> float | None:
        """Share of all parts that goes to review at that rate of defects; None where one kind of part is missing."""
        rate, shares = self.rate_of_defects, []
        for weight, counts in ((rate, self.defective), (1 - rate, self.good)):
            if weight and not counts.parts:
                return None
            shares.append(weight and weight * counts.review / counts.parts)
        return sum(shares)

    @property
    def cost_per_1000(self) -> float | None:
        """Of the errors in 1000 parts at that rate of defects, review not counted; None without costs."""
        missed, alarms = self.miss_rate, self.false_alarm_rate
        if self.costs is None or missed is None or alarms is None:
            return None
        rate = self.rate_of_defects
        return 1000 * (rate * missed.share * self.costs.escape + (1 - rate) * alarms.share * self.costs.overkill)

    def check(self, binding: Binding) -> None:
        """Raise LriadError where what is to be decided was made with other settings."""
        differences = self.binding.differences(binding)
        if differences:
            raise LriadError(f"this calibration is for {differences}: inspect as it was made, or run lriad calibrate")

    def check_name(self, object_name: str | None) -> None:
        """Raise LriadError where a product is none of those that it was made with."""
        known = {name.strip().casefold() for name in self.object_names}
        if known and as_text(object_name or "").strip().casefold() not in known:
            raise LriadError(f"this calibration is of {_listed(self.object_names)}, not of {_short(object_name)}")

    def decide(self, label: str | None, value: float | None) -> Decision:
        """The decision for a part.

        Args:
            label: What the text said; `unparsable` goes to review whatever the value is.
            value: Its p_defect or score, as `quantity` says; None and NaN go to review.
        """
        if label == "unparsable" or value is None or math.isnan(value):
            return "review"
        if value < self.normal_below:
            return "normal"
        return "defect" if value >= self.defect_from else "review"

    def probability(self, value: float | None) -> float | None:
        """P(defect) of a part with this p_defect or score, at the line's rate of defects where that was given.

        None without a value or a recalibration. No decision depends on it.
        """
        if self.recalibration is None or value is None or math.isnan(value):
            return None
        return self.recalibration.probability(scale(value, self.quantity), self.defect_rate)

    @cached_property
    def sha256(self) -> str:
        """Its identity: a hash of all that it holds."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def save(self, file: str | Path) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            LriadError: It cannot be written; a calibration that was there stays.
        """
        file = Path(file)
        partial = file.with_name(f".{file.name}.{os.getpid()}.part")
        content = {"format": FORMAT, "sha256": self.sha256, "calibration": dataclasses.asdict(self)}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("w", encoding="ascii") as opened:
                json.dump(content, opened, indent=1)
                opened.write("\n")
                opened.flush()
                os.fsync(opened.fileno())
            partial.replace(file)
        except OSError as error:
            raise LriadError(f"{show(file)}: cannot be written ({error.strerror}); name another --output") from error
        finally:
            partial.unlink(missing_ok=True)

    def summary(self) -> str:
        """What it promises, decides and costs, one line each."""
        return "\n".join([*self._lines(), *(f"note: {note}" for note in self.notes())])

    def _lines(self) -> list[str]:
        lines = [f"promised: {promise}" for promise in self.promises]
        if len(self.promises) > 1 and self.confidence is not None:
            lines.append(f"promised: both together with confidence {percent(self.confidence)}")
        if self.normal_below == self.defect_from:
            lines.append(f"decided: defect from {self.quantity} {self.defect_from:.6g} on, else normal")
        else:
            below, above = f"{self.normal_below:.6g}", f"{self.defect_from:.6g}"
            lines.append(f"decided: normal below {self.quantity} {below}, defect from {above} on, between them review")
        for name, count, counts, kind, share in (
            ("missed", self.defective.normal, self.defective, "defective", self.miss_rate),
            ("false alarms", self.good.defect, self.good, "good", self.false_alarm_rate),
        ):
            if share is not None:
                lines.append(f"{name} here: {count} of {counts.parts} {kind} parts, {share}")
        at = f"at {percent(self.rate_of_defects)} defective parts"
        if self.review_share:
            lines.append(f"to review: {percent(self.review_share)} of all parts, {at}")
        if self.cost_per_1000 is not None:
            lines.append(f"cost of errors: {self.cost_per_1000:.4g} per 1000 parts, {at}")
        if self.recalibration is not None:
            before, after = self.recalibration.before, self.recalibration.after
            was = "" if before is None else f"{before.ece:.3f} before, "
            lines.append(f"expected calibration error: {was}{after.ece:.3f} after (cross-fitted)")
        return lines

    def notes(self) -> list[str]:
        """What a reader of the numbers should mind, one sentence each."""
        notes = []
        if not self.promises:
            notes.append("no promise: the threshold costs least on these very parts, new ones will cost more")
        elif self.costs is not None and self.normal_below < self.defect_from:
            notes.append("the costs do not move the thresholds: no single one keeps both promises")
        rate_matters = self.costs or self.recalibration or self.defective.review or self.good.review
        for rate, what in (
            (self.false_alarm_rate, "good parts are called defective"),
            (self.miss_rate, "defects pass"),
        ):
            if rate is not None and rate.share > 0.5:
                notes.append(
                    f"{percent(rate.share)} of the {what}: of little use; remember good parts, or promise less"
                )
        if self.defect_rate is None and rate_matters and self.defective.parts and self.good.parts:
            notes.append("the rate of defects is that of these images, not of the line: give --defect-rate")
        if len(self.object_names) > 1:
            notes.append(
                f"what is said is true of the mixture of {len(self.object_names)} products here, not of each: "
                "calibrate each by itself"
            )
        images, parts = (self.defective.images + self.good.images), (self.defective.parts + self.good.parts)
        if parts < images:
            notes.append(f"{images} images show {parts} parts: each counts once, by the worst of its images")
        no_value = self.defective.no_value + self.good.no_value
        if no_value:
            notes.append(f"{no_value} of {images} images have no value or an unparsable answer: they go to review")
        if self.unknown or self.errors:
            notes.append(f"left out: {self.unknown} images of unknown truth, {self.errors} that were not inspected")
        return notes


def scale(value: float, quantity: Quantity) -> float:
    """What probabilities are learned on: the log-odds of p_defect, a score as it is."""
    return log_odds(value) if quantity == "p_defect" else value


def as_text(value: Any) -> str:
    """A text that any JSON can hold: a name in another encoding is kept by the codes of its strange characters."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")


def value_of(row: Mapping[str, Any], quantity: Quantity) -> float | None:
    """What decides on a prediction; None where it goes to review whatever the thresholds are."""
    return None if row.get("label") == "unparsable" else row.get(quantity)


def part_of(row: Mapping[str, Any]) -> str:
    """What a prediction's image shows: its group's part, else one of its own, which copies of its file share."""
    if row.get("group"):
        return "\0".join(str(row.get(name) or "") for name in ("dataset", "category", "group"))
    return str(row.get("image_sha256") or row["id"])


def load_calibration(file: str | Path) -> Calibration:
    """Read a calibration; every field is checked.

    Raises:
        LriadError: The file is missing, damaged, changed since it was made, or no calibration.
    """
    from pydantic import TypeAdapter, ValidationError

    name = show(file)
    try:
        found = TypeAdapter(_File).validate_json(Path(file).read_bytes(), strict=True)
    except FileNotFoundError as error:
        raise LriadError(f"{name}: no such calibration; make one with lriad calibrate") from error
    except OSError as error:
        raise LriadError(f"{name}: cannot be read ({error.strerror}); name a file of lriad calibrate") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        what = " ".join(f"{where}: {first['msg']}".removeprefix(": ").split())[:200]
        raise LriadError(f"{name}: damaged, truncated or no calibration ({what}); make it anew") from error
    if found.sha256 != found.calibration.sha256:
        raise LriadError(f"{name}: was changed since it was made, so that it promises nothing; make it anew")
    return found.calibration


@dataclass(frozen=True)
class _File:
    __pydantic_config__: ClassVar = {"allow_inf_nan": False}

    format: Literal["lriad-calibration-1"]
    sha256: str
    calibration: Calibration


def _short(value: str | None) -> str:
    if value is None:
        return "none"
    return value[:12] if len(value) == 64 else repr(value[:80])


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(map(repr, names[:3])) + more
