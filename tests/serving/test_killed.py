"""A station that is killed: what it had answered is there, what it had accepted is judged after the next start."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image
from watch_killed import ByBrightness

from lriad.data.image import file_sha256
from lriad.errors import LriadError
from lriad.policy import Policy
from lriad.serving.engine import Job
from lriad.serving.station import Station
from lriad.serving.store import Inspection, Store, utc_now
from lriad.serving.watch import watch

_SERVE = (
    "import sys; from lriad.serving.api import Settings; from lriad.serving.serve import serve\n"
    "from lriad.serving.store import Store\n"
    "serve(Store(sys.argv[1]), Settings(timeout=float(sys.argv[2])), port=0, mode='fast')\n"
)


@contextmanager
def process(folder: Path, timeout: float = 60) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A station in a process of its own, and its address; it is killed at the end of the block."""
    command = [sys.executable, "-c", _SERVE, str(folder), str(timeout)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        said = ""
        try:
            for line in running.stderr:
                said += line
                if found := re.match(r"station: (http://127\.0\.0\.1:\d+)", line):
                    yield running, found[1]
                    break
            else:
                raise AssertionError(said)
        finally:
            running.kill()


def post(address: str, part: Path) -> dict[str, Any]:
    answer = requests.post(
        f"{address}/api/inspections",
        files=[("files", (part.name, part.read_bytes()))],
        data={"object_name": "square"},
        timeout=60,
    )
    assert answer.status_code in (200, 202)
    entry: dict[str, Any] = answer.json()["inspections"][0]
    return entry


def test_a_killed_station_loses_nothing_that_it_answered(tmp_path: Path, parts: list[Path]) -> None:
    folder = tmp_path / "store"
    answered: list[dict[str, Any]] = []
    enough = threading.Event()
    with process(folder, timeout=0) as (running, address):

        def client(number: int) -> None:
            while True:
                try:
                    answered.append(post(address, parts[(number + len(answered)) % 12]))
                except (requests.RequestException, AssertionError):
                    return
                if len(answered) >= 25:
                    enough.set()

        clients = [threading.Thread(target=client, args=(number,)) for number in range(4)]
        for thread in clients:
            thread.start()
        assert enough.wait(60)
        running.send_signal(signal.SIGKILL)
        for thread in clients:
            thread.join()
    left = Store(folder)
    assert left.pending()  # else the kill came too late to show anything
    for entry in answered:
        kept = left.get(entry["id"])
        assert kept is not None
        assert file_sha256(left.picture(kept.image_sha256, kept.extension)) == kept.image_sha256
    left.close()

    with process(folder) as (_, address):
        last = post(address, parts[0])  # waits its turn behind those that were left
        assert last["state"] == "done"
        while [row for row in (get(address, entry["id"]) for entry in answered) if row["state"] == "pending"]:
            pass
        found = {entry["id"]: get(address, entry["id"]) for entry in answered}
    assert {row["state"] for row in found.values()} == {"done"}
    for entry in answered:
        assert found[entry["id"]]["image_sha256"] == entry["image_sha256"]


def get(address: str, id_: int) -> dict[str, Any]:
    row: dict[str, Any] = requests.get(f"{address}/api/inspections/{id_}", timeout=60).json()
    return row


def test_ends_when_told_to_and_leaves_the_store_free(tmp_path: Path, parts: list[Path], policy: Policy) -> None:
    with process(tmp_path / "store") as (running, address):
        assert post(address, parts[0])["decision"]
        second = Station(Store(tmp_path / "store"), policy, mode="fast")
        with pytest.raises(LriadError, match="another process serves this store"):
            second.start()
        running.terminate()
        assert running.wait(60) in (0, -signal.SIGTERM)
        second.start()
        second.close()


def test_a_picture_that_kills_the_process_does_not_do_so_for_ever(
    store: Store, policy: Policy, parts: list[Path]
) -> None:
    with parts[0].open("rb") as stream:
        incoming = store.receive(stream)
    store.adopt(incoming, "png")
    fields: dict[str, Any] = {"created_at": utc_now(), "object_name": "square", "state": "pending"}
    picture: dict[str, Any] = {"image_sha256": incoming.sha256, "extension": "png", "width": 64, "height": 64}
    deadly, sound = store.add(Inspection(name=name, **fields, **picture) for name in ("deadly", "sound"))
    for _ in range(3):
        store.count_attempt(deadly.id)  # as by three processes that died on it
    station = Station(store, policy, mode="fast")
    resumed = threading.Event()
    put = station.engine.put

    def watched(job: Job) -> None:
        put(job)
        job.future.add_done_callback(lambda _: resumed.set())

    station.engine.put = watched  # type: ignore[method-assign]
    station.start()
    assert resumed.wait(60)
    station.close()
    rows = store.get_all([deadly.id, sound.id])
    assert [row.state for row in rows] == ["failed", "done"]
    assert "given up" in str(rows[0].error)


def test_a_station_and_a_watch_share_a_store(tmp_path: Path, parts: list[Path]) -> None:
    incoming = tmp_path / "in"
    incoming.mkdir()
    for number in range(40):
        Image.new("L", (8, 8), 5 * number).save(incoming / f"{number}.png")
    with process(tmp_path / "store") as (_, address):
        store = Store(tmp_path / "store")
        arguments: dict[str, Any] = {"object_name": "tile", "every": 0.01, "once": True, "move_to": tmp_path / "out"}
        watching = threading.Thread(target=watch, args=(incoming, store, ByBrightness()), kwargs=arguments)
        watching.start()
        sent = [post(address, part)["id"] for part in parts]
        watching.join(120)
        assert not list(incoming.iterdir())
        products = requests.get(f"{address}/api/statistics", timeout=60).json()["products"]
        counts = {one["object_name"]: one for one in products}
        assert (counts["square"]["inspected"], counts["tile"]["inspected"]) == (12, 40)
        assert {row.object_name for row in store.get_all(sent)} == {"square"}
        store.close()
