"""Fixtures that several parts use, and the conditions of the marked tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = {name: [item for item in items if name in item.keywords] for name in ("real", "gpu")}
    if "LRIAD_REAL_DATA" not in os.environ:
        for item in marked["real"]:
            item.add_marker(pytest.mark.skip(reason="LRIAD_REAL_DATA names no folder of real images"))
    if marked["gpu"]:
        import torch

        if not torch.cuda.is_available():
            for item in marked["gpu"]:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images; only for tests marked `real`."""
    return Path(os.environ["LRIAD_REAL_DATA"])


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Data sets that a test makes stay out of the user's cache folder."""
    os.environ["LRIAD_CACHE"] = str(tmp_path_factory.mktemp("lriad-cache"))


@pytest.fixture(scope="session")
def tiny_policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2-VL of random weights with its processor, saved to disk like a real one."""
    from tiny_models import save_tiny_model

    return save_tiny_model("qwen2_vl", tmp_path_factory.mktemp("tiny-policy") / "model")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless Chromium; the test is skipped where there is none."""
    from browser import NAMES, find_chromium, running_browser

    executable = find_chromium()
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH, LRIAD_CHROMIUM names none")
    with running_browser(executable) as browser:
        yield browser
