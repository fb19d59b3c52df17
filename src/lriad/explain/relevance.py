"""Which places of an image a policy's answer comes from, by one backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lriad.policy.answer import FAST_PREFIX

if TYPE_CHECKING:
    from lriad.policy import Policy

_TINY = float(np.finfo(np.float32).tiny)


class Relevance(NamedTuple):
    """Where an answer comes from.

    Attributes:
        heatmap: (H, W), in [0, 1].
        p_defect: P(defect) where the answer stands without reasoning: that of `Policy.fast`, where the answers are
            letters of one token.
    """

    heatmap: NDArray[np.float32]
    p_defect: float


def relevance(policy: Policy, prompts: Sequence[Any]) -> list[Relevance]:
    """How much of the answer `defect` comes from each place.

    The gradient of logit(A) - logit(B), where the answer stands without reasoning, with respect to what the vision
    tower holds at three depths (`lriad.policy.depths`), times how far each place is there from the image's own mean:
    the absolute values, summed over channels, as in Grad-CAM's kin (https://arxiv.org/abs/1610.02391). Each depth is
    divided by its maximum, the three are averaged, and the map is multiplied by P(defect), so that maps of several
    images are on one scale: a sound image's is faint.

    Args:
        policy: A loaded policy.
        prompts: N prompts from `Policy.encode`, of one image each.

    Returns:
        N maps, as fine as the finest depth, and what was answered.

    Raises:
        LriadError: The policy's tower is not of a kind that can be tapped.
    """
    if not prompts:
        return []
    if not policy.depths.known:  # the first image tells which blocks they are
        with policy.vision.holding():
            policy.see(prompts[:1])
    chosen = policy.depths.known
    return policy.in_parts(lambda part: _relevance(policy, part[0], chosen), prompts, 1, gradients=True)


def _relevance(policy: Policy, prompt: Any, chosen: Sequence[int]) -> Relevance:
    [slot] = policy.answer_slots([FAST_PREFIX])
    batch = policy.collate([prompt], [slot.prefix])
    with torch.enable_grad(), policy.vision.differentiable(), policy.depths.watching(gradients_from=chosen[0]) as kept:
        logits = policy.base(**batch, logits_to_keep=1, use_cache=False).logits[0, -1].float()
        difference = logits[slot.defect[0]] - logits[slot.normal[0]]
        outputs = [kept[index] for index in chosen]
        gradients = torch.autograd.grad(difference, outputs)
    grid = prompt.get("image_grid_thw")
    seen_by_depth = policy.depths.maps([output.detach() for output in outputs], grid)
    slope_by_depth = policy.depths.maps(gradients, grid)
    maps = [
        (slope_CHW * (seen_CHW - seen_CHW.mean((1, 2), keepdim=True))).abs().sum(0).cpu().numpy()
        for seen_CHW, slope_CHW in zip(seen_by_depth, slope_by_depth, strict=True)
    ]
    height, width = max((one.shape for one in maps), key=lambda shape: shape[0] * shape[1])
    even = [cv2.resize(one / max(float(one.max()), _TINY), (width, height)) for one in maps]
    p_defect = torch.sigmoid(difference.detach()).item()
    return Relevance(np.asarray(p_defect * np.mean(even, 0), np.float32), p_defect)
