"""The main job in minutes, offline, on a CPU: what `make demo` runs."""

from __future__ import annotations

from pathlib import Path

from lriad.protocol import Direction

TRAIN_FAMILY, TEST_FAMILY = "objects", "textures"
TRAIN_IMAGES, TEST_IMAGES = 36, 34
"""Images a category."""


def run_demo(output: str | Path = "runs/demo") -> Direction:
    """Draw two data sets, inspect one, train on the other by GRPO, inspect again, and print the tables.

    The two have no category in common. 'objects' has 11.1 % defects like VisA, 'textures' 23.5 % like MVTec-AD
    (Table I).

    Args:
        output: The run folder; the same command goes on where it was stopped.
    """
    from rich.console import Console

    from lriad.data import load_dataset
    from lriad.data.synthetic import FAMILIES, make_dataset
    from lriad.protocol import run_direction
    from lriad.training import load_recipe

    console = Console(stderr=True)
    output = Path(output)
    specs = {}
    for step, (family, images) in enumerate(((TRAIN_FAMILY, TRAIN_IMAGES), (TEST_FAMILY, TEST_IMAGES)), 1):
        ratio = FAMILIES[family].defect_ratio
        console.rule(f"{step}/4  drawing '{family}': {100 * ratio:.1f} % defects", align="left")
        folder = make_dataset(family, output / "data" / family, images=images, defect_ratio=ratio, progress=True)
        specs[family] = f"jsonl:{folder / 'samples.jsonl'}"
    console.rule(f"3/4  inspecting '{TEST_FAMILY}', training on '{TRAIN_FAMILY}', inspecting again", align="left")
    recipe = load_recipe("embedded-cpu", [f"data={specs[TRAIN_FAMILY]}", f"output={output}"])
    test = load_dataset(specs[TEST_FAMILY])
    direction = run_direction(recipe, specs[TEST_FAMILY], test, output, explain=True)
    console.rule("4/4  before and after", align="left")
    text = direction.to_markdown()
    (output / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    print(f"\nThe run: {output.resolve()}  (policy: {direction.run}, tables: {output / 'table.md'})")
    print(f"Every picture, in a browser: {output / 'after' / 'report.html'}")
    print(f"Next: lriad inspect PHOTOGRAPH --object 'your part' --policy {direction.run}")
    print(f"A page to work at: lriad serve --policy {direction.run} --store {output / 'station'}")
    return direction
