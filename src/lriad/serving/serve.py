"""A station as a process: what `lriad serve` runs."""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn

from lriad.errors import LriadError
from lriad.serving.api import Settings, create_app
from lriad.serving.security import LOOPBACK
from lriad.serving.station import Station
from lriad.serving.store import Store

_GRACE = 10
"""Seconds that requests under way get when the station is to end; what they wait for is judged after the next start."""


def serve(store: Store, settings: Settings, *, host: str = "127.0.0.1", port: int = 8000, **of: Any) -> None:
    """Run a station until it is told to end.

    Args:
        store: Where to; one station a store.
        settings: With a token, where others than this machine can reach it.
        host, port: Where it listens; port 0 takes a free one.
        of: As for `Station`.

    Raises:
        LriadError: It cannot listen there, another process serves the store, or a setting cannot be used.
    """
    if settings.token is None and host not in LOOPBACK:
        raise LriadError(f"host {host}: others could reach the station there; set a token in LRIAD_TOKEN")
    with _listener(host, port) as listener:
        station = Station(store, **of)
        app = create_app(station, settings)
        station.start()  # here, where what is wrong is one line
        shown = f"[{host}]" if ":" in host else host
        print(f"station: http://{shown}:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=_GRACE,
        )
        uvicorn.Server(config).run(sockets=[listener])


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LriadError(f"{host}, port {port}: cannot listen there ({reason}); name another port") from error
