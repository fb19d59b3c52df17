"""What the policy is made from: drawings of the family `parts`, what its frozen backbone senses in them, and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lriad.policy.eyes import GRID, Eyes

FAMILY = "parts"
_COVER = 0.03
"""A token's cell counts as defective from this share of its area on."""
LINE_REMEMBERED, LINE_IMAGES = 30, 20
"""Good images of a product that a memory may know; those that are compared with it, and as many defective ones."""
_FIRST_LINE = 5_000_000
"""Beyond the parts of the other drawings."""
Sensed = tuple[NDArray[np.float16], NDArray[np.float16]]
"""Of one drawing: its cells (100, 1536), and how like each is to the rest (100, 104)."""


@dataclass(frozen=True)
class Drawings:
    """Drawings and what is known of them, each of N.

    Attributes:
        rows: Their lines of `samples.jsonl`, `image` and `mask` as whole paths.
        sensed: What `Eyes.sense` makes of each: cells and likeness, float16, on the disk.
        here: Which tokens show the defect, bool of shape (N, 100).
    """

    rows: list[dict[str, Any]]
    sensed: list[Sensed]
    here: NDArray[np.bool_]

    def take(self, indices: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        """What is sensed in some of them, (n, 100, C) each, float32."""
        chosen = [self.sensed[index] for index in indices]
        cells, alike = (torch.from_numpy(np.stack(arrays)).float() for arrays in zip(*chosen, strict=True))
        return cells, alike

    def of(self, categories: Sequence[str], *, lines: bool = False) -> NDArray[np.intp]:
        """The indices of those of some categories: many parts of each, or those of single products (`draw_lines`)."""
        return np.flatnonzero(
            [row["category"] in categories and (row["line"] is not None) == lines for row in self.rows]
        )


def draw(folder: Path, categories: Sequence[str], images: int, seed: int) -> list[dict[str, Any]]:
    """Draw a data set a category, half of it defective, on all cores; what is there already is not drawn again."""
    from tqdm import tqdm

    one = partial(_draw_one, folder, images, seed)
    with ProcessPoolExecutor() as pool:
        made = list(tqdm(pool.map(one, categories), total=len(categories), desc="drawing", disable=None))
    return [row for rows in made for row in rows]


def draw_lines(folder: Path, categories: Sequence[str], lines: int, seed: int) -> list[dict[str, Any]]:
    """Draw products: of each category some parts, each many times under one camera, good and defective."""
    from tqdm import tqdm

    with ProcessPoolExecutor() as pool:
        one = partial(_draw_lines_of_one, folder, lines, seed)
        made = list(tqdm(pool.map(one, categories), total=len(categories), desc="products", disable=None))
    return [row for rows in made for row in rows]


def _draw_one(folder: Path, images: int, seed: int, category: str) -> list[dict[str, Any]]:
    from lriad.data.synthetic import make_dataset

    return _rows(
        make_dataset(FAMILY, folder / category, images=images, defect_ratio=0.5, seed=seed, categories=[category])
    )


def _draw_lines_of_one(folder: Path, lines: int, seed: int, category: str) -> list[dict[str, Any]]:
    from lriad.data.synthetic.dataset import make_line

    rows = []
    for number in range(lines):
        made = make_line(
            category,
            folder / f"{category}.{number}",
            part=_FIRST_LINE + seed * lines + number,
            good=LINE_REMEMBERED + LINE_IMAGES,
            defects=LINE_IMAGES,
        )
        rows += _rows(made, line=number)
    return rows


def _rows(made: Path, line: int | None = None) -> list[dict[str, Any]]:
    rows = [json.loads(text) for text in (made / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["image"] = str(made / row["image"])
        row["mask"] = row["mask"] and str(made / row["mask"])
        row["line"] = line
    return rows


def measure_channels(eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Set the eyes' mean and scale of each channel, from some drawings."""
    features: tuple[list[torch.Tensor], ...] = ([], [])
    with torch.inference_mode():
        for row in rows:
            for kept, maps in zip(features, eyes.features(pixels_of(image_processor, row)), strict=True):
                kept.append(maps.transpose(0, 1).flatten(1))
    for name, kept in zip(("fine", "coarse"), features, strict=True):
        values = torch.cat(kept, 1)
        # Rounded as they will be stored: what is cached must be what the finished tower sees.
        getattr(eyes, f"{name}_mean").copy_(values.mean(1).half())
        getattr(eyes, f"{name}_scale").copy_((values.std(1) + 1e-2).half())


def sense(
    eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]], folder: Path, progress: bool
) -> list[Sensed]:
    """What the frozen backbone senses in each drawing, cached in two files a category; what is there is not redone."""
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    cores = torch.get_num_threads()
    sensed: list[Sensed] = []
    # On a CPU one picture a core is twice as fast as a batch on all of them.
    with ThreadPoolExecutor(cores) as pool, tqdm(total=len(rows), desc="sensing", disable=not progress) as bar:
        for category, group in groupby(rows, key=itemgetter("category")):
            own = list(group)
            files = [folder / f"{category}.{name}.npy" for name in ("cells", "alike")]
            if not files[-1].exists():
                pairs = list(pool.map(partial(_sense_one, eyes, image_processor), own))
                for file, arrays in zip(files, zip(*pairs, strict=True), strict=True):
                    with file.with_suffix(".part").open("wb") as partial_file:
                        np.save(partial_file, np.stack(arrays))
                    file.with_suffix(".part").replace(file)
            sensed += zip(*(np.load(file, mmap_mode="r") for file in files), strict=True)
            bar.update(len(own))
    torch.set_num_threads(cores)
    return sensed


def _sense_one(eyes: Eyes, image_processor: Any, row: dict[str, Any]) -> Sensed:
    torch.set_num_threads(1)
    with torch.inference_mode():
        cells, alike = eyes.sense(pixels_of(image_processor, row))
    return cells[0].half().numpy(), alike[0].half().numpy()


def pixels_of(image_processor: Any, row: dict[str, Any]) -> torch.Tensor:
    """A drawing as the tower takes it."""
    from lriad.data.image import open_image

    return image_processor(open_image(row["image"]), return_tensors="pt")["pixel_values"]


def defective_cells(rows: Sequence[dict[str, Any]]) -> NDArray[np.bool_]:
    """Which image tokens show the defect, (N, 100), from the procedural masks."""
    import cv2
    from PIL import Image

    here = np.zeros((len(rows), GRID * GRID), dtype=bool)
    for i, row in enumerate(rows):
        if row["mask"]:
            mask = np.asarray(Image.open(row["mask"]).convert("L")) > 0
            cover = cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA)
            here[i] = (cover >= min(_COVER, cover.max())).ravel()
    return here
