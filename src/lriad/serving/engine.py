"""The one thread that owns the model, and the bounded queue in front of it."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lriad.data._files import show
from lriad.errors import LriadError

if TYPE_CHECKING:
    from lriad.inspection import Inspector
    from lriad.inspection.inspector import Part

_log = logging.getLogger(__name__)

_PART_BYTES = 512 << 20
"""Of prepared pictures that wait; beyond, a picture is prepared again when its turn comes."""
_WITH_CROPS = 16
"""Pictures that go through the model together where a memory compares them, whose pixels are held meanwhile."""
_UNKNOWN_TOKENS = 1024
_LONGEST_WAIT = 60
"""Seconds that a client is asked to wait at most before it tries again."""


class Broken(LriadError):
    """A defect of the program, of which clients see no more than that."""

    def __init__(self) -> None:
        super().__init__("an unexpected error: the station's log shows it")


class Busy(LriadError):
    """The queue is full.

    Attributes:
        retry_after: Seconds until about half of it will be done.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many pictures are waiting; try again in {retry_after} s")
        self.retry_after = retry_after


@dataclass(eq=False, slots=True)
class Job:
    """One picture to judge, or to explain.

    Attributes:
        inspector: Whose model does it.
        image: The picture's file, which stays as it is.
        object_name, group: As for `Inspector.prepare`.
        id: Of the inspection; None for one that is not in the store.
        part: The prepared picture; None to have it prepared when its turn comes, and once that has come.
        held: Bytes of the prepared picture that count among those that wait; see `Places.hold`.
        explain: Whether a heat-map is wanted in place of a verdict.
        since: When it was accepted, by `time.monotonic`.
        future: The `Verdict`, or the heat-map and its boxes; or an `LriadError`, as a result or as an exception.
    """

    inspector: Inspector
    image: Path
    object_name: str
    group: str | None
    id: int | None = None
    part: Part | LriadError | None = None
    held: int = 0
    explain: bool = False
    since: float = field(default_factory=time.monotonic)
    future: Future[Any] = field(default_factory=Future)


class Places:
    """Places in an engine's queue, held for jobs that are still to be made; made by `Engine.places`."""

    def __init__(self, engine: Engine, count: int) -> None:
        self._engine = engine
        self._left = count
        self._held: set[Job] = set()

    def hold(self, job: Job) -> None:
        """Count a job's prepared picture among those that wait, or take it away where they are too many already.

        May be called from several threads.
        """
        engine, size = self._engine, _bytes_of(job.part)
        with engine._changed:
            if self._left == 0 or engine._part_bytes + size > _PART_BYTES:
                job.part = None
                return
            engine._part_bytes += size
            job.held = size
            self._held.add(job)

    def put(self, job: Job) -> None:
        """Let a job wait in one of the places."""
        engine = self._engine
        with engine._changed:
            assert self._left > 0
            self._left -= 1
            engine._reserved -= 1
            self._held.discard(job)
            engine._put(job)

    def give_back(self) -> None:
        """Free the places that were not used, and what was held for them."""
        engine = self._engine
        with engine._changed:
            engine._reserved -= self._left
            self._left = 0
            for job in self._held:
                engine._drop(job)
            self._held.clear()


class Engine:
    """Judges what waits, in batches of one inspector's, the oldest first.

    Args:
        settled: Called in the engine's thread with each batch and its outcomes, before their futures are resolved:
            what it raises is their exception. One outcome a job: what `Inspector.judge` or `explain` gave.
        readers: Prepare pictures that come without a part.
        capacity: Pictures that may wait.
    """

    def __init__(
        self,
        settled: Callable[[Sequence[Job], Sequence[Any]], None],
        readers: ThreadPoolExecutor,
        capacity: int,
    ) -> None:
        self._settled = settled
        self._readers = readers
        self.capacity = capacity
        self._waiting: deque[Job] = deque()
        self._reserved = 0
        self._part_bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._sizes: dict[Inspector, int] = {}
        self._seconds = 0.1  # A picture takes, on the average of late.
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def close(self) -> None:
        """End after the batch that is under way; what waits stays unjudged, its futures cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        self.cancel(list(self._waiting))

    @property
    def alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Pictures that wait, and those that places are held for."""
        return len(self._waiting) + self._reserved

    @contextmanager
    def places(self, count: int) -> Iterator[Places]:
        """Places in the queue, to be had before the work of reading the pictures is done; unused ones are given back.

        Raises:
            Busy: There are not as many.
        """
        with self._changed:
            if self.waiting + count > self.capacity:
                raise Busy(max(1, min(_LONGEST_WAIT, math.ceil(self.waiting * self._seconds / 2))))
            self._reserved += count
        places = Places(self, count)
        try:
            yield places
        finally:
            places.give_back()

    def put(self, job: Job) -> None:
        """Let a job wait, however many do: for work that was accepted before."""
        with self._changed:
            self._put(job)

    def _put(self, job: Job) -> None:
        if self._closed:
            job.future.cancel()
            self._drop(job)
            return
        self._waiting.append(job)
        self._changed.notify_all()

    def _drop(self, job: Job) -> None:
        """Let go of a job's prepared picture."""
        self._release(job)
        job.part = None

    def _release(self, job: Job) -> None:
        self._part_bytes -= job.held
        job.held = 0

    def cancel(self, jobs: Sequence[Job]) -> list[Job]:
        """Take jobs out of the queue; returns those that were not begun yet, and now never are."""
        with self._changed:
            cancelled = [job for job in jobs if job.future.cancel()]
            for job in cancelled:
                if job in self._waiting:
                    self._waiting.remove(job)
                self._drop(job)
        return cancelled

    # --- the engine's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while batch := self._next_batch():
            start = time.perf_counter()
            try:
                outcomes = self._outcomes(batch)
            except LriadError as error:
                outcomes = [error] * len(batch)
            except Exception:
                _log.exception("a batch of %d failed", len(batch))
                outcomes = [Broken()] * len(batch)
            self._seconds += 0.2 * ((time.perf_counter() - start) / len(batch) - self._seconds)
            try:
                self._settled(batch, outcomes)
            except Exception as error:
                _log.exception("a batch of %d could not be stored", len(batch))
                for job in batch:
                    job.future.set_exception(error)
                continue
            for job, outcome in zip(batch, outcomes, strict=True):
                job.future.set_result(outcome)

    def _next_batch(self) -> list[Job]:
        """Jobs to do together, none of them cancelled; empty when there will be no more."""
        with self._changed:
            while True:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return []
                first = self._waiting[0]
                batch = [first]
                if not first.explain:
                    alike = [job for job in self._waiting if job.inspector is first.inspector and not job.explain]
                    batch = alike[: self._batch_size(first)]
                for job in batch:
                    self._waiting.remove(job)
                    self._release(job)
                running = [job for job in batch if job.future.set_running_or_notify_cancel()]
                if running:
                    return running

    def _batch_size(self, job: Job) -> int:
        """Pictures of this inspector's that go through the model together."""
        inspector, part = job.inspector, job.part
        size = self._sizes.get(inspector)
        if size is None:
            prompts, tokens = getattr(part, "prompts", [None]), getattr(part, "tokens", _UNKNOWN_TOKENS)
            try:
                size = max(1, inspector.planned_batch_size(tokens) // len(prompts))
            except Exception:  # The thread must live on.
                _log.exception("no batch size could be found")
                return 1
            if inspector.memory is not None:
                size = min(size, _WITH_CROPS)
            self._sizes[inspector] = size
        return size

    def _outcomes(self, batch: Sequence[Job]) -> list[Any]:
        first = batch[0]
        if first.explain:
            found = first.inspector.explain(first.image, first.object_name, first.group)
            return [(found.heatmap, found.boxes)]
        parts = list(self._readers.map(_prepared, batch))
        for job in batch:
            job.part = None  # Who waits for the future keeps the job.
        return first.inspector.judge(parts, len(batch))


def _prepared(job: Job) -> Part | LriadError:
    if job.part is not None:
        return job.part
    part = job.inspector.prepare(job.image, job.object_name, job.group)
    # Where the store lies is nobody's business.
    return LriadError(str(part).removeprefix(f"{show(job.image)}: ")) if isinstance(part, LriadError) else part


def _bytes_of(part: Part | LriadError | None) -> int:
    """About what a prepared picture holds."""
    if part is None or isinstance(part, LriadError):
        return 0
    crops = sum(3 * crop.width * crop.height for crop in part.crops)
    prompts = 0
    for prompt in part.prompts:
        if isinstance(prompt, dict):
            prompts += sum(getattr(value, "nbytes", 0) for value in prompt.values())
        else:  # A server's: the picture in text.
            prompts += 4 * part.size[0] * part.size[1]
    return crops + prompts
