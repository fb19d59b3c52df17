"""The second start of the evidence: the embedded policy's eyes, with words that were not taught to judge.

    lriad pretrain --output runs/pretrain                 # draws, senses and teaches the eyes
    python experiments/undecided.py --run runs/pretrain --output runs/undecided

The supervised stage of the shipped policy is taught verdicts, from drawings, so that GRPO has little left to teach.
Here the same stage describes what may be a defect, of sound parts too, and answers by lot: the policy keeps the format
and knows what it sees, and what it learns of verdicts it learns from the labels that GRPO is given.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
from pathlib import Path

from lriad.training.pretraining import PretrainConfig

pretraining = importlib.import_module("lriad.training.pretraining.pretrain")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/pretrain"), help="of lriad pretrain")
    parser.add_argument("--output", type=Path, default=Path("runs/undecided"))
    arguments = parser.parse_args()
    finished = arguments.run / "supervised"
    if not finished.exists():
        raise SystemExit(f"error: {arguments.run}: holds no finished supervised stage; run lriad pretrain first")
    eyes = hashlib.sha256((arguments.run / "eyes" / "checkpoint.pt").read_bytes()).hexdigest()
    claim = arguments.output / "eyes.sha256"
    arguments.output.mkdir(parents=True, exist_ok=True)
    if not claim.exists():
        pretraining.write_whole(claim, eyes)
    elif claim.read_text() != eyes:
        raise SystemExit(f"error: {arguments.output}: holds words for other eyes; give another --output")
    model = arguments.output / "model"
    if not model.exists():
        config = PretrainConfig()
        impressions = pretraining.perceive(arguments.run, config, True)
        pretraining.teach_words(impressions, config, arguments.output, model, True, undecided=True)
    print(model)


if __name__ == "__main__":
    main()
