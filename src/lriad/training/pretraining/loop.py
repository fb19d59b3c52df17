"""The loop that all supervised stages share: schedule, clipping, running mean, checkpoints, metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lriad.training.callbacks import append_metrics, truncate_metrics

SAVE_EVERY = 100
_AVERAGED = 0.99
"""Decay of the running mean of the weights, which is what a stage leaves: most of the way it is ahead of them, by up
to a point of AUROC on watched categories (the eyes), and in the end no worse."""
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Where the stages learn."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage learns.

    Attributes:
        steps: Optimiser steps.
        batch_size: Images a step.
        learning_rate: Peak of a cosine, to a twentieth of it, after a linear warm-up.
        warmup_steps: Length of the warm-up.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 50

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        done = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))


def fit(
    module: nn.Module,
    schedule: Schedule,
    losses_of: Callable[[np.random.Generator], dict[str, Tensor]],
    validate: Callable[[], dict[str, float]],
    folder: Path,
    *,
    seed: int,
    progress: bool,
) -> None:
    """Train a module, or go on where a run was stopped; what is left in it is the running mean of its weights.

    Args:
        module: What is trained, all of it; on `DEVICE` until it returns, then on the CPU.
        schedule: As above.
        losses_of: Losses of one batch, drawn by the generator that it is given; `loss` is minimised.
        validate: Figures of the running mean at each checkpoint.
        folder: Gets `checkpoint.pt` and `metrics.jsonl`.
        seed: Of the batches.
        progress: Show a progress bar.
    """
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    module.to(DEVICE)
    checkpoint, metrics = folder / "checkpoint.pt", folder / "metrics.jsonl"
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in module.parameters() if p.dim() > 1], "weight_decay": 0.05},
            {"params": [p for p in module.parameters() if p.dim() <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.95),
    )
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(_AVERAGED))
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        module.load_state_dict(state["weights"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    truncate_metrics(metrics, first)
    with tqdm(total=schedule.steps, initial=first, desc=folder.name, disable=not progress) as bar:
        for step in range(first, schedule.steps):
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate(step)
            # Each step draws from its own seed, so that a resumed run goes on as if it had never stopped.
            losses = losses_of(np.random.default_rng([seed, step]))
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            average.update_parameters(module)
            bar.update()
            record: dict[str, float] = {"step": step + 1, **{name: loss.item() for name, loss in losses.items()}}
            if (step + 1) % SAVE_EVERY == 0 or step + 1 == schedule.steps:
                weights = {name: value.clone() for name, value in module.state_dict().items()}
                module.load_state_dict(average.module.state_dict())
                record |= validate()
                module.load_state_dict(weights)
                state = {"weights": weights, "average": average.state_dict(), "optimizer": optimizer.state_dict()}
                torch.save(state | {"step": step + 1}, checkpoint.with_suffix(".tmp"))
                checkpoint.with_suffix(".tmp").replace(checkpoint)
            bar.set_postfix({name: f"{value:.3f}" for name, value in record.items() if name != "step"})
            append_metrics(metrics, record)
    module.load_state_dict(average.module.state_dict())
    module.cpu()
