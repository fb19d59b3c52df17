"""The station: one loaded policy, an inspector a product, a store, and the engine between them."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from tenacity import (
    Retrying,
    before_sleep_log,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential,
)

from lriad.data._files import show
from lriad.errors import LriadError
from lriad.inspection.inspector import Inspector
from lriad.prompt import build_prompt
from lriad.serving.engine import Engine, Job, Places
from lriad.serving.export import folder_names
from lriad.serving.metrics import Metrics
from lriad.serving.pictures import identify, shown_name
from lriad.serving.store import Inspection, Store, StoreError, utc_now
from lriad.verdict import Mode, Verdict

if TYPE_CHECKING:
    from lriad.calibration import Calibration

_log = logging.getLogger(__name__)

_ATTEMPTS = 3
"""How often a picture is taken up again: one on which the process dies must not end every process that follows."""
_PATIENCE = 60
"""Seconds for which outcomes are tried to be stored, before their pictures are left to be judged again."""
_PAUSE = 5
"""Seconds between two attempts at a store that cannot be used, at most."""
_READERS = 4
_DRIFT_OF = 200
"""Verdicts of a product, the last ones, that are compared with its calibration."""


@dataclass(frozen=True, slots=True)
class Product:
    """A product that the station was set up for.

    Attributes:
        object_name: As its memory, or its calibration, spells it.
        inspector: With that memory and that calibration, where there are any.
    """

    object_name: str
    inspector: Inspector


@dataclass(frozen=True, slots=True)
class Taken:
    """A picture that was received, decoded and kept, and the job of judging it."""

    inspection: Inspection
    job: Job


class Station:
    """Inspects what clients send, and remembers it.

    Args:
        store: Where to.
        policy: As for `Inspector`; it is loaded here, once.
        mode, threshold, note, max_new_tokens, device: As for `Inspector`. The threshold is for what no calibration
            decides.
        memories: Files of memories of good parts, each of another product.
        calibrations: Files of calibrations; each goes with the memory of its products where there is one.
        queue: Pictures that may wait.

    Attributes:
        plain: Judges products that the station was not set up for.
        products: The others, by their names in lower case.
        readers: Threads that read and decode what clients send.

    Raises:
        LriadError: The policy cannot be loaded, or a memory or a calibration is not for it.
    """

    def __init__(
        self,
        store: Store,
        policy: Any = "embedded",
        *,
        mode: Mode = "reason",
        threshold: float | None = None,
        memories: Sequence[str | Path] = (),
        calibrations: Sequence[str | Path] = (),
        note: str | None = None,
        max_new_tokens: int = 512,
        device: str | None = None,
        queue: int = 128,
    ) -> None:
        if queue < 1:
            raise LriadError(f"queue {queue}: expected 1 or more")
        self.store = store
        settings: dict[str, Any] = {"mode": mode, "note": note, "max_new_tokens": max_new_tokens}
        self.plain = Inspector(policy, threshold=threshold, device=device, **settings)
        loaded = self.plain.loaded()

        def inspector(memory: Any, calibration: Calibration | None) -> Inspector:
            decides = {"threshold": threshold} if calibration is None else {"calibration": calibration}
            made = Inspector(loaded, memory=memory, **decides, **settings)
            made.loaded()
            return made

        self.products: dict[str, Product] = {}
        for name, memory, calibration in _paired(memories, calibrations):
            self.products[name.casefold()] = Product(name, inspector(memory, calibration))
        self.readers = ThreadPoolExecutor(min(_READERS, os.cpu_count() or 1), thread_name_prefix="read-picture")
        self.engine = Engine(self._settled, self.readers, queue)
        names = [product.object_name for product in self.products.values()]
        self.metrics = Metrics(names, lambda: self.engine.waiting)
        self._closing = threading.Event()
        self._left: SimpleQueue[int | None] = SimpleQueue()  # to be taken up again; None: no more

    def start(self) -> None:
        """Begin to work, if it does not yet: first on what was accepted before the process ended last time.

        Raises:
            LriadError: Another process serves this store.
        """
        if self.engine.alive:
            return
        self._lock = self.store.lock("station", "serves this store")
        self.engine.start()
        for inspection in self.store.pending():
            self._left.put(inspection.id)
        self._resuming = threading.Thread(target=self._resume, name="resume", daemon=True)
        self._resuming.start()

    def close(self) -> None:
        """End after the batch that is under way; what waits is judged after the next start."""
        self._closing.set()
        self.engine.close()
        self._left.put(None)
        self._resuming.join()
        self.readers.shutdown()
        self._lock.release()

    # --- what clients send --------------------------------------------------------------------------------------

    def product(self, object_name: str) -> tuple[str, Inspector]:
        """A product's name as it is kept, and who judges it.

        Raises:
            LriadError: It cannot be an object's name.
        """
        build_prompt(object_name)
        name = object_name.strip()
        known = self.products.get(name.casefold())
        return (name, self.plain) if known is None else (known.object_name, known.inspector)

    def take(
        self,
        stream: IO[bytes],
        name: str | None,
        object_name: str,
        group: str | None,
        places: Places,
        *,
        max_bytes: int,
        max_pixels: int,
    ) -> Taken:
        """Receive a picture, decode it, and keep it; may be called from several threads.

        Args:
            stream: The picture's bytes.
            name: What the client calls it.
            object_name, group: As for `Inspector.prepare`.
            places: From `Engine.places`, one of them for this picture.
            max_bytes, max_pixels: It may have at most.

        Raises:
            LriadError: It is too large, no picture, or not one that this product's inspector takes.
            StoreError: It cannot be kept.
        """
        product, inspector = self.product(object_name)
        incoming = self.store.receive(stream, max_bytes)
        try:
            extension = identify(incoming.path, max_pixels)
            part = inspector.prepare(incoming.path, product, group)
            if isinstance(part, LriadError):
                raise LriadError(str(part).removeprefix(f"{show(incoming.path)}: "))
            image = self.store.adopt(incoming, extension)
        finally:
            self.store.discard(incoming.path)
        inspection = Inspection(
            created_at=utc_now(),
            name=shown_name(name),
            object_name=product,
            group=group,
            state="pending",
            image_sha256=incoming.sha256,
            extension=extension,
            width=part.size[0],
            height=part.size[1],
        )
        job = Job(inspector, image, product, group, part=part)
        places.hold(job)
        return Taken(inspection, job)

    def accept(self, taken: Sequence[Taken], places: Places) -> list[Job]:
        """Enter pictures into the store and let them wait to be judged.

        Args:
            taken: From `take`.
            places: Those that they were taken with.

        Raises:
            StoreError: They cannot be entered; none is.
        """
        self.store.add(one.inspection for one in taken)
        for one in taken:
            one.job.id = one.inspection.id
            places.put(one.job)
        return [one.job for one in taken]

    def inspect(self, image: Path, object_name: str) -> Verdict:
        """The verdict on a picture of this machine, which waits its turn among those of clients.

        Raises:
            LriadError: It cannot be inspected.
        """
        name, inspector = self.product(object_name)
        job = Job(inspector, image, name, None)
        self.engine.put(job)
        outcome = job.future.result()
        if isinstance(outcome, LriadError):
            raise outcome
        return outcome

    def give_up(self, jobs: Sequence[Job]) -> None:
        """Nobody waits for these any more: those that were not begun are not judged.

        Raises:
            StoreError: That cannot be entered; they are judged after the next start.
        """
        self.store.cancel([job.id for job in self.engine.cancel(jobs) if job.id is not None])

    def explanation(self, inspection: Inspection) -> Job:
        """What finds the heat-map of an inspection that has none.

        Raises:
            LriadError: The station's policy, memory, views or note are not those that judged it.
        """
        _, inspector = self.product(inspection.object_name)
        policy, verdict = inspector.policy, inspection.verdict or {}
        if inspector.memory is None and not hasattr(policy, "depths"):
            raise LriadError("a policy behind a server does not show what its answer comes from")
        now = {
            "policy_sha256": policy.policy_sha256,
            "adapter_sha256": policy.adapter_sha256,
            "memory": inspector.memory and inspector.memory.sha256,
            "setting": inspector.setting,
            "note": inspector.context.note or None,
        }
        if any(verdict.get(name) != value for name, value in now.items()):
            raise LriadError(
                "it was inspected with another policy, memory, view or note, and its heat-map was not kept"
            )
        image = self.store.picture(inspection.image_sha256, inspection.extension)
        return Job(inspector, image, inspection.object_name, inspection.group, inspection.id, explain=True)

    # --- what it says of itself -----------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Policy, products and queue: see `GET /api/station`."""
        policy = self.plain.policy
        known = [
            {
                "object_name": product.object_name,
                "setting": product.inspector.setting,
                "memory": product.inspector.memory and product.inspector.memory.sha256,
                "calibration": product.inspector.calibration and _described(product.inspector.calibration),
            }
            for product in self.products.values()
        ]
        others = [name for name in self.store.products() if name.casefold() not in self.products]
        plain = {"setting": self.plain.setting, "memory": None, "calibration": None}
        return {
            "policy": policy.name,
            "policy_sha256": policy.policy_sha256,
            "mode": self.plain.mode,
            "threshold": self.plain.threshold_in_use,
            "products": [*known, *({"object_name": name, **plain} for name in others)],
            "queue": {"waiting": self.engine.waiting, "capacity": self.engine.capacity},
        }

    def statistics(self) -> list[dict[str, Any]]:
        """Counts a product, whether its verdicts have drifted from what its calibration was made with, and the name
        of its folder in an export of its own."""
        products = self.store.statistics()
        for entry in products:
            known = self.products.get(entry["object_name"].casefold())
            calibration = known and known.inspector.calibration
            entry["drift"] = calibration and self._drift(entry["object_name"], calibration)
            entry["category"] = folder_names([entry["object_name"]])[entry["object_name"]]
        return products

    def measured(self) -> bytes:
        """The counters, and each calibrated product's drift as it is now: see `GET /metrics`."""
        for product in self.products.values():
            calibration = product.inspector.calibration
            found = calibration and self._drift(product.object_name, calibration)
            if found and found["p_value"] is not None:
                self.metrics.drift(product.object_name, found["p_value"])
        return self.metrics.text()

    def _drift(self, object_name: str, calibration: Calibration) -> dict[str, Any] | None:
        from lriad.calibration.drift import drift

        try:
            found = drift(calibration, self.store.predictions(object_name, calibration.sha256, _DRIFT_OF))
        except LriadError:
            return None  # Nothing to compare yet, or too few good images in the calibration to compare with.
        if not found:
            return None
        [result] = found
        return {name: getattr(result, name) for name in ("n", "statistic", "p_value", "drifted")}

    # --- the engine's thread --------------------------------------------------------------------------------------

    def _settled(self, jobs: Sequence[Job], outcomes: Sequence[Any]) -> None:
        judged = [(job, outcome) for job, outcome in zip(jobs, outcomes, strict=True) if not job.explain]
        self._settle([(job.id, outcome) for job, outcome in judged if job.id is not None])
        now = time.monotonic()
        for job, outcome in zip(jobs, outcomes, strict=True):
            if job.explain and not isinstance(outcome, LriadError):
                self._keep_map(job.id, *outcome)
            elif isinstance(outcome, Verdict) and outcome.heatmap is not None:
                self._keep_map(job.id, outcome.heatmap, outcome.boxes or ())
        for job, outcome in judged:
            decision = outcome.decision if isinstance(outcome, Verdict) else "error"
            self.metrics.judged(job.object_name, decision, now - job.since)
        if judged:
            self.metrics.batch(len(judged))

    def _settle(self, outcomes: Sequence[tuple[int, Any]]) -> None:
        """Enter outcomes, however often that takes; meanwhile nothing else is judged, for it could not be kept.

        Raises:
            StoreError: It cannot be done for so long that they are judged again when it can.
        """
        if not outcomes:
            return
        attempts = Retrying(
            retry=retry_if_exception_type(StoreError),
            stop=stop_after_delay(_PATIENCE) | stop_when_event_set(self._closing),
            wait=wait_exponential(multiplier=0.1, max=_PAUSE),
            sleep=sleep_using_event(self._closing),
            before_sleep=before_sleep_log(_log, logging.WARNING),
            reraise=True,
        )
        try:
            attempts(self.store.settle, outcomes)
        except StoreError:
            for id_, *_ in outcomes:
                self._left.put(id_)
            raise

    def _keep_map(self, id_: int | None, heatmap_HW: Any, boxes: Any) -> None:
        if id_ is None:
            return
        try:
            self.store.save_map(id_, heatmap_HW, boxes)
        except StoreError:
            _log.exception("a heat-map could not be kept")  # It can be made again.

    # --- the thread that takes up what was left ---------------------------------------------------------------------

    def _resume(self) -> None:
        """Judge what was accepted and not settled, by an earlier process or by this one, one after the other: of a
        picture on which the process dies the store must know that it was that one."""
        for id_ in iter(self._left.get, None):
            if self._closing.is_set():
                return
            try:
                self._take_up(id_)
            except CancelledError:
                return
            except StoreError:
                _log.exception("inspection %d cannot be taken up again yet", id_)
                self._left.put(id_)
                self._closing.wait(_PAUSE)
            except Exception:
                _log.exception("inspection %d could not be taken up again", id_)

    def _take_up(self, id_: int) -> None:
        if self.store.count_attempt(id_) > _ATTEMPTS:
            self.store.settle([(id_, LriadError(f"given up after {_ATTEMPTS} attempts"))])
            return
        [inspection] = self.store.get_all([id_])
        _, inspector = self.product(inspection.object_name)
        image = self.store.picture(inspection.image_sha256, inspection.extension)
        job = Job(inspector, image, inspection.object_name, inspection.group, id_)
        self.engine.put(job)
        job.future.exception()  # One of the store's has put it among those that are left again.


def _paired(
    memories: Sequence[str | Path], calibrations: Sequence[str | Path]
) -> list[tuple[str, Any, Calibration | None]]:
    """For each product its name, its memory and its calibration, of which one may be None.

    Raises:
        LriadError: A file cannot be read, or two are of one product.
    """
    found: dict[str, list[Any]] = {}
    if memories:
        from lriad.memory import load_memory

        for file in memories:
            memory = load_memory(file)
            entry = found.setdefault(memory.object_name.casefold(), [memory.object_name, None, None])
            if entry[1] is not None:
                raise LriadError(f"{show(file)}: a second memory of a {memory.object_name!r}; give one")
            entry[1] = memory
    if calibrations:
        from lriad.calibration import load_calibration

        for file in calibrations:
            calibration = load_calibration(file)
            if not calibration.object_names:
                raise LriadError(f"{show(file)}: says of no product that it is for; a station needs one that does")
            for name in calibration.object_names:
                entry = found.setdefault(name.strip().casefold(), [name.strip(), None, None])
                if entry[2] is not None:
                    raise LriadError(f"{show(file)}: a second calibration of a {name!r}; give one")
                entry[2] = calibration
    return [(name, memory, calibration) for name, memory, calibration in found.values()]


def _described(calibration: Calibration) -> dict[str, Any]:
    return {
        "sha256": calibration.sha256,
        "normal_below": calibration.normal_below,
        "defect_from": calibration.defect_from,
        "promises": [str(promise) for promise in calibration.promises],
    }
