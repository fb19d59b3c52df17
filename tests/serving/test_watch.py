"""A watched folder: real files, a real receiver, a process that is really killed."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from watch_killed import PICTURES, ByBrightness

from lriad import Inspector
from lriad.errors import LriadError
from lriad.policy import Policy
from lriad.serving import store as store_module
from lriad.serving import watch as watch_module
from lriad.serving.station import Station
from lriad.serving.store import Store, StoreError
from lriad.serving.watch import SIDECAR, Handled, watch
from lriad.verdict import Verdict


@dataclass
class Receiver:
    """A webhook's other end.

    Attributes:
        told: What it took: path, headers and body.
        answer: The status for the n-th request, counted from 1.
    """

    address: str = ""
    told: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    answer: Callable[[int], int] = lambda number: 204
    asked: int = 0

    @property
    def ids(self) -> list[str]:
        return [body["id"] for _, _, body in self.told]


@contextmanager
def receiving(**fields: Any) -> Iterator[Receiver]:
    receiver = Receiver(**fields)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.asked += 1
            status = receiver.answer(receiver.asked)
            if status < 300:
                receiver.told.append((self.path, dict(self.headers), body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", receiver.address + "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        receiver.address = f"http://127.0.0.1:{http.server_port}"
        try:
            yield receiver
        finally:
            http.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With two pictures of a kind, a third, and what is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, grey in PICTURES.items():
        picture(folder / name, grey)
    (folder / "notes.txt").write_text("no picture")
    picture(folder / ".hidden.png", 3)
    return folder


def picture(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (8, 8), grey).save(path)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def look(folder: Path, store: Store) -> Callable[..., list[Handled]]:
    """Watch the folder once; the files that were handled."""

    def run(judge: Any = None, **settings: Any) -> list[Handled]:
        handled: list[Handled] = []
        given = {"object_name": "tile", "every": 0.01, "once": True, "report": handled.append}
        watch(folder, store, judge or ByBrightness(), **{**given, **settings})
        return handled

    return run


Look = Callable[..., list[Handled]]


class TestWithAPolicy:
    def test_gives_an_inspector_s_verdicts(
        self, store: Store, policy: Policy, parts: list[Path], tmp_path: Path
    ) -> None:
        incoming = tmp_path / "in"
        incoming.mkdir()
        for part in parts[:3]:
            shutil.copy2(part, incoming)
        inspector = Inspector(policy, mode="fast")
        counts = watch(incoming, store, inspector, object_name=" square", every=0.01, once=True, tag=True)
        assert sum(counts.values()) == 3
        for part in parts[:3]:
            told = json.loads((incoming / (part.name + SIDECAR)).read_text())
            verdict = inspector.inspect(part, "square")
            assert told["decision"] == verdict.decision
            assert told["inspection"]["p_defect"] == pytest.approx(verdict.p_defect, abs=1e-4)
            assert told["inspection"]["object_name"] == "square"
        assert store.page(truth="none", order="doubt").total == 3

    def test_goes_through_a_running_station(
        self, store: Store, policy: Policy, folder: Path, receiver: Receiver
    ) -> None:
        station = Station(store, policy, mode="fast")
        station.start()
        try:
            counts = watch(folder, store, station, object_name="tile", every=0.01, once=True, webhook=receiver.address)
        finally:
            station.close()
        assert sum(counts.values()) == 3
        assert store.page().total == 2
        assert len(receiver.told) == 3


class TestPlaces:
    def test_moves_by_decision_and_tells(self, look: Look, folder: Path, tmp_path: Path, receiver: Receiver) -> None:
        handled = look(move_to=tmp_path / "out", webhook=receiver.address + "/hook?key=1", tag=True)
        assert sorted((one.source.name, one.decision, one.again) for one in handled) == [
            ("a.png", "defect", False),
            ("b.png", "defect", True),
            ("c.png", "normal", False),
        ]
        assert files(folder) == [".hidden.png", "notes.txt"]
        moved = ["defect/a.png", "defect/b.png", "normal/c.png"]
        assert files(tmp_path / "out") == sorted([*moved, *(name + SIDECAR for name in moved)])
        told = {body["source"]: (path, headers, body) for path, headers, body in receiver.told}
        assert sorted(told) == sorted(PICTURES)
        path, headers, body = told["c.png"]
        assert path == "/hook?key=1"
        assert headers["Content-Type"] == "application/json"
        assert headers["Idempotency-Key"] == body["id"]
        assert (body["decision"], body["error"]) == ("normal", None)
        assert body["file"] == str(tmp_path / "out" / "normal" / "c.png")
        assert body["inspection"]["state"] == "done"
        assert json.loads((tmp_path / "out" / "normal" / ("c.png" + SIDECAR)).read_text()) == body
        assert len(set(receiver.ids)) == 3

    def test_never_overwrites(self, look: Look, folder: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        for name in ("a.png", "a_2.png"):
            (out / "defect").mkdir(parents=True, exist_ok=True)
            (out / "defect" / name).write_bytes(b"mine")
        look(move_to=out)
        assert files(out / "defect") == ["a.png", "a_2.png", "a_3.png", "b.png"]
        assert (out / "defect" / "a.png").read_bytes() == (out / "defect" / "a_2.png").read_bytes() == b"mine"
        picture(folder / "a.png", 200)
        look(move_to=out)
        assert files(out / "defect") == ["a.png", "a_2.png", "a_3.png", "a_4.png", "b.png"]

    def test_folders_in_it_are_kept_and_the_target_may_lie_in_it(
        self, look: Look, folder: Path, store: Store, tmp_path: Path
    ) -> None:
        picture(folder / "line 1" / "x.png", 30)
        (folder / "link").symlink_to(tmp_path)
        picture(tmp_path / "elsewhere.png", 3)
        (folder / "link.png").symlink_to(tmp_path / "elsewhere.png")
        look(move_to=folder)
        pictures = [name for name in files(folder) if name.endswith(".png") and not name.startswith(".")]
        assert pictures == ["defect/a.png", "defect/b.png", "link.png", "normal/c.png", "normal/line 1/x.png"]
        assert look(move_to=folder) == []
        assert store.page().total == 3

    def test_what_stays_is_handled_once_until_it_changes(self, look: Look, folder: Path, store: Store) -> None:
        assert len(look()) == 3
        assert look() == []
        picture(folder / "a.png", 10)
        [changed] = look()
        assert (changed.source.name, changed.decision) == ("a.png", "normal")
        os.utime(folder / "c.png")  # written again as it was: an arrival, but no second inspection
        [same] = look()
        assert (same.decision, same.again) == ("normal", True)
        assert store.page().total == 3

    def test_to_another_disk(self, look: Look, folder: Path, other_disk: Path) -> None:
        (other_disk / "defect").mkdir()
        (other_disk / "defect" / "a.png").write_bytes(b"mine")
        look(move_to=other_disk)
        assert files(other_disk) == ["defect/a.png", "defect/a_2.png", "defect/b.png", "normal/c.png"]
        assert files(folder) == [".hidden.png", "notes.txt"]

    def test_to_a_disk_without_hard_links(
        self, look: Look, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "out" / "defect").mkdir(parents=True)
        (tmp_path / "out" / "defect" / "a.png").write_bytes(b"mine")
        look(move_to=tmp_path / "out")
        assert files(tmp_path / "out") == ["defect/a.png", "defect/a_2.png", "defect/b.png", "normal/c.png"]
        assert (tmp_path / "out" / "defect" / "a.png").read_bytes() == b"mine"

    def test_names_that_are_no_text(self, look: Look, folder: Path, tmp_path: Path, receiver: Receiver) -> None:
        try:
            shutil.copy(folder / "c.png", os.fsencode(folder) + b"/\xff\xfe.png")
        except OSError:
            pytest.skip("this file system takes only names that are text")
        look(move_to=tmp_path / "out", webhook=receiver.address)
        assert b"\xff\xfe.png" in os.listdir(os.fsencode(tmp_path / "out" / "normal"))
        assert len(receiver.told) == 4

    def test_a_file_that_changes_meanwhile_is_another_arrival(
        self, look: Look, folder: Path, store: Store, tmp_path: Path
    ) -> None:
        class Slow(ByBrightness):
            def inspect(self, image: Path, object_name: str) -> Verdict:
                if image.read_bytes() == first:
                    picture(folder / "c.png", 210)  # overwritten while the model is at it
                return super().inspect(image, object_name)

        first = (folder / "c.png").read_bytes()
        handled = [one for one in look(Slow(), move_to=tmp_path / "out") if one.source.name == "c.png"]
        assert [(one.decision, one.error is None) for one in handled] == [("normal", False), ("defect", True)]
        assert files(tmp_path / "out") == ["defect/a.png", "defect/b.png", "defect/c.png"]
        assert store.page().total == 3

    @pytest.mark.parametrize("step", ["link", "rename"])
    def test_what_replaces_a_picture_while_it_is_moved_is_another_arrival(
        self, look: Look, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        real, waiting = getattr(os, step), [210] if step == "link" else [210, 30]

        def replace() -> None:
            picture(tmp_path / "new.png", waiting.pop(0))
            os.replace(tmp_path / "new.png", folder / "c.png")

        def between(source: Any, target: Any) -> None:
            ours = waiting and (Path(source).name == "c.png" or Path(target).name == "c.png")
            if ours and step == "rename":
                replace()
            real(source, target)
            if ours and waiting:
                replace()

        monkeypatch.setattr(os, step, between)
        look(move_to=tmp_path / "out")
        assert waiting == []
        assert files(folder) == [".hidden.png", "notes.txt"]
        moved = ["defect/a.png", "defect/b.png", "defect/c.png", "normal/c.png"]
        if step == "rename":  # the first has become the second, which was put back beside the third
            moved = ["defect/a.png", "defect/b.png", "defect/c_2.png", "normal/c.png"]
        assert files(tmp_path / "out") == moved

    def test_the_store_may_lie_in_the_folder_but_not_the_folder_in_the_store(
        self, folder: Path, tmp_path: Path
    ) -> None:
        store = Store(folder / "station")
        settings: dict[str, Any] = {"object_name": "tile", "every": 0.01, "once": True, "move_to": tmp_path / "out"}
        for _ in range(2):
            watch(folder, store, ByBrightness(), **settings)
        kept = [name for name in files(store.folder) if name.startswith("images/")]
        assert len(kept) == store.page().total == 2
        for inside in (store.folder, store.folder / "images"):
            with pytest.raises(LriadError, match="watch another folder"):
                watch(inside, store, ByBrightness(), **settings)
        store.close()

    @pytest.mark.parametrize("where", ["normal", "defect/line 1"])
    def test_what_was_moved_is_not_moved_again(self, store: Store, tmp_path: Path, where: str) -> None:
        picture(tmp_path / where / "a.png", 20)
        with pytest.raises(LriadError, match="watch another folder"):
            watch(tmp_path / where, store, ByBrightness(), object_name="tile", move_to=tmp_path, once=True)

    def test_a_place_that_cannot_be_had_is_given_up_until_the_next_start(
        self, look: Look, folder: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "out").write_text("a file")
        handled = look(move_to=tmp_path / "out")
        assert [(one.decision, one.place == one.source) for one in handled] == [("failed", True)] * 3
        assert all("cannot be put in its place" in str(one.error) for one in handled)
        assert files(folder) == [".hidden.png", "a.png", "b.png", "c.png", "notes.txt"]
        (tmp_path / "out").unlink()
        assert [one.decision for one in look(move_to=tmp_path / "out")] == ["defect", "defect", "normal"]
        assert files(folder) == [".hidden.png", "notes.txt"]

    @pytest.mark.parametrize("changed", [False, True])
    def test_a_kill_while_a_picture_is_put_back(
        self, look: Look, folder: Path, store: Store, tmp_path: Path, changed: bool
    ) -> None:
        (tmp_path / "out").write_text("a file")
        look(move_to=tmp_path / "out")
        for arrival in store.arrivals(os.fsencode(folder.resolve())):
            os.link(folder / os.fsdecode(arrival.source), folder / f".lriad-{arrival.delivery_id}")
        if changed:
            picture(folder / "c.png", 210)
        (tmp_path / "out").unlink()
        look(move_to=tmp_path / "out")
        assert files(folder) == [".hidden.png", "notes.txt"]
        third = "defect/c.png" if changed else "normal/c.png"
        assert files(tmp_path / "out") == ["defect/a.png", "defect/b.png", third]

    def test_a_name_that_leaves_none_for_the_verdict(self, look: Look, folder: Path, tmp_path: Path) -> None:
        name = "x" * 250 + ".png"
        picture(folder / name, 30)
        failed = [one for one in look(move_to=tmp_path / "out", tag=True) if one.decision == "failed"]
        assert [one.place for one in failed] == [tmp_path / "out" / "normal" / name]


class TestKnownPictures:
    def test_are_judged_again_by_another_judge(self, look: Look, folder: Path, store: Store) -> None:
        class Stricter(ByBrightness):
            threshold_in_use = 0.4

            def inspect(self, image: Path, object_name: str) -> Verdict:
                return dataclasses.replace(super().inspect(image, object_name), threshold=0.4)

        look()
        for judge, again in ((Stricter(), False), (Stricter(), True), (ByBrightness(), True)):
            os.utime(folder / "c.png")
            [handled] = look(judge)
            assert handled.again == again
        assert store.page().total == 3

    def test_a_product_has_one_spelling(self, look: Look, folder: Path, store: Store) -> None:
        judge = ByBrightness()
        judge.calibration = SimpleNamespace(object_names=(" Tile",), sha256="c")
        look(judge, object_name="TILE")
        judge.memory = SimpleNamespace(object_name="tile", sha256="m")
        picture(folder / "d.png", 30)
        look(judge, object_name="TILE")
        picture(folder / "e.png", 31)
        look(judge, object_name="nut")
        assert store.products() == ["Tile", "nut", "tile"]

    @pytest.mark.parametrize("full", [False, True])
    def test_keep_their_heat_maps(self, look: Look, store: Store, full: bool) -> None:
        class WithMemory(ByBrightness):
            def inspect(self, image: Path, object_name: str) -> Verdict:
                seen = {"heatmap": np.ones((2, 2), np.float32), "boxes": ((1, 2, 3, 4),)}
                return dataclasses.replace(super().inspect(image, object_name), **seen)

        if full:
            (store.folder / "maps").rmdir()
        assert [one.decision for one in look(WithMemory())] == ["defect", "defect", "normal"]
        for row in store.page().inspections:
            kept = store.load_map(row.id)
            assert (kept is None) == full
            if kept is not None:
                np.testing.assert_array_equal(kept[0], np.ones((2, 2)))
                assert kept[1] == [(1, 2, 3, 4)]


class TestReadiness:
    def test_half_a_file_waits_until_it_is_whole(self, look: Look, folder: Path) -> None:
        whole = (folder / "c.png").read_bytes()
        (folder / "c.png").write_bytes(whole[:40])
        looks = 0
        real = watch_module._Watcher._look

        def counted(self: Any, *where: bytes) -> Any:
            nonlocal looks
            looks += not where
            if looks == 5:
                (folder / "c.png").write_bytes(whole)  # the rest has come
            return real(self, *where)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watch_module._Watcher, "_look", counted)
            handled = {one.source.name: one.decision for one in look()}
        assert handled == {"a.png": "defect", "b.png": "defect", "c.png": "normal"}

    def test_what_stays_unreadable_is_told_once(
        self, look: Look, folder: Path, store: Store, receiver: Receiver
    ) -> None:
        (folder / "torn.png").write_bytes((folder / "c.png").read_bytes()[:40])
        (folder / "empty.jpg").write_bytes(b"")
        failed = [one for one in look(webhook=receiver.address) if one.decision == "failed"]
        assert sorted(one.source.name for one in failed) == ["empty.jpg", "torn.png"]
        assert all(one.error and str(store.folder) not in one.error for one in failed)
        told = [body for _, _, body in receiver.told if body["decision"] == "failed"]
        assert sorted(body["source"] for body in told) == ["empty.jpg", "torn.png"]
        assert all(body["error"] for body in told)
        assert look(webhook=receiver.address) == []
        assert len(receiver.told) == 5
        picture(folder / "torn.png", 7)
        [mended] = look(webhook=receiver.address)
        assert mended.decision == "normal"

    def test_a_judge_s_error_fails_one_file(self, look: Look, folder: Path) -> None:
        class Picky(ByBrightness):
            def inspect(self, image: Path, object_name: str) -> Verdict:
                verdict = super().inspect(image, object_name)
                if verdict.decision == "normal":
                    raise LriadError("of another shape")
                return verdict

        handled = {one.source.name: (one.decision, one.error) for one in look(Picky())}
        assert handled["c.png"] == ("failed", "of another shape")
        assert handled["a.png"] == ("defect", None)

    def test_an_unreadable_folder_stops_only_itself(
        self, look: Look, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (folder / "locked").mkdir()
        closed, real = folder / "locked", os.scandir

        def scandir(path: Any) -> Any:
            if os.fspath(path).rstrip(b"/") == os.fsencode(closed):
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, "scandir", scandir)
        assert len(look()) == 3
        assert [record.getMessage().partition(": ")[0] for record in caplog.records] == [str(closed)]
        closed = folder
        with pytest.raises(PermissionError):
            look()

    @pytest.mark.parametrize("kind", ["pipe", "link"])
    def test_what_is_no_file_any_more_is_not_opened(
        self, look: Look, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        real = watch_module._Watcher._take

        def take(self: Any, stand: Any, **more: Any) -> None:
            path = folder / "c.png"
            if stand.source == b"c.png" and not path.is_symlink() and path.is_file():
                path.rename(tmp_path / "moved.png")
                if kind == "pipe":
                    os.mkfifo(path)
                else:
                    path.symlink_to(tmp_path / "moved.png")
            real(self, stand, **more)

        monkeypatch.setattr(watch_module._Watcher, "_take", take)
        assert sorted(one.source.name for one in look()) == ["a.png", "b.png"]

    def test_arrivals_are_seen_while_it_runs(self, folder: Path, store: Store, tmp_path: Path) -> None:
        stop, came = threading.Event(), threading.Event()

        def report(handled: Handled) -> None:
            if handled.source.name == "late.png":
                came.set()

        arguments: dict[str, Any] = {"object_name": "tile", "every": 0.01, "report": report, "stop": stop}
        thread = threading.Thread(target=watch, args=(folder, store, ByBrightness()), kwargs=arguments)
        thread.start()
        picture(folder / "late.png", 50)
        assert came.wait(60)
        with pytest.raises(LriadError, match="another process watches"):
            watch(folder, store, ByBrightness(), object_name="tile")
        shutil.rmtree(folder)  # a share that goes away ends nothing
        picture(folder / "late.png", 60)
        came.clear()
        assert came.wait(60)
        stop.set()
        thread.join(60)
        assert not thread.is_alive()


class TestTelling:
    def test_what_was_not_taken_is_told_again_and_nothing_else(self, look: Look, folder: Path) -> None:
        with receiving(answer=lambda number: 503) as down:
            assert len(look(webhook=down.address)) == 3
            assert down.told == []
            assert down.asked >= 3  # more than one attempt
        with receiving(answer=lambda number: 204 if number == 1 else 307) as picky:
            assert look(webhook=picky.address) == []
            assert len(picky.told) == 1
            assert picky.asked >= 3  # what is refused does not hold up the others
        with receiving() as up:
            look(webhook=up.address)
            assert len(up.told) == 2
            assert len({*picky.ids, *up.ids}) == 3
            look(webhook=up.address)
            assert up.asked == 2

    def test_what_is_refused_for_good_is_told_once(
        self, look: Look, folder: Path, store: Store, receiver: Receiver
    ) -> None:
        receiver.answer = lambda number: 404
        look(webhook=receiver.address)
        look(webhook=receiver.address)
        assert receiver.asked == 3
        assert {(one.delivery, one.error) for one in store.arrivals(os.fsencode(folder.resolve()))} == {
            ("refused", "the webhook answered 404")
        }

    def test_a_request_that_took_too_long_is_told_again(self, look: Look, receiver: Receiver) -> None:
        receiver.answer = lambda number: 408 if number == 1 else 204
        look(webhook=receiver.address)
        assert len(receiver.told) == 3

    def test_is_read_in_rounds(self, look: Look, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "_ROUND", 1)
        receiver.answer = lambda number: 503
        look(webhook=receiver.address)
        asked = receiver.asked
        receiver.answer = lambda number: 307 if number == asked + 1 else 204
        look(webhook=receiver.address)
        look(webhook=receiver.address)
        assert len(set(receiver.ids)) == len(receiver.told) == 3

    def test_nobody_there_is_no_end(self, look: Look, store: Store) -> None:
        with receiving() as gone:
            address = gone.address
        assert len(look(webhook=address)) == 3
        assert store.page().total == 2

    def test_follows_no_redirect(self, look: Look, receiver: Receiver) -> None:
        receiver.answer = lambda number: 307
        look(webhook=receiver.address)
        assert receiver.told == []
        assert receiver.asked >= 3

    def test_a_slow_receiver_holds_up_no_inspection(self, folder: Path, store: Store) -> None:
        gate, asked = threading.Event(), threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked.set()
                assert gate.wait(60)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        stop, handled = threading.Event(), threading.Semaphore(0)
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
            server = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
            server.start()
            settings: dict[str, Any] = {
                "object_name": "tile",
                "every": 0.01,
                "stop": stop,
                "webhook": f"http://127.0.0.1:{http.server_port}",
                "report": lambda _: handled.release(),
            }
            thread = threading.Thread(target=watch, args=(folder, store, ByBrightness()), kwargs=settings)
            thread.start()
            assert asked.wait(60)
            for _ in range(3):
                assert handled.acquire(timeout=60)
            picture(folder / "later.png", 90)
            assert handled.acquire(timeout=60)
            stop.set()
            gate.set()
            thread.join(60)
            http.shutdown()
            server.join()
        assert not thread.is_alive()

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("ftp://user:secret@host/secret?secret", " ftp://host"),
            ("host/secret", ""),
            ("file:///etc/secret", ""),
            ("http://", ""),
            ("javascript:secret", ""),
            ("http://[secret", ""),
            ("https://host:secret/", " https://host"),
        ],
    )
    def test_only_http_and_no_secret_is_shown(self, look: Look, address: str, shown: str) -> None:
        with pytest.raises(LriadError) as caught:
            look(webhook=address)
        assert str(caught.value) == f"webhook{shown}: expected an address such as https://HOST/PATH"


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev or not os.access(memory, os.W_OK):
        pytest.skip("no second file system to move to")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("far", [False, True], ids=["one disk", "two disks"])
def test_killed_anywhere_it_handles_each_file_once(
    tmp_path: Path, receiver: Receiver, far: bool, request: pytest.FixtureRequest
) -> None:
    other = request.getfixturevalue("other_disk") if far else None
    script = Path(__file__).parents[1] / "watch_killed.py"
    command = [sys.executable, str(script), str(tmp_path), str(other or ""), receiver.address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    points = [int(line) for line in done.stdout.split()]
    assert len(points) > 25
    for point in points:
        folder = tmp_path / f"killed-{point}"
        out = (other or folder) / f"out-{point}"
        assert files(folder / "in") == [], point
        moved = ["defect/a.png", "defect/b.png", "normal/c.png"]
        assert files(out) == sorted([*moved, *(name + SIDECAR for name in moved)]), point
        store = Store(folder / "store")
        assert store.page().total == 2, point  # two pictures, one of them twice
        assert {row.state for row in store.page().inspections} == {"done"}
        assert store.undelivered(os.fsencode((folder / "in").resolve())) == []
        told = {body["id"]: body for path, _, body in receiver.told if path == f"/{point}"}
        assert sorted(body["source"] for body in told.values()) == sorted(PICTURES), point  # each under one id
        assert sorted(body["file"] for body in told.values()) == sorted(str(out / name) for name in moved)
        store.close()


def test_a_picture_that_kills_the_process_does_not_stop_the_line(
    look: Look, folder: Path, store: Store, receiver: Receiver
) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from watch_killed import *\n"
        "class Deadly(ByBrightness):\n"
        "    def inspect(self, image, object_name):\n"
        "        if b'DEADLY' in image.read_bytes(): os.kill(os.getpid(), 9)\n"
        "        return super().inspect(image, object_name)\n"
        "watch(sys.argv[2], Store(sys.argv[3]), Deadly(), object_name='tile', every=0.001, once=True)\n"
    )
    deadly = (folder / "a.png").read_bytes() + b"DEADLY"
    (folder / "first.png").write_bytes(deadly)
    os.utime(folder / "first.png", (1, 1))  # the oldest: it comes first
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(folder), str(store.folder)]
    ends = [subprocess.run(command, check=False, timeout=120).returncode for _ in range(4)]
    assert ends == [-9, -9, -9, 0]
    assert store.page().total == 2
    assert [one.error for one in store.arrivals(os.fsencode(folder.resolve())) if one.state == "failed"] == [
        "given up: 3 times the process ended while it was inspected"
    ]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), StoreError("held by another"), OSError(5, "I/O error")])
def test_what_the_process_survives_is_no_death(look: Look, folder: Path, store: Store, error: BaseException) -> None:
    class Interrupted(ByBrightness):
        def inspect(self, image: Path, object_name: str) -> Verdict:
            raise error

    (folder / "b.png").unlink()
    (folder / "c.png").unlink()
    for _ in range(4):
        if isinstance(error, OSError):
            assert [one.decision for one in look(Interrupted())] == ["failed"]
        else:
            with pytest.raises(type(error)):
                look(Interrupted())
    assert store.arrivals(os.fsencode(folder.resolve())) == []
    assert [one.decision for one in look()] == ["defect"]


def test_what_could_not_be_taken_back_is_before_the_next_picture(
    look: Look, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = Store.take_back, [StoreError("held by another")]

    def take_back(self: Store, delivery_id: str) -> None:
        if refusals:
            raise refusals.pop()
        real(self, delivery_id)

    class Picky(ByBrightness):
        def inspect(self, image: Path, object_name: str) -> Verdict:
            if refusals:
                raise LriadError("not this one")
            return super().inspect(image, object_name)

    monkeypatch.setattr(Store, "take_back", take_back)
    look(Picky())
    states = [one.state for one in store.arrivals(os.fsencode(folder.resolve()))]
    assert sorted(states) == ["failed", "placed", "placed"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"every": 0}, "every"), ({"object_name": ""}, "object name"), ({"object_name": "a\nb"}, "object name")],
)
def test_settings_out_of_their_range(look: Look, settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(LriadError, match=reason):
        look(**settings)


def test_a_folder_that_is_not_there(store: Store, tmp_path: Path) -> None:
    with pytest.raises(LriadError, match="no such folder"):
        watch(tmp_path / "none", store, ByBrightness(), object_name="tile")


def test_what_the_judge_refuses_is_told_by_the_files_own_name(look: Look, folder: Path) -> None:
    class Refusing(ByBrightness):
        def inspect(self, image: Path, object_name: str) -> Verdict:
            raise LriadError(f"{image}: this image is in colour")

    (folder / "b.png").unlink()
    (folder / "c.png").unlink()
    [handled] = look(Refusing())
    assert (handled.source.name, handled.error) == ("a.png", "this image is in colour")
