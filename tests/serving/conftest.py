"""A real station over HTTP, with the embedded policy loaded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from station_server import Served, serving
from tiny_data import make_parts

from lriad.policy import Policy, load_policy
from lriad.serving.api import Settings
from lriad.serving.station import Station
from lriad.serving.store import Store


@pytest.fixture(scope="session")
def policy() -> Policy:
    return load_policy("embedded")


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twelve small pictures, each third of them with a spot."""
    folder = tmp_path_factory.mktemp("parts")
    make_parts(folder)
    return sorted(folder.rglob("*.png"), key=lambda path: path.name)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def serve(store: Store, policy: Policy) -> Iterator[Callable[..., Served]]:
    """Starts a station on the test's store; it ends with the test. Arguments: of `Settings`, and `queue`."""
    with ExitStack() as stack:

        def start(queue: int = 128, **settings: Any) -> Served:
            station = Station(store, policy, mode="fast", queue=queue)
            return stack.enter_context(serving(station, Settings(**settings)))

        yield start
