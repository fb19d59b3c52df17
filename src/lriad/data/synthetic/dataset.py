"""A folder of procedural photographs with its manifest."""

from __future__ import annotations

import contextlib
import difflib
import errno
import json
import os
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from lriad.data.sample import Sample, object_name_of
from lriad.data.synthetic.families import FAMILIES, Family
from lriad.data.synthetic.rendering import MIN_AREA, Rendering, defect_kinds, render
from lriad.errors import LriadError

VERSION = 3
"""Of the drawings. It changes when the same settings would give other pictures."""

_STALE_SECONDS = 24 * 3600


def make_dataset(
    family: str,
    directory: str | os.PathLike[str],
    *,
    images: int,
    defect_ratio: float | None = None,
    seed: int = 0,
    size: int = 320,
    progress: bool = False,
    categories: Sequence[str] | None = None,
) -> Path:
    """Make a labelled data set, or return the one that is already there with the same settings.

    Writes `samples.jsonl` (one JSON object a line: the fields of `Sample`, `image` and `mask` relative to the folder,
    and `place`, `part_seed`, `shot_seed`), `images/<category>/<good or kind>/NNNN.jpg`,
    `masks/<category>/<kind>/NNNN.png` (0 or 255) and `settings.json`. The folder appears under its name only when it
    is whole.

    Args:
        family: `parts`, `objects` or `textures`.
        directory: The folder to make; its parents are made too.
        images: Images a category, 1 or more.
        defect_ratio: Share of defective ones in [0, 1], of which `round(images * defect_ratio)` are made in each
            category, spread evenly over its kinds; None takes the family's own.
        seed: Another seed gives other parts, 0 or more.
        size: Side of the images in pixels, 64 to 2048.
        progress: Show a progress bar.
        categories: Only these, in this order; None takes all.

    Returns:
        The folder.

    Raises:
        LriadError: A name or a number is wrong, the folder holds something else, or the disk is full.
    """
    chosen = _family(family)
    names = _categories(chosen, categories)
    ratio = chosen.defect_ratio if defect_ratio is None else defect_ratio
    if images < 1 or seed < 0 or not 0 <= ratio <= 1:
        raise LriadError(
            f"data set {family}: images {images}, seed {seed}, defect_ratio {ratio}: expected images of 1 or more, "
            "a seed of 0 or more and a ratio from 0 to 1"
        )
    folder = Path(directory)
    settings = {
        "version": VERSION,
        "family": family,
        "categories": names,
        "images": images,
        "defect_ratio": ratio,
        "seed": seed,
        "size": size,
    }
    if _is_there(folder, settings):
        return folder
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        _remove_stale(folder)
        _write(partial, settings, progress)
        _settle(partial, folder, settings)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise LriadError(f"disk full while making {folder}: free some space or choose another folder") from error
        raise LriadError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def make_line(category: str, directory: str | os.PathLike[str], *, part: int, good: int, defects: int) -> Path:
    """Make a data set of one product under one camera: shots of one part, sound ones and some with a defect.

    The layout is that of `make_dataset`; a folder that is there is returned as it is.

    Args:
        category: Of any family.
        directory: The folder to make.
        part: Which part, 0 or more.
        good: Sound images.
        defects: Defective ones, spread over the kinds whose defect lies in the picture.

    Raises:
        LriadError: The category is not known.
    """
    folder = Path(directory)
    if folder.exists():
        return folder
    kinds = defect_kinds(category)
    framed = kinds[part % len(kinds)]
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    family = next(name for name, family in FAMILIES.items() if category in family.categories)
    rows = [_save(partial, family, render(category, part, shot, framed=framed), shot) for shot in range(good)]
    shots, number = good, 0
    while number < defects and shots < good + 4 * defects:
        rendering = render(category, part, shots, kinds[shots % len(kinds)], framed=framed)
        shots += 1
        if rendering.mask.mean() >= MIN_AREA / 2:
            rows.append(_save(partial, family, rendering, number))
            number += 1
    (partial / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    partial.replace(folder)
    return folder


def _family(name: str) -> Family:
    if name in FAMILIES:
        return FAMILIES[name]
    near = difflib.get_close_matches(name, FAMILIES, 1, 0)
    raise LriadError(f"no procedural family {name!r}: did you mean {near[0]!r}? There are {', '.join(FAMILIES)}")


def _categories(family: Family, wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return list(family.categories)
    for name in wanted:
        if name not in family.categories:
            near = difflib.get_close_matches(name, family.categories, 1, 0)
            raise LriadError(f"family {family.name} has no category {name!r}: did you mean {near[0]!r}?")
    if len(set(wanted)) < len(wanted) or not wanted:
        raise LriadError(f"categories of {family.name}: name each once, and at least one")
    return list(wanted)


def _is_there(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether the folder is a whole data set with these settings."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        found = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise LriadError(f"{folder} exists and is no procedural data set: choose another folder") from None
    if found == settings and (folder / "samples.jsonl").is_file():
        return True
    differing = [name for name in settings if not isinstance(found, dict) or found.get(name) != settings[name]]
    raise LriadError(
        f"{folder} holds a procedural data set with other settings ({', '.join(differing) or 'no samples.jsonl'}): "
        "delete it or choose another folder"
    )


def _remove_stale(folder: Path) -> None:
    """What a killed run left behind a day ago or earlier."""
    for left in folder.parent.glob(f".{folder.name}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left)


def _settle(partial: Path, folder: Path, settings: dict[str, Any]) -> None:
    """Give the finished folder its name, unless another process was faster with the same one."""
    try:
        partial.replace(folder)
    except OSError:
        if not _is_there(folder, settings):
            raise


def _plan(name: str, images: int, ratio: float, seed: int) -> list[tuple[str | None, int]]:
    """The kind of each image of a category, None for sound, and its number within that kind, in mixed order."""
    kinds, defects = defect_kinds(name), round(images * ratio)
    plan: list[tuple[str | None, int]] = [(None, i) for i in range(images - defects)]
    plan += [(kinds[i % len(kinds)], i // len(kinds)) for i in range(defects)]
    random.Random(f"{name} {seed}").shuffle(plan)
    return plan


def _write(folder: Path, settings: dict[str, Any], progress: bool) -> None:
    folder.mkdir(parents=True)
    images, seed = settings["images"], settings["seed"]
    bar = tqdm(
        total=images * len(settings["categories"]),
        desc=settings["family"],
        unit="image",
        disable=not progress,
    )
    with bar, (folder / "samples.jsonl").open("w", encoding="utf-8") as manifest:
        for name in settings["categories"]:
            for index, (kind, number) in enumerate(_plan(name, images, settings["defect_ratio"], seed)):
                part_seed = seed * 1_000_000 + index
                rendering = render(name, part_seed, part_seed, kind, settings["size"])
                row = _save(folder, settings["family"], rendering, number)
                manifest.write(json.dumps(row) + "\n")
                bar.update()
    (folder / "settings.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


def _save(folder: Path, family: str, rendering: Rendering, number: int) -> dict[str, Any]:
    """Write one image, and the mask of a defect; returns its row."""
    name = f"{rendering.category}/{rendering.defect_type or 'good'}/{number:04d}"
    image, mask = f"images/{name}.jpg", f"masks/{name}.png" if rendering.defect_type else None
    _encode(folder / image, rendering.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    if mask:
        _encode(folder / mask, rendering.mask.astype("uint8") * 255, [])
    sample = Sample(
        id=name,
        image=image,
        label="defect" if rendering.defect_type else "normal",
        category=rendering.category,
        object_name=object_name_of(rendering.category),
        split="test" if number % 2 else "train",
        defect_type=rendering.defect_type,
        mask=mask,
        dataset=family,
    )
    extra = {"place": rendering.place, "part_seed": rendering.part_seed, "shot_seed": rendering.shot_seed}
    return asdict(sample) | extra


def _encode(path: Path, pixels: Any, options: list[int]) -> None:
    # cv2.imwrite hides a full disk behind False.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels, options)[1].tobytes())
