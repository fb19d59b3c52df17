"""What a station remembers: pictures by the hash of their bytes, inspections, labels, arrivals in watched folders."""

from __future__ import annotations

import hashlib
import io
import os
import re
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import sqlalchemy as sql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from lriad.data._files import show
from lriad.errors import LriadError
from lriad.serving.doubt import doubt, suspicion

if TYPE_CHECKING:
    import numpy as np
    from filelock import BaseFileLock
    from numpy.typing import NDArray

    from lriad.data.views import Box
    from lriad.verdict import Verdict

Truth = Literal["defect", "normal"]
Order = Literal["newest", "oldest", "doubt", "suspicion"]

DATABASE = "station.sqlite3"
_INCOMING = ".lriad-incoming"
"""Of files that are being written; whoever opens a store in a folder of their own has no other such folder in it."""
_OUR_NAME = re.compile("[0-9a-f]{32}")
_WAIT = 30
"""Seconds for which a writer waits for another process's transaction."""
_CHUNK = 1 << 20
_LEFT_OVER = 86400
"""Seconds after which a file that is being written belongs to nobody."""
_ROUND = 500
"""Arrivals that are read at a time."""
_DAYS = 30
"""That statistics show day by day."""


class StoreError(LriadError):
    """The store cannot be read or written now: a full disk, a damaged file, a database that is held by another."""


class TooLarge(LriadError):
    """A picture of more bytes than are taken."""


class Base(DeclarativeBase):
    """The tables' common ancestor."""


class Inspection(Base):
    """One picture that was accepted, and what became of it.

    Attributes:
        created_at: When it was accepted, ISO 8601 in UTC.
        name: What the picture was called, for showing only.
        state: `pending` until it is judged, then `done` or `failed`; `cancelled` where nobody waited for it any more.
        extension: Of the picture's file in the store, by its content.
        attempts: How often it was taken up again after the process had died on it, or beside it.
        verdict: The fields of `Verdict`; those that are searched by or ordered by stand in columns, too.
        doubt, suspicion: See `lriad.serving.doubt`.
        truth, defect_type, note, labelled_at: The label in force; its history is in `labels`.
    """

    __tablename__ = "inspections"
    __table_args__ = (
        sql.Index("inspections_by_image", "image_sha256"),
        sql.Index("inspections_by_product", "object_name", "created_at"),
        sql.Index("inspections_by_doubt", "truth", "doubt", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[str] = mapped_column(sql.String(30))
    name: Mapped[str] = mapped_column(sql.String(200))
    object_name: Mapped[str] = mapped_column(sql.String(200))
    group: Mapped[str | None] = mapped_column(sql.String(200))
    state: Mapped[str] = mapped_column(sql.String(10))
    error: Mapped[str | None] = mapped_column(sql.Text)
    attempts: Mapped[int] = mapped_column(default=0)
    image_sha256: Mapped[str] = mapped_column(sql.String(64))
    extension: Mapped[str] = mapped_column(sql.String(8))
    width: Mapped[int]
    height: Mapped[int]
    decision: Mapped[str | None] = mapped_column(sql.String(10))
    reasoning: Mapped[str | None] = mapped_column(sql.Text)
    doubt: Mapped[float | None] = mapped_column(sql.Double)
    suspicion: Mapped[float | None] = mapped_column(sql.Double)
    verdict: Mapped[dict[str, Any] | None] = mapped_column(sql.JSON(none_as_null=True))
    truth: Mapped[str | None] = mapped_column(sql.String(10))
    defect_type: Mapped[str | None] = mapped_column(sql.String(60))
    note: Mapped[str | None] = mapped_column(sql.Text)
    labelled_at: Mapped[str | None] = mapped_column(sql.String(30))

    def settle(self, outcome: Verdict | LriadError) -> None:
        """Enter what the inspection came to."""
        if isinstance(outcome, LriadError):
            self.state, self.error = "failed", str(outcome)
            return
        verdict = outcome.to_dict()
        self.state, self.error, self.verdict = "done", None, verdict
        self.decision, self.reasoning = outcome.decision, outcome.reasoning
        self.doubt, self.suspicion = doubt(verdict), suspicion(verdict)

    def to_dict(self) -> dict[str, Any]:
        """The inspection as the API shows it."""
        verdict = self.verdict or {}
        own = ("id", "name", "object_name", "group", "state", "error", "created_at", "width", "height", "image_sha256")
        said = ("label", "p_defect", "probability", "score", "alarm_rate", "deviation", "unusual_place")
        decision = ("threshold", "decided_by", "limit", "normal_below")
        how = ("boxes", "mode", "setting", "seconds", "calibration")
        decided = self.decision in ("defect", "normal")
        return {
            **{field: getattr(self, field) for field in own},
            "decision": self.decision,
            **{field: verdict.get(field) for field in (*said, *decision)},
            "reasoning": self.reasoning,
            **{field: verdict.get(field) for field in how},
            "doubt": self.doubt,
            "truth": self.truth,
            "defect_type": self.defect_type,
            "note": self.note,
            "corrected": self.truth is not None and decided and self.truth != self.decision,
        }


class Label(Base):
    """What a person said of an inspection; a label of None takes back what was said before."""

    __tablename__ = "labels"

    id: Mapped[int] = mapped_column(primary_key=True)
    inspection_id: Mapped[int] = mapped_column(sql.ForeignKey("inspections.id"), index=True)
    created_at: Mapped[str] = mapped_column(sql.String(30))
    label: Mapped[str | None] = mapped_column(sql.String(10))
    defect_type: Mapped[str | None] = mapped_column(sql.String(60))
    note: Mapped[str | None] = mapped_column(sql.Text)


class Arrival(Base):
    """A file of a watched folder, and how far it has come: see `lriad.serving.watch`.

    Paths are bytes, as the system gives them: not every file name is text.

    Attributes:
        folder: The watched folder.
        source: The file's path in it.
        size, modified_ns: Of the file when it was taken; with other ones it is another arrival.
        state: `begun`, `inspected`, `placed`; `failed` where it could not be inspected. One that stays `begun` is of a
            process that ended before it had a verdict.
        destination: Where it is moved to, entered before it is moved; None where it stays.
        delivery: `waiting`, then `delivered`, or `refused` for good; None where nobody is told.
        delivery_id: By which who is told can know a second telling.
    """

    __tablename__ = "arrivals"
    __table_args__ = (
        sql.Index("arrivals_by_source", "folder", "source"),
        sql.Index("arrivals_by_delivery", "folder", "delivery"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    created_at: Mapped[str] = mapped_column(sql.String(30))
    folder: Mapped[bytes] = mapped_column(sql.LargeBinary)
    source: Mapped[bytes] = mapped_column(sql.LargeBinary)
    size: Mapped[int] = mapped_column(sql.BigInteger)
    modified_ns: Mapped[int] = mapped_column(sql.BigInteger)
    image_sha256: Mapped[str | None] = mapped_column(sql.String(64))
    inspection_id: Mapped[int | None] = mapped_column(sql.ForeignKey("inspections.id"))
    state: Mapped[str] = mapped_column(sql.String(10))
    error: Mapped[str | None] = mapped_column(sql.Text)
    destination: Mapped[bytes | None] = mapped_column(sql.LargeBinary)
    delivery: Mapped[str | None] = mapped_column(sql.String(10))
    delivery_id: Mapped[str] = mapped_column(sql.String(32), default=lambda: uuid.uuid4().hex)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file that is written and not adopted yet."""

    path: Path
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the inspections that were asked for.

    Attributes:
        inspections: In the order that was asked for.
        next: The cursor for those behind them; None at the end.
        total: How many there are in all.
    """

    inspections: Sequence[Inspection]
    next: str | None
    total: int


class Store:
    """A folder with the pictures, and the database with everything else.

    Several processes may use one store at a time. What a method has written stays, whatever happens to the process
    afterwards. All methods may be called from several threads.

    Args:
        folder: Made if missing; on a disk of this machine, unless `url` names another database.
        url: Of the database, as SQLAlchemy spells it; an SQLite file in the folder by default.

    Raises:
        StoreError: The folder or the database cannot be used.
    """

    def __init__(self, folder: str | Path, url: str | None = None) -> None:
        self.folder = Path(folder)
        try:
            for name in ("images", _INCOMING, "maps", "locks"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            self._remove_left_over()
        except OSError as error:
            raise StoreError(f"{show(self.folder)}: cannot be used as a store ({error.strerror})") from error
        url = url or f"sqlite:///{(self.folder / DATABASE).absolute()}"
        self._engine = _database(url)
        self._writer = self._engine.execution_options(writing=True)
        with self._failing():
            _use_wal(self._engine)
            self._migrate()

    def close(self) -> None:
        """Give the database's files free."""
        self._engine.dispose()

    def lock(self, name: str, what: str) -> BaseFileLock:
        """A lock that one process holds at a time; the system frees it also when the process is killed.

        Args:
            name: Of the lock's file.
            what: What the other process does, for the message.

        Raises:
            LriadError: Another process holds it.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / "locks" / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise LriadError(f"{show(self.folder)}: another process {what}; stop it, or use another store") from error
        return lock

    # --- pictures -----------------------------------------------------------------------------------------------

    def receive(self, stream: IO[bytes], max_bytes: int | None = None) -> Incoming:
        """Copy a stream into a file that nobody knows yet, hashing it.

        Raises:
            TooLarge: It is of more than `max_bytes` bytes.
            StoreError: It cannot be written.
        """
        path = self.folder / _INCOMING / uuid.uuid4().hex
        digest, size = hashlib.sha256(), 0
        try:
            with self._failing(), path.open("xb") as file:
                while chunk := stream.read(_CHUNK):
                    size += len(chunk)
                    if max_bytes is not None and size > max_bytes:
                        raise TooLarge(f"more than {max_bytes / 2**20:g} MiB; scale it down, or compress it")
                    digest.update(chunk)
                    file.write(chunk)
        except BaseException:
            self.discard(path)
            raise
        return Incoming(path, digest.hexdigest(), size)

    def discard(self, path: Path) -> None:
        """Remove a received file that is not adopted."""
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def adopt(self, incoming: Incoming, extension: str) -> Path:
        """Give a received file its place among the pictures, whole or not at all; a picture that is there stays.

        Args:
            incoming: From `receive`.
            extension: One of `lriad.serving.pictures.EXTENSIONS`.
        """
        place = self.picture(incoming.sha256, extension)
        with self._failing():
            if place.exists() and place.stat().st_size == incoming.size:
                self.discard(incoming.path)
                return place
            place.parent.mkdir(exist_ok=True)
            with incoming.path.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(incoming.path, place)
            _sync(place.parent)
        return place

    def picture(self, sha256: str, extension: str) -> Path:
        """Where the picture with this hash lies, or would lie."""
        return self.folder / "images" / sha256[:2] / f"{sha256}.{extension}"

    def save_map(self, id_: int, map_HW: NDArray[np.floating], boxes: Sequence[Box]) -> None:
        """Keep where an inspection's picture deviates.

        Args:
            id_: Of the inspection.
            map_HW: The heat-map, NaN where nothing was looked at; kept in half precision.
            boxes: Of its peaks, in pixels.
        """
        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, map=map_HW.astype(np.float16), boxes=np.array(boxes, np.int64).reshape(-1, 4))
        part = self.folder / _INCOMING / uuid.uuid4().hex
        with self._failing():
            part.write_bytes(buffer.getvalue())
            os.replace(part, self._map_file(id_))

    def load_map(self, id_: int) -> tuple[NDArray[np.float32], list[Box]] | None:
        """The heat-map and its boxes, None where there is none."""
        import numpy as np

        try:
            with np.load(self._map_file(id_)) as kept:
                boxes = [(int(left), int(top), int(right), int(bottom)) for left, top, right, bottom in kept["boxes"]]
                return kept["map"].astype(np.float32), boxes
        except (OSError, ValueError, KeyError, EOFError):
            return None  # It can be made again.

    def _map_file(self, id_: int) -> Path:
        return self.folder / "maps" / f"{id_}.npz"

    def _remove_left_over(self) -> None:
        """Remove what processes that were killed have left unfinished; another may just be writing the newer ones."""
        for path in (self.folder / _INCOMING).iterdir():
            with suppress(OSError):
                if _OUR_NAME.fullmatch(path.name) and path.stat().st_mtime < time.time() - _LEFT_OVER:
                    path.unlink()

    # --- inspections --------------------------------------------------------------------------------------------

    def add(self, inspections: Iterable[Inspection]) -> list[Inspection]:
        """Enter inspections; they come back with their ids."""
        kept = list(inspections)
        with self._writing() as session:
            session.add_all(kept)
        return kept

    def settle(self, outcomes: Sequence[tuple[int, Verdict | LriadError]]) -> None:
        """Enter what inspections came to, all in one transaction."""
        with self._writing() as session:
            for id_, outcome in outcomes:
                session.get_one(Inspection, id_).settle(outcome)

    def cancel(self, ids: Sequence[int]) -> None:
        """Enter that nobody waits for these any more; those that are judged already stay so."""
        with self._writing() as session:
            session.execute(
                sql.update(Inspection)
                .where(Inspection.id.in_(ids), Inspection.state == "pending")
                .values(state="cancelled", error="the client went away before it was inspected")
            )

    def pending(self) -> list[Inspection]:
        """Those that wait to be judged, the oldest first."""
        with self._reading() as session:
            return list(session.scalars(sql.select(Inspection).filter_by(state="pending").order_by(Inspection.id)))

    def count_attempt(self, id_: int) -> int:
        """Enter that an inspection is taken up again; returns how often it was."""
        with self._writing() as session:
            inspection = session.get_one(Inspection, id_)
            inspection.attempts += 1
            return inspection.attempts

    def get(self, id_: int) -> Inspection | None:
        """The inspection with this id, None where there is none."""
        with self._reading() as session:
            return session.get(Inspection, id_)

    def get_all(self, ids: Sequence[int]) -> list[Inspection]:
        """Those with these ids, in their order; ids that there are not are left out."""
        with self._reading() as session:
            found = {row.id: row for row in session.scalars(sql.select(Inspection).where(Inspection.id.in_(ids)))}
        return [found[id_] for id_ in ids if id_ in found]

    def find(self, image_sha256: str, object_name: str, judged_by: Mapping[str, Any]) -> Inspection | None:
        """The last inspection of this picture as this product that came to a verdict.

        Args:
            image_sha256, object_name: Of the picture.
            judged_by: Fields of the verdict, and what they must be.
        """
        with self._reading() as session:
            found = session.scalars(
                sql.select(Inspection)
                .filter_by(image_sha256=image_sha256, object_name=object_name, state="done")
                .order_by(Inspection.id.desc())
            )
            for row in found:
                if judged_by.items() <= (row.verdict or {}).items():
                    return row
        return None

    def page(
        self,
        *,
        object_name: str | None = None,
        decision: str | None = None,
        truth: str = "any",
        text: str | None = None,
        order: Order = "newest",
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Some inspections.

        Args:
            object_name, decision: Only of this product, only with this decision.
            truth: `defect` or `normal`: only those labelled so; `none`: only those that came to a verdict and have no
                label; `any`: all.
            text: Only those that hold it in their name, product, reasoning, defect type or note, in any case.
            order: By `doubt` and `suspicion` those that came to a verdict, the highest first.
            limit: At most so many.
            cursor: `Page.next` of the page before, asked for in the same way.

        Raises:
            LriadError: The cursor is not of this order.
        """
        wanted: list[sql.ColumnElement[bool]] = []
        if object_name is not None:
            wanted.append(Inspection.object_name == object_name)
        if decision is not None:
            wanted.append(Inspection.decision == decision)
        if truth == "none":
            wanted += [Inspection.truth.is_(None), Inspection.state == "done"]
        elif truth != "any":
            wanted.append(Inspection.truth == truth)
        if text:
            places = (
                Inspection.name,
                Inspection.object_name,
                Inspection.reasoning,
                Inspection.defect_type,
                Inspection.note,
            )
            wanted.append(sql.or_(*(place.icontains(text, autoescape=True) for place in places)))
        by = {"doubt": Inspection.doubt, "suspicion": Inspection.suspicion}.get(order)
        if by is not None:
            wanted.append(Inspection.state == "done")
        behind = [_behind(order, by, cursor)] if cursor is not None else []
        sorting: list[Any] = [] if by is None else [by.desc()]
        sorting.append(Inspection.id.asc() if order == "oldest" else Inspection.id.desc())
        with self._reading() as session:
            total = session.scalar(sql.select(sql.func.count()).select_from(Inspection).where(*wanted)) or 0
            rows = list(
                session.scalars(sql.select(Inspection).where(*wanted, *behind).order_by(*sorting).limit(limit + 1))
            )
        following = _cursor(order, rows[limit - 1]) if len(rows) > limit else None
        return Page(rows[:limit], following, total)

    def products(self) -> list[str]:
        """Names of the products that were inspected."""
        with self._reading() as session:
            return list(session.scalars(sql.select(Inspection.object_name).distinct().order_by(Inspection.object_name)))

    def predictions(self, object_name: str, calibration: str, last: int) -> list[dict[str, Any]]:
        """The last verdicts on a product that a calibration decided, as rows of predictions, the oldest first."""
        with self._reading() as session:
            found = session.scalars(
                sql.select(Inspection)
                .where(
                    Inspection.object_name == object_name,
                    Inspection.state == "done",
                    Inspection.verdict["calibration"].as_string() == calibration,
                )
                .order_by(Inspection.id.desc())
                .limit(last)
            ).all()
        return [
            {
                "id": str(row.id),
                "image": row.name,
                "category": object_name,
                "object_name": object_name,
                "dataset": "",
                "group": row.group,
                "truth": row.truth or "unknown",
                **(row.verdict or {}),
            }
            for row in reversed(found)
        ]

    def statistics(self) -> list[dict[str, Any]]:
        """Counts a product, in the order of their names: see `GET /api/statistics`."""
        row, count = Inspection, sql.func.count()
        is_ = {name: row.decision == name for name in ("defect", "normal", "review")}

        def number(condition: sql.ColumnElement[bool]) -> sql.ColumnElement[int]:
            return sql.func.sum(sql.case((condition, 1), else_=0))

        day = sql.func.substr(row.created_at, 1, 10)
        since = (datetime.now(UTC) - timedelta(days=_DAYS - 1)).date().isoformat()
        done = row.state == "done"
        with self._reading() as session:
            totals = session.execute(
                sql.select(
                    row.object_name,
                    count.label("inspected"),
                    *(number(condition).label(name) for name, condition in is_.items()),
                    number(row.truth.is_not(None)).label("labelled"),
                    number(row.truth == row.decision).label("agreed"),
                    number(sql.and_(row.truth == "defect", is_["normal"])).label("missed"),
                    number(sql.and_(row.truth == "normal", is_["defect"])).label("false_alarms"),
                )
                .where(done)
                .group_by(row.object_name)
                .order_by(row.object_name)
            ).mappings()
            products = {total["object_name"]: {**total, "by_day": []} for total in totals}
            days = session.execute(
                sql.select(
                    row.object_name,
                    day.label("day"),
                    count.label("inspected"),
                    number(is_["defect"]).label("defect"),
                    number(is_["review"]).label("review"),
                )
                .where(done, row.created_at >= since)
                .group_by(row.object_name, day)
                .order_by(day)
            ).mappings()
            for one in days:
                entry = dict(one)
                products[entry.pop("object_name")]["by_day"].append(entry)
        return list(products.values())

    # --- labels -------------------------------------------------------------------------------------------------

    def label(
        self, id_: int, label: Truth | None, defect_type: str | None = None, note: str | None = None
    ) -> Inspection | None:
        """Enter what a person says of an inspection; None takes back what was said.

        Returns:
            The inspection, None where there is none with this id.
        """
        with self._writing() as session:
            inspection = session.get(Inspection, id_)
            if inspection is None or (label is None and inspection.truth is None):
                return inspection
            now = utc_now()
            session.add(Label(inspection_id=id_, created_at=now, label=label, defect_type=defect_type, note=note))
            inspection.truth, inspection.defect_type, inspection.note = label, defect_type, note
            inspection.labelled_at = None if label is None else now
        return inspection

    def labels(self, id_: int) -> list[Label]:
        """All that was said of an inspection, the first first."""
        with self._reading() as session:
            return list(session.scalars(sql.select(Label).filter_by(inspection_id=id_).order_by(Label.id)))

    def labelled(self, object_name: str | None = None) -> list[Inspection]:
        """One inspection for each picture of each product that has a label: the one that was labelled last."""
        wanted: list[sql.ColumnElement[bool]] = [Inspection.truth.is_not(None)]
        if object_name is not None:
            wanted.append(Inspection.object_name == object_name)
        with self._reading() as session:
            rows = session.scalars(
                sql.select(Inspection).where(*wanted).order_by(Inspection.labelled_at, Inspection.id)
            ).all()
        last = {(row.object_name, row.image_sha256): row for row in rows}
        return sorted(last.values(), key=lambda row: row.id)

    # --- arrivals -----------------------------------------------------------------------------------------------

    def arrivals(self, folder: bytes) -> list[Arrival]:
        """What is known of a folder's files but those that were moved away, the first first."""
        with self._reading() as session:
            return list(
                session.scalars(
                    sql.select(Arrival)
                    .where(Arrival.folder == folder)
                    .where(sql.or_(Arrival.state == "inspected", Arrival.destination.is_(None)))
                    .order_by(Arrival.id)
                )
            )

    def arrive(self, arrival: Arrival) -> Arrival:
        """Enter an arrival."""
        with self._writing() as session:
            session.add(arrival)
        return arrival

    def conclude(self, arrival: Arrival, inspection: Inspection) -> None:
        """Enter the inspection that an arrival led to, and that it did, both or neither."""
        with self._writing() as session:
            session.add(inspection)
            session.flush()
            values = {"state": "inspected", "inspection_id": inspection.id}
            session.execute(sql.update(Arrival).where(Arrival.id == arrival.id).values(**values))
        arrival.state, arrival.inspection_id = "inspected", inspection.id

    def update_arrival(self, id_: int, **values: Any) -> None:
        """Enter how far an arrival has come."""
        with self._writing() as session:
            session.execute(sql.update(Arrival).where(Arrival.id == id_).values(**values))

    def take_back(self, delivery_id: str) -> None:
        """Forget an arrival that has only begun."""
        with self._writing() as session:
            session.execute(sql.delete(Arrival).filter_by(delivery_id=delivery_id, state="begun"))

    def undelivered(self, folder: bytes, after: int = 0) -> list[tuple[Arrival, Inspection | None]]:
        """Arrivals of a folder that have found their place and of which nobody has been told yet, the first first.

        Args:
            folder: The watched folder.
            after: Only those with a higher id; some hundred come at a time.
        """
        with self._reading() as session:
            found = session.execute(
                sql.select(Arrival, Inspection)
                .outerjoin(Inspection, Inspection.id == Arrival.inspection_id)
                .where(Arrival.folder == folder, Arrival.delivery == "waiting", Arrival.state.in_(("placed", "failed")))
                .where(Arrival.id > after)
                .order_by(Arrival.id)
                .limit(_ROUND)
            )
            return [(arrival, inspection) for arrival, inspection in found]

    # --- the database -------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._failing(), Session(self._engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._failing(), Session(self._writer, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What the disk and the database refuse, in one line."""
        try:
            yield
        except (sql.exc.DatabaseError, sql.exc.TimeoutError, sqlite3.Error) as error:
            reason = " ".join(str(getattr(error, "orig", error)).split())
            raise StoreError(f"{show(self.folder)}: the store's database cannot be used now ({reason})") from error
        except OSError as error:
            raise StoreError(f"{show(self.folder)}: the store cannot be written ({error.strerror})") from error

    def _migrate(self) -> None:
        """Bring the tables to what this version needs; of several processes one does, the others wait for it."""
        from alembic import command
        from alembic.config import Config
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        with self._writer.begin() as connection:
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise StoreError(
                    f"{show(self.folder)}: the store was made by a newer version of lriad; use that one ({error})"
                ) from error


def utc_now() -> str:
    """The time as the store and the API write it: ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _database(url: str) -> sql.Engine:
    try:
        address = sql.make_url(url)
        if address.get_backend_name() != "sqlite":
            return sql.create_engine(address, pool_pre_ping=True)
        engine = sql.create_engine(address, connect_args={"timeout": _WAIT}, pool_size=16, max_overflow=48)
    except (sql.exc.ArgumentError, ImportError) as error:
        raise StoreError(f"{url.partition('://')[0]}://…: no database that can be used ({error})") from error

    @sql.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Transactions begin where we say so, below.
        # With NORMAL, a power cut could take back the last commits, which were answered. It costs one fsync a commit.
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        # SQLite's own knows the letters of English only.
        connection.create_function("lower", 1, lambda text: text and str(text).casefold(), deterministic=True)

    @sql.event.listens_for(engine, "begin")
    def _begin(connection: sql.Connection) -> None:
        # A reader that turns writer would be refused at once where another process has written in between, however
        # long it is willing to wait: who will write says so at the start.
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _use_wal(engine: sql.Engine) -> None:
    """Turn to write-ahead logging, in which readers and a writer of several processes do not wait for one another.

    The file remembers it. The first time, SQLite needs the file for itself and does not wait for that.
    """
    if engine.dialect.name != "sqlite":
        return
    from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_random

    @retry(
        retry=retry_if_exception_type(sql.exc.OperationalError),
        stop=stop_after_delay(_WAIT),
        wait=wait_random(0.01, 0.1),
        reraise=True,
    )
    def turn() -> None:
        raw = engine.raw_connection()
        try:
            mode = raw.cursor().execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except Exception as error:
            raise sql.exc.OperationalError("PRAGMA journal_mode", None, error) from error
        finally:
            raw.close()
        if mode not in ("wal", "memory"):
            raise StoreError("the store's disk cannot be shared by processes; keep it on a disk of this machine")

    turn()


def _sync(folder: Path) -> None:
    """Write a folder's entries to the disk."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cursor(order: Order, last: Inspection) -> str:
    return f"{getattr(last, order)!r}_{last.id}" if order in ("doubt", "suspicion") else str(last.id)


def _behind(order: Order, by: Any, cursor: str) -> sql.ColumnElement[bool]:
    """The condition for what comes behind a cursor."""
    value, _, id_ = cursor.rpartition("_")
    if not (id_.isascii() and id_.isdigit() and len(id_) < 19 and bool(value) == (by is not None)):
        raise LriadError("cursor: expected 'next' of the page before, in the same order")
    if by is None:
        return Inspection.id > int(id_) if order == "oldest" else Inspection.id < int(id_)
    try:
        number = float(value)
    except ValueError:
        raise LriadError("cursor: expected 'next' of the page before, in the same order") from None
    return sql.or_(by < number, sql.and_(by == number, Inspection.id < int(id_)))
