"""The class factor f of Eq. 4: how much an image of a rare, or of an ill-learned, class counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.data.sample import Sample

ClassFactorMode = Literal["none", "inverse_frequency", "dynamic"]
ClassFactorBy = Literal["label", "defect_type"]

LOWEST, HIGHEST = 0.1, 10.0
"""Bounds of f: one mislabelled image in a class of its own must not outweigh the rest of an update."""

DECAY = 0.95
"""Decay of the error rate for each image of the class that was seen: a memory of about 20 images."""


def class_name(sample: Sample, by: ClassFactorBy = "label") -> str:
    """The class that an image's factor belongs to: `normal`, `defect`, or `defect: scratch`.

    Args:
        sample: A labelled image.
        by: `label`, or `defect_type`: a class for each type of defect that the data set names (types of the
            same name in several categories are one class; a defect without a type is `defect`).

    Raises:
        LriadError: The sample's label is unknown.
    """
    if sample.label == "unknown":
        raise LriadError(f"{sample.id}: has no label, so no class factor; leave unlabelled images out of training")
    if by == "defect_type" and sample.label == "defect" and sample.defect_type:
        return f"defect: {sample.defect_type}"
    return sample.label


class ClassFactor:
    """The factor of each class, fixed or following the policy's errors.

    - `none`: 1 for all.
    - `inverse_frequency`: f_c = N / (K n_c), with n_c of N images in class c of K, so that the classes weigh
      alike and f averages 1 over the images.
    - `dynamic`: f_c = e_c / (mean of e over the classes), with e_c the running error rate of class c, 1/2 at
      the start ('dynamically prioritizes rare defect patterns', Section I). An update with n images of class
      c and mean error m gives e_c <- d^n e_c + (1 - d^n) m with d = 0.95, so that its outcome does not hang
      on the images' order.

    Both are kept within [0.1, 10]. In a run of several processes give every one the gathered errors: they
    then keep the same state.

    Args:
        counts: Number of training images of each class.
        mode: As above.

    Raises:
        LriadError: No class at all.

    Example:
        >>> ClassFactor({"normal": 8, "defect": 2}, "inverse_frequency").factors(["normal", "defect"])
        [0.625, 2.5]
    """

    def __init__(self, counts: Mapping[str, int], mode: ClassFactorMode = "none") -> None:
        if not counts:
            raise LriadError("no labelled images to take class factors from; check the data set and its filters")
        self.mode = mode
        self.counts = dict(sorted(counts.items()))
        self.error_rates = dict.fromkeys(self.counts, 0.5)

    @classmethod
    def from_samples(
        cls, samples: Iterable[Sample], mode: ClassFactorMode = "none", by: ClassFactorBy = "label"
    ) -> ClassFactor:
        """The factors for a training set. Raises LriadError where a sample has no label, or there is none."""
        return cls(Counter(class_name(sample, by) for sample in samples), mode)

    def table(self) -> dict[str, float]:
        """f of each class at this moment, in [0.1, 10]."""
        if self.mode == "none":
            return dict.fromkeys(self.counts, 1.0)
        if self.mode == "inverse_frequency":
            fair_share = sum(self.counts.values()) / len(self.counts)
            return {name: _bounded(fair_share / count) for name, count in self.counts.items()}
        mean = sum(self.error_rates.values()) / len(self.error_rates)
        # Without any error left there is nothing to put first.
        return {name: _bounded(rate / mean) if mean > 0 else 1.0 for name, rate in self.error_rates.items()}

    def factors(self, names: Sequence[str]) -> list[float]:
        """f of each image, by the name of its class."""
        table = self.table()
        return [table[name] for name in names]

    def update(self, names: Sequence[str], errors: Sequence[float]) -> None:
        """Take in what the policy got wrong in one update; without effect unless the mode is `dynamic`.

        Args:
            names: Class of each image.
            errors: Share of the image's completions that were wrong, in [0, 1].
        """
        if self.mode != "dynamic":
            return
        errors_of: dict[str, list[float]] = {}
        for name, error in zip(names, errors, strict=True):
            errors_of.setdefault(name, []).append(error)
        for name, seen in errors_of.items():
            kept = DECAY ** len(seen)
            self.error_rates[name] = kept * self.error_rates[name] + (1 - kept) * sum(seen) / len(seen)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold, JSON-ready."""
        return {"mode": self.mode, "error_rates": dict(self.error_rates)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            LriadError: The checkpoint is of another mode or of other classes.
        """
        error_rates = state.get("error_rates", {})
        if state.get("mode") != self.mode or set(error_rates) != set(self.error_rates):
            raise LriadError(
                f"class factor of the checkpoint: {state.get('mode')} over {sorted(error_rates)}, of this "
                f"run: {self.mode} over {sorted(self.error_rates)}; resume with the recipe and the data that "
                "the run began with"
            )
        self.error_rates = {name: float(error_rates[name]) for name in self.error_rates}


def _bounded(factor: float) -> float:
    return min(max(factor, LOWEST), HIGHEST)
