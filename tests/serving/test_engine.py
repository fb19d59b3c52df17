"""The engine: batches, places, and a thread that lives on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lriad.errors import LriadError
from lriad.inspection.inspector import Inspector, Part
from lriad.policy import Policy
from lriad.serving import engine as engine_module
from lriad.serving.engine import Broken, Busy, Engine, Job
from lriad.verdict import Verdict


@pytest.fixture(scope="module")
def inspector(policy: Policy) -> Inspector:
    return Inspector(policy, mode="fast", batch_size=4)


@pytest.fixture
def settled() -> list[tuple[Job, Any]]:
    return []


@pytest.fixture
def engine(settled: list[tuple[Job, Any]]) -> Iterator[Engine]:
    def settle(jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
        settled.extend(zip(jobs, outcomes, strict=True))

    with ThreadPoolExecutor(2) as readers:
        engine = Engine(settle, readers, capacity=6)
        yield engine
        engine.close()


@pytest.fixture
def job(inspector: Inspector, parts: list[Path]) -> Callable[..., Job]:
    def make(number: int = 0, prepared: bool = True, **more: Any) -> Job:
        given = {"inspector": inspector, **more}
        part = given["inspector"].prepare(parts[number], "square") if prepared else None
        return Job(image=parts[number], object_name="square", group=None, part=part, **given)

    return make


def test_judges_what_waits_together(engine: Engine, job: Callable[..., Job], settled: list[Any]) -> None:
    jobs = [job(number, prepared=number % 2 == 0) for number in range(6)]
    with engine.places(6) as places:
        for one in jobs:
            places.hold(one)
            places.put(one)
    assert engine._part_bytes == 3 * engine_module._bytes_of(jobs[0].part) > 0
    sizes = []
    settle = engine._settled
    engine._settled = lambda batch, outcomes: (sizes.append(len(batch)), settle(batch, outcomes))
    engine.start()
    verdicts = [one.future.result(60) for one in jobs]
    assert sizes == [4, 2]
    assert all(isinstance(verdict, Verdict) for verdict in verdicts)
    assert [one for one, _ in settled] == jobs
    assert engine.waiting == 0
    assert engine._part_bytes == 0
    assert [one.part for one in jobs] == [None] * 6  # Who waits for the verdicts holds the jobs.


def test_inspectors_have_batches_of_their_own(
    engine: Engine, job: Callable[..., Job], policy: Policy, settled: list[Any]
) -> None:
    other = Inspector(policy, mode="fast", batch_size=4, threshold=0.0)
    jobs = [job(number, inspector=other) if number % 2 else job(number) for number in range(6)]
    with engine.places(6) as places:
        for one in jobs:
            places.put(one)
    engine.start()
    for one in jobs:
        verdict = one.future.result(60)
        assert (verdict.threshold == 0.0) == (one.inspector is other)
    assert [one for one, _ in settled] == jobs[::2] + jobs[1::2]  # the oldest's inspector first


def test_places_are_bounded_and_given_back(engine: Engine, job: Callable[..., Job]) -> None:
    with engine.places(4) as places:
        places.put(job())
        assert engine.waiting == 4
        with pytest.raises(Busy) as busy, engine.places(3):
            pass
        assert busy.value.retry_after >= 1
        with engine.places(2):
            assert engine.waiting == 6
    assert engine.waiting == 1
    with pytest.raises(ZeroDivisionError), engine.places(5):
        raise ZeroDivisionError
    assert engine.waiting == 1


def test_cancelled_work_is_never_begun(engine: Engine, job: Callable[..., Job], settled: list[Any]) -> None:
    jobs = [job(number) for number in range(3)]
    with engine.places(3) as places:
        for one in jobs:
            places.hold(one)
            places.put(one)
    assert engine.cancel(jobs[:2]) == jobs[:2]
    assert engine.waiting == 1
    assert [one.part is None for one in jobs] == [True, True, False]
    assert engine._part_bytes == engine_module._bytes_of(jobs[2].part)
    engine.start()
    jobs[2].future.result(60)
    assert [one for one, _ in settled] == jobs[2:]
    assert engine.cancel(jobs[2:]) == []
    with pytest.raises(CancelledError):
        jobs[0].future.result()


def test_lives_on_after_what_goes_wrong(
    engine: Engine, job: Callable[..., Job], policy: Policy, tmp_path: Path, settled: list[Any]
) -> None:
    engine.start()
    broken = Inspector(policy, mode="fast", batch_size=1)
    broken.judge = lambda parts, size: 1 / 0  # type: ignore[method-assign]
    first = job(inspector=broken)
    missing = job(prepared=False)
    missing.image = tmp_path / "gone.png"
    for one in (first, missing):
        engine.put(one)
    assert isinstance(first.future.result(60), Broken)
    outcome = missing.future.result(60)
    assert isinstance(outcome, LriadError)
    assert not isinstance(outcome, Broken)
    assert len(settled) == 2

    def fails(jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
        raise LriadError("the disk is full")

    works, engine._settled = engine._settled, fails
    unstored = job()
    engine.put(unstored)
    with pytest.raises(LriadError, match="disk is full"):
        unstored.future.result(60)
    engine._settled = works
    last = job()
    engine.put(last)
    assert isinstance(last.future.result(60), Verdict)
    assert engine.alive


def test_explains_in_its_turn(engine: Engine, job: Callable[..., Job], settled: list[Any]) -> None:
    jobs = [job(0), job(1, explain=True, prepared=False), job(2)]
    for one in jobs:
        engine.put(one)
    engine.start()
    heatmap, boxes = jobs[1].future.result(60)
    assert heatmap.ndim == 2
    assert all(len(box) == 4 for box in boxes)
    assert [one for one, _ in settled] == [jobs[0], jobs[2], jobs[1]]


def test_pictures_beyond_what_may_be_held_are_prepared_again(
    engine: Engine, job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = job().part
    assert isinstance(one, Part)
    monkeypatch.setattr(engine_module, "_PART_BYTES", 2 * engine_module._bytes_of(one))
    jobs = [job(number) for number in range(4)]
    with engine.places(4) as places:
        for each in jobs:
            places.hold(each)  # counted here: a request prepares all of its pictures before the first one waits
        assert [each.part is None for each in jobs] == [False, False, True, True]
        for each in jobs:
            places.put(each)
    engine.start()
    assert all(isinstance(each.future.result(60), Verdict) for each in jobs)
    assert engine._part_bytes == 0


def test_what_a_failed_request_held_is_given_back(engine: Engine, job: Callable[..., Job]) -> None:
    first, second, late = (job(number) for number in range(3))
    with engine.places(3) as places:
        for one in (first, second):
            places.hold(one)
        places.put(first)
    places.hold(late)  # a reader that was still at it
    assert (second.part, late.part) == (None, None)
    assert engine._part_bytes == engine_module._bytes_of(first.part) > 0
    assert engine.waiting == 1


def test_closing_ends_the_batch_and_leaves_the_rest(engine: Engine, job: Callable[..., Job], policy: Policy) -> None:
    slow = Inspector(policy, mode="fast", batch_size=1)
    judge, begun, gate = slow.judge, threading.Event(), threading.Event()

    def wait(parts: Sequence[Any], size: int) -> list[Any]:
        begun.set()
        assert gate.wait(60)
        return judge(parts, size)

    slow.judge = wait  # type: ignore[method-assign]
    jobs = [job(number, inspector=slow) for number in range(2)]
    for one in jobs:
        engine.put(one)
    engine.start()
    assert begun.wait(60)
    closing = threading.Thread(target=engine.close)
    closing.start()
    gate.set()
    closing.join(60)
    assert isinstance(jobs[0].future.result(60), Verdict)
    assert jobs[1].future.cancelled()
    late = job()
    engine.put(late)
    assert late.future.cancelled()
