"""Prediction rows as `read_predictions` gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

SETTING = {
    "policy_sha256": "a" * 64,
    "adapter_sha256": None,
    "mode": "fast",
    "prompt_version": "lr-iad-1",
    "memory": None,
    "setting": "zero-shot",
    "note": None,
}


def make_rows(defects: Iterable[float | None] = (), good: Iterable[float | None] = (), **fields: Any) -> list[dict]:
    """One row a value; the answer of an image without one is unparsable."""
    values = [("defect", value) for value in defects] + [("normal", value) for value in good]
    return [
        {
            "id": f"{fields.get('name', 'image')}-{number}",
            "category": "tile",
            "dataset": "",
            "object_name": "tile",
            "group": None,
            "truth": truth,
            "label": "unparsable" if value is None else "defect" if value >= 0.5 else "normal",
            "p_defect": 0.5 if value is None else float(value),
            "score": None,
            **SETTING,
            **fields,
        }
        for number, (truth, value) in enumerate(values)
    ]


@pytest.fixture
def rows() -> Callable[..., list[dict]]:
    return make_rows
