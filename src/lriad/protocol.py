"""The paper's cross-dataset protocol (Table II): train on one data set, test on another, both ways."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lriad.data import Sample, load_dataset
from lriad.errors import LriadError
from lriad.evaluation import Difference, Evaluation, compare_table, evaluate_predictions, paired_difference
from lriad.evaluation.tables import COLUMNS, TextTable
from lriad.inspection.few_shot import Division, divide
from lriad.training import Recipe, load_recipe, train
from lriad.training.train import training_samples
from lriad.verdict import Mode

PROTOCOL_FILE = "protocol.md"
CHANGES = ("accuracy", "f1_macro", "balanced_accuracy", "recall", "false_positive_rate", "auroc")
"""Metrics whose change is printed with its interval."""


@dataclass(frozen=True)
class FewShot:
    """The policy before and after, each with memories of the same images, on the same other images.

    Attributes:
        good: Good images of each category in its memory.
        before, after: As of `Direction`, of what the memories decide.
    """

    good: int
    before: Evaluation
    after: Evaluation

    def to_markdown(self) -> str:
        heading = f"### With {self.good} good images of each test category, before and after training"
        text = (
            "Another setting than zero-shot, on fewer images. The memory of each category decides; AUROC is of its "
            "score, unparsable is a review. The images in memory, and their groups, are not tested."
        )
        return "\n\n".join([heading, text, *_tables(self.before, self.after)])


@dataclass(frozen=True)
class Direction:
    """One way of the protocol.

    Attributes:
        train_on: Spec of the training set.
        test_on: Spec of the test set.
        before: The recipe's policy as it was.
        after: The same policy after GRPO on the training set.
        run: Folder of the training run.
        few_shot: The same with good images of each category; None where none were asked for.
    """

    train_on: str
    test_on: str
    before: Evaluation
    after: Evaluation
    run: Path
    few_shot: FewShot | None = None

    def to_markdown(self) -> str:
        """The tables of zero-shot, and by themselves those with good images."""
        heading = f"## Trained on {self.train_on}, tested on {self.test_on}"
        further = [] if self.few_shot is None else [self.few_shot.to_markdown()]
        return "\n\n".join([heading, *_tables(self.before, self.after), *further])


def _tables(before: Evaluation, after: Evaluation) -> list[str]:
    """Before, after and the two constant predictors side by side, pooled and as the mean of categories."""
    systems = {"before": before, "after": after}
    tables = [compare_table(systems, average) for average in ("pooled", "mean")]
    changes: list[tuple[str, ...]] = [_change(paired_difference(before, after, metric=metric)) for metric in CHANGES]
    title = "After minus before, in points, with 95 % intervals paired by image"
    tables.append(TextTable(title, ("", "all images pooled", "mean of categories"), changes))
    return [table.to_markdown() for table in tables]


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
    few_shot: Division | None = None,
) -> Direction:
    """Inspect the test set, train, inspect it again; what is done already is not done again.

    Args:
        recipe: What to train, and on what; its `output` is replaced.
        test_on: Spec of the test set.
        test: The test set's samples.
        folder: Gets `before/`, `train/` (the run) and `after/`; with good images also `before-5-good/` and
            `after-5-good/`, with the memories of that policy in each.
        mode: `reason` or `fast`.
        explain: Whether the inspection after training keeps heat-maps.
        few_shot: What is remembered of each category, and what is tested with that; None for zero-shot only.

    Raises:
        LriadError: A step fails, or the process is one of several: train under the launcher, then evaluate.
    """
    from lriad.inspection import evaluate_policy
    from lriad.policy import load_policy
    from lriad.policy.loading import free_memory

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
    loaded: dict[str, Any] = {"dtype": recipe.dtype, "attention": recipe.attention, "max_pixels": recipe.max_pixels}
    base = load_policy(recipe.policy, **loaded)
    before = evaluate_policy(test, folder / "before", policy=base, **settings)
    known: dict[str, Evaluation] = {}
    if few_shot is not None:
        known["before"] = _with_memories(few_shot, folder / f"before-{few_shot.good}-good", policy=base, **settings)
    del base
    free_memory()
    run = train(dataclasses.replace(recipe, output=str(folder / "train")))
    free_memory()
    trained = load_policy(str(run), **loaded)
    after = evaluate_policy(test, folder / "after", policy=trained, explain=explain, **settings)
    if few_shot is not None:
        known["after"] = _with_memories(few_shot, folder / f"after-{few_shot.good}-good", policy=trained, **settings)
    with_good = None if few_shot is None else FewShot(few_shot.good, **known)
    return Direction(recipe.data, test_on, before, after, run, with_good)


def _with_memories(division: Division, folder: Path, **settings: Any) -> Evaluation:
    """Inspect with the memory of each category, which decides."""
    from lriad.inspection import evaluate_policy
    from lriad.inspection.evaluate import PREDICTIONS, rows_of

    evaluate_policy(division.test, folder, shots=division.shots, **settings)
    rows = rows_of(division.test, folder / PREDICTIONS)
    return evaluate_predictions({**row, "label": row.get("decision")} for row in rows)


def run_protocol(
    first: str,
    second: str,
    recipe: str,
    overrides: Sequence[str],
    split: str,
    output: str | Path,
    good: int | None = None,
) -> list[Direction]:
    """Train on `first` and test on `second`, then the reverse, and print and keep the tables.

    Args:
        first: Spec of a data set.
        second: Spec of another, without a category in common.
        recipe: A YAML file, or the name of a shipped recipe; its `data`, `split` and `output` are replaced.
        overrides: `key=value` each.
        split: Side of both data sets: `train`, `test` or `all` (the paper's LR-IAD rows).
        output: Gets one folder a direction and `protocol.md`. The same command resumes.
        good: Test also with so many good images of each category in memory, 2 or more, drawn by the recipe's seed from
            either side of the test set; None for zero-shot only.

    Raises:
        LriadError: The data sets share a category, one of them cannot be trained on or has too few good images, or a
            step fails.
    """
    output = Path(output)
    ways = []
    for name, train_on, test_on in (("a-to-b", first, second), ("b-to-a", second, first)):
        settings = load_recipe(recipe, [*overrides, f"data={train_on}", f"split={split}", f"output={output / name}"])
        test = load_dataset(test_on, split=split)
        # Both ways are checked before the first one is trained for hours.
        training, validation = training_samples(settings)
        check_disjoint([*training, *validation], test)
        few_shot = None if good is None else divide(test, load_dataset(test_on), good, seed=settings.seed)
        ways.append((settings, test_on, test, output / name, few_shot))
    directions: list[Direction] = []
    for settings, test_on, test, folder, few_shot in ways:
        directions.append(run_direction(settings, test_on, test, folder, few_shot=few_shot))
        text = "\n\n".join(direction.to_markdown() for direction in directions) + "\n"
        (output / PROTOCOL_FILE).write_text(text, encoding="utf-8")
        print(directions[-1].to_markdown())
    print(f"report: {output / PROTOCOL_FILE}")
    return directions
