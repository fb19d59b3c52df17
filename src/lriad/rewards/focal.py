"""The paper's focal reward (Eq. 4), read literally, in its three readings.

Eq. 4 is `R_focal = alpha (1 - p)^gamma f`, 'where p is the predicted probability of the correct answer'. The
equation does not say what the sampled answer has to do with it, so a completion's reward can be read in three
ways. Here w = alpha (1 - p)^gamma f, and c is 1 where the completion's answer is right, else 0. Sampling
answers c ~ Bernoulli(p) gives the expected rewards below; none has its optimum at p = 1, so none is safe:

| reading   | reward      | expected reward / (alpha f) | highest at                                         |
|-----------|-------------|-----------------------------|----------------------------------------------------|
| `ungated` | w           | (1 - p)^gamma               | p = 0: wrong answers score highest                 |
| `gated`   | w c         | p (1 - p)^gamma             | p = 1/(1 + gamma): it pays to be right but unsure  |
| `signed`  | w (2 c - 1) | (2 p - 1) (1 - p)^gamma     | p = (2 + gamma)/(2 + 2 gamma): the same, above 1/2 |

With gamma = 2 the three optima are 0, 1/3 and 2/3. `signed` is the default: it is the only one in which
'low-confidence misclassified samples receive higher penalties' (Section III-B2).

Our own mode, `focal`, does not reward p at all but weighs the advantage:
`lriad.training.advantages.focal_weights`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from lriad.errors import LriadError
from lriad.rewards._completion import Completion
from lriad.rewards.accuracy import accuracy_reward

Reading = Literal["signed", "gated", "ungated"]
Numeric = TypeVar("Numeric", float, Any)
"""A float, or a NumPy array or tensor of any shape."""


def focal_weight(p: Numeric, gamma: float = 2.0, alpha: float = 1.0, f: Numeric | float = 1.0) -> Numeric:
    """alpha (1 - p)^gamma f, Eq. 4.

    Args:
        p: Probability of the correct answer, in [0, 1]; a float, or an array of any shape.
        gamma: Focus, at least 0; 0 weighs every p alike. The paper gives no value; 2 is Lin et al.'s
            (https://arxiv.org/abs/1708.02002).
        alpha: Scale, above 0.
        f: Class factor, above 0; broadcasts with p.
    """
    return alpha * (1 - p) ** gamma * f


def focal_reward(
    p: Numeric,
    correct: Numeric,
    *,
    reading: Reading = "signed",
    gamma: float = 2.0,
    alpha: float = 1.0,
    f: Numeric | float = 1.0,
) -> Numeric:
    """The reward of completions under one of the three readings of Eq. 4 (see the table of this module).

    Args:
        p: Probability of the correct answer, in [0, 1].
        correct: 1 where the completion's answer is right, else 0; of p's shape.
        reading: `signed` (plus w where right, minus w where wrong), `gated` (w where right, else 0) or
            `ungated` (w, whatever was answered).
        gamma: See `focal_weight`.
        alpha: See `focal_weight`.
        f: See `focal_weight`.
    """
    w = focal_weight(p, gamma, alpha, f)
    if reading == "signed":
        return w * (2 * correct - 1)
    return w * correct if reading == "gated" else w


@dataclass(frozen=True)
class FocalReward:
    """Eq. 4 as a TRL reward.

    Columns that it reads, one value a completion: `label`, `p_correct` (the policy's probability of the
    correct letter after the completion's own reasoning, in [0, 1]) and, where there is one, `class_factor`
    (f; 1 without it).

    Attributes:
        gamma: Focus, at least 0.
        alpha: Scale, above 0.
        reading: `signed`, `gated` or `ungated`.

    Example:
        >>> reward = FocalReward(gamma=2.0)
        >>> reward([""], ["<think></think> <answer>B</answer>"], label=["defect"], p_correct=[0.5])
        [-0.25]
    """

    gamma: float = 2.0
    alpha: float = 1.0
    reading: Reading = "signed"

    __name__: ClassVar[str] = "focal_reward"  # TRL names the reward's metrics by it

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Completion],
        *,
        label: Sequence[str],
        p_correct: Sequence[float],
        class_factor: Sequence[float] | None = None,
        **columns: Any,
    ) -> list[float]:
        correct = accuracy_reward(prompts, completions, label=label)
        factors = class_factor if class_factor is not None else [1.0] * len(correct)
        return [
            # A softmax can leave [0, 1] by rounding, and a fractional power of a negative number is complex.
            focal_reward(
                min(max(float(p), 0.0), 1.0),
                c,
                reading=self.reading,
                gamma=self.gamma,
                alpha=self.alpha,
                f=float(f),
            )
            for p, c, f in zip(p_correct, correct, factors, strict=True)
        ]


def check_not_cancelling(
    reward: str,
    scale_rewards: str,
    *,
    reading: str = "signed",
    gamma: float = 2.0,
    class_factor: str = "none",
    prompts_per_step: int = 2,
) -> None:
    """Refuse a configuration of the `paper` mode in which the focal weight, or a part of it, has no effect.

    Eq. 8 divides a group's rewards by the group's own standard deviation, so that whatever is the same for
    all completions of a prompt cancels (but for epsilon, and for the balance with the format reward while
    that still varies). p is read per completion and survives; the class factor belongs to the image and does
    not. And with gamma = 0 the ungated reading is one constant for all of a prompt's completions: no
    advantage is left at all.

    The mode `focal` weighs after the normalisation and brings the weights to mean 1 over the update: with one prompt
    an update, its weight is always 1. The mode `accuracy` has no weight.

    Args:
        reward: `focal`, `paper` or `accuracy`.
        scale_rewards: `group`, `batch` or `none`.
        reading: Reading of Eq. 4.
        gamma: Focus of Eq. 4.
        class_factor: `none`, `inverse_frequency` or `dynamic`.
        prompts_per_step: Prompts of one update.

    Raises:
        LriadError: The weight cancels; the line says why and names the way out.
    """
    if reward == "focal" and prompts_per_step == 1:
        raise LriadError(
            "reward is 'focal' with prompts_per_step 1: the weights are brought to mean 1 over the update, so a single "
            "prompt's is always 1; use prompts_per_step 2 or more, or reward 'accuracy'"
        )
    if reward != "paper":
        return
    if reading == "ungated" and gamma == 0:
        raise LriadError(
            "gamma is 0 with paper_reading 'ungated': all completions of a prompt get the same reward, so "
            "nothing is learned; use a gamma above 0, or paper_reading 'signed'"
        )
    if scale_rewards == "group" and class_factor != "none":
        raise LriadError(
            f"class_factor is {class_factor!r} with reward 'paper' and scale_rewards 'group': the factor is "
            "the same for all completions of a prompt, so dividing by the group's standard deviation (Eq. 8) "
            "cancels it; use reward 'focal', or scale_rewards 'batch' or 'none', or class_factor 'none'"
        )
