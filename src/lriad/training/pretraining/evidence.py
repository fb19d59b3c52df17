"""What memories of good drawings say of other drawings of the same product, for the words to learn to read it.

A product is one part that one camera sees again and again, as a user's memory is of one. (Memories of
many unlike parts of a category were tried beside them: they order its drawings hardly better than luck, and the words
learned to ignore the sentence.)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lriad.data.views import Views
from lriad.memory.build import build
from lriad.memory.memory import Look
from lriad.policy.eyes import Eyes
from lriad.prompt import evidence_line
from lriad.training.pretraining.drawings import LINE_REMEMBERED, pixels_of

_SIZES = (5, 10, LINE_REMEMBERED)
"""Good samples in the memories."""


@dataclass(frozen=True)
class Evidence:
    """What a memory says of one drawing; see `evidence_line`."""

    samples: int
    place: str
    z: float
    as_high: int

    @property
    def line(self) -> str:
        """As the prompt has it."""
        return evidence_line(self.samples, self.place, self.z, self.as_high)


@dataclass(frozen=True)
class _Drawing:
    """A drawing as a memory takes it; its name stands for its hashes."""

    sha256: str
    pixels: str
    group: str
    depths: list[list[Tensor]]


def gather_evidence(
    eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]], folder: Path, progress: bool
) -> list[Evidence | None]:
    """What memories say of each drawing; None for those that are remembered. Cached, a file a product.

    Args:
        eyes: The tower.
        image_processor: Before it.
        rows: Lines of `samples.jsonl`, those of a product one behind the other.
        folder: Gets the files; what is there is not done again.
        progress: Show a progress bar.
    """
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    found: list[Evidence | None] = []
    with tqdm(total=len(rows), desc="comparing", disable=not progress) as bar:
        for (category, line), numbers in groupby(range(len(rows)), lambda i: (rows[i]["category"], rows[i]["line"])):
            chosen = list(numbers)
            file = folder / f"{category}.{line}.json"
            if not file.exists():
                own = [rows[i] for i in chosen]
                made = _compare(eyes, image_processor, own)
                partial = file.with_suffix(".part")
                partial.write_text(json.dumps([each and vars(each) for each in made]), encoding="utf-8")
                partial.replace(file)
            found += [each and Evidence(**each) for each in json.loads(file.read_text(encoding="utf-8"))]
            bar.update(len(chosen))
    return found


def _compare(eyes: Eyes, image_processor: Any, rows: Sequence[dict[str, Any]]) -> list[Evidence | None]:
    remembered = [i for i, row in enumerate(rows) if row["label"] == "normal"][:LINE_REMEMBERED]
    # Not those in memory themselves: the number of samples would tell them, which are always good.
    compared = [i for i in range(len(rows)) if i not in remembered]
    cores = torch.get_num_threads()

    def seen(index: int) -> _Drawing:
        torch.set_num_threads(1)
        name = rows[index]["id"]
        with torch.inference_mode():
            return _Drawing(name, name, name, [_depths(eyes, image_processor, rows[index])])

    with ThreadPoolExecutor(cores) as pool:
        known = list(pool.map(seen, remembered))
    look = Look(None, 1.0, 1.0)
    memories = [
        build(known[:size], object_name="drawing", policy_sha256="", look=look, views=Views()) for size in _SIZES
    ]

    def one(number: int) -> Evidence:
        drawing, memory = seen(compared[number]), memories[number % len(memories)]
        with torch.inference_mode():
            found = memory.judge(memory.unusual(drawing.depths[0], 0))
        return Evidence(found.samples, found.place, round(found.z, 2), found.as_high)

    with ThreadPoolExecutor(cores) as pool:
        made = dict(zip(compared, pool.map(one, range(len(compared))), strict=True))
    torch.set_num_threads(cores)
    return [made.get(index) for index in range(len(rows))]


def _depths(eyes: Eyes, image_processor: Any, row: dict[str, Any]) -> list[Tensor]:
    """The maps that `Policy.see` would give of a drawing, but for the deepest, which is not compared."""
    maps = eyes.backbone(pixels_of(image_processor, row))
    return [maps[1][0], maps[2][0]]
