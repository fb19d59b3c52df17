"""What the policy is made from: drawings of the family `parts`, what its frozen backbone senses in them, and masks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lriad.policy.eyes import GRID, Eyes

FAMILY = "parts"
_COVER = 0.03
"""A token's cell counts as defective from this share of its area on."""
_TOGETHER = 8


@dataclass(frozen=True)
class Drawings:
    """Drawings and what is known of them, each of N.

    Attributes:
        rows: Their lines of `samples.jsonl`, `image` and `mask` as whole paths.
        cells, alike: What `Eyes.sense` makes of them, float16 on the disk.
        here: Which tokens show the defect, bool of shape (N, 100).
    """

    rows: list[dict[str, Any]]
    cells: NDArray[np.float16]
    alike: NDArray[np.float16]
    here: NDArray[np.bool_]

    def sensed(self, indices: NDArray[np.intp]) -> tuple[torch.Tensor, torch.Tensor]:
        """`cells` and `alike` of some of them, float32."""
        return torch.from_numpy(self.cells[indices]).float(), torch.from_numpy(self.alike[indices]).float()

    def of(self, categories: Sequence[str]) -> NDArray[np.intp]:
        """The indices of those of some categories."""
        return np.flatnonzero([row["category"] in categories for row in self.rows])


def draw(folder: Path, categories: Sequence[str], images: int, seed: int) -> list[dict[str, Any]]:
    """Draw a data set a category, half of it defective, on all cores; what is there already is not drawn again."""
    from tqdm import tqdm

    one = partial(_draw_one, folder, images, seed)
    with ProcessPoolExecutor() as pool:
        made = list(tqdm(pool.map(one, categories), total=len(categories), desc="drawing", disable=None))
    return [row for rows in made for row in rows]


def _draw_one(folder: Path, images: int, seed: int, category: str) -> list[dict[str, Any]]:
    from lriad.data.synthetic import make_dataset

    made = make_dataset(FAMILY, folder / category, images=images, defect_ratio=0.5, seed=seed, categories=[category])
    rows = [json.loads(line) for line in (made / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    for row in rows:
        row["image"] = str(made / row["image"])
        row["mask"] = row["mask"] and str(made / row["mask"])
    return rows


def measure_channels(
    eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]], seed: int, sample: int = 256
) -> None:
    """Set the eyes' mean and scale of each channel, from some of the drawings."""
    chosen = np.random.default_rng(seed).permutation(len(rows))[:sample]
    features = [[], []]  # type: list[list[torch.Tensor]]
    with torch.inference_mode():
        for start in range(0, len(chosen), _TOGETHER):
            pixels = _pixels(image_processor, [rows[i] for i in chosen[start : start + _TOGETHER]])
            for kept, maps in zip(features, eyes.features(pixels), strict=True):
                kept.append(maps.transpose(0, 1).flatten(1))
    for name, kept in zip(("fine", "coarse"), features, strict=True):
        values = torch.cat(kept, 1)
        # Rounded as they will be stored: what is cached must be what the finished tower sees.
        getattr(eyes, f"{name}_mean").copy_(values.mean(1).half())
        getattr(eyes, f"{name}_scale").copy_((values.std(1) + 1e-2).half())


def sense(
    eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]], folder: Path, progress: bool
) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
    """What the frozen backbone senses in each drawing, as memory-mapped arrays (N, 100, C).

    Resumes: a side file counts the drawings that are done.
    """
    from tqdm import tqdm

    counter = folder / "sensed.count"
    done = int(counter.read_text()) if counter.exists() else 0
    with torch.inference_mode():
        shapes = [t.shape[1:] for t in eyes.sense(_pixels(image_processor, rows[:1]))]
    arrays = [
        np.lib.format.open_memmap(
            folder / f"{name}.npy", mode="r+" if done else "w+", dtype=np.float16, shape=(len(rows), *shape)
        )
        for name, shape in zip(("cells", "alike"), shapes, strict=True)
    ]

    def sense_one(index: int) -> int:
        torch.set_num_threads(1)
        with torch.inference_mode():
            pixels = _pixels(image_processor, [rows[index]]).contiguous(memory_format=torch.channels_last)
            for array, values in zip(arrays, eyes.sense(pixels), strict=True):
                array[index] = values[0].half().numpy()
        return index

    cores = torch.get_num_threads()
    eyes.backbone.to(memory_format=torch.channels_last)
    bar = tqdm(total=len(rows), initial=done, desc="sensing", disable=not progress)
    # On a CPU one picture a core is twice as fast as a batch on all of them.
    with ThreadPoolExecutor(cores) as pool, bar:
        for index in pool.map(sense_one, range(done, len(rows))):
            if index % 500 == 499 or index + 1 == len(rows):
                for array in arrays:
                    array.flush()
                counter.write_text(str(index + 1))
            bar.update()
    torch.set_num_threads(cores)
    return arrays[0], arrays[1]


def _pixels(image_processor: Any, rows: Sequence[dict[str, Any]]) -> torch.Tensor:
    from lriad.data.image import open_image

    images = [open_image(row["image"]) for row in rows]
    return image_processor(images, return_tensors="pt")["pixel_values"]


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
