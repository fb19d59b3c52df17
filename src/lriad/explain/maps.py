"""Heat-maps as files: small numbers, one file an image."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from lriad.data._files import reason, show
from lriad.errors import LriadError
from lriad.verdict import Verdict

_MOST_PLACES = 1 << 22
"""Of a map: what has more is none of ours."""


def map_file(image_sha256: str, folder: str | Path) -> Path:
    """Where the heat-map of an image is kept.

    Raises:
        LriadError: That is no hash.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", image_sha256):
        raise LriadError(f"image_sha256 {image_sha256[:80]!r}: is no hash of an image; inspect it again")
    return Path(folder) / f"{image_sha256[:16]}.npy"


def save_map(verdict: Verdict, folder: str | Path) -> Path:
    """Keep a verdict's heat-map in a folder, which is made if missing, as float16; returns the file.

    Raises:
        LriadError: It cannot be written.
    """
    file = map_file(verdict.image_sha256, folder)
    largest = np.finfo(np.float16).max
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.clip(verdict.heatmap, -largest, largest).astype(np.float16), allow_pickle=False)
    except OSError as error:
        raise LriadError(f"{show(file)}: cannot be written: {reason(error)}") from error
    return file


def read_map(file: Path) -> NDArray[np.float32]:
    """A heat-map as `save_map` has written it, of shape (H, W); NaN where nothing was looked at.

    Raises:
        LriadError: The file is missing, damaged, or something else.
    """
    try:
        with file.open("rb") as stream:
            npy.read_magic(stream)
            shape, _, dtype = npy.read_array_header_1_0(stream)
            if len(shape) != 2 or dtype.kind != "f" or not 0 < shape[0] * shape[1] <= _MOST_PLACES:
                raise ValueError("it holds something else")
            stream.seek(0)
            found = npy.read_array(stream, allow_pickle=False).astype(np.float32)
        if not np.isfinite(found).any():
            raise ValueError("no place of it was looked at")
    except (OSError, ValueError, EOFError) as error:
        raise LriadError(f"{show(file)}: no heat-map that can be read ({error}); remove it") from error
    return found
