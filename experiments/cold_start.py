"""A policy that can speak and has hardly learned to judge: where GRPO has something to teach.

    python experiments/cold_start.py --run runs/pretrain --output runs/cold-start
    python experiments/evidence.py --policy runs/cold-start --output runs/cold --results docs/results/cold-start

The shipped weights were taught to judge by 1,600 steps on drawings of which half are defective. Here the words learn
for a fraction of that, behind the same eyes, those of a finished `lriad pretrain`: completions keep to the format, and
the verdict is not much more than a guess, as a general vision-language model's is before it has seen any inspection.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from lriad.errors import LriadError
from lriad.training.pretraining import PretrainConfig
from lriad.training.pretraining.pretrain import perceive, teach_words

STEPS = 200
"""An eighth of the words' schedule."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/pretrain"), help="a finished run of lriad pretrain")
    parser.add_argument("--output", type=Path, default=Path("runs/cold-start"), help="the policy's folder")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the words' schedule")
    options = parser.parse_args()
    if not (options.run / "model").is_dir():
        raise LriadError(f"{options.run}: no finished run of lriad pretrain; run that first")
    if options.output.exists():
        raise LriadError(f"{options.output}: is there already; give another --output")
    config = PretrainConfig()
    impressions = perceive(options.run, config, progress=True)
    # Without products: what a memory says is read by nobody here.
    parts = (*impressions.parts[:3], impressions.parts[3][:0], impressions.parts[4][:0])
    short = replace(config, text=replace(config.text, steps=options.steps))
    work = options.output.with_name(f"{options.output.name}-work")
    teach_words(replace(impressions, parts=parts), short, work, options.output, progress=True)


if __name__ == "__main__":
    try:
        main()
    except LriadError as error:
        sys.exit(f"error: {error}")
