"""A watched folder: each picture that arrives is inspected once, put where it belongs, and told of."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
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
    from lriad.inspection.inspector import Inspector
    from lriad.verdict import Verdict

_log = logging.getLogger(__name__)

SIDECAR = ".lriad.json"
_PATIENCE = 10
"""Looks for which a file may stand still and be no picture: whoever writes it may have stopped in the middle. With
`once`, also those after which it is given up that the disk lets us neither read nor place it."""
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
        again: Whether the decision is that of an earlier picture with the same bytes, judged in the same way.
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
        folder: With the folders in it, but for the store and those that pictures are moved to; polled, for network
            shares tell nobody of what arrives. Hidden files, and those whose names do not end like an image's, are left
            alone.
        store: That keeps pictures, verdicts and how far each file has come; a station may use it at the same time.
        judge: An `Inspector`, or a running `Station`.
        object_name: What the pictures show; kept as its memory, or its calibration, spells it.
        move_to: Pictures are moved into `defect`, `normal` and `review` in there; none is overwritten.
        tag: The verdict is written beside each picture, as `NAME.lriad.json`.
        webhook: An http(s) address that each verdict is posted to as JSON; one that it answers with a status from 400
            to 499, other than 408 and 429, is not posted again.
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
    if webhook is not None:
        _check_address(webhook)
    target = Path(move_to).resolve() if move_to is not None else None
    aside = {store.folder.resolve(), *((target / decision).resolve() for decision in _DECISIONS if target)}
    for place in aside:
        if root.is_relative_to(place):
            raise LriadError(f"{show(root)}: pictures are kept in, or moved to, {show(place)}; watch another folder")
    inspector: Any
    name, inspector = judge.product(object_name) if hasattr(judge, "product") else (object_name.strip(), judge)
    name = _as_known(name, inspector)
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
    lock = store.lock(f"watch-{digest}", f"watches {show(root)}")
    courier = None
    try:
        if webhook is not None:
            courier = _Courier(webhook, root, store)
        watcher = _Watcher(root, store, judge, inspector, name, target, aside, tag, courier, report)
        watcher.run(every, once, stop)
        if courier is not None and once:
            courier.finish()
        return watcher.counts
    finally:
        if courier is not None:
            courier.close()
        lock.release()


def _check_address(webhook: str) -> None:
    shown = ""
    try:
        parts = urlsplit(webhook)
        if parts.hostname:
            shown = f" {show(f'{parts.scheme}://{parts.hostname}')}"  # the rest may hold a secret
        _ = parts.port
        if parts.scheme in ("http", "https") and shown:
            return
    except ValueError:
        pass
    raise LriadError(f"webhook{shown}: expected an address such as https://HOST/PATH")


def _as_known(object_name: str, inspector: Inspector) -> str:
    """The name as the memory, else the calibration, spells it: under two spellings it would be two products."""
    known: Iterable[str] = ()
    if inspector.memory is not None:
        known = [inspector.memory.object_name]
    elif inspector.calibration is not None:
        known = [name.strip() for name in inspector.calibration.object_names]
    return next((name for name in known if name.casefold() == object_name.casefold()), object_name)


def _judged_by(inspector: Inspector) -> dict[str, Any]:
    """What a verdict of this inspector depends on besides the picture: the verdict's fields by these names."""
    return {
        "policy_sha256": inspector.policy.policy_sha256,
        "adapter_sha256": inspector.policy.adapter_sha256,
        "mode": inspector.mode,
        "prompt_version": inspector.prompt_version,
        "memory": inspector.memory and inspector.memory.sha256,
        "setting": inspector.setting,
        "note": inspector.context.note or None,
        "calibration": inspector.calibration and inspector.calibration.sha256,
        "threshold": inspector.threshold_in_use,
    }


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
        inspector: Inspector,
        object_name: str,
        move_to: Path | None,
        aside: Iterable[Path],
        tag: bool,
        courier: _Courier | None,
        report: Callable[[Handled], None] | None,
    ) -> None:
        self.root = root
        self.store = store
        self.judge = judge
        self.judged_by = _judged_by(inspector)
        self.object_name = object_name
        self.move_to = move_to
        self.tag = tag
        self.courier = courier
        self.report = report or (lambda _: None)
        self.counts: Counter[str] = Counter()
        self._key = os.fsencode(root)
        self._not_into = {os.fsencode(place) for place in aside}
        self._done: set[_Stand] = set()
        self._tries: Counter[_Stand] = Counter()
        self._died: Counter[_Stand] = Counter()
        self._begun: str | None = None
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
                self._place_all(last_try=once)
                fresh = now & before - self._done - self._unfinished.keys()
                for stand in sorted(fresh, key=lambda one: (one.modified_ns, one.source)):
                    if stop.is_set():
                        return
                    self._take(stand, last_try=once)
                    self._place_all(last_try=once)
                kept = now | self._unfinished.keys()
                self._tries = Counter({stand: count for stand, count in self._tries.items() if stand in kept})
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
                except OSError as error:  # One folder that cannot be read keeps nobody from the others.
                    self._say(LriadError(f"{show(self._path(path))}: {reason(error)}"))

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
        with open(path, "rb", opener=_open_plainly) as stream:
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
        known = self.store.find(incoming.sha256, self.object_name, self.judged_by)
        if known is not None:
            arrival.state, arrival.inspection_id = "inspected", known.id
            return self.store.arrive(arrival)
        self._take_back()
        self._begun = arrival.delivery_id
        try:
            self.store.arrive(arrival)
            try:
                verdict = self.judge.inspect(image, self.object_name)
            except StoreError:
                raise
            except LriadError as error:  # which names the store's copy
                raise LriadError(str(error).removeprefix(f"{show(image)}: ")) from error
            new = self._inspection(arrival, extension, (width, height), verdict)
            self.store.conclude(arrival, new)
        except BaseException:
            # The process lives, so that it was no picture on which it dies.
            with suppress(StoreError):  # then before the next picture
                self._take_back()
            raise
        self._begun = None
        if verdict.heatmap is not None:
            try:
                self.store.save_map(new.id, verdict.heatmap, verdict.boxes or ())
            except StoreError:
                _log.exception("a heat-map could not be kept")  # It can be made again.
        return arrival

    def _take_back(self) -> None:
        """Forget the arrival that was begun and came to no verdict."""
        if self._begun is not None:
            self.store.take_back(self._begun)
            self._begun = None

    def _inspection(self, arrival: Arrival, extension: str, size: tuple[int, int], verdict: Verdict) -> Inspection:
        new = Inspection(
            created_at=arrival.created_at,
            name=shown_name(os.fsdecode(arrival.source)),
            object_name=self.object_name,
            state="done",
            image_sha256=arrival.image_sha256,
            extension=extension,
            width=size[0],
            height=size[1],
        )
        new.settle(verdict)
        return new

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
            delivery_id=uuid.uuid4().hex,
        )

    def _finish(self, stand: _Stand, handled: Handled) -> None:
        if handled.place == handled.source:
            self._done.add(stand)
        self.counts[handled.decision] += 1
        self.report(handled)
        if self.courier is not None:
            self.courier.wake()

    # --- putting in place ---------------------------------------------------------------------------------------

    def _place_all(self, *, last_try: bool) -> None:
        for stand, arrival in list(self._unfinished.items()):
            try:
                handled = self._placed(arrival)
            except StoreError:
                raise
            except OSError as error:
                path = self._path(arrival.source)
                problem = f"cannot be put in its place ({error.strerror})"
                self._say(LriadError(f"{show(path)}: {problem}; trying again"))
                self._tries[stand] += 1
                if not last_try or self._tries[stand] < _PATIENCE:
                    continue
                moved = arrival.destination is not None and os.path.exists(arrival.destination)
                place = Path(os.fsdecode(arrival.destination or b"")) if moved else path
                handled = Handled(path, place, "failed", problem)  # the next start tries again
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
            _put_back(_held(source, arrival), source)
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

        Where to is entered first: a process that takes this up again finds out how far it has come. Then the picture
        is held under a hidden name: what is written under its own name from then on is another arrival.
        """
        held = _held(source, arrival)
        try:
            if _is_same(held, source):
                held.unlink()  # The last step of putting it back, which was not reached.
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
                    if _is_ours(held, arrival):
                        held.unlink()
                    return target
                target.parent.mkdir(parents=True, exist_ok=True)
                if not os.path.lexists(held) and _is_ours(source, arrival):
                    os.rename(source, held)
                if not _is_ours(held, arrival):  # or not any more: it may just have been replaced
                    return None
                try:
                    return target if _move(held, target, arrival) else None
                except FileExistsError:
                    arrival.destination = None  # Somebody else's file: another name.
        finally:
            _put_back(held, source)


def _open_plainly(path: str, flags: int) -> int:
    """Open what may have become a link, which is not followed, or a pipe, which is not waited for."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _is_still(descriptor: int, stand: _Stand) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (stand.size, stand.modified_ns)


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


def _move(held: Path, target: Path, arrival: Arrival) -> bool:
    """Move what arrived to a name that nothing is at, whole or not at all, also to another disk.

    Returns:
        False where the file was changed while it was copied; then it stays where it is.

    Raises:
        FileExistsError: Something is at that name.
    """
    part = _part_of(target, arrival)
    try:
        try:
            _rename(held, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            shutil.copy2(held, part)  # to another disk
            with part.open("rb+") as copy:
                os.fsync(copy.fileno())
            if not (_is_ours(part, arrival) and _is_ours(held, arrival)):
                return False
            _rename(part, target)
            held.unlink()
        return True
    finally:
        part.unlink(missing_ok=True)


def _rename(path: Path, target: Path) -> None:
    """Rename on one disk, where `os.rename` would overwrite.

    Raises:
        FileExistsError: Something is at that name.
    """
    try:
        os.link(path, target)
    except FileExistsError:
        raise
    except OSError:
        # A disk without hard links, as memory cards and some shares are.
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(path, target)
    else:
        path.unlink()


def _held(source: Path, arrival: Arrival) -> Path:
    """What a picture is called while it is moved; a process that takes this up again finds it there."""
    return source.with_name(f".lriad-{arrival.delivery_id}")


def _put_back(held: Path, source: Path) -> None:
    """Give what was not moved its name again, or one like it where there is another file by now."""
    if os.path.lexists(held):
        try:
            _rename(held, source)
        except FileExistsError:
            _rename(held, _free(source))


def _is_same(one: Path, other: Path) -> bool:
    """Whether both are names of one file."""
    try:
        return os.path.samestat(one.lstat(), other.lstat())
    except FileNotFoundError:
        return False


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
        left, last = False, 0
        while waiting := self._store.undelivered(os.fsencode(self._root), last):
            for arrival, inspection in waiting:
                last = arrival.id
                place = self._root / os.fsdecode(arrival.source)
                if arrival.destination is not None:
                    place = Path(os.fsdecode(arrival.destination))
                try:
                    refused = self._post(told(arrival, inspection, place))
                except _Passing as error:
                    _log.warning("webhook: %s; it will be told again", error)
                    return False
                if not refused:
                    self._store.update_arrival(arrival.id, delivery="delivered")
                    continue
                final = 400 <= refused < 500
                answered = f"the webhook answered {refused}"
                what_next = "given up" if final else "it will be told again"
                _log.warning("%s to arrival %s; %s", answered, arrival.delivery_id, what_next)
                if final:
                    problems = "; ".join(filter(None, (arrival.error, answered)))
                    self._store.update_arrival(arrival.id, delivery="refused", error=problems)
                left |= not final
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
            if status >= 500 or status in (408, 429):
                raise _Passing(f"answered {status}")
            return 0 if 200 <= status < 300 else status

        return attempt()
