"""A station with products: memories, calibrations, and what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from station_server import serving

from lriad import Inspector
from lriad.calibration import calibrate
from lriad.data import Sample
from lriad.data.synthetic import make_dataset
from lriad.errors import LriadError
from lriad.memory import remember
from lriad.policy import Policy
from lriad.serving.api import Settings
from lriad.serving.station import Station
from lriad.serving.store import Store


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    from lriad.data import load_dataset

    made = make_dataset(
        "textures", tmp_path_factory.mktemp("made") / "set", images=36, defect_ratio=0.3, categories=["leather"]
    )
    return list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, policy: Policy, samples: list[Sample]) -> Path:
    file = tmp_path_factory.mktemp("memory") / "leather.memory"
    good = [sample for sample in samples if sample.label == "normal"]
    remember(good[:4], file, policy=policy)
    return file


@pytest.fixture(scope="module")
def calibrations(tmp_path_factory: pytest.TempPathFactory, policy: Policy, samples: list[Sample], memory: Path) -> Any:
    """Of leather with the memory, and of cloth without."""
    folder = tmp_path_factory.mktemp("calibrations")
    files = []
    for name, remembered in (("leather", memory), ("cloth", None)):
        inspector = Inspector(policy, mode="fast", memory=remembered)
        rows = [
            row | {"object_name": name, "category": name}
            for row in inspector.inspect_samples(
                [Sample(one.id, one.image, one.label, name, name) for one in samples[4:]]
            )
        ]
        files.append(folder / f"{name}.json")
        calibrate(rows, max_miss_rate=0.5, confidence=0.8).save(files[-1])
    return files


def test_each_product_is_judged_by_its_own(
    store: Store, policy: Policy, samples: list[Sample], memory: Path, calibrations: list[Path]
) -> None:
    station = Station(store, policy, mode="fast", memories=[memory], calibrations=calibrations)
    picture = Path(samples[-1].image)
    with serving(station, Settings()) as served:
        entries = {}
        for name in (" LEATHER ", "cloth", "tin"):
            [entries[name.strip().lower()]] = served.send([picture], name).json()["inspections"]
        by_memory, by_calibration, plain = entries["leather"], entries["cloth"], entries["tin"]
        assert by_memory["object_name"] == "leather"
        assert by_memory["score"] is not None
        assert by_memory["calibration"] == station.products["leather"].inspector.calibration.sha256  # type: ignore[union-attr]
        assert by_calibration["score"] is None
        assert by_calibration["calibration"] not in (None, by_memory["calibration"])
        assert (plain["calibration"], plain["threshold"]) == (None, policy.operating_point["fast"])
        again = Inspector(policy, mode="fast", memory=memory, calibration=calibrations[0]).inspect(picture, "leather")
        assert by_memory["decision"] == again.decision
        assert by_memory["score"] == pytest.approx(again.score, abs=1e-3)
        # What the memory has seen is kept with the verdict.
        assert (store.folder / "maps" / f"{by_memory['id']}.npz").exists()
        for entry in entries.values():
            assert served.get(f"/api/inspections/{entry['id']}/overlay?side=64").status_code == 200

        products = {one["object_name"]: one for one in served.get("/api/station").json()["products"]}
        assert list(products) == ["leather", "cloth", "tin"]
        assert products["leather"]["setting"] == "4 good"
        assert "at most 50 % of defective parts" in products["leather"]["calibration"]["promises"][0]
        assert products["cloth"]["memory"] is None
        assert products["tin"]["calibration"] is None

        drift = {one["object_name"]: one["drift"] for one in served.get("/api/statistics").json()["products"]}
        assert drift["tin"] is None
        assert drift["leather"] == {"n": 1, "statistic": None, "p_value": None, "drifted": False}
        served.ask("PUT", f"/api/inspections/{by_memory['id']}/label", json={"label": "defect"})
        drift = {one["object_name"]: one["drift"] for one in served.get("/api/statistics").json()["products"]}
        assert drift["leather"] is None  # Known defects alone tell nothing.
        for sample in samples[4:34]:
            served.send([Path(sample.image)], "cloth")
        products = {one["object_name"]: one["drift"] for one in served.get("/api/statistics").json()["products"]}
        assert products["cloth"]["n"] >= 20
        assert products["cloth"]["drifted"] is False  # the very pictures that it was calibrated with
        counted = [line for line in served.get("/metrics").text.splitlines() if 'product="leather"' in line]
        assert counted
        [p_value] = [
            line for line in served.get("/metrics").text.splitlines() if line.startswith("lriad_drift_p_value{")
        ]
        assert p_value.startswith('lriad_drift_p_value{product="cloth"}')  # of leather there are too few
        assert float(p_value.split()[-1]) == pytest.approx(products["cloth"]["p_value"])


def test_what_does_not_fit_together_is_refused(
    store: Store, policy: Policy, memory: Path, calibrations: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(LriadError, match="a second memory of a 'leather'"):
        Station(store, policy, mode="fast", memories=[memory, memory])
    with pytest.raises(LriadError, match="a second calibration of a 'cloth'"):
        Station(store, policy, mode="fast", calibrations=[calibrations[1], calibrations[1]])
    with pytest.raises(LriadError, match="this calibration is for"):
        Station(store, policy, mode="fast", calibrations=calibrations)  # without the memory of its product
    with pytest.raises(LriadError, match="this calibration is for"):
        Station(store, policy, mode="reason", memories=[memory], calibrations=calibrations[:1])
    with pytest.raises(LriadError, match="no such memory"):
        Station(store, policy, memories=[tmp_path / "none"])
    with pytest.raises(LriadError, match="queue 0"):
        Station(store, policy, queue=0)
