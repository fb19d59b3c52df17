"""A station behind a real HTTP server on 127.0.0.1."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import uvicorn
from requests import Response

from lriad.serving.api import Settings, create_app
from lriad.serving.station import Station


@dataclass
class Served:
    """A running station.

    Attributes:
        station: The object behind it.
        port: On 127.0.0.1.
    """

    station: Station
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, **more: Any) -> Response:
        return requests.request(method, self.address + path, timeout=60, **more)

    def get(self, path: str, **more: Any) -> Response:
        return self.ask("GET", path, **more)

    def send(self, files: Sequence[Path | tuple[str, bytes]], product: str = "square", **fields: str) -> Response:
        """Pictures to inspect: files, or names with bytes."""
        named = [(one.name, one.read_bytes()) if isinstance(one, Path) else one for one in files]
        return self.ask(
            "POST",
            "/api/inspections",
            files=[("files", one) for one in named],
            data={"object_name": product, **fields},
        )


@contextmanager
def serving(station: Station, settings: Settings) -> Iterator[Served]:
    config = uvicorn.Config(create_app(station, settings), log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        # It listens already: who asks early waits until the station answers.
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield Served(station, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
