"""The API against its own OpenAPI document, with what schemathesis makes up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from station_server import Served, serving

from lriad.policy import Policy
from lriad.serving.api import Settings
from lriad.serving.station import Station
from lriad.serving.store import Store

EXAMPLES = 15
"""Of each operation."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, policy: Policy, parts: list[Path]) -> Iterator[Served]:
    store = Store(tmp_path_factory.mktemp("openapi") / "store")
    with serving(Station(store, policy, mode="fast"), Settings(timeout=5)) as served:
        served.send(parts[:4])  # so that there is something with ids 1 to 4
        served.ask("PUT", "/api/inspections/1/label", json={"label": "defect"})
        yield served
    store.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name.lower())
def test_answers_are_as_documented(served: Served, mode: GenerationMode) -> None:
    document = schemathesis.openapi.from_url(f"{served.address}/openapi.json")
    asked = {operation.label for operation in operations(document) if was_asked(operation, mode)}
    assert len(asked) >= 8, asked


def operations(document: Any) -> Iterator[Any]:
    return (result.ok() for result in document.get_all_operations())


def was_asked(operation: Any, mode: GenerationMode) -> bool:
    """Ask some things of an operation; False where there is nothing to ask."""
    # What fits the document may still be refused, as it says: bytes that are no picture, a cursor that nobody gave out.
    left_out = ["positive_data_acceptance"]
    if operation.label == "POST /api/inspections":  # The fields of a form are all text, numbers included.
        left_out.append("negative_data_rejection")
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in left_out]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(excluded_checks=checks)

    try:
        ask()
    except Unsatisfiable:  # Nothing can be wrong in a request without parameters.
        return False
    return True
