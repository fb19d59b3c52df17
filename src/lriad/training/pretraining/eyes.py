"""The first stage, eyes: 'a defect is here', of this kind, from the procedural masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lriad.data.synthetic.narration import KINDS
from lriad.policy.eyes import Eyes, Head
from lriad.training.pretraining.drawings import Drawings
from lriad.training.pretraining.loop import DEVICE, Schedule, fit

_HERE_WEIGHT, _SOMEWHERE_WEIGHT, _KIND_WEIGHT = 1.0, 0.5, 0.2
_SEEDS_APART = 1000
"""Between one head's batches and the next one's."""
_RARE = 6.0
"""Weight of a defective token: they are one in thirty, and without it the eyes say 'nothing' for long."""


def teach_eyes(
    eyes: Eyes,
    drawings: Drawings,
    train: NDArray[np.intp],
    validation: NDArray[np.intp],
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    progress: bool,
) -> None:
    """Teach what lies on top of the frozen backbone: each head by itself, of its own batches.

    Args:
        eyes: The tower; its backbone is not touched.
        drawings: All drawings.
        train, validation: Indices of those to learn from, and of those of other categories to look at.
        schedule: Of this stage.
        folder: Gets a folder for each head, with its checkpoint and metrics.
        seed: Of the batches.
        progress: Show a progress bar.
    """
    is_defect = torch.tensor([float(row["label"] == "defect") for row in drawings.rows]).to(DEVICE)
    kinds = torch.tensor([KINDS.index(row["defect_type"]) if row["defect_type"] else -1 for row in drawings.rows])
    kinds, here_NT = kinds.to(DEVICE), torch.from_numpy(drawings.here).float().to(DEVICE)
    rare = torch.tensor(_RARE, device=DEVICE)

    def teach(number: int, head: Head) -> None:
        def losses_of(rng: np.random.Generator) -> dict[str, torch.Tensor]:
            indices = np.sort(rng.choice(train, schedule.batch_size, replace=False))
            _, here, kind, somewhere = head(*_taken(drawings, indices))
            target = here_NT[indices]
            losses = {
                "here": F.binary_cross_entropy_with_logits(here, target, pos_weight=rare),
                "somewhere": F.binary_cross_entropy_with_logits(somewhere, is_defect[indices]),
                "kind": F.cross_entropy(kind[target > 0], kinds[indices, None].expand_as(target)[target > 0]),
            }
            weighted = _HERE_WEIGHT * losses["here"] + _SOMEWHERE_WEIGHT * losses["somewhere"]
            return losses | {"loss": weighted + _KIND_WEIGHT * losses["kind"]}

        fit(
            *(head, schedule, losses_of, lambda: judge_eyes(head, drawings, validation, DEVICE)),
            folder / f"head-{number}",
            seed=seed + _SEEDS_APART * number,
            progress=progress,
        )

    for number, head in enumerate(eyes.heads):
        assert isinstance(head, Head)
        teach(number, head)


def see(eyes: Eyes, drawings: Drawings, indices: NDArray[np.intp]) -> list[torch.Tensor]:
    """What the eyes make of N drawings.

    Returns:
        What they hand on, (N, 100, C) in float16, and the three logits, as `Eyes.look` returns them.
    """
    parts = []
    eyes.to(DEVICE)
    with torch.inference_mode():
        for start in range(0, len(indices), 64):
            tokens, *logits = eyes.look(*_taken(drawings, indices[start : start + 64]))
            # Handed on part by part: of all drawings together it would not fit into memory in float32.
            handed_on = eyes.hand_on(tokens, *logits).flatten(2).transpose(1, 2).half()
            parts.append([tensor.cpu() for tensor in (handed_on, *logits)])
    eyes.cpu()
    return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]


@torch.inference_mode()
def judge_eyes(
    look: Callable[..., tuple[torch.Tensor, ...]],
    drawings: Drawings,
    indices: NDArray[np.intp],
    device: torch.device | str = "cpu",
) -> dict[str, float]:
    """How well defects are told and found: AUROC of the picture, share whose strongest token shows the defect.

    Args:
        look: `Eyes.look`, or a head of them.
        drawings: All drawings.
        indices: Those to look at.
        device: Where the eyes are.
    """
    from sklearn.metrics import roc_auc_score

    if not len(indices):
        return {}
    batches = (indices[start : start + 64] for start in range(0, len(indices), 64))
    logits = zip(*(look(*_taken(drawings, batch, device))[1:] for batch in batches), strict=True)
    here_NT, kind_NTK, somewhere_N = (torch.cat(each).cpu() for each in logits)
    rows = [drawings.rows[i] for i in indices]
    truth = np.array([row["label"] == "defect" for row in rows])
    strongest = here_NT.argmax(1).numpy()
    each = np.arange(len(rows))
    kinds = kind_NTK.argmax(2).numpy()[each, strongest]
    named = np.array([KINDS[k] == row["defect_type"] for k, row in zip(kinds, rows, strict=True)])
    score = (somewhere_N + here_NT.amax(1)).numpy()
    return {
        "validation_auroc": float(roc_auc_score(truth, score)),
        "validation_recall_at_5": float((score[truth] > np.quantile(score[~truth], 0.95)).mean()),
        "validation_pointing": float(drawings.here[indices][each, strongest][truth].mean()),
        "validation_kind": float(named[truth].mean()),
    }


def _taken(drawings: Drawings, indices: NDArray[np.intp], device: torch.device | str = DEVICE) -> list[torch.Tensor]:
    """What is sensed in some drawings, where it is looked at."""
    return [tensor.to(device) for tensor in drawings.take(indices)]
