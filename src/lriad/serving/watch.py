"""A watched folder: each picture that arrives is inspected once, put where it belongs, and told of."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from lriad._version import __version__
from lriad.data._files import is_image, reason, show
from lriad.data.image import MAX_PIXELS, file_sha256, open_image
from lriad.errors import LriadError
from lriad.prompt import build_prompt
from lriad.serving.pictures import identify, shown_name
from lriad.serving.store import Arrival, Inspection, Store, StoreError, utc_now

if TYPE_CHECKING:
    from lriad.verdict import Verdict

_log = logging.getLogger(__name__)

SIDECAR = ".lriad.json"
_PATIENCE = 10
"""Looks for which a file may stand still and be no picture: whoever writes it may have stopped in the middle."""
_DEATHS = 3
"""Starts of the process for which a picture is tried: one on which it dies must not keep it from all the others."""
_DECISIONS = ("defect", "normal", "review")
_ATTEMPTS = 3
_TIMEOUT = (5, 10)
"""Seconds to connect, and between two signs of life."""
_LONGEST_PAUSE = 300.0
"""Seconds between two rounds of telling, where the receiver is out of reach."""


class Judge(Protocol):
    """What gives verdicts: an `Inspector`, or a running `Station`."""

    def inspect(self, image: Path, object_name: str) -> Verdict:
        """The verdict on one picture, or LriadError."""


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of one file.

    Attributes:
        source: Its path when it arrived.
        place: Where it is now.
        decision: `defect`, `normal` or `review`; `failed` where it could not be inspected.
        error: Why not, or what else went wrong; None where nothing did.
        again: Whether the decision is that of an earlier picture with the same bytes.
    """

    source: Path
    place: Path
    decision: str
    error: str | None = None
    again: bool = False


def watch(
    folder: str | Path,
    store: Store,
    judge: Judge,
    *,
    object_name: str,
    move_to: str | Path | None = None,
    tag: bool = False,
    webhook: str | None = None,
    every: float = 2.0,
    once: bool = False,
    report: Callable[[Handled], None] | None = None,
    stop: threading.Event | None = None,
) -> Counter[str]:
    """Inspect the pictures that arrive in a folder, until it is stopped.

    A picture is taken when it has the size and the time of the look before and can be decoded. Each step is entered
    into the store before the next one begins, so that after a kill at any moment the same call goes on: each picture is
    inspected once, moved once, and told of at least once, a second time with the same `id`. What is in the folder and
    was handled before is left alone until its size or time changes.

    Args:
        folder: With the folders in it; polled, for network shares tell nobody of what arrives. Hidden files, and those
            whose names do not end like an image's, are left alone.
        store: That keeps pictures, verdicts and how far each file has come; a station may use it at the same time.
        judge: An `Inspector`, or a running `Station`.
        object_name: What the pictures show.
        move_to: Pictures are moved into `defect`, `normal` and `review` in there; none is overwritten.
        tag: The verdict is written beside each picture, as `NAME.lriad.json`.
        webhook: An http(s) address that each verdict is posted to as JSON.
        every: Seconds between two looks.
        once: Return when all that is there is handled.
        report: Called with each file that was handled.
        stop: Ends the watch when it is set.

    Returns:
        Files by decision.

    Raises:
        LriadError: A setting cannot be used, the folder is not there, or another process watches it with this store.
    """
    stop = stop or threading.Event()
    root = Path(folder)
    if not root.is_dir():
        raise LriadError(f"{show(root)}: no such folder; name the folder where pictures arrive")
    root = root.resolve()
    build_prompt(object_name)
    if every <= 0:
        raise LriadError(f"every {every:g}: expected a number of seconds above 0")
    if webhook is not None and (urlsplit(webhook).scheme not in ("http", "https") or not urlsplit(webhook).hostname):
        raise LriadError(f"webhook {webhook!r}: expected an address such as https://HOST/PATH")
    name, inspector = judge.product(object_name) if hasattr(judge, "product") else (object_name.strip(), judge)
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    lock = store.lock(f"watch-{digest}", f"watches {show(root)}")
    courier = None
    try:
        if webhook is not None:
            courier = _Courier(webhook, root, store)
        target = Path(move_to).resolve() if move_to is not None else None
        watcher = _Watcher(root, store, judge, name, target, tag, courier, report)
        watcher.calibration = getattr(inspector, "calibration", None)  # only for ordering what is to be reviewed
        watcher.run(every, once, stop)
        if courier is not None and once:
            courier.finish()
        return watcher.counts
    finally:
        if courier is not None:
            courier.close()
        lock.release()


@dataclass(frozen=True, slots=True)
class _Stand:
    """By what a file is known to be the same as a look before."""

    source: bytes
    size: int
    modified_ns: int


class _Unready(Exception):
    """The file is no picture, or not yet."""


class _Watcher:
    """The looks at one folder; see `watch`."""

    def __init__(
        self,
        root: Path,
        store: Store,
        judge: Judge,
        object_name: str,
        move_to: Path | None,
        tag: bool,
        courier: _Courier | None,
        report: Callable[[Handled], None] | None,
    ) -> None:
        self.root = root
        self.store = store
        self.judge = judge
        self.object_name = object_name
        self.move_to = move_to
        self.tag = tag
        self.courier = courier
        self.report = report or (lambda _: None)
        self.calibration: Any = None
        self.counts: Counter[str] = Counter()
        self._key = os.fsencode(root)
        self._not_into = {os.fsencode(move_to / name) for name in _DECISIONS} if move_to else set()
        self._done: set[_Stand] = set()
        self._tries: Counter[_Stand] = Counter()
        self._died: Counter[_Stand] = Counter()
        self._unfinished: dict[_Stand, Arrival] = {}
        self._said: set[str] = set()

    def run(self, every: float, once: bool, stop: threading.Event) -> None:
        """Look, until there is nothing left or until stopped."""
        for arrival in self.store.arrivals(self._key):
            stand = _Stand(arrival.source, arrival.size, arrival.modified_ns)
            if arrival.state == "inspected":
                self._unfinished[stand] = arrival
            elif arrival.state == "begun":
                self._died[stand] += 1
            else:
                self._done.add(stand)
        before: set[_Stand] = set()
        while not stop.is_set():
            try:
                now = set(self._look())
                self._place_all()
                fresh = now & before - self._done - self._unfinished.keys()
                for stand in sorted(fresh, key=lambda one: (one.modified_ns, one.source)):
                    if stop.is_set():
                        return
                    self._take(stand, last_try=once)
                    self._place_all()
                self._tries = Counter({stand: count for stand, count in self._tries.items() if stand in now})
                before = now
                # What was moved is not there any more in the next look; what has come meanwhile is.
                settled = not self._unfinished and now <= self._done
            except (StoreError, OSError) as error:
                # A full disk, a share that is away: that may pass, and nothing is lost by waiting.
                if once:
                    raise
                self._say(error)
                settled = False
            if once and settled:
                break
            stop.wait(every)

    def _say(self, error: Exception) -> None:
        """Log what goes wrong at every look only once."""
        if str(error) not in self._said:
            self._said.add(str(error))
            _log.warning("%s", error)

    # --- looking ------------------------------------------------------------------------------------------------

    def _look(self, folder: bytes = b"") -> Iterator[_Stand]:
        """The pictures that are there, by name; links are not followed."""
        with os.scandir(os.path.join(self._key, folder)) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                path = os.path.join(folder, entry.name)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if os.path.join(self._key, path) not in self._not_into:
                            yield from self._look(path)
                    elif entry.is_file(follow_symlinks=False) and is_image(os.fsdecode(entry.name)):
                        status = entry.stat(follow_symlinks=False)
                        yield _Stand(path, status.st_size, status.st_mtime_ns)
                except FileNotFoundError:
                    continue  # It has just been taken away.

    def _path(self, source: bytes) -> Path:
        return self.root / os.fsdecode(source)

    # --- inspecting ---------------------------------------------------------------------------------------------

    def _take(self, stand: _Stand, *, last_try: bool) -> None:
        """Inspect a picture and enter that, if it can be had already."""
        path = self._path(stand.source)
        if self._died[stand] >= _DEATHS:
            self._fail(path, stand, f"given up: {_DEATHS} times the process ended while it was inspected")
            return
        try:
            arrival = self._inspected(path, stand)
            if arrival is not None:
                self._unfinished[stand] = arrival
        except FileNotFoundError:
            pass
        except StoreError:
            raise
        except OSError as error:  # No permission, a bad sector: the file may be sound, and this may pass.
            self._say(LriadError(f"{show(path)}: {reason(error)}"))
            self._tries[stand] += 1
            if last_try and self._tries[stand] >= _PATIENCE:
                self._finish(stand, Handled(path, path, "failed", reason(error)))  # the next start tries again
        except _Unready as error:
            self._tries[stand] += 1
            if self._tries[stand] >= _PATIENCE:
                self._fail(path, stand, str(error))
        except LriadError as error:
            self._fail(path, stand, str(error))
        except Exception:
            _log.exception("%s: unexpected error", show(path))
            self._fail(path, stand, "an unexpected error: the log shows it")

    def _inspected(self, path: Path, stand: _Stand) -> Arrival | None:
        with path.open("rb") as stream:
            if not _is_still(stream.fileno(), stand):
                return None
            incoming = self.store.receive(stream)
            still = _is_still(stream.fileno(), stand)
        try:
            if not still:
                return None
            try:
                extension = identify(incoming.path, MAX_PIXELS)
                width, height = open_image(incoming.path).size
            except LriadError as error:
                raise _Unready(str(error).removeprefix(f"{show(incoming.path)}: ")) from error
            # From here on it is the store's copy that counts, whatever happens to the file.
            image = self.store.adopt(incoming, extension)
        finally:
            self.store.discard(incoming.path)
        arrival = self._arrival(stand, "begun")
        arrival.image_sha256 = incoming.sha256
        known = self.store.find(incoming.sha256, self.object_name)
        if known is not None:
            arrival.state, arrival.inspection_id = "inspected", known.id
            return self.store.arrive(arrival)
        self.store.arrive(arrival)
        verdict = self.judge.inspect(image, self.object_name)
        new = Inspection(
            created_at=arrival.created_at,
            name=shown_name(os.fsdecode(stand.source)),
            object_name=self.object_name,
            state="done",
            image_sha256=incoming.sha256,
            extension=extension,
            width=width,
            height=height,
        )
        new.settle(verdict, self.calibration)
        self.store.conclude(arrival, new)
        return arrival

    def _fail(self, path: Path, stand: _Stand, error: str) -> None:
        arrival = self._arrival(stand, "failed")
        arrival.error = error
        self.store.arrive(arrival)
        self._finish(stand, Handled(path, path, "failed", error))

    def _arrival(self, stand: _Stand, state: str) -> Arrival:
        return Arrival(
            created_at=utc_now(),
            folder=self._key,
            source=stand.source,
            size=stand.size,
            modified_ns=stand.modified_ns,
            state=state,
            delivery="waiting" if self.courier else None,
        )

    def _finish(self, stand: _Stand, handled: Handled) -> None:
        if handled.place == handled.source:
            self._done.add(stand)
        self.counts[handled.decision] += 1
        self.report(handled)
        if self.courier is not None:
            self.courier.wake()

    # --- putting in place ---------------------------------------------------------------------------------------

    def _place_all(self) -> None:
        for stand, arrival in list(self._unfinished.items()):
            try:
                handled = self._placed(arrival)
            except StoreError:
                raise
            except OSError as error:
                path = show(self._path(arrival.source))
                self._say(LriadError(f"{path}: cannot be put in its place ({error.strerror}); trying again"))
                continue
            del self._unfinished[stand]
            self._finish(stand, handled)

    def _placed(self, arrival: Arrival) -> Handled:
        """Put a picture in its place, and enter that.

        Raises:
            OSError: The disk does not let us now.
        """
        source = self._path(arrival.source)
        inspection = self.store.get(arrival.inspection_id or 0)
        if inspection is None or inspection.decision is None:
            error = "its inspection is not in the store any more"
            self.store.update_arrival(arrival.id, state="failed", error=error)
            return Handled(source, source, "failed", error)
        place: Path | None = source
        if self.move_to is not None or arrival.destination is not None:
            place = self._moved(arrival, source, inspection.decision)
        if place is None or not _is_ours(place, arrival):
            error = "it was changed or taken away before it could be put in its place"
            self.store.update_arrival(arrival.id, state="placed", error=error, destination=None)
            return Handled(source, source, inspection.decision, error)
        if self.tag:
            _write_sidecar(place, told(arrival, inspection, place))
        self.store.update_arrival(arrival.id, state="placed")
        return Handled(source, place, inspection.decision, again=inspection.created_at != arrival.created_at)

    def _moved(self, arrival: Arrival, source: Path, decision: str) -> Path | None:
        """Move a picture to where it belongs; None where it is not there any more.

        Where to is entered first: a process that takes this up again finds out how far it has come.
        """
        while True:
            if arrival.destination is None:
                assert self.move_to is not None
                destination = os.fsencode(_free(self.move_to / decision / os.fsdecode(arrival.source)))
                self.store.update_arrival(arrival.id, destination=destination)
                arrival.destination = destination
            target = Path(os.fsdecode(arrival.destination))
            if _is_ours(target, arrival):
                # The last steps of a move, which were not reached.
                _part_of(target, arrival).unlink(missing_ok=True)
                if _is_ours(source, arrival):
                    source.unlink()
                return target
            if not _is_ours(source, arrival):
                return None
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                return target if _move(source, target, arrival) else None
            except FileExistsError:
                arrival.destination = None  # Somebody else's file: another name.


def _is_still(descriptor: int, stand: _Stand) -> bool:
    status = os.fstat(descriptor)
    return (status.st_size, status.st_mtime_ns) == (stand.size, stand.modified_ns)


def _is_ours(path: Path, arrival: Arrival) -> bool:
    """Whether a file holds what arrived."""
    try:
        if path.is_symlink() or path.stat().st_size != arrival.size:
            return False
        return file_sha256(path) == arrival.image_sha256
    except FileNotFoundError:
        return False
    except LriadError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise OSError(errno.EIO, str(error)) from error


def _free(path: Path) -> Path:
    """The path, or one with a number behind its name, that nothing is at."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate


def _move(source: Path, target: Path, arrival: Arrival) -> bool:
    """Move what arrived to a name that nothing is at, whole or not at all, also to another disk.

    Returns:
        False where the file was changed in the same moment; then it stays where it is.

    Raises:
        FileExistsError: Something is at that name.
    """
    part = _part_of(target, arrival)
    try:
        try:
            os.link(source, target)  # A rename would overwrite.
        except FileExistsError:
            raise
        except OSError:
            # Another disk, or one without hard links, as memory cards and some shares are.
            shutil.copy2(source, part)
            with part.open("rb+") as copy:
                os.fsync(copy.fileno())
            if not _is_ours(part, arrival):
                return False
            try:
                os.link(part, target)
            except FileExistsError:
                raise
            except OSError:
                if os.path.lexists(target):
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
                part.rename(target)
        if not _is_ours(target, arrival):
            target.unlink()
            return False
        source.unlink()
        return True
    finally:
        part.unlink(missing_ok=True)


def _part_of(target: Path, arrival: Arrival) -> Path:
    """Where a copy is made; a process that takes this up again finds what was left there."""
    return target.with_name(f".{arrival.delivery_id}.part")


def _write_sidecar(picture: Path, content: dict[str, Any]) -> None:
    part = picture.with_name(f".{content['id']}.part")
    try:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        os.replace(part, picture.with_name(picture.name + SIDECAR))
    finally:
        part.unlink(missing_ok=True)


# --- telling ------------------------------------------------------------------------------------------------------


def told(arrival: Arrival, inspection: Inspection | None, place: Path) -> dict[str, Any]:
    """What is posted, and written beside a picture.

    Returns:
        `id` (the same whenever the same arrival is told of), `time`, `file` (where it is now), `source` (its path in
        the watched folder), `decision` (`failed` where there is none), `error`, and `inspection` as the API shows it.
    """
    return {
        "id": arrival.delivery_id,
        "time": arrival.created_at,
        "file": show(place),
        "source": show(os.fsdecode(arrival.source)),
        "decision": inspection.decision if inspection else "failed",
        "error": arrival.error,
        "inspection": inspection and inspection.to_dict(),
    }


class _Passing(Exception):
    """The receiver could not be told now."""


class _Courier:
    """Tells a receiver of arrivals, in a thread of its own: one that is slow, or away, holds up no inspection."""

    def __init__(self, address: str, root: Path, store: Store) -> None:
        import requests

        self._address = address
        self._root = root
        self._store = store
        self._session = requests.Session()
        self._news = threading.Event()
        self._last = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There is something to tell."""
        self._news.set()

    def finish(self) -> None:
        """Tell what is left, in one last round."""
        self._last.set()
        self._news.set()
        self._thread.join()

    def close(self) -> None:
        """End soon; what is left is told after the next start."""
        self._closing.set()
        self._last.set()
        self._news.set()
        self._thread.join(1)

    def _run(self) -> None:
        pause = 0.0
        while not self._closing.is_set():
            last = self._last.is_set()
            self._news.clear()
            try:
                all_told = self._tell_all()
            except StoreError:
                _log.exception("what is to be told cannot be read")
                all_told = False
            if last:
                return
            if all_told:
                pause = 0.0
                self._news.wait()
            else:
                pause = min(_LONGEST_PAUSE, 2 * pause or 1.0)
                self._last.wait(pause)

    def _tell_all(self) -> bool:
        """Tell of all that nobody was told of yet; False where something is left."""
        left = False
        for arrival, inspection in self._store.undelivered(os.fsencode(self._root)):
            place = self._root / os.fsdecode(arrival.source)
            if arrival.destination is not None:
                place = Path(os.fsdecode(arrival.destination))
            try:
                refused = self._post(told(arrival, inspection, place))
            except _Passing as error:
                _log.warning("webhook: %s; it will be told again", error)
                return False
            if refused:
                _log.warning("webhook: answered %d to arrival %s; it will be told again", refused, arrival.delivery_id)
                left = True
            else:
                self._store.update_arrival(arrival.id, delivery="delivered")
        return not left

    def _post(self, content: dict[str, Any]) -> int:
        """Post, some times where that fails; 0 where it was taken, else the status by which it was refused."""
        import requests
        from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

        def pause(seconds: float) -> None:
            self._closing.wait(seconds)

        @retry(
            retry=retry_if_exception_type(_Passing),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(initial=0.5, max=5, jitter=0.2),
            sleep=pause,
            reraise=True,
        )
        def attempt() -> int:
            try:
                with self._session.post(
                    self._address,
                    data=json.dumps(content).encode(),
                    headers={
                        "Content-Type": "application/json",
                        "Idempotency-Key": content["id"],
                        "User-Agent": f"lriad/{__version__}",
                    },
                    timeout=_TIMEOUT,
                    allow_redirects=False,
                    stream=True,  # The answer's body is nothing to us, however long it is.
                ) as response:
                    status = response.status_code
            except requests.RequestException as error:
                # Its text would hold the address, and that may hold a secret.
                raise _Passing(f"no answer ({type(error).__name__})") from None
            if status >= 500 or status == 429:
                raise _Passing(f"answered {status}")
            return 0 if 200 <= status < 300 else status

        return attempt()
