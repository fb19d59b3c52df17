"""The station's HTTP API and its page."""

from __future__ import annotations

import asyncio
import html
import json
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException

from lriad._version import __version__
from lriad.errors import LriadError
from lriad.serving.engine import Broken, Busy, Job, Places
from lriad.serving.export import export_zip, folder_names
from lriad.serving.pictures import as_jpeg, preview, shown_name
from lriad.serving.security import BodyLimit, Guard
from lriad.serving.station import Station, Taken
from lriad.serving.store import Inspection, Order, StoreError, TooLarge
from lriad.verdict import DecidedBy

_log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
_PAINTERS = 2
"""Threads that make previews and overlays; a picture in full size is held in each."""
_FIELD_BYTES = 4096
_KEEP = "private, max-age=600"


@dataclass(frozen=True, slots=True)
class Settings:
    """How much clients may send, and who they are.

    Attributes:
        token: That every request must bring; None for a station that only this machine asks.
        max_bytes, max_pixels: Of one picture.
        max_files: In one request.
        max_upload: Bytes of one request.
        timeout: Seconds that a client waits for verdicts; then it gets what there is.
    """

    token: str | None = None
    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000
    max_files: int = 64
    max_upload: int = 256 << 20
    timeout: float = 60


# --- what goes in and out -----------------------------------------------------------------------------------------


class Error(BaseModel):
    """Why a request was refused, in one line."""

    error: str


class Refused(BaseModel):
    """Why a picture was refused, in one line."""

    name: str
    error: str


class InspectionOut(BaseModel):
    """One picture, what was said of it, and what a person said."""

    id: int
    name: str
    object_name: str
    group: str | None
    state: Literal["pending", "done", "failed", "cancelled"]
    error: str | None
    created_at: str
    width: int
    height: int
    image_sha256: str
    decision: Literal["defect", "normal", "review"] | None
    label: Literal["defect", "normal", "unparsable"] | None
    p_defect: float | None
    probability: float | None
    score: float | None
    alarm_rate: float | None
    deviation: float | None
    unusual_place: str | None
    threshold: float | None
    decided_by: DecidedBy | None
    limit: float | None
    normal_below: float | None
    reasoning: str | None
    boxes: list[Annotated[list[int], Field(min_length=4, max_length=4)]] | None
    mode: Literal["reason", "fast"] | None
    setting: str | None
    seconds: float | None
    calibration: str | None
    doubt: float | None
    truth: Literal["defect", "normal"] | None
    defect_type: str | None
    note: str | None
    corrected: bool


class Inspected(BaseModel):
    """One entry a file, in their order."""

    inspections: list[InspectionOut | Refused]


class Found(BaseModel):
    """Some of the inspections."""

    inspections: list[InspectionOut]
    next: str | None
    total: int


class Healthy(BaseModel):
    """The station works."""

    status: Literal["ok"]
    version: str


class LabelIn(BaseModel):
    """What a part is."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    label: Literal["defect", "normal"]
    defect_type: str | None = Field(
        None, max_length=60, pattern=r"^[^\x00-\x1f\x7f]*$", description="Of a defect, such as 'scratch'."
    )
    note: str | None = Field(None, max_length=500, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f]*$")


_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["files", "object_name"],
                    "properties": {
                        "files": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                            "description": "JPEG, PNG, TIFF, BMP, WebP, GIF or PPM.",
                        },
                        "object_name": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 200,
                            "description": "The part in words, such as 'metal nut'.",
                        },
                        "group": {
                            "type": "string",
                            "maxLength": 200,
                            "description": "Pictures of one part are not compared with one another.",
                        },
                    },
                }
            }
        },
    }
}


def _digits(value: Any) -> Any:
    """Nothing but digits in a path or a query: pydantic would take a line break, a sign or '1.0', too."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit()):
        raise ValueError("digits are expected")
    return value


Number = Annotated[int, BeforeValidator(_digits)]
Id = Annotated[Number, InPath(ge=1, le=2**53)]
Side = Annotated[Number, Query(ge=64, le=2048, description="Of the longer side, in pixels, at most.")]
Name = Annotated[str | None, Query(max_length=200)]


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Error} for status in (401, 403, 503, *statuses)}


def _json(content: Any, status: int = 200) -> Response:
    """Lone surrogates and the like stay escaped: what clients make up must not break an answer."""
    return Response(json.dumps(content), status, media_type="application/json")


# --- the application ------------------------------------------------------------------------------------------------


def create_app(station: Station, settings: Settings | None = None) -> FastAPI:
    """The API and the page over a station, which starts and ends with it.

    Raises:
        LriadError: A setting is out of its range.
    """
    settings = settings or Settings()
    store, engine = station.store, station.engine
    max_files = min(settings.max_files, engine.capacity)
    painters = ThreadPoolExecutor(_PAINTERS, thread_name_prefix="paint")
    caching = {} if settings.token else {"Cache-Control": _KEEP}  # What needs a token must not outlive it in a browser.
    explaining: dict[int, asyncio.Future[Any]] = {}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        station.start()
        yield
        await run_in_threadpool(station.close)
        painters.shutdown(cancel_futures=True)

    app = FastAPI(
        title="lriad station",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    page = _page_files()
    app.add_middleware(
        BodyLimit,  # the inner one
        upload=("POST", "/api/inspections"),
        max_upload=settings.max_upload,
    )
    app.add_middleware(Guard, token=settings.token, open_paths=("/api/health", *page))
    Guard(app, settings.token, ())  # a bad token is refused here, not at the first request
    _handle_errors(app, station)

    def existing(id_: int) -> Inspection:
        inspection = store.get(id_)
        if inspection is None:
            raise HTTPException(404, f"there is no inspection {id_}")
        return inspection

    @app.get("/api/health", responses={200: {"model": Healthy}, 503: {"model": Error}})
    def health() -> Response:
        """Whether the station works; needs no token."""
        if not engine.alive:
            raise HTTPException(503, "the engine has stopped: start the station again")
        return _json({"status": "ok", "version": __version__})

    @app.get("/metrics", response_class=Response, responses={**_errors(), 200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(station.measured(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/api/station", responses=_errors())
    def about() -> Response:
        """Policy, products, limits and queue."""
        limits = {"max_bytes": settings.max_bytes, "max_pixels": settings.max_pixels, "max_files": max_files}
        return _json({**station.describe(), "limits": limits})

    @app.post(
        "/api/inspections",
        responses={
            **_errors(408, 413, 422),
            200: {"model": Inspected},
            202: {"model": Inspected, "description": "Not all are judged yet: ask for them by their ids."},
            429: {"model": Error, "description": "Too many wait; Retry-After says when to try again."},
        },
        openapi_extra=_UPLOAD,
    )
    async def inspect(request: Request) -> Response:
        """Inspect pictures of one product. A client that hangs up frees the places of those that were not begun."""
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise HTTPException(422, "send multipart/form-data with files and object_name")
        with engine.places(1):
            pass  # Where nothing can wait any more, nothing is read.
        async with request.form(max_files=max_files, max_fields=8, max_part_size=_FIELD_BYTES) as form:
            files, object_name, group = _checked(form)
            station.product(object_name)
            with engine.places(len(files)) as places:
                taken = await _taken(station, settings, files, object_name, group, places)
                kept = [one for one in taken if isinstance(one, Taken)]
                jobs = await run_in_threadpool(station.accept, kept, places) if kept else []
            names = [file.filename for file in files]
        if not await _finished(request, jobs, settings.timeout):
            await run_in_threadpool(station.give_up, jobs)
            return Response(status_code=499)  # Nobody reads it.
        rows = {one.inspection.id: one.inspection for one in kept}
        with suppress(StoreError):  # They were accepted, and are judged once the store can be used again.
            rows |= {row.id: row for row in await run_in_threadpool(store.get_all, list(rows))}
        entries: list[dict[str, Any]] = [
            rows[one.inspection.id].to_dict()
            if isinstance(one, Taken)
            else {"name": shown_name(name), "error": str(one)}
            for one, name in zip(taken, names, strict=True)
        ]
        if not jobs:
            status = 413 if all(isinstance(one, TooLarge) for one in taken) else 422
            return _json({"error": entries[0]["error"], "inspections": entries}, status)
        status = 202 if any(entry.get("state") == "pending" for entry in entries) else 200
        return _json({"inspections": entries}, status)

    @app.get("/api/inspections", responses={**_errors(422), 200: {"model": Found}})
    def inspections(
        object: Name = None,
        decision: Literal["defect", "normal", "review"] | None = None,
        truth: Literal["defect", "normal", "none", "any"] = "any",
        q: Name = None,
        order: Order = "newest",
        limit: Annotated[Number, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=60)] = None,
    ) -> Response:
        """Inspections, some at a time; the review queue is truth=none&order=doubt."""
        found = store.page(
            object_name=object, decision=decision, truth=truth, text=q, order=order, limit=limit, cursor=cursor
        )
        entries = [inspection.to_dict() for inspection in found.inspections]
        return _json({"inspections": entries, "next": found.next, "total": found.total})

    @app.get("/api/inspections/{id}", responses={**_errors(404, 422), 200: {"model": InspectionOut}})
    def inspection(id: Id) -> Response:
        """One inspection."""
        return _json(existing(id).to_dict())

    @app.get(
        "/api/inspections/{id}/image",
        response_class=Response,
        responses={**_errors(404, 422), 200: {"content": {"image/jpeg": {}}}},
    )
    async def image(id: Id, side: Side = 1024) -> Response:
        """The picture, made small and encoded anew."""
        row = await run_in_threadpool(existing, id)
        picture = store.picture(row.image_sha256, row.extension)
        shown = await _painted(painters, lambda: as_jpeg(preview(picture, side)))
        return Response(shown, media_type="image/jpeg", headers=caching)

    @app.get(
        "/api/inspections/{id}/overlay",
        response_class=Response,
        responses={**_errors(404, 409, 422, 429), 200: {"content": {"image/jpeg": {}}}},
    )
    async def overlay(id: Id, side: Side = 1024) -> Response:
        """The picture with what deviates marked on it; it is found when it is asked for the first time."""
        row = await run_in_threadpool(existing, id)
        if row.state != "done":
            raise HTTPException(409, f"inspection {id} is {row.state}: there is nothing to mark")
        marks = await run_in_threadpool(store.load_map, id)
        if marks is None:
            if id not in explaining:  # Who asks for what is being made already waits for that.
                explaining[id] = asyncio.ensure_future(_explained(station, row))
                explaining[id].add_done_callback(lambda _: explaining.pop(id))
            marks = await _shared(explaining[id], settings.timeout)
        picture = store.picture(row.image_sha256, row.extension)
        shown = await _painted(painters, partial(_marked, row, picture, side, *marks))
        return Response(shown, media_type="image/jpeg", headers=caching)

    @app.put("/api/inspections/{id}/label", responses={**_errors(404, 409, 413, 422), 200: {"model": InspectionOut}})
    def label(id: Id, said: LabelIn) -> Response:
        """Say what a part is; what was said before is kept in the history. The type is kept of defects only."""
        if existing(id).state in ("pending", "cancelled"):
            raise HTTPException(409, f"inspection {id} has no verdict to say anything of")
        type_ = said.defect_type or None if said.label == "defect" else None
        labelled = store.label(id, said.label, type_, said.note or None)
        assert labelled is not None
        return _json(labelled.to_dict())

    @app.delete("/api/inspections/{id}/label", responses={**_errors(404, 422), 200: {"model": InspectionOut}})
    def unlabel(id: Id) -> Response:
        """Take back what was said."""
        existing(id)
        labelled = store.label(id, None)
        assert labelled is not None
        return _json(labelled.to_dict())

    @app.get("/api/statistics", responses=_errors())
    def statistics() -> Response:
        """Counts a product."""
        return _json({"products": station.statistics()})

    @app.get(
        "/api/export",
        response_class=Response,
        responses={**_errors(404, 422), 200: {"content": {"application/zip": {}}}},
    )
    def export(object: Name = None) -> Response:
        """The labelled pictures as a zip archive; unpacked, it is a data set: folder:PATH."""
        try:
            pieces = export_zip(store, object)
        except StoreError:
            raise
        except LriadError as error:
            raise HTTPException(404, str(error)) from error
        # The name that the page shows, in ASCII however the product is written (RFC 6266).
        name = quote(f"{folder_names([object])[object] if object else 'labelled'}.zip")
        disposition = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return StreamingResponse(pieces, media_type="application/zip", headers=disposition)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        """The routes, to read."""
        return HTMLResponse(_documentation(app.openapi()))

    for path, file in page.items():
        app.add_route(path, _sender(file), include_in_schema=False)
    return app


def _page_files() -> dict[str, Path]:
    """The page's files by their paths."""
    files = {f"/{file.name}": file for file in sorted(PAGE.iterdir()) if file.is_file()} if PAGE.is_dir() else {}
    return {"/": files["/index.html"], **files} if "/index.html" in files else files


def _sender(file: Path) -> Callable[[Request], Response]:
    return lambda _: FileResponse(file, headers={"Cache-Control": "no-cache"})


def _handle_errors(app: FastAPI, station: Station) -> None:
    """All errors as one line of JSON."""

    def failed(status: int, error: str, headers: Any = None) -> Response:
        response = _json({"error": error}, status)
        response.headers.update(headers or {})
        return response

    @app.exception_handler(StarletteHTTPException)
    def _http(_: Request, error: StarletteHTTPException) -> Response:
        # Starlette and FastAPI say 400 of a body that is none, and 422 of one that says the wrong thing.
        status = 422 if error.status_code == 400 else error.status_code
        return failed(status, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    def _invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return failed(422, f"{where}: {first['msg']}")

    @app.exception_handler(LriadError)
    def _refused(_: Request, error: LriadError) -> Response:
        if isinstance(error, Busy):
            station.metrics.rejected()
            return failed(429, str(error), {"Retry-After": str(error.retry_after)})
        if isinstance(error, StoreError):
            _log.error("%s", error)
            return failed(503, "the store cannot be used now: the station's log shows why")
        return failed(422, str(error))


# --- a request's steps ----------------------------------------------------------------------------------------------


def _checked(form: Any) -> tuple[Sequence[UploadFile], str, str | None]:
    """Files, the product's name and the group of a form."""
    files, object_name, group = form.getlist("files"), form.get("object_name"), form.get("group")
    if not files or not all(isinstance(file, UploadFile) for file in files):
        raise HTTPException(422, "files: send one picture or several, each as a file")
    if not isinstance(object_name, str):
        raise HTTPException(422, "object_name: name the part in words, such as 'metal nut'")
    if group is not None and not (isinstance(group, str) and len(group) <= 200 and group.isprintable()):
        raise HTTPException(422, "group: expected at most 200 printable characters on one line")
    return files, object_name, (group or "").strip() or None


async def _taken(
    station: Station,
    settings: Settings,
    files: Sequence[UploadFile],
    object_name: str,
    group: str | None,
    places: Places,
) -> list[Taken | LriadError]:
    """What became of each file, in their order."""

    def take(file: UploadFile) -> Taken:
        limits = {"max_bytes": settings.max_bytes, "max_pixels": settings.max_pixels}
        return station.take(file.file, file.filename, object_name, group, places, **limits)

    loop = asyncio.get_running_loop()
    # All of them, whatever becomes of one: they read from files that are closed afterwards.
    outcomes = await asyncio.gather(
        *(loop.run_in_executor(station.readers, take, file) for file in files), return_exceptions=True
    )
    taken: list[Taken | LriadError] = []
    for outcome in outcomes:
        if isinstance(outcome, StoreError) or not isinstance(outcome, Taken | LriadError):
            raise outcome
        taken.append(outcome)
    return taken


async def _finished(request: Request, jobs: Sequence[Job], timeout: float) -> bool:
    """Wait until all are judged, or left for when the store can be used, or for so long; False where the client went
    away before."""
    if not jobs:
        return True
    judged = asyncio.gather(*(asyncio.wrap_future(job.future) for job in jobs), return_exceptions=True)
    gone = asyncio.ensure_future(_disconnected(request))
    either: set[asyncio.Future[Any]] = {judged, gone}
    try:
        await asyncio.wait(either, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if judged.done():
            for job in jobs:
                problem = None if job.future.cancelled() else job.future.exception()
                if problem is not None and not isinstance(problem, StoreError):
                    raise problem
            return True
        return not gone.done()
    finally:
        gone.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _painted(painters: ThreadPoolExecutor, paint: Callable[[], bytes]) -> bytes:
    try:
        return await asyncio.get_running_loop().run_in_executor(painters, paint)
    except LriadError as error:
        raise HTTPException(404, str(error)) from error


async def _explained(station: Station, row: Inspection) -> Any:
    """The heat-map and boxes of an inspection that has none yet, or an `LriadError`."""
    try:
        job = await run_in_threadpool(station.explanation, row)
        with station.engine.places(1) as places:
            places.put(job)
        return await asyncio.wrap_future(job.future)
    except LriadError as error:
        return error


async def _shared(explained: asyncio.Future[Any], timeout: float) -> Any:
    """What several requests may wait for, each for so long."""
    try:
        outcome = await asyncio.wait_for(asyncio.shield(explained), timeout)
    except TimeoutError:
        raise HTTPException(503, "it is still being looked at; ask again", {"Retry-After": "5"}) from None
    if isinstance(outcome, Busy | StoreError):
        raise outcome
    if isinstance(outcome, Broken):
        raise HTTPException(500, str(outcome))
    if isinstance(outcome, LriadError):
        raise HTTPException(409, str(outcome))
    return outcome


def _marked(row: Inspection, picture: Path, side: int, heatmap_HW: Any, boxes: Any) -> bytes:
    from lriad.explain import marked, scale_of

    shown = preview(picture, side)
    wide, high = shown.width / row.width, shown.height / row.height
    small = [
        (int(left * wide), int(top * high), math.ceil(right * wide), math.ceil(bottom * high))
        for left, top, right, bottom in boxes
    ]
    return as_jpeg(marked(shown, heatmap_HW, small, scale_of((row.verdict or {}).get("memory"))))


# --- the routes, to read --------------------------------------------------------------------------------------------


def _documentation(schema: dict[str, Any]) -> str:
    """The OpenAPI document as a plain page: no script, no other host."""
    rows = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            parameters = ", ".join(parameter["name"] for parameter in route.get("parameters", ()))
            statuses = ", ".join(route["responses"])
            cells = (f"{method.upper()} {path}", route.get("description", ""), parameters, statuses)
            rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in cells))
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lriad station: API</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css"></head>'
        f'<body><main><h1>API</h1><p>All of it, for programs: <a href="/openapi.json">openapi.json</a>.</p>'
        f"<table><thead><tr><th>Route</th><th>What it does</th><th>Parameters</th><th>Answers</th></tr></thead>"
        f"<tbody>{table}</tbody></table></main></body></html>"
    )
