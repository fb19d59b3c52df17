"""Tiny real image files, and a user without rights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Writes a 4 x 3 image at each path below tmp_path and returns tmp_path."""

    def write(*paths: str) -> Path:
        for path in paths:
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 3), "grey").save(target)
        return tmp_path

    return write


@pytest.fixture
def without_rights() -> Callable[[], AbstractContextManager[None]]:
    """A context in which the process is no superuser, so that a file's access rights bind it."""

    @contextmanager
    def drop() -> Iterator[None]:
        if os.name != "posix" or os.geteuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    return drop
