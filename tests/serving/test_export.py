"""Labels as a data set: whatever products and defects are called, it loads again."""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lriad.cli import labels
from lriad.data import load_dataset
from lriad.errors import LriadError
from lriad.serving.export import export_labels, export_zip
from lriad.serving.store import Inspection, Store, utc_now


def labelled(store: Store, content: bytes, product: str, label: Any, type_: str | None = None, **more: Any) -> None:
    incoming = store.receive(io.BytesIO(content))
    store.adopt(incoming, "png")
    fields: dict[str, Any] = {"name": "x", "state": "done", "extension": "png", "width": 1, "height": 1, **more}
    fields |= {"created_at": utc_now(), "object_name": product, "image_sha256": incoming.sha256}
    [row] = store.add([Inspection(**fields)])
    store.label(row.id, label, type_)


names = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=80)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(names, st.sampled_from(["defect", "normal"]), st.none() | names), min_size=1, max_size=8))
@example([("good", "normal", None), ("Train", "defect", "good"), ("train", "defect", "..")])
@example([("..", "defect", "../.."), (".", "defect", "."), ("mask", "normal", None), ("Data", "normal", None)])
@example([("a b", "normal", None), ("a_b", "normal", None), ("a-b", "normal", None), ("A B", "defect", None)])
@example([("é", "normal", None), ("e\u0301", "normal", None), ("ß" * 80, "normal", None), ("12", "defect", "/etc")])
def test_any_names_make_a_data_set_that_loads(entries: list[tuple[str, str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store")
        for number, (product, label, type_) in enumerate(entries):
            labelled(store, bytes([number]), product, label, type_ if label == "defect" else None)
        archive = zipfile.ZipFile(io.BytesIO(b"".join(export_zip(store))))
        assert archive.testzip() is None
        for name in archive.namelist():
            assert not name.startswith("/")
            assert ".." not in name.split("/")
        archive.extractall(Path(folder) / "zip")
        assert export_labels(store, Path(folder) / "files") == len(entries)
        store.close()
        for made in ("zip", "files"):
            samples = list(load_dataset(f"folder:{Path(folder) / made}"))
            found = {Path(one.image).stem: one for one in samples}
            assert len(samples) == len(entries)
            categories: dict[str, set[str]] = {}
            for number, (product, label, type_) in enumerate(entries):
                [sample] = [one for one in found.values() if Path(one.image).read_bytes() == bytes([number])]
                assert sample.label == label
                assert (sample.defect_type is not None) == (label == "defect" and type_ is not None)
                categories.setdefault(product, set()).add(sample.category)
            assert all(len(one) == 1 for one in categories.values())
            assert len(set.union(*categories.values())) == len(categories)  # no two products in one folder


def test_plain_names_stay_as_they_are(store: Store, tmp_path: Path) -> None:
    labelled(store, b"1", "metal nut", "defect", "scratch")
    labelled(store, b"2", "metal nut", "normal", group="train")
    export_labels(store, tmp_path / "set")
    samples = {one.label: one for one in load_dataset(f"folder:{tmp_path / 'set'}")}
    assert {one.object_name for one in samples.values()} == {"metal nut"}
    assert samples["defect"].defect_type == "scratch"
    assert samples["normal"].group == "part train"  # not the side of a split
    assert samples["normal"].split is None


def test_the_last_label_counts_and_one_product_can_be_had(store: Store, tmp_path: Path) -> None:
    labelled(store, b"1", "nut", "defect")
    labelled(store, b"1", "nut", "normal")
    labelled(store, b"2", "tile", "defect")
    assert export_labels(store, tmp_path / "nut", "nut") == 1
    [sample] = load_dataset(f"folder:{tmp_path / 'nut'}")
    assert sample.label == "normal"


def test_equal_labels_make_equal_archives(store: Store) -> None:
    labelled(store, b"1" * 3_000_000, "nut", "defect")
    assert b"".join(export_zip(store)) == b"".join(export_zip(store))


def test_a_picture_that_is_gone_is_left_out(store: Store, tmp_path: Path) -> None:
    labelled(store, b"1", "nut", "defect")
    labelled(store, b"2", "nut", "normal")
    gone = store.labelled()[0]
    store.picture(gone.image_sha256, "png").unlink()
    assert export_labels(store, tmp_path / "set") == 1


def test_nothing_is_overwritten_and_nothing_half_written(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LriadError, match="no picture has a label"):
        export_labels(store, tmp_path / "set")
    with pytest.raises(LriadError, match="no picture of 'nut' has a label"):
        export_zip(store, "nut")
    labelled(store, b"1", "nut", "defect")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(LriadError, match="exists already"):
        export_labels(store, tmp_path / "set")
    assert (tmp_path / "set" / "notes.txt").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(LriadError, match="cannot be written"):
        export_labels(store, tmp_path / "file" / "set")
    (tmp_path / "empty").mkdir()
    assert export_labels(store, tmp_path / "empty") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "set", "store"]


def test_what_lies_beside_the_folder_stays(store: Store, tmp_path: Path) -> None:
    labelled(store, b"1", "nut", "defect")
    (tmp_path / "set.part").mkdir()
    (tmp_path / "set.part" / "notes.txt").write_text("mine")
    assert export_labels(store, tmp_path / "set") == 1
    with pytest.raises(LriadError, match="exists already"):
        export_labels(store, tmp_path / "set")
    assert (tmp_path / "set.part" / "notes.txt").read_text() == "mine"
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "set").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_into_the_folder_where_one_is(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labelled(store, b"1", "nut", "defect")
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path / "set")
    assert export_labels(store, ".") == 1
    assert sorted(os.listdir()) == ["README.txt", "nut"]  # it is still there


def test_a_folder_that_is_no_store_stays_as_it_is(store: Store, tmp_path: Path) -> None:
    labelled(store, b"1", "nut", "defect")
    (tmp_path / "mine").mkdir()
    for folder in (tmp_path / "mine", tmp_path / "none"):
        with pytest.raises(LriadError, match="no store of a station"):
            labels(tmp_path / "set", store=folder)
    assert list((tmp_path / "mine").iterdir()) == []
    assert not (tmp_path / "none").exists()
    labels(tmp_path / "set", store=store.folder)
    labels(tmp_path / "again", store=tmp_path / "mine", database=f"sqlite:///{store.folder / 'station.sqlite3'}")
