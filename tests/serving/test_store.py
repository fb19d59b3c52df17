"""The store: what is written stays, whatever happens beside it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sql
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from full_disk import files_up_to
from hypothesis import given, settings
from hypothesis import strategies as st

from lriad.errors import LriadError
from lriad.serving.store import DATABASE, Arrival, Base, Inspection, Store, StoreError, TooLarge, utc_now
from lriad.verdict import Verdict


def inspection(**fields: Any) -> Inspection:
    given = {"name": "a.png", "object_name": "tile", "state": "pending", "image_sha256": "0" * 64, "extension": "png"}
    return Inspection(**{"created_at": utc_now(), "width": 4, "height": 3, **given, **fields})


def verdict(p_defect: float, decision: Any = None, **fields: Any) -> Verdict:
    decided = decision or ("defect" if p_defect >= 0.5 else "normal")
    label = "unparsable" if decided == "review" else decided
    said = {"text": "", "follows_format": True, "answer_forced": False, "mode": "fast", "seconds": 0.1}
    by = {"image_sha256": "0" * 64, "policy_sha256": "p", "adapter_sha256": None, "prompt_version": "1"}
    given = {"reasoning": "", **said, **by, **fields}
    return Verdict(label=label, p_defect=p_defect, decision=decided, **given)


@contextmanager
def new_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        yield store
        store.close()


class TestPictures:
    def test_lie_under_their_hash_once(self, store: Store) -> None:
        content = b"picture" * 1000
        digest = hashlib.sha256(content).hexdigest()
        for _ in range(2):
            place = store.adopt(store.receive(io.BytesIO(content)), "png")
        assert place == store.folder / "images" / digest[:2] / f"{digest}.png"
        assert place.read_bytes() == content
        assert [path for path in store.folder.rglob("*") if path.is_file() and "images" in path.parts] == [place]
        assert list((store.folder / ".lriad-incoming").iterdir()) == []

    def test_too_many_bytes_leave_nothing(self, store: Store) -> None:
        with pytest.raises(TooLarge, match="more than 1 MiB"):
            store.receive(io.BytesIO(bytes(2**20 + 1)), max_bytes=2**20)
        assert list((store.folder / ".lriad-incoming").iterdir()) == []
        assert store.receive(io.BytesIO(bytes(2**20)), max_bytes=2**20).size == 2**20

    def test_a_full_disk_is_one_line_and_leaves_nothing(self, store: Store) -> None:
        with pytest.raises(StoreError, match="cannot be written"), files_up_to(1 << 16):
            store.receive(io.BytesIO(bytes(1 << 20)))
        assert list((store.folder / ".lriad-incoming").iterdir()) == []

    def test_a_torn_file_is_replaced(self, store: Store) -> None:
        place = store.adopt(store.receive(io.BytesIO(b"whole")), "png")
        place.write_bytes(b"who")
        store.adopt(store.receive(io.BytesIO(b"whole")), "png")
        assert place.read_bytes() == b"whole"

    def test_left_over_files_go_and_fresh_ones_stay(self, tmp_path: Path) -> None:
        first = Store(tmp_path)
        old, new = (first.receive(io.BytesIO(b"x")).path for _ in range(2))
        os.utime(old, (0, 0))
        Store(tmp_path).close()
        first.close()
        assert not old.exists()
        assert new.exists()

    def test_what_is_the_user_s_stays(self, tmp_path: Path) -> None:
        mine = [tmp_path / "incoming" / ("0" * 32), tmp_path / ".lriad-incoming" / "mine.png"]
        for path in mine:
            path.parent.mkdir()
            path.write_bytes(b"mine")
            os.utime(path, (0, 0))
        Store(tmp_path).close()
        assert all(path.exists() for path in mine)

    def test_maps_come_back(self, store: Store) -> None:
        map_HW = np.array([[0.5, np.nan], [2, 3]], np.float32)
        store.save_map(7, map_HW, [(1, 2, 3, 4)])
        kept = store.load_map(7)
        assert kept is not None
        np.testing.assert_array_equal(kept[0], map_HW)
        assert kept[1] == [(1, 2, 3, 4)]
        (store.folder / "maps" / "7.npz").write_bytes(b"torn")
        assert store.load_map(7) is None
        assert store.load_map(8) is None


class TestDatabase:
    def test_migrations_make_what_the_models_say(self, store: Store) -> None:
        with sql.create_engine(f"sqlite:///{store.folder / DATABASE}").connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"

    def test_what_is_committed_is_on_the_disk(self, store: Store) -> None:
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL

    def test_opens_again_with_what_was_in_it(self, store: Store) -> None:
        [kept] = store.add([inspection()])
        again = Store(store.folder)
        assert again.get(kept.id) is not None
        again.close()

    def test_a_newer_store_is_refused(self, store: Store) -> None:
        with sql.create_engine(f"sqlite:///{store.folder / DATABASE}").begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        with pytest.raises(StoreError, match="newer version"):
            Store(store.folder)

    def test_another_file_in_its_place_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / DATABASE).write_bytes(b"this is no database, and long enough to be seen as such" * 50)
        with pytest.raises(StoreError, match="not a database"):
            Store(tmp_path)

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="cannot be used as a store"):
            Store(tmp_path / "file")

    def test_an_address_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="no database"):
            Store(tmp_path, "nonsense")

    def test_a_full_disk_is_one_line_and_takes_nothing_back(self, store: Store) -> None:
        [first] = store.add([inspection()])
        with pytest.raises(StoreError, match="cannot be used now"), files_up_to(100_000):
            store.add(inspection(error="x" * 4000) for _ in range(100))
        assert store.get(first.id) is not None
        [after] = store.add([inspection()])
        assert store.get(after.id) is not None

    def test_several_processes_write_at_once(self, tmp_path: Path) -> None:
        # The store is new: they also make and migrate it at once.
        code = (
            "import sys; from lriad.serving.store import *\n"
            "store = Store(sys.argv[1])\n"
            "for i in range(40):\n"
            "    [row] = store.add([Inspection(created_at=utc_now(), name=sys.argv[2], object_name='tile',"
            " state='pending', image_sha256='0' * 64, extension='png', width=1, height=1)])\n"
            "    store.label(row.id, 'defect')\n"
            "    store.page(truth='defect')\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "store")]
        running = [subprocess.Popen([*command, str(number)], stderr=subprocess.PIPE, text=True) for number in range(3)]
        problems = [process.communicate()[1] for process in running]
        assert [process.returncode for process in running] == [0, 0, 0], problems
        store = Store(tmp_path / "store")
        assert store.page().total == store.page(truth="defect").total == 120
        store.close()

    def test_what_was_answered_survives_a_kill(self, tmp_path: Path) -> None:
        code = (
            "import sys; from lriad.serving.store import *\n"
            "store = Store(sys.argv[1])\n"
            "while True:\n"
            "    [row] = store.add([Inspection(created_at=utc_now(), name='a', object_name='tile',"
            " state='pending', image_sha256='0' * 64, extension='png', width=1, height=1)])\n"
            "    print(row.id, flush=True)\n"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            answered = [int(process.stdout.readline()) for _ in range(25)]
            process.send_signal(signal.SIGKILL)
            answered += [int(line) for line in process.stdout]
        store = Store(tmp_path)
        assert {row.id for row in store.pending()} >= set(answered)
        store.close()

    def test_a_lock_is_one_process_s_and_goes_with_it(self, store: Store) -> None:
        code = (
            "import sys; from lriad.serving.store import *\n"
            "lock = Store(sys.argv[1]).lock('station', 'serves this store')\n"
            "print('held', flush=True); sys.stdin.read()\n"
        )
        command = [sys.executable, "-c", code, str(store.folder)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(LriadError, match="another process serves this store"):
                store.lock("station", "serves this store")
            process.kill()
            process.wait()
        store.lock("station", "serves this store").release()


class TestInspections:
    def test_settles(self, store: Store) -> None:
        good, bad, failed = store.add(inspection() for _ in range(3))
        outcomes = [verdict(0.1), verdict(0.9, reasoning="a scratch"), LriadError("no picture")]
        store.settle([(row.id, outcome) for row, outcome in zip((good, bad, failed), outcomes, strict=True)])
        rows = [row.to_dict() for row in store.get_all([failed.id, good.id, bad.id, 999])]
        assert [row["state"] for row in rows] == ["failed", "done", "done"]
        assert [row["decision"] for row in rows] == [None, "normal", "defect"]
        assert rows[0]["error"] == "no picture"
        assert rows[2]["reasoning"] == "a scratch"
        assert rows[2]["p_defect"] == 0.9
        assert store.pending() == []
        json.dumps(rows)

    def test_cancelling_leaves_what_is_judged(self, store: Store) -> None:
        waiting, judged = store.add(inspection() for _ in range(2))
        store.settle([(judged.id, verdict(0.1))])
        store.cancel([waiting.id, judged.id])
        assert [row.state for row in store.get_all([waiting.id, judged.id])] == ["cancelled", "done"]

    def test_finds_the_last_verdict_on_a_picture(self, store: Store) -> None:
        rows = store.add(inspection(image_sha256="a" * 64) for _ in range(3))
        store.settle([(row.id, verdict(0.1)) for row in rows[:2]])
        found = store.find("a" * 64, "tile", {})
        assert found is not None
        assert found.id == rows[1].id
        assert store.find("a" * 64, "tile", {"policy_sha256": "p", "threshold": None, "mode": "fast"}) is not None
        assert store.find("a" * 64, "tile", {"policy_sha256": "p", "threshold": 0.5}) is None
        assert store.find("a" * 64, "cable", {}) is None
        assert store.find("b" * 64, "tile", {}) is None

    @settings(max_examples=25, deadline=None)
    @given(
        rows=st.lists(
            st.tuples(st.sampled_from(["tile", "cable"]), st.floats(0, 1), st.sampled_from([None, "defect", "normal"])),
            max_size=12,
        ),
        order=st.sampled_from(["newest", "oldest", "doubt", "suspicion"]),
        truth=st.sampled_from(["any", "none", "defect", "normal"]),
        object_name=st.sampled_from([None, "tile"]),
        limit=st.integers(1, 5),
    )
    def test_pages_hold_everything_once_and_in_order(
        self, rows: list[Any], order: Any, truth: str, object_name: str | None, limit: int
    ) -> None:
        with new_store() as store:
            for name, p_defect, label in rows:
                [row] = store.add([inspection(object_name=name)])
                store.settle([(row.id, verdict(p_defect))])
                if label:
                    store.label(row.id, label)
            wanted = [
                row
                for row in store.get_all(range(len(rows) + 1))
                if (object_name is None or row.object_name == object_name)
                and (truth == "any" or (row.truth or "none") == truth)
            ]
            keys = {
                "newest": lambda row: -row.id,
                "oldest": lambda row: row.id,
                "doubt": lambda row: (-row.doubt, -row.id),
                "suspicion": lambda row: (-row.suspicion, -row.id),
            }
            wanted.sort(key=keys[order])
            found, cursor, pages = [], None, 0
            while pages == 0 or cursor is not None:
                page = store.page(object_name=object_name, truth=truth, order=order, limit=limit, cursor=cursor)
                assert page.total == len(wanted)
                found += page.inspections
                cursor, pages = page.next, pages + 1
            assert [row.id for row in found] == [row.id for row in wanted]
            assert pages == max(1, -(-len(wanted) // limit))

    def test_searches_texts_literally_and_in_any_case(self, store: Store) -> None:
        rows = store.add(inspection(name=name) for name in ("100%_wool.png", "100 wool.png", "x.png"))
        store.settle([(rows[2].id, verdict(0.9, reasoning="A Scratch at the top"))])
        assert [row.name for row in store.page(text="100%_W").inspections] == ["100%_wool.png"]
        assert [row.name for row in store.page(text="scratch AT").inspections] == ["x.png"]
        assert store.page(text="p_defect").total == 0  # a field's name is no text
        store.add([inspection(name="ÄPFEL.png")])
        assert [row.name for row in store.page(text="äpfel").inspections] == ["ÄPFEL.png"]

    @pytest.mark.parametrize("cursor", ["x", "", "1_2", "-1", "9" * 30, "nan_", "0.5_x"])
    def test_a_foreign_cursor_is_refused(self, store: Store, cursor: str) -> None:
        with pytest.raises(LriadError, match="cursor"):
            store.page(cursor=cursor)

    def test_statistics(self, store: Store) -> None:
        outcomes = [verdict(0.9), verdict(0.9), verdict(0.1), verdict(0.1), verdict(0.5, "review"), LriadError("x")]
        rows = store.add(inspection() for _ in outcomes)
        store.settle([(row.id, outcome) for row, outcome in zip(rows, outcomes, strict=True)])
        for row, label in zip(rows, ("defect", "normal", "defect", None, "defect", None), strict=True):
            if label:
                store.label(row.id, label)
        [counts] = store.statistics()
        [day] = counts.pop("by_day")
        assert counts == {
            "object_name": "tile",
            "inspected": 5,
            "defect": 2,
            "normal": 2,
            "review": 1,
            "labelled": 4,
            "agreed": 1,
            "missed": 1,
            "false_alarms": 1,
        }
        assert day == {"day": utc_now()[:10], "inspected": 5, "defect": 2, "review": 1}

    def test_predictions_of_one_calibration(self, store: Store) -> None:
        rows = store.add(inspection(group=f"g{number}") for number in range(4))
        outcomes = [verdict(0.1 * n, calibration=None if n == 1 else "c") for n in range(4)]
        store.settle([(row.id, outcome) for row, outcome in zip(rows, outcomes, strict=True)])
        found = store.predictions("tile", "c", 2)
        assert [row["id"] for row in found] == [str(rows[2].id), str(rows[3].id)]
        assert [row["group"] for row in found] == ["g2", "g3"]
        assert found[0]["p_defect"] == pytest.approx(0.2)


class TestLabels:
    def test_keep_their_history(self, store: Store) -> None:
        [row] = store.add([inspection()])
        store.settle([(row.id, verdict(0.1))])
        labelled = store.label(row.id, "defect", "scratch", "seen by hand")
        assert labelled is not None
        assert labelled.to_dict()["corrected"]
        store.label(row.id, "normal")
        back = store.label(row.id, None)
        assert back is not None
        assert (back.truth, back.defect_type, back.note, back.labelled_at) == (None, None, None, None)
        store.label(row.id, None)  # nothing to take back: nothing is entered
        assert [(one.label, one.defect_type) for one in store.labels(row.id)] == [
            ("defect", "scratch"),
            ("normal", None),
            (None, None),
        ]
        assert store.label(999, "defect") is None

    def test_review_is_not_corrected(self, store: Store) -> None:
        [row] = store.add([inspection()])
        store.settle([(row.id, verdict(0.5, "review"))])
        labelled = store.label(row.id, "defect")
        assert labelled is not None
        assert not labelled.to_dict()["corrected"]

    def test_the_last_label_of_a_picture_wins(self, store: Store) -> None:
        rows = store.add(inspection(image_sha256="a" * 64) for _ in range(3))
        other = store.add([inspection(image_sha256="a" * 64, object_name="cable")])[0]
        for row, label in ((rows[1], "defect"), (rows[0], "normal"), (other, "defect")):
            store.label(row.id, label)
        assert [(row.id, row.truth) for row in store.labelled()] == [(rows[0].id, "normal"), (other.id, "defect")]
        assert [row.id for row in store.labelled("cable")] == [other.id]
        store.label(rows[0].id, None)
        assert [(row.id, row.truth) for row in store.labelled("tile")] == [(rows[1].id, "defect")]


def test_an_arrival_and_its_inspection_come_together(store: Store) -> None:
    fields = {"created_at": utc_now(), "folder": b"/in", "size": 1, "modified_ns": 2, "state": "inspected"}
    arrival = store.arrive(Arrival(source=b"\xff.png", delivery="waiting", **fields | {"state": "begun"}))
    begun = store.arrive(Arrival(source=b"b.png", delivery_id="b", **fields | {"state": "begun"}))
    store.conclude(arrival, inspection(state="done"))
    for one in (arrival, begun):
        store.take_back(one.delivery_id)  # only what has no verdict
    [found] = store.arrivals(b"/in")
    assert (found.source, found.state) == (b"\xff.png", "inspected")
    assert store.get(found.inspection_id or 0) is not None
    assert store.undelivered(b"/in") == []
    store.update_arrival(arrival.id, state="placed", destination=b"/out/x")
    [(told, about)] = store.undelivered(b"/in")
    assert about is not None
    assert (told.id, about.id) == (arrival.id, found.inspection_id)
    assert store.arrivals(b"/in") == []
    assert store.undelivered(b"/in", told.id) == []
    store.update_arrival(arrival.id, delivery="delivered")
    assert store.undelivered(b"/in") == []
