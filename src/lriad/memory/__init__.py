"""Good parts to compare with: what `lriad remember` makes and `--memory` reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lriad._lazy import attributes_from

if TYPE_CHECKING:
    from lriad.memory.making import Remembered, fitting_views, remember
    from lriad.memory.memory import Comparison, Memory, load_memory

__all__ = ["Comparison", "Memory", "Remembered", "fitting_views", "load_memory", "remember"]

__getattr__ = attributes_from(
    __name__,
    {
        "Comparison": "lriad.memory.memory",
        "Memory": "lriad.memory.memory",
        "Remembered": "lriad.memory.making",
        "fitting_views": "lriad.memory.making",
        "load_memory": "lriad.memory.memory",
        "remember": "lriad.memory.making",
    },
)
