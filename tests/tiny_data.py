"""Small data sets on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def make_parts(folder: Path, count: int = 12, category: str = "square") -> str:
    """Grey squares; the defective ones have a bright spot."""
    rng = np.random.default_rng(0)
    for i in range(count):
        pixels = rng.normal(120, 10, (64, 64, 3))
        kind = "good"
        if i % 3 == 0:
            pixels[20:30, 20:30] = 250
            kind = "defect/spot"
        target = folder / category / kind
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(target / f"{i:03}.png")
    return f"folder:{folder}"
