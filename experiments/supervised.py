"""The embedded policy as it was before GRPO: where the evidence starts.

    python experiments/supervised.py --run runs/pretrain      # after lriad pretrain: keeps what GRPO has changed

GRPO changes Q and V of the language model only, so that those few weights, as they were, are all that is kept, in
`experiments/supervised.safetensors`; the rest is the embedded policy's.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lriad.policy.loading import EMBEDDED, OPERATING_POINT, resolve_source

KEPT = Path(__file__).with_name("supervised.safetensors")
WEIGHTS = "model.safetensors"


def keep(run: Path) -> Path:
    """Write the weights of `supervised/` that differ from `model/`."""
    before, after = (load_file(run / name / WEIGHTS) for name in ("supervised", "model"))
    changed = {name: weight for name, weight in before.items() if not torch.equal(weight, after[name])}
    save_file(changed, KEPT)
    return KEPT


def assemble(folder: Path) -> Path:
    """The whole policy in `folder`, made if missing."""
    if not folder.exists():
        embedded, partial = Path(resolve_source(EMBEDDED).base), folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(embedded, partial, ignore=shutil.ignore_patterns(OPERATING_POINT, "README.md"))
        save_file(load_file(embedded / WEIGHTS) | load_file(KEPT), partial / WEIGHTS, metadata={"format": "pt"})
        partial.replace(folder)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/pretrain"), help="of lriad pretrain")
    print(keep(parser.parse_args().run))


if __name__ == "__main__":
    main()
