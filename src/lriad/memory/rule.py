"""What labels add to a memory: one calibrated probability from p_defect, the deviation and the image's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lriad.errors import LriadError

_SVM_PENALTY = 10.0
"""Nearly all labelled images end on the right side; 3 to 100 are alike."""
_STACK_INVERSE_PENALTY = 1.0
_FOLDS = 5
MIN_LABELLED = 5
"""Images of each label that a rule is learned from at least."""


@dataclass(frozen=True)
class Rule:
    """A support vector machine that reads an image's features, and behind it a logistic regression for each mode.

    The latter reads the former's outcome, the log-odds of p_defect and the deviation; its outcome is the log-odds of a
    defect among parts of which half are defective.

    Attributes:
        centre_F, scale_F: Of the features.
        supports_SF: Support vectors, in these.
        dual_S, gamma, bias: Of the machine, whose kernel is exp(-gamma |x - y|^2).
        stacks: Of each mode the weights of the three and a bias, (4,).
        defects, good: How many labelled images it was learned from.
    """

    centre_F: NDArray[np.float32]
    scale_F: NDArray[np.float32]
    supports_SF: NDArray[np.float32]
    dual_S: NDArray[np.float32]
    gamma: float
    bias: float
    stacks: Mapping[str, tuple[float, ...]]
    defects: int
    good: int

    def probability(self, features_F: NDArray[np.float32], p_defect: float, z: float, mode: str) -> float:
        """P(defect), were half of the parts defective.

        Args:
            features_F: See `features_of`.
            p_defect: What the policy says in this mode.
            z: The deviation.
            mode: One of those that it was learned for.

        Raises:
            LriadError: It was learned from other features.
        """
        if features_F.shape != self.centre_F.shape:
            raise LriadError(
                f"the labels' rule reads {len(self.centre_F)} features, this policy's eyes have {len(features_F)}: "
                "make the memory again with lriad remember"
            )
        apart_SF = self.supports_SF - (features_F - self.centre_F) / self.scale_F
        seen = float(self.dual_S @ np.exp(-self.gamma * np.square(apart_SF).sum(1))) + self.bias
        *weights, bias = self.stacks[mode]
        logit = float(_columns(np.array([seen]), np.array([log_odds(p_defect)]), np.array([z]))[0] @ weights) + bias
        return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def log_odds(p: float) -> float:
    """Of a probability, kept finite."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))


def features_of(views: Sequence[Sequence[Tensor]]) -> NDArray[np.float32]:
    """Mean, spread, maximum and minimum of each channel over all views of an image, depth by depth, (F,)."""
    parts = [part for one in channels_of(views) for part in (one.mean(1), one.std(1), one.amax(1), one.amin(1))]
    return torch.cat(parts).numpy()


def channels_of(views: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """What the channels of each depth are at all places of all views of an image, (C, P)."""
    return [torch.cat([level.flatten(1).float() for level in levels], 1) for levels in zip(*views, strict=True)]


def learn_rule(
    features_NF: NDArray[np.float32],
    log_odds_N: Mapping[str, NDArray[np.floating]],
    z_N: Mapping[str, NDArray[np.floating]],
    defect_N: NDArray[np.bool_],
    groups: Sequence[str],
) -> Rule:
    """Learn a rule from N labelled images.

    Args:
        features_NF: See `features_of`.
        log_odds_N: Of p_defect, by mode.
        z_N: Deviations, by mode; those of the images in memory from the images of other groups.
        defect_N: The labels, at least `MIN_LABELLED` of each.
        groups: Images of one group are never on both sides of a fold.

    Raises:
        LriadError: One label's images are of so few groups that a fold is left without them.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    machine: Any = make_pipeline(StandardScaler(), SVC(C=_SVM_PENALTY, class_weight="balanced"))
    folds = StratifiedGroupKFold(min(_FOLDS, len(set(groups))), shuffle=True, random_state=0)
    # What it says of images that it has not learned from: of its own it is too sure.
    asked: dict[str, Any] = {"groups": groups, "cv": folds, "method": "decision_function"}
    try:
        unseen_N = cross_val_predict(machine, features_NF, defect_N, **asked)
    except ValueError as error:
        raise LriadError(
            "the labelled images are of too few groups to learn a rule from: give defects and good images of more parts"
        ) from error
    machine.fit(features_NF, defect_N)
    stacks = {}
    for mode, odds_N in log_odds_N.items():
        stack: Any = make_pipeline(
            StandardScaler(), LogisticRegression(C=_STACK_INVERSE_PENALTY, class_weight="balanced")
        )
        stacks[mode] = _as_linear(stack.fit(_columns(unseen_N, odds_N, z_N[mode]), defect_N))
    scaler, support = machine
    return Rule(
        centre_F=scaler.mean_.astype(np.float32),
        scale_F=scaler.scale_.astype(np.float32),
        supports_SF=support.support_vectors_.astype(np.float32),
        dual_S=support.dual_coef_[0].astype(np.float32),
        gamma=float(support._gamma),
        bias=float(support.intercept_[0]),
        stacks=stacks,
        defects=int(defect_N.sum()),
        good=int((~defect_N).sum()),
    )


def _columns(
    seen_N: NDArray[np.floating], odds_N: NDArray[np.floating], z_N: NDArray[np.floating]
) -> NDArray[np.floating]:
    """What the second part reads, (N, 3). How far beyond all good ones a deviation is must not outweigh all else."""
    return np.stack([seen_N, odds_N, np.arcsinh(z_N)], 1)


def _as_linear(pipeline: Any) -> tuple[float, ...]:
    """Scaler and regression as weights, and a bias behind them, on the unscaled numbers."""
    scaler, regression = pipeline
    weights = regression.coef_[0] / scaler.scale_
    return (*map(float, weights), float(regression.intercept_[0] - weights @ scaler.mean_))
