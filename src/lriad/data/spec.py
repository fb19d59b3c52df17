"""A data set named by one string, such as `folder:PATH` or `synthetic:NAME`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

from lriad.data._files import nearest, show
from lriad.data.folder import load_folder
from lriad.data.manifest import load_csv, load_jsonl
from lriad.data.mvtec import load_mvtec
from lriad.data.sample import Sample
from lriad.data.table import SampleTable
from lriad.data.visa import load_visa
from lriad.errors import LriadError

SPLITS = ("all", "train", "test")

SYNTHETIC_IMAGES = 60
"""Images a category of a procedural set that is named by `synthetic:NAME`."""


def load_dataset(
    spec: str,
    *,
    split: Literal["all", "train", "test"] | str = "all",
    categories: Sequence[str] | None = None,
) -> Sequence[Sample]:
    """The samples that a spec names.

    No image is opened, and a sample takes about the memory of its path. The order is always the same: that of
    the file for `jsonl` and `csv`, else by category, and in it by path (MVTec-AD: train before test).

    Args:
        spec: `KIND:PATH`, or several separated by commas, whose samples follow one another. Should two of
            them share an id, the name of the data set is put before every id.
        split: `train` or `test` for one official side, `all` for every image.
        categories: Keep these categories only, spelt as the data set spells them.

    Raises:
        LriadError: The spec, a category or the split is not known; the path is missing, unreadable, empty or
            broken; or a category has no official sides and one was asked for.

    Example:
        >>> samples = load_dataset("mvtec:data/mvtec", split="test", categories=["metal_nut"])
    """
    if split not in SPLITS:
        raise LriadError(f"split {split!r} is not known; {nearest(split, SPLITS)}choose all, train or test")
    # A comma parts two specs only where a kind follows: paths may hold commas too.
    specs = [part.strip() for part in re.split(r",\s*(?=[A-Za-z_]{2,}:)", spec.strip())]
    if len(set(specs)) < len(specs):
        raise LriadError(f"data set {spec!r} names the same one twice; name it once")
    tables = [load(path) for load, path in [_parse(part) for part in specs]]
    # Before anything is left out, so that an image keeps its id whatever is asked for.
    prefixes = _id_prefixes(tables)
    if categories is not None:
        _check_categories(categories, {kind.category for table in tables for kind in table.kinds}, spec)
        tables = [table.where(lambda kind: kind.category in categories) for table in tables]
    if split != "all":
        for part, table in zip(specs, tables, strict=True):
            _check_sides(table, part, split)
        tables = [table.where(lambda kind: kind.split == split) for table in tables]
        if not any(len(table) for table in tables):
            raise LriadError(f"{spec}: has no {split} image; use split=all, or the other side")
    return tables[0] if len(tables) == 1 else SampleTable.concatenate(tables, prefixes)


def _parse(spec: str) -> tuple[Callable[[str], SampleTable], str]:
    """The loader of one spec and the path or name it takes."""
    kind, colon, path = (part.strip() for part in spec.partition(":"))
    loaders: dict[str, Callable[[str], SampleTable]] = {
        "mvtec": load_mvtec,
        "visa": load_visa,
        "folder": load_folder,
        "jsonl": load_jsonl,
        "csv": load_csv,
        "synthetic": _load_synthetic,
    }
    example = "write KIND:PATH, with KIND one of " + ", ".join(loaders)
    if not colon:
        raise LriadError(f"data set {spec!r} has no kind; {example}, such as folder:{show(spec) or 'photos'}")
    if kind.lower() not in loaders:
        raise LriadError(f"data set {spec!r}: kind {kind!r} is not known; {nearest(kind, loaders)}{example}")
    if not path:
        raise LriadError(f"data set {spec!r} has no path or name; {example}")
    return loaders[kind.lower()], path


def _check_categories(wanted: Sequence[str], known: set[str], spec: str) -> None:
    if isinstance(wanted, str):
        raise LriadError(f"categories is the text {wanted!r}; give a list, such as [{wanted!r}]")
    for name in wanted:
        if name not in known:
            some = ", ".join(sorted(known)[:20]) + (", ..." if len(known) > 20 else "")
            raise LriadError(f"{spec}: has no category {name!r}; {nearest(name, known)}it has {some}")
    if not wanted:
        raise LriadError(f"{spec}: the list of categories is empty; name one, or leave the list out")


def _check_sides(table: SampleTable, spec: str, split: str) -> None:
    sided = {kind.category for kind in table.kinds if kind.split is not None}
    for category in sorted({kind.category for kind in table.kinds} - sided):
        source = {
            "visa": "split_csv/1cls.csv of VisA gives them",
            "folder": "a column split in the category's files.csv gives them",
        }.get(spec.partition(":")[0].lower(), "a field split (train or test) gives them")
        raise LriadError(
            f"{spec}: category {category!r} has no official train and test sides; "
            f"use split=all instead of {split} ({source})"
        )


def _id_prefixes(tables: Sequence[SampleTable]) -> list[str]:
    """What goes before the ids of each table: nothing, or the data sets' names where two share an id."""
    pairs = combinations(tables, 2)
    if not any(first.ids().position_of(id_) is not None for first, second in pairs for id_ in second.ids()):
        return [""] * len(tables)
    names = [table.kinds[0].dataset for table in tables]
    earlier = [names[:index].count(name) for index, name in enumerate(names)]
    return [f"{name}#{n + 1}/" if n else f"{name}/" for name, n in zip(names, earlier, strict=True)]


def _load_synthetic(name: str) -> SampleTable:
    """A procedural set, made on first use in the user's cache folder, or in LRIAD_CACHE."""
    from platformdirs import user_cache_dir

    from lriad.data.synthetic.dataset import VERSION, make_dataset

    cache = Path(os.environ.get("LRIAD_CACHE") or user_cache_dir("lriad")) / "synthetic"
    try:
        folder = make_dataset(
            name, cache / f"{name}-{SYNTHETIC_IMAGES}-v{VERSION}", images=SYNTHETIC_IMAGES, progress=True
        )
    except LriadError as error:
        raise LriadError(f"synthetic:{name}: {error} (the variable LRIAD_CACHE names the folder)") from error
    return load_jsonl(folder / "samples.jsonl")
