"""What the embedded policy's eyes owe to what: the first stage of pretraining, and one of its heads taught otherwise.

    lriad pretrain --output runs/pretrain       # draws and senses what this reads, and teaches the shipped eyes
    python experiments/eyes.py --run runs/pretrain --output runs/eyes

Each variant learns from the same drawings; it is judged on the watched categories of `parts`, and on `objects` and
`textures`. Writes `docs/results/eyes.md`; a variant that is done is not done again.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from lriad.data.synthetic import make_dataset
from lriad.data.synthetic.dataset import VERSION as DRAWINGS
from lriad.policy import architecture
from lriad.policy.eyes import HEADS
from lriad.training.pretraining import PretrainConfig
from lriad.training.pretraining.drawings import Drawings, defective_cells, draw, measure_channels, sense
from lriad.training.pretraining.eyes import judge_eyes, teach_eyes

pretraining = importlib.import_module("lriad.training.pretraining.pretrain")

RESULTS = Path(__file__).parents[1] / "docs" / "results"
TESTS = {"objects": 20, "textures": 20}
"""Images a category."""
SEED = 12


@dataclass(frozen=True)
class Variant:
    """One change.

    Attributes:
        name: What is changed.
        heads: How many of the shipped eyes' heads.
        likeness: Whether the eyes know how like a place is to the rest of its picture.
        categories: Share of the categories that are learned from, the first ones.
    """

    name: str
    heads: int = 1
    likeness: bool = True
    categories: float = 1.0


VARIANTS = (
    Variant("as shipped", heads=HEADS),
    Variant("one head"),
    Variant("one head, without likeness", likeness=False),
    Variant("one head, a third of the categories", categories=1 / 3),
    Variant("one head, two thirds of the categories", categories=2 / 3),
)


class Unlike(Drawings):
    """Drawings whose places are like nothing."""

    def take(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        cells, alike = super().take(indices)
        return cells, torch.zeros_like(alike)


def rows_of(family: str, folder: Path) -> list[dict]:
    made = make_dataset(family, folder / f"{family}-v{DRAWINGS}", images=TESTS[family], defect_ratio=0.5, seed=SEED)
    rows = [json.loads(line) for line in (made / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row | {name: row[name] and str(made / row[name]) for name in ("image", "mask")} for row in rows]


def run(variant: Variant, source: Path, output: Path) -> dict[str, dict[str, float]]:
    """Teach one variant and judge it; or read what was judged."""
    config = PretrainConfig()
    # What the run of pretraining says of itself changes with its drawings; the same variant of another is another.
    known_by = hashlib.sha256(f"{(source / 'config.json').read_text()} {TESTS} {SEED}".encode()).hexdigest()[:8]
    itself = hashlib.sha256(str(variant).encode()).hexdigest()[:8]
    folder = output / known_by / f"{variant.name.replace(' ', '-')}-{itself}"
    result = folder / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    categories = pretraining.eyes_categories(config)
    rows = draw(source / "drawings", [*categories, *config.validation_categories], config.images, config.seed)
    torch.manual_seed(config.seed)
    eyes, image_processor = architecture.imagenet_eyes(), architecture.build_image_processor()
    measure_channels(eyes, image_processor, pretraining.measured(rows, config))
    kind = Drawings if variant.likeness else Unlike

    def drawings(rows: list[dict], cache: Path) -> Drawings:
        return kind(rows, sense(eyes, image_processor, rows, cache, True), defective_cells(rows))

    taught = drawings(rows, source / "sensed")
    eyes.heads = eyes.heads[: variant.heads]
    taught_already = variant.likeness and variant.categories == 1
    train = taught.of(categories[: round(len(categories) * variant.categories)])
    watched = taught.of(config.validation_categories)
    where = source / "eyes" if taught_already else folder
    teach_eyes(eyes, taught, train, watched, config.eyes, where, seed=config.seed, progress=True)
    judged = {"watched": judge_eyes(eyes.look, taught, watched)}
    for family in TESTS:
        test = drawings(rows_of(family, output / "data"), output / known_by / f"sensed-{family}")
        judged[family] = judge_eyes(eyes.look, test, np.arange(len(test.rows)))
    folder.mkdir(parents=True, exist_ok=True)
    pretraining.write_whole(result, json.dumps(judged, indent=1))
    return judged


_LEGEND = (
    "`python experiments/eyes.py`, {day}. Percent, of the eyes alone, before any words; all images of a set "
    "together. The others have one head, and those below it differ from it in one thing. "
    "Watched: the categories of `parts` that nothing is trained on. Recall@5: at 5 % false alarms. Place: the "
    "strongest token shows the defect. {images} images a category of the two families, half defective; one seed."
)


def to_markdown(results: dict[str, dict[str, dict[str, float]]]) -> str:
    columns = {
        "validation_auroc": "AUROC",
        "validation_recall_at_5": "recall at 5 % FPR",
        "validation_pointing": "place",
    }
    sets = ("watched", *TESTS)
    lines = [
        "# What the eyes owe to what",
        _LEGEND.format(day=date.today(), images=TESTS["objects"]),
        "| variant | " + " | ".join(f"{name}: {column}" for name in sets for column in columns.values()) + " |",
        "|---|" + "--:|" * (len(sets) * len(columns)),
    ]
    for name, judged in results.items():
        cells = [f"{100 * judged[part][column]:.1f}" for part in sets for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join([lines[0], "", lines[1], "", *lines[2:]]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/pretrain"), help="of lriad pretrain")
    parser.add_argument("--output", type=Path, default=Path("runs/eyes"))
    arguments = parser.parse_args()
    results = {}
    for variant in VARIANTS:
        results[variant.name] = run(variant, arguments.run, arguments.output)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / "eyes.md").write_text(to_markdown(results), encoding="utf-8")
    print(RESULTS / "eyes.md")


if __name__ == "__main__":
    main()
