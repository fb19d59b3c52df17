"""The paper's cross-dataset protocol (Table II): train on one data set, test on another, both ways."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lriad.data import Sample, load_dataset
from lriad.errors import LriadError
from lriad.evaluation import Difference, Evaluation, compare_table, paired_difference
from lriad.evaluation.tables import COLUMNS, TextTable
from lriad.training import Recipe, load_recipe, train
from lriad.training.train import training_samples
from lriad.verdict import Mode

PROTOCOL_FILE = "protocol.md"
CHANGES = ("accuracy", "f1_macro", "balanced_accuracy", "recall", "false_positive_rate", "auroc")
"""Metrics whose change is printed with its interval."""


@dataclass(frozen=True)
class Direction:
    """One way of the protocol.

    Attributes:
        train_on: Spec of the training set.
        test_on: Spec of the test set.
        before: The recipe's policy as it was.
        after: The same policy after GRPO on the training set.
        run: Folder of the training run.
    """

    train_on: str
    test_on: str
    before: Evaluation
    after: Evaluation
    run: Path

    def to_markdown(self) -> str:
        """Before, after and the two constant predictors side by side, pooled and as the mean of categories."""
        systems = {"before": self.before, "after": self.after}
        tables = [compare_table(systems, average) for average in ("pooled", "mean")]
        changes: list[tuple[str, ...]] = [
            _change(paired_difference(self.before, self.after, metric=metric)) for metric in CHANGES
        ]
        title = "After minus before, in points, with 95 % intervals paired by image"
        tables.append(TextTable(title, ("", "all images pooled", "mean of categories"), changes))
        heading = f"## Trained on {self.train_on}, tested on {self.test_on}"
        return "\n\n".join([heading, *(table.to_markdown() for table in tables)])


def _change(difference: Difference) -> tuple[str, str, str]:
    def points(value: float | None, interval: tuple[float, float] | None) -> str:
        if value is None or interval is None:
            return "–"
        return f"{100 * value:+.1f} [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"

    name = COLUMNS[difference.metric]
    return (
        name,
        points(difference.pooled, difference.pooled_interval),
        points(difference.mean, difference.mean_interval),
    )


def check_disjoint(train: Sequence[Sample], test: Sequence[Sample]) -> None:
    """Raise LriadError where the test set shows a category that is trained on."""
    shared = sorted({sample.category for sample in train} & {sample.category for sample in test})
    if shared:
        raise LriadError(
            f"protocol: both data sets have the category {shared[0]!r}; leave it out of one, the test is on unseen ones"
        )


def run_direction(
    recipe: Recipe,
    test_on: str,
    test: Sequence[Sample],
    folder: Path,
    mode: Mode = "reason",
    *,
    explain: bool = False,
) -> Direction:
    """Inspect the test set, train, inspect it again; what is done already is not done again.

    Args:
        recipe: What to train, and on what; its `output` is replaced.
        test_on: Spec of the test set.
        test: The test set's samples.
        folder: Gets `before/`, `train/` (the run) and `after/`.
        mode: `reason` or `fast`.
        explain: Whether the inspection after training keeps heat-maps.

    Raises:
        LriadError: A step fails, or the process is one of several: train under the launcher, then evaluate.
    """
    from lriad.inspection import evaluate_policy
    from lriad.policy import load_policy

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise LriadError(
            "protocol: is for one process; under accelerate launch run lriad train, then lriad evaluate without it"
        )
    settings: dict[str, Any] = {
        "mode": mode,
        "max_new_tokens": recipe.max_completion_tokens,
        "progress": True,
        "batch_size": 16,
    }
    base = load_policy(recipe.policy, dtype=recipe.dtype, attention=recipe.attention, max_pixels=recipe.max_pixels)
    before = evaluate_policy(test, folder / "before", policy=base, **settings)
    del base
    _free_memory()
    run = train(dataclasses.replace(recipe, output=str(folder / "train")))
    _free_memory()
    after = evaluate_policy(test, folder / "after", policy=str(run), explain=explain, **settings)
    return Direction(recipe.data, test_on, before, after, run)


def _free_memory() -> None:
    """Let go of a model before the next one is loaded."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def run_protocol(
    first: str, second: str, recipe: str, overrides: Sequence[str], split: str, output: str | Path
) -> list[Direction]:
    """Train on `first` and test on `second`, then the reverse, and print and keep the tables.

    Args:
        first: Spec of a data set.
        second: Spec of another, without a category in common.
        recipe: A YAML file, or the name of a shipped recipe; its `data`, `split` and `output` are replaced.
        overrides: `key=value` each.
        split: Side of both data sets: `train`, `test` or `all` (the paper's LR-IAD rows).
        output: Gets one folder a direction and `protocol.md`. The same command resumes.

    Raises:
        LriadError: The data sets share a category, one of them cannot be trained on, or a step fails.
    """
    output = Path(output)
    ways = []
    for name, train_on, test_on in (("a-to-b", first, second), ("b-to-a", second, first)):
        settings = load_recipe(recipe, [*overrides, f"data={train_on}", f"split={split}", f"output={output / name}"])
        test = load_dataset(test_on, split=split)
        # Both ways are checked before the first one is trained for hours.
        training, validation = training_samples(settings)
        check_disjoint([*training, *validation], test)
        ways.append((settings, test_on, test, output / name))
    directions: list[Direction] = []
    for settings, test_on, test, folder in ways:
        directions.append(run_direction(settings, test_on, test, folder))
        text = "\n\n".join(direction.to_markdown() for direction in directions) + "\n"
        (output / PROTOCOL_FILE).write_text(text, encoding="utf-8")
        print(directions[-1].to_markdown())
    print(f"report: {output / PROTOCOL_FILE}")
    return directions
