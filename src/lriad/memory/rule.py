"""What labels add to a memory: one calibrated probability from p_defect, the deviation and the features' means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_INVERSE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
_STACK_INVERSE_PENALTY = 0.1
_FOLDS = 5
MIN_LABELLED = 5
"""Images of each label that a rule is learned from at least."""


@dataclass(frozen=True)
class Rule:
    """Two logistic regressions, each written as one weight a number and a bias.

    The first reads the means and maxima of the features, the second its outcome, the log-odds of p_defect and the
    deviation; its outcome is the log-odds of a defect among parts of which half are defective.

    Attributes:
        weight_F, bias: Of the first.
        stack_3, stack_bias: Of the second.
        defects, good: How many labelled images it was learned from.
    """

    weight_F: NDArray[np.float32]
    bias: float
    stack_3: NDArray[np.float32]
    stack_bias: float
    defects: int
    good: int

    def probability(self, features_F: NDArray[np.float32], p_defect: float, z: float) -> float:
        """P(defect), were half of the parts defective."""
        first = float(features_F @ self.weight_F) + self.bias
        logit = float(np.array([first, log_odds(p_defect), z]) @ self.stack_3) + self.stack_bias
        return float(1 / (1 + np.exp(-np.clip(logit, -50, 50))))


def log_odds(p: float) -> float:
    """Of a probability, kept finite."""
    p = min(max(p, 1e-6), 1 - 1e-6)
    return float(np.log(p / (1 - p)))


def pooled(views: Sequence[Sequence[Tensor]]) -> NDArray[np.float32]:
    """Mean and maximum of each channel of the two last depths over all views of an image, (F,)."""
    deep = zip(*(view[-2:] for view in views), strict=True)
    depths = [torch.cat([level.flatten(1).float() for level in levels], 1) for levels in deep]
    return np.concatenate([part.numpy() for level in depths for part in (level.mean(1), level.amax(1))])


def learn_rule(
    features_NF: NDArray[np.float32],
    log_odds_N: NDArray[np.floating],
    z_N: NDArray[np.floating],
    defect_N: NDArray[np.bool_],
    groups: Sequence[str],
) -> Rule:
    """Learn a rule from N labelled images.

    Args:
        features_NF: See `pooled`.
        log_odds_N: Of p_defect.
        z_N: Deviations; those of the images in memory from the images of other groups.
        defect_N: The labels, at least `MIN_LABELLED` of each.
        groups: Images of one group are never on both sides of a fold.
    """
    from sklearn.model_selection import cross_val_predict

    search = _search(_folds(groups, 0)).fit(features_NF, defect_N, groups=groups)
    first: Any = search.best_estimator_
    # What the first says of images that it has not learned from: of its own it is too sure.
    unseen_N = cross_val_predict(
        first,
        features_NF,
        defect_N,
        groups=groups,
        cv=_folds(groups, 1),
        method="decision_function",
    )
    stack = _logistic(_STACK_INVERSE_PENALTY).fit(np.stack([unseen_N, log_odds_N, z_N], 1), defect_N)
    (weight_F, bias), (stack_3, stack_bias) = _as_linear(first), _as_linear(stack)
    return Rule(weight_F, bias, stack_3, stack_bias, int(defect_N.sum()), int((~defect_N).sum()))


def _logistic(inverse_penalty: float) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=1000)
    )


def _folds(groups: Sequence[str], seed: int) -> Any:
    from sklearn.model_selection import StratifiedGroupKFold

    return StratifiedGroupKFold(min(_FOLDS, len(set(groups))), shuffle=True, random_state=seed)


def _search(folds: Any) -> Any:
    from sklearn.model_selection import GridSearchCV

    grid = {"logisticregression__C": list(_INVERSE_PENALTIES)}
    return GridSearchCV(_logistic(1.0), grid, scoring="neg_log_loss", cv=folds)


def _as_linear(pipeline: Any) -> tuple[NDArray[np.float32], float]:
    """Scaler and regression as weights and a bias on the unscaled numbers."""
    scaler, regression = pipeline[0], pipeline[1]
    weight = regression.coef_[0] / scaler.scale_
    return weight.astype(np.float32), float(regression.intercept_[0] - weight @ scaler.mean_)
