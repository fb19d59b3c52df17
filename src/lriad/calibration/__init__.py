"""Thresholds that keep a promise: what `lriad calibrate` makes, `--calibration` reads and `lriad drift` watches.

`drift` and `reliability` are to be had from the modules of these names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lriad._lazy import attributes_from

if TYPE_CHECKING:
    from lriad.calibration.bounds import images_needed
    from lriad.calibration.calibration import Binding, Calibration, load_calibration
    from lriad.calibration.fit import calibrate

__all__ = ["Binding", "Calibration", "calibrate", "images_needed", "load_calibration"]

__getattr__ = attributes_from(
    __name__,
    {
        "Binding": "lriad.calibration.calibration",
        "Calibration": "lriad.calibration.calibration",
        "calibrate": "lriad.calibration.fit",
        "images_needed": "lriad.calibration.bounds",
        "load_calibration": "lriad.calibration.calibration",
    },
)
