"""From rewards to advantages (Eq. 6-8), and the focal weighting of them: pure functions over tensors.

Dimensions are named in suffixes: P prompts of one update, G completions of a prompt (its group). Compute them
over all groups of an update (gathered from all processes), since `batch` scaling and the weights' mean look
at all.

Why the weight comes after the normalisation: dividing by the group's standard deviation cancels every factor
that the group shares. With accuracy rewards, p the group's share of right answers, gamma 2 and epsilon 1e-4,
the size (root mean square over the group) of a hard prompt's advantages (2 of 8 right) over an easy one's (7
of 8 right) is, without and with the weight (1 - p)^2:

| weight on                                    | without | with |
|----------------------------------------------|---------|------|
| the reward, scaled by `group`                | 1.00    | 1.02 |
| the reward, scaled by `batch` or `none`      | 1.31    | 47   |
| the advantage, after scaling by `group`      | 1.00    | 36   |
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["group", "batch", "none"]

EPSILON = 1e-4
"""Epsilon of Eq. 8, for which the paper gives no value: TRL's."""


def group_normalise(rewards_PG: Tensor, scale: Scale = "group", epsilon: float = EPSILON) -> Tensor:
    """A = (r - mu) / (sigma + epsilon), Eq. 7 and 8.

    mu is the group's mean and sigma = sqrt(1/N sum (r - mu)^2) its population standard deviation, with N as
    in Eq. 7 (TRL divides by N - 1).

    Args:
        rewards_PG: Rewards of shape (P, G), floating point.
        scale: sigma over the completions of the prompt (`group`, the paper), over all completions of the
            update (`batch`, https://arxiv.org/abs/2508.08221), or no division at all (`none`,
            https://arxiv.org/abs/2503.20783). The mean is the group's in every case.
        epsilon: Keeps the division finite, above 0.

    Returns:
        Advantages of shape (P, G); exactly 0 for a group whose rewards are all equal.
    """
    centred_PG = rewards_PG - rewards_PG.mean(dim=1, keepdim=True)
    # The mean of equal numbers can be off by rounding, which a tiny sigma would blow up.
    flat_P1 = rewards_PG.amax(dim=1, keepdim=True) == rewards_PG.amin(dim=1, keepdim=True)
    centred_PG = centred_PG.masked_fill(flat_P1, 0.0)
    if scale == "group":
        return centred_PG / (centred_PG.square().mean(dim=1, keepdim=True).sqrt() + epsilon)
    if scale == "batch":
        return centred_PG / (rewards_PG.std(correction=0) + epsilon)
    return centred_PG


def paper_advantages(*rewards_PG: Tensor, scale: Scale = "group", epsilon: float = EPSILON) -> Tensor:
    """The paper's advantages: the normalised sum of the rewards, r = sum_i r_i (Eq. 6, then Eq. 7 and 8).

    Args:
        rewards_PG: One or more rewards (format, focal; or accuracy in its place), each of shape (P, G).
        scale: See `group_normalise`.
        epsilon: See `group_normalise`.

    Returns:
        Advantages of shape (P, G).
    """
    return group_normalise(torch.stack(rewards_PG).sum(dim=0), scale, epsilon)


class RunningMean:
    """The mean of the last updates' weights, each update counting a tenth less than the one behind it.

    A class that is rare is in few updates. Brought to mean 1 within each update, those without it would weigh as much
    as those that have it, and its factor would do nothing from one update to another: at 11 % defects and 4 prompts an
    update, six of ten have none.
    """

    DECAY = 0.9

    def __init__(self) -> None:
        self.total = self.count = 0.0

    def update(self, value: float) -> float:
        """The mean with one more value."""
        self.total = self.DECAY * self.total + value
        self.count = self.DECAY * self.count + 1.0
        return self.total / self.count

    def state_dict(self) -> dict[str, float]:
        """JSON-ready."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a state."""
        self.total, self.count = state["total"], state["count"]


def focal_weights(
    p_PG: Tensor,
    is_defect_P: Tensor,
    class_factor_P: Tensor,
    *,
    alpha_defect: float = 0.5,
    gamma: float = 2.0,
    floor: float = 0.05,
    running: RunningMean | None = None,
) -> Tensor:
    """w = alpha_class max((1 - p_bar)^gamma, floor) f, brought to mean 1.

    The floor keeps easy prompts from being left to the KL term alone; it bounds the focal part and not the
    product, so that the classes keep their order among easy prompts too. The mean of 1 keeps alpha, gamma and
    the policy's progress from acting as a learning rate.

    Args:
        p_PG: Probability of the correct letter after each completion's reasoning, of shape (P, G), in [0, 1].
            Its mean over the group is p_bar; no gradient flows through it.
        is_defect_P: True where the image's label is `defect`, of shape (P,).
        class_factor_P: f of each image, of shape (P,), above 0.
        alpha_defect: alpha of defects, in (0, 1); that of normal images is 1 - alpha_defect (Lin et al.,
            https://arxiv.org/abs/1708.02002).
        gamma: Focus, at least 0; with 0 all p weigh alike.
        floor: Least value of the focal part, in [0, 1].
        running: The mean is that of the last updates, this one included, and this takes note of it; None: of this
            update alone.

    Returns:
        Weights of shape (P,), at least 0, with mean 1 over the update or over the last ones.
    """
    p_bar_P = p_PG.detach().mean(dim=1).clamp(0.0, 1.0)
    focus_P = ((1.0 - p_bar_P) ** gamma).clamp(min=floor)
    alpha_P = torch.where(is_defect_P, alpha_defect, 1.0 - alpha_defect).to(focus_P)
    w_P = alpha_P * focus_P * class_factor_P.to(focus_P)
    mean = w_P.mean() if running is None else running.update(w_P.mean().item())
    # Without a floor all weights can be 0, where the policy is certain of everything: no prompt comes first.
    return w_P / mean if mean > 0 else torch.ones_like(w_P)


def weighted_advantages(
    w_P: Tensor,
    accuracy_PG: Tensor,
    format_PG: Tensor,
    *,
    accuracy_weight: float = 1.0,
    format_weight: float = 1.0,
    scale: Scale = "group",
    epsilon: float = EPSILON,
) -> Tensor:
    """A = accuracy_weight w norm(accuracy) + format_weight norm(format), of shape (P, G): the mode `focal`.

    The two rewards are normalised apart (as in GDPO, https://arxiv.org/abs/2601.05242) and only the first
    carries the focal weight: how a completion is written is no harder for a hard image.

    Args:
        w_P: Weights from `focal_weights`, of shape (P,).
        accuracy_PG: Accuracy rewards of shape (P, G).
        format_PG: Format rewards of shape (P, G).
        accuracy_weight: Weight of the accuracy advantage, at least 0.
        format_weight: Weight of the format advantage, at least 0.
        scale: See `group_normalise`.
        epsilon: See `group_normalise`.
    """
    weighted_PG = w_P.to(accuracy_PG)[:, None] * group_normalise(accuracy_PG, scale, epsilon)
    return accuracy_weight * weighted_PG + format_weight * group_normalise(format_PG, scale, epsilon)
