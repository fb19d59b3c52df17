"""A policy that can speak and has hardly learned to judge: where GRPO has something to teach.

    python experiments/cold_start.py --output runs/cold-start
    python experiments/evidence.py --policy runs/cold-start --output runs/cold --results docs/results/cold-start

The shipped words were taught to judge by 1,600 steps on 50,000 drawings, half of them defective. These learn for a
third of that on a ninth of the drawings, behind the shipped eyes: completions keep to the format, and what the eyes
hand on is only half understood. A dozen minutes on two cores. (After 200 steps three completions of five could not be
parsed yet.)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lriad.errors import LriadError
from lriad.policy import architecture, load_policy
from lriad.training.pretraining import PretrainConfig
from lriad.training.pretraining.drawings import Drawings, defective_cells, draw, sense
from lriad.training.pretraining.eyes import see
from lriad.training.pretraining.pretrain import Impressions, eyes_categories, teach_words

IMAGES, STEPS = 100, 500
"""Drawings a category, and steps of the words' schedule."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/cold-start"), help="the policy's folder")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the words' schedule")
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise LriadError(f"{options.output}: is there already; give another --output")
    work = options.output.with_name(f"{options.output.name}-work")
    config = PretrainConfig()
    config = replace(config, text=replace(config.text, steps=options.steps))
    tasks = (eyes_categories(config), config.unseen_categories, config.validation_categories)
    rows = draw(work / "drawings", [name for names in tasks for name in names], IMAGES, config.seed)
    eyes = load_policy("embedded", device="cpu").base.model.vision_tower.timm_model
    drawings = Drawings(
        rows, sense(eyes, architecture.build_image_processor(), rows, work / "sensed", True), defective_cells(rows)
    )
    handed_on, *logits = see(eyes, drawings, np.arange(len(rows)))
    none = np.array([], np.intp)  # No products: what a memory says is read by nobody here.
    parts = (*(drawings.of(names) for names in tasks), none, none)
    impressions = Impressions(eyes, rows, parts, [None] * len(rows), handed_on, tuple(logits))
    teach_words(impressions, config, work / str(options.steps), options.output, progress=True)


if __name__ == "__main__":
    try:
        main()
    except LriadError as error:
        sys.exit(f"error: {error}")
