"""Inspection of a whole data set into a file: resumable, in one process or several."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import os
import signal
import sys
import threading
import traceback
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lriad.data._files import show
from lriad.data.image import file_sha256
from lriad.data.sample import Sample
from lriad.data.strings import Strings
from lriad.data.table import SampleTable
from lriad.errors import LriadError
from lriad.inspection.inspector import Inspector
from lriad.verdict import FIELDS

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from lriad.policy import Policy

_COLUMNS = (
    *("id", "image", "category", "object_name", "dataset", "split", "defect_type", "group", "truth"),
    *FIELDS,
    "error",
)
_SETTINGS = (
    "policy_sha256",
    "adapter_sha256",
    "mode",
    "prompt_version",
    "threshold",
    "setting",
    "note",
    "calibration",
)
"""What all rows of one file share; a memory is shared by those of a category."""

_WORTH_A_WORKER = 8
"""Images for which one more process loads a policy, where no batch size says so."""
_OUTCOMES = ("", "normal", "defect", "review", "error")
"""What an image's code stands for while a file is written; '' is an image that is still to be inspected."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What became of the images that were asked for.

    Attributes:
        images: All of them: normal + defect + review + errors.
        normal, defect, review: Images by decision.
        errors: Images that could not be inspected.
        resumed: Images among them that an earlier run had done.
        first_error: Why the first of those could not be inspected; None where all could.
    """

    images: int
    normal: int
    defect: int
    review: int
    errors: int
    resumed: int = 0
    first_error: str | None = field(default=None, compare=False)


def summarise(counts: Mapping[str, int], resumed: int = 0, first_error: str | None = None) -> Summary:
    """The summary of so many images of each outcome, a decision or `error`."""
    return Summary(
        images=sum(counts.values()),
        normal=counts.get("normal", 0),
        defect=counts.get("defect", 0),
        review=counts.get("review", 0),
        errors=counts.get("error", 0),
        resumed=resumed,
        first_error=first_error,
    )


def outcome_of(row: dict[str, Any]) -> str:
    """`error` for the row of an image that could not be inspected, else its decision."""
    return "error" if row.get("error") else str(row.get("decision"))


def inspect_rows(
    samples: Sequence[Sample],
    *,
    policy: str | Path | Policy = "embedded",
    processes: int = 1,
    **settings: Any,
) -> Generator[dict[str, Any], None, None]:
    """Inspect samples in one process or several.

    Args:
        samples: What to inspect.
        policy: As for `Inspector`; by name where there are several processes.
        processes: Worker processes, each with a policy of its own: in turn on the GPUs where there are any,
            else on a share of the CPU's threads. With 1, this process does the work.
        settings: As for `Inspector`.

    Yields:
        The rows of `Inspector.inspect_samples`, with several processes in the order in which they are done.

    Raises:
        LriadError: A setting is out of its range, the policy cannot be loaded, or a worker died.
    """
    if processes < 1:
        raise LriadError(f"processes {processes}: expected 1 or more")
    inspector = Inspector(policy, **settings)
    workers = min(processes, math.ceil(len(samples) / (inspector.batch_size or _WORTH_A_WORKER)))
    if workers <= 1:
        if samples:
            _load_policy(inspector)
        return inspector.inspect_samples(samples)
    if not isinstance(policy, str | Path):
        raise LriadError("several processes load a policy each: give it by name, not as an object")
    return _rows_from_workers(samples, str(policy), settings, workers)


def inspect_to_file(
    samples: Sequence[Sample],
    output: str | Path,
    *,
    policy: str | Path | Policy = "embedded",
    processes: int = 1,
    retry_errors: bool = False,
    renew: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Summary:
    """Inspect samples into a file, one row an image, each written out as it is done.

    The file may exist: images that are in it are not inspected again, so that a run that was killed and
    started again ends with every image exactly once. Rows of other images stay.

    Args:
        samples: What to inspect; ids must be unique.
        output: A `.jsonl` file, or a `.csv` file with the same fields as columns.
        policy, processes, settings: As for `inspect_rows`.
        retry_errors: Inspect images again whose row holds an error; else an error row counts as done.
        renew: Inspect images again whose file, or the object's name, is another than in their row: every file is read.
        progress: Show a progress bar on stderr, where that is a terminal.

    Returns:
        The counts over `samples`, with those that were done before.

    Raises:
        LriadError: Besides those of `inspect_rows`: the file was made with another policy or other settings,
            holds something else, is being written by another run, or cannot be written (what is in it stays).
    """
    from tqdm import tqdm

    ids = samples.ids() if isinstance(samples, SampleTable) else Strings(sample.id for sample in samples)
    for index, id_ in enumerate(ids):
        if ids.position_of(id_) != index:
            raise LriadError(f"{output}: cannot be written for samples whose ids are not unique: {show(id_)}")
    inspector = Inspector(policy, **settings)
    with _PredictionsFile(Path(output), ids) as file:
        if file.settings:
            given = {} if inspector.threshold is None else {"threshold": inspector.threshold}
            file.require_same(
                mode=inspector.mode,
                prompt_version=inspector.prompt_version,
                setting=inspector.setting,
                note=inspector.context.note or None,
                calibration=inspector.calibration and inspector.calibration.sha256,
                **given,
            )
            memory = None if inspector.memory is None else inspector.memory.sha256
            kinds = samples.kinds if isinstance(samples, SampleTable) else samples
            for category in {(kind.dataset, kind.category) for kind in kinds}:
                file.require_memory(category, memory)
        if retry_errors:
            file.drop(lambda row: bool(row.get("error")))
        if renew:
            file.drop(lambda row: _is_outdated(row, samples, ids.position_of(row["id"])))
        pending = array("Q", (index for index, code in enumerate(file.codes) if not code))
        resumed = len(ids) - len(pending)
        if file.settings and not pending:
            # Rows of another policy must not pass for this one's.
            now = inspector.policy
            file.require_same(
                policy_sha256=now.policy_sha256,
                adapter_sha256=now.adapter_sha256,
                threshold=inspector.threshold_in_use,
            )
        rest = _take(samples, pending) if resumed else samples
        del pending
        hidden = None if progress else True  # None: hidden where stderr is no terminal
        with closing(inspect_rows(rest, policy=policy, processes=processes, **settings)) as rows:
            for row in tqdm(rows, "inspecting", len(samples), initial=resumed, unit="image", disable=hidden):
                file.append(row)
        counts = Counter(file.codes)
        first_error = file.first_error
    return summarise({outcome: counts[code] for code, outcome in enumerate(_OUTCOMES) if code}, resumed, first_error)


def _is_outdated(row: Mapping[str, Any], samples: Sequence[Sample], position: int | None) -> bool:
    """Whether a verdict is on another content of the file, or on another object, than the sample at this position.

    An error stays as it is, and so does the row of a file that cannot be read any more, or of no sample.
    """
    if position is None or row.get("error"):
        return False
    sample = samples[position]
    try:
        return row.get("object_name") != sample.object_name or row.get("image_sha256") != file_sha256(sample.image)
    except LriadError:
        return False


def _take(samples: Sequence[Sample], indices: Sequence[int]) -> Sequence[Sample]:
    return samples.take(indices) if isinstance(samples, SampleTable) else [samples[index] for index in indices]


def _load_policy(inspector: Inspector) -> None:
    """Load an inspector's policy now, without garbage collection in between.

    Importing torch and transformers makes millions of objects, nearly all of which stay; to look through them again
    and again would take a tenth of the time.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        inspector.loaded()
    finally:
        if collecting:
            gc.enable()


def _is_csv(path: Path) -> bool:
    if path.suffix.lower() not in (".jsonl", ".csv"):
        raise LriadError(f"{path}: predictions are kept in a .jsonl or a .csv file; change the name")
    return path.suffix.lower() == ".csv"


def _as_cell(value: Any) -> str:
    """How the CSV form holds a value; what differs in it differs."""
    return "" if value is None else str(value)


class _PredictionsFile:
    """A predictions file open for appending, by one process at a time.

    Args:
        path: The file.
        ids: Of the images that are asked for.

    Attributes:
        codes: One byte for each of these images: the place of its outcome in `_OUTCOMES`.
        settings: What the rows share; empty before the first verdict.
        memories: What those of a category, (data set, category), share besides.
        first_error: Why the first of these images with an error could not be inspected.
    """

    def __init__(self, path: Path, ids: Strings) -> None:
        self.path = path
        self._ids = ids
        self._is_csv = _is_csv(path)
        self._start = _csv_line(_COLUMNS) if self._is_csv else b'{"id": '

    def __enter__(self) -> _PredictionsFile:
        self.codes = bytearray(len(self._ids))
        self.settings: dict[str, Any] = {}
        self.memories: dict[tuple[str, str], str | None] = {}
        self.first_error: str | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise LriadError(f"{self.path}: cannot be written: {error.strerror}") from error
        try:
            self._lock()
            self._end = self._cut_torn_record()
            for row in self._rows():
                self._take_note(row)
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def require_same(self, **settings: Any) -> None:
        """Refuse settings that differ from those of the rows in the file."""
        for name, value in settings.items():
            if _as_cell(self.settings[name]) != _as_cell(value):
                raise LriadError(
                    f"{self.path}: holds rows made with {name} {self.settings[name]}, this run has {value}; "
                    "write to another file, or remove this one"
                )

    def require_memory(self, category: tuple[str, str], memory: str | None) -> None:
        """Refuse another memory than that of the category's rows in the file."""
        known = self.memories.get(category, memory)
        if _as_cell(known) != _as_cell(memory):
            raise LriadError(
                f"{self.path}: holds rows of {category[1]} made with memory {known}, this run has {memory}; "
                "write to another file, or remove this one"
            )

    def append(self, row: dict[str, Any]) -> None:
        """Write one row through to the operating system."""
        self._take_note(row)
        data = memoryview(self._encode(row) if self._end else self._header() + self._encode(row))
        end = self._end
        try:
            while data:
                written = self._stream.write(data)
                end += written
                data = data[written:]
        except OSError as error:
            os.ftruncate(self._stream.fileno(), self._end)
            raise LriadError(
                f"{self.path}: cannot be written: {error.strerror}; its rows are kept: make room, then "
                "run the same command again"
            ) from error
        self._end = end

    def drop(self, where: Callable[[dict[str, Any]], bool]) -> None:
        """Take some rows out of the file."""
        dropped = {row["id"] for row in self._rows() if where(row)}
        if not dropped:
            return
        part = self.path.with_name(self.path.name + ".part")
        with part.open("wb") as stream:
            stream.write(self._header())
            stream.writelines(self._encode(row) for row in self._rows() if row["id"] not in dropped)
        os.replace(part, self.path)
        self._stream.close()
        self.__enter__()

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The rows in the file; from CSV, all values are text."""
        with self.path.open("rb") as stream:
            if self._is_csv:
                yield from csv.DictReader(io.TextIOWrapper(stream, "utf-8", "surrogateescape", newline=""))
                return
            for number, line in enumerate(stream, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise LriadError(f"{self.path}, line {number}: not JSON; repair or remove it") from error

    def _take_note(self, row: dict[str, Any]) -> None:
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or outcome_of(row) not in _OUTCOMES[1:]:
            raise LriadError(f"{self.path}: holds a line that is no prediction; repair or remove it")
        outcome, position = outcome_of(row), self._ids.position_of(row["id"])
        if position is not None:
            self.codes[position] = _OUTCOMES.index(outcome)
        if outcome == "error":
            if position is not None:
                self.first_error = self.first_error or str(row["error"])
        else:
            # Rows of earlier versions say nothing of their setting.
            settings = {name: row.get(name) for name in _SETTINGS} | {"setting": row.get("setting") or "zero-shot"}
            self.settings = self.settings or settings
            self.require_same(**settings)
            category = str(row.get("dataset") or ""), str(row.get("category"))
            self.require_memory(category, row.get("memory"))
            self.memories.setdefault(category, row.get("memory"))

    def _lock(self) -> None:
        # The operating system frees the lock also when the process is killed.
        if sys.platform == "win32":
            return
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LriadError(f"{self.path}: another run is writing to it; wait for it, or stop it") from error

    def _cut_torn_record(self) -> int:
        """Cut off a last record that a kill left unfinished; returns the length of the file."""
        end = position = quotes = 0
        with self.path.open("rb") as stream:
            start = stream.read(len(self._start))
            if not self._start.startswith(start):
                if start.startswith(b"id,image,"):
                    raise LriadError(f"{self.path}: was written by another version of lriad; name another file")
                raise LriadError(f"{self.path}: exists and holds no predictions of lriad; name another file")
            stream.seek(0)
            for line in stream:
                position += len(line)
                # A line break inside a quoted CSV cell ends no record.
                quotes += line.count(b'"') if self._is_csv else 0
                if line.endswith(b"\n") and quotes % 2 == 0:
                    end = position
        os.ftruncate(self._stream.fileno(), end)
        return end

    def _header(self) -> bytes:
        return self._start if self._is_csv else b""

    def _encode(self, row: dict[str, Any]) -> bytes:
        if self._is_csv:
            cells = (row.get(name) for name in _COLUMNS)
            return _csv_line([json.dumps(cell) if isinstance(cell, tuple | list) else cell for cell in cells])
        # A file name that is not UTF-8 holds lone surrogates: as \udcXX they are valid JSON and come back.
        return (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def _csv_line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue().encode("utf-8", "surrogateescape")


def _rows_from_workers(
    samples: Sequence[Sample], policy: str, settings: dict[str, Any], workers: int
) -> Generator[dict[str, Any], None, None]:
    """The rows of several worker processes, each of which inspects every n-th sample."""
    from torch import cuda

    gpus = cuda.device_count() if settings.get("device") is None else 0
    sharing = math.ceil(workers / gpus) if gpus else workers
    context = get_context("spawn")
    running: dict[connection.Connection, SpawnProcess] = {}
    try:
        for index in range(workers):
            reader, writer = context.Pipe(duplex=False)
            own = {**settings, "device": f"cuda:{index % gpus}"} if gpus else settings
            arguments = (writer, samples[index::workers], policy, {**own, "processes": sharing}, workers)
            running[reader] = context.Process(target=_work, args=arguments, daemon=True)
            running[reader].start()
            writer.close()  # so that the worker's end is the only one, and its death the end of the pipe
        while running:
            for reader in cast(list[connection.Connection], connection.wait(list(running))):
                try:
                    message = reader.recv()
                except (EOFError, OSError):
                    process = running.pop(reader)
                    process.join()
                    if process.exitcode != 0:
                        raise LriadError(
                            f"a worker process died (exit code {process.exitcode}; -9: often out of memory); "
                            "what is written is kept: run again, perhaps with fewer --processes"
                        ) from None
                    continue
                if isinstance(message, Exception):
                    raise message
                yield message
    finally:
        for process in running.values():
            process.kill()
            process.join()


def _work(
    writer: connection.Connection,
    samples: Sequence[Sample],
    policy: str,
    settings: dict[str, Any],
    workers: int,
) -> None:
    """A worker process: sends its rows, and an exception in place of the rest."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    try:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
        inspector = Inspector(policy, **settings)
        _load_policy(inspector)
        for row in inspector.inspect_samples(samples):
            writer.send(row)
    except LriadError as error:
        writer.send(error)
    except Exception as error:
        # Rebuilt, since not every exception can be pickled; the note carries the traceback.
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(traceback.format_exc())
        writer.send(plain)


def _exit_with_parent() -> None:
    # A killed parent cannot end its workers, and they would wait for it for ever.
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
