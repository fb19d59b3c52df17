"""What requests may send, at the level of the protocol; who may ask is tested over HTTP in test_api."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from lriad.errors import LriadError
from lriad.serving.api import Settings
from lriad.serving.security import BodyLimit, Guard
from lriad.serving.serve import serve
from lriad.serving.store import Store


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: a browser of other tests has its loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def application() -> Starlette:
    app = Starlette()
    app.add_route("/", length, methods=["POST"])
    app.add_route("/big", length, methods=["POST"])
    return app


def limited(**limits: Any) -> BodyLimit:
    return BodyLimit(application(), upload=("POST", "/big"), max_upload=1000, **{"max_body": 100, **limits})


async def post(app: Any, path: str, pieces: Iterable[bytes | None], headers: dict[str, str] | None = None) -> Any:
    """Status and text; a piece of None is a client that sends nothing more."""
    waiting = iter(pieces)
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        piece = next(waiting, b"")
        if piece is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await app(scope, receive, send)
    return sent[0]["status"], sent[1]["body"].decode()


def test_bodies_are_bounded_by_what_comes() -> None:
    app = limited()
    assert run(post(app, "/", [b"x" * 60, b"x" * 40])) == (200, "100")
    assert run(post(app, "/", [b"x" * 60, b"x" * 41]))[0] == 413
    assert run(post(app, "/big", [b"x" * 1000])) == (200, "1000")
    assert run(post(app, "/big", [b"x" * 1001]))[0] == 413
    assert app._held == 0


@pytest.mark.parametrize("said", ["101", "9" * 30, "-1", "x", "1e2"])
def test_bodies_are_bounded_by_what_is_said(said: str) -> None:
    assert run(post(limited(), "/", [b"x"], {"content-length": said}))[0] == 413


def test_all_bodies_together_are_bounded() -> None:
    app = limited(max_together=1500)

    async def two() -> list[Any]:
        async def slowly() -> Any:
            return await post(app, "/big", [b"x" * 800, b""])

        gate = asyncio.Event()
        real = app._app

        async def held(scope: Any, receive: Any, send: Any) -> None:
            first = await receive()
            await gate.wait()
            unread = iter([first])
            await real(scope, lambda: again(unread, receive), send)

        async def again(unread: Any, receive: Any) -> Any:
            return next(unread, None) or await receive()

        app._app = held
        first = asyncio.ensure_future(slowly())
        await asyncio.sleep(0)
        app._app = real
        second = await post(app, "/big", [b"x" * 800])
        gate.set()
        return [await first, second, await post(app, "/big", [b"x" * 800])]

    first, second, third = run(two())
    assert (first, third) == ((200, "800"), (200, "800"))
    assert second[0] == 429


def test_a_body_that_does_not_end_is_not_waited_for() -> None:
    assert run(post(limited(seconds=0.01), "/", [b"x", None]))[0] == 408


def test_web_sockets_are_not_answered() -> None:
    run(Guard(application(), None, ())({"type": "websocket"}, None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "é" * 20, "x" * 20 + "\n", "x" * 20 + " ", " " + "x" * 20])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(LriadError, match="token"):
        Guard(application(), token, ())


def test_serving_others_needs_a_token(store: Store) -> None:
    with pytest.raises(LriadError, match="set a token in LRIAD_TOKEN"):
        serve(store, Settings(), host="0.0.0.0")
    for address in ({"port": 70_000}, {"host": "256.1.1.1"}):
        with pytest.raises(LriadError, match="name another port"):
            serve(store, Settings(token="x" * 16), **address)


def test_answers_are_json() -> None:
    status, body = run(post(limited(), "/", [b"x"], {"content-length": "101"}))
    assert status == 413
    assert "MiB" in json.loads(body)["error"]
