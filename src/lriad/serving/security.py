"""Who may ask, from where, and how much they may send: two layers around an ASGI application."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from lriad.errors import LriadError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

MIN_TOKEN = 16
"""Characters."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every answer."""


class Guard:
    """The outer layer: refuses who may not ask, and gives every answer its headers.

    Without a token whoever can reach the port may ask; it should then be a port of this machine only. Any page in this
    machine's browsers reaches that, too: so the host must be a name of this machine (no page of a foreign name that
    points here), and a change must come from our own page (no form on a foreign page). With a token neither matters: no
    foreign page has it, and unlike a cookie no browser adds it.

    Args:
        app: What is guarded.
        token: That requests have to bring as `Authorization: Bearer TOKEN`; None to ask for none.
        open_paths: That need no token.

    Raises:
        LriadError: The token is too short, or not what a header brings unchanged.
    """

    def __init__(self, app: App, token: str | None, open_paths: Collection[str]) -> None:
        if token is not None and not (
            len(token) >= MIN_TOKEN and token.isascii() and token.isprintable() and token == token.strip()
        ):
            raise LriadError(
                f"the token must be of {MIN_TOKEN} or more ASCII characters without a space around them, such as "
                "openssl rand -hex 16 makes"
            )
        self._app = app
        self._token = None if token is None else token.encode()
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # No web sockets here.
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                own = {name.lower() for name, _ in message["headers"]}
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                if b"cache-control" not in own:
                    extra.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await answer(send_with_headers, *refusal)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # in the middle of its own request
        except Exception:
            _log.exception("%s %s failed", scope["method"], ascii(scope["path"]))
            if not begun:
                await answer(send_with_headers, 500, "an unexpected error: the station's log shows it")

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason where a request is refused."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"origin", b"authorization"):
                return 400, f"more than one header {name.decode()}"
            headers[name] = value
        host = headers.get(b"host", b"").decode("latin-1")
        if self._token is None:
            if _host_name(host) not in LOOPBACK:
                return 403, "without a token the station answers on this machine only: ask for http://localhost"
            if scope["method"] not in _SAFE_METHODS and _is_foreign(headers, host):
                return 403, "the request comes from a page of another origin"
        elif scope["path"] not in self._open:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(given.strip(), self._token):
                return 401, "the token is missing or wrong: send Authorization: Bearer TOKEN"
        return None


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _is_foreign(headers: dict[bytes, bytes], host: str) -> bool:
    """Whether a browser says that the request was made by a page of another origin."""
    site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin")
    if site in (b"cross-site", b"same-site"):
        return True
    if site == b"same-origin" or origin is None:
        return False  # A proxy may have put another name into Host; without an origin it is no browser.
    # Behind a proxy the scheme may differ; host and port say enough.
    return origin.decode("latin-1").partition("://")[2].lower() != host.lower()


class BodyLimit:
    """The inner layer: bounds what requests send, also where they do not say how much that will be.

    Args:
        app: What is guarded.
        upload: Method and path that may send much.
        max_upload: Bytes of such a request.
        max_body: Bytes of any other.
        max_together: Bytes of all requests under way.
        seconds: In which a body has to be there.
    """

    def __init__(
        self,
        app: App,
        *,
        upload: tuple[str, str],
        max_upload: int,
        max_body: int = 64 << 10,
        max_together: int = 1 << 30,
        seconds: float = 120,
    ) -> None:
        self._app = app
        self._upload = upload
        self._max_upload = max_upload
        self._max_body = max_body
        self._max_together = max_together
        self._seconds = seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_upload if (scope["method"], scope["path"]) == self._upload else self._max_body
        too_large = f"a request of more than {limit / 2**20:.3g} MiB; send fewer or smaller files"
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not (length.isdigit() and len(length) < 16) or int(length) > limit:
            await answer(send, 413, too_large)
            return
        got, ended = 0, False
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def receive_bounded() -> Message:
            nonlocal got, ended
            if ended:
                return await receive()  # The client hangs up, some time.
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the request was not complete within {self._seconds:g} s") from None
            ended = message["type"] != "http.request" or not message.get("more_body", False)
            size = len(message.get("body", b""))
            got += size
            self._held += size
            if got > limit:
                raise HTTPException(413, too_large)
            if self._held > self._max_together:
                raise HTTPException(429, "too much is being sent at once; try again later", {"Retry-After": "5"})
            return message

        try:
            await self._app(scope, receive_bounded, send)
        finally:
            self._held -= got


async def answer(send: Send, status: int, error: str) -> None:
    """Answer a request with one line."""
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    body = json.dumps({"error": error}).encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
