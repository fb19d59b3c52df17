"""Ten good parts: the tables, and tiles beside whole images."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lriad.data import Sample, load_dataset
from lriad.data.synthetic import make_dataset
from lriad.memory import load_memory
from lriad.policy import load_policy

sys.path.append(str(Path(__file__).resolve().parents[2] / "experiments"))
memory = importlib.import_module("memory")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """An empty file of results in place of the repository's, and memories of few images."""
    monkeypatch.setattr(memory, "FILE", tmp_path / "memory.json")
    monkeypatch.setattr(memory, "GOOD", (4, 6))
    return tmp_path / "memory.json"


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """A procedural category, whose images the eyes see as large as they are."""
    folder = tmp_path_factory.mktemp("drawings") / "data"
    made = make_dataset("textures", folder, images=24, defect_ratio=0.5, categories=["leather"])
    return list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))


def cells_of(file: Path, kind: str) -> list[dict]:
    """Those of a kind."""
    return [cell for cell in json.loads(file.read_text())["cells"] if cell["kind"] == kind]


def test_images_that_are_looked_at_whole_have_the_numbers_that_are_there(drawings, results, tmp_path):
    policy = load_policy("embedded")
    with pytest.raises(SystemExit, match="run that first"):
        memory.run_cells(policy, memory.TILED, drawings, 0, tmp_path)
    memory.run_cells(policy, "real", drawings, 0, tmp_path)
    memory.run_cells(policy, memory.TILED, drawings, 0, tmp_path)
    [whole], [tiled] = cells_of(results, "real"), cells_of(results, memory.TILED)
    assert set(whole["settings"]) == {"4", "6"}
    assert tiled["settings"] == {"6": whole["settings"]["6"]}
    assert {"both, and the labels' rule", "patch memory", "logistic regression"} < set(tiled["settings"]["6"])
    assert tiled["views"] == "whole images"


def test_tiles_are_of_what_is_larger_than_the_eyes_see(drawings, results, tmp_path):
    large = []
    for index, sample in enumerate(drawings):
        Image.open(sample.image).resize((640, 640)).save(tmp_path / f"{index}.png")
        large.append(replace(sample, image=str(tmp_path / f"{index}.png")))
    for _ in range(2):  # the second time there is nothing to do
        memory.run_cells(load_policy("embedded"), memory.TILED, large, 0, tmp_path)
    [cell] = cells_of(results, memory.TILED)
    assert cell["views"] == "whole and 2 tiles"
    assert set(cell["settings"]) == {"6"}
    assert load_memory(tmp_path / "memories" / "leather-0-6-tiles.memory").views.tiles == 2


def test_tiles_have_tables_of_their_own(results):
    def cell(kind: str, **settings: float) -> dict:
        rows = {
            name[1:]: {"both": {"auroc": value}, "patch memory": {"auroc": 0.5}} for name, value in settings.items()
        }
        head = {"category": "pcb", "kind": kind, "draw": 0, "policy": "p", "version": 1, "date": "d", "defects": 3}
        return head | {"views": "whole and 2 tiles", "settings": rows}

    whole, tiled = cell("real", _4=0.6, _6=0.7), cell(memory.TILED, _6=0.9)
    for other in ({"policy": "another"}, {"version": 2}):
        assert "tiles and whole minus whole images" not in memory.to_markdown([whole | other, tiled])
    text = memory.to_markdown([whole, tiled])
    whole, tiled = text.split("## Real categories, whole and in as many tiles")
    assert "| 4 good | AUROC" in whole
    assert "| both | 70.0 [70.0, 70.0]" in whole
    assert "| 4 good | AUROC" not in tiled
    assert "| both | 90.0 [90.0, 90.0]" in tiled
    assert "| pcb | – | +20.0 |" in tiled


def test_a_grey_drawing_among_coloured_ones_is_left_out(tmp_path):
    samples = []
    for index, colour in enumerate(["red", "blue", "grey"]):
        Image.new("RGB", (70, 70), colour).save(tmp_path / f"{colour}.png")
        samples.append(Sample(colour, str(tmp_path / f"{colour}.png"), "normal", "plate", "plate", group=str(index)))
    assert memory.of_one_camera(samples) == samples[:2]
    assert memory.of_one_camera(samples[2:]) == samples[2:]
