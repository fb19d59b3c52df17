"""A sequence of samples in about the memory of their paths."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, overload

from lriad.data.sample import Label, Sample, Split
from lriad.data.strings import Interned, Strings
from lriad.prompt import build_prompt


class Kind(NamedTuple):
    """What many samples have in common."""

    root: str
    label: Label
    category: str
    object_name: str
    split: Split | None
    defect_type: str | None
    dataset: str


class SampleTable(Sequence[Sample]):
    """Samples kept as columns; a `Sample` is made when it is asked for.

    A million `Sample` objects with a path each would take several times the memory of the paths. Here what many
    samples share is kept once, and the rest in packed columns: 30 to 40 bytes a sample besides the bytes of its
    path and, where that is another, of its id.

    Args:
        root: The folder that images and masks are relative to.
    """

    __slots__ = ("_groups", "_ids", "_images", "_kind_codes", "_kind_of", "_kinds", "_masks", "_root")

    def __init__(self, root: str = "") -> None:
        self._root = "" if root == "." else root
        self._ids = Strings()
        self._images = Interned()  # None where the image is the id
        self._masks = Interned()
        self._groups = Interned()
        self._kinds: list[Kind] = []
        self._kind_of: dict[Kind, int] = {}
        self._kind_codes = array("I")

    def append(self, sample: Sample) -> None:
        """Adds a sample whose `image` and `mask` are relative to the table's root (or absolute).

        Raises:
            LriadError: Its object name cannot stand in the prompt.
        """
        kind = Kind(
            self._root,
            sample.label,
            sample.category,
            sample.object_name,
            sample.split,
            sample.defect_type,
            sample.dataset,
        )
        self._add(sample.id, sample.image, kind, sample.group, sample.mask)

    def _add(self, id_: str, image: str, kind: Kind, group: str | None, mask: str | None) -> None:
        code = self._kind_of.get(kind)
        if code is None:
            build_prompt(kind.object_name)  # refuses a name that no prompt can hold, once and early
            code = self._kind_of[kind] = len(self._kinds)
            self._kinds.append(kind)
        self._ids.append(id_)
        self._images.append(None if image == id_ else image)
        self._masks.append(mask)
        self._groups.append(group)
        self._kind_codes.append(code)

    @property
    def kinds(self) -> list[Kind]:
        """The distinct kinds, in order of appearance."""
        return list(self._kinds)

    def where(self, keep: Callable[[Kind], bool]) -> SampleTable:
        """The samples whose kind is kept."""
        kept = [keep(kind) for kind in self._kinds]
        return self.take(index for index, code in enumerate(self._kind_codes) if kept[code])

    @staticmethod
    def concatenate(tables: Sequence[SampleTable], id_prefixes: Sequence[str]) -> SampleTable:
        """The samples of all tables, in order, each table's ids after its prefix."""
        whole = SampleTable()
        for table, prefix in zip(tables, id_prefixes, strict=True):
            whole._take_from(table, range(len(table)), prefix)
        return whole

    def ids(self) -> Strings:
        """The ids, in order; only to be read."""
        return self._ids

    def take(self, indices: Iterable[int]) -> SampleTable:
        """The samples at these indices, in their order."""
        table = SampleTable(self._root)
        table._take_from(self, indices)
        return table

    def _take_from(self, other: SampleTable, indices: Iterable[int], id_prefix: str = "") -> None:
        for index in indices:
            id_, kind = other._ids[index], other._kinds[other._kind_codes[index]]
            image = other._images[index] or id_
            self._add(id_prefix + id_, image, kind, other._groups[index], other._masks[index])

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> SampleTable: ...

    def __getitem__(self, index: int | slice) -> Sample | SampleTable:
        if isinstance(index, slice):
            return self.take(range(len(self))[index])
        id_, kind, mask = self._ids[index], self._kinds[self._kind_codes[index]], self._masks[index]
        return Sample(
            id=id_,
            image=os.path.join(kind.root, self._images[index] or id_),
            label=kind.label,
            category=kind.category,
            object_name=kind.object_name,
            split=kind.split,
            defect_type=kind.defect_type,
            group=self._groups[index],
            mask=None if mask is None else os.path.join(kind.root, mask),
            dataset=kind.dataset,
        )

    def __repr__(self) -> str:
        return f"SampleTable({len(self)} samples)"
