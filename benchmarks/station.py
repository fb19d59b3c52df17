"""A station under load against offline inspection of the same files, and what its clients see.

    python benchmarks/station.py                       # 32 clients for 60 s, the embedded policy in `fast` mode
    python benchmarks/station.py --write docs/performance.md

The clients are one process of their own, each sends one picture at a time and the next one when it has its verdict; the
station is another; both share this machine's cores, as offline inspection (`inspect_rows`) does not have to. Offline is
measured before and after the station in the same run, and the better one counts.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

WARM_UP = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--mode", choices=["fast", "reason"], default="fast")
    parser.add_argument("--write", type=Path, help="markdown file whose section on this is replaced")
    parser.add_argument("--as-clients", help=argparse.SUPPRESS)  # the second process: the station's address
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_clients:
        print(json.dumps(be_clients(arguments.as_clients, arguments.folder, arguments.clients, arguments.seconds)))
        return
    text = measure(arguments)
    print(text)
    if arguments.write:
        from _report import write_section

        write_section(arguments.write, "station", text)


# --- the clients' process: no torch, little work ------------------------------------------------------------------


def be_clients(address: str, folder: Path, clients: int, seconds: float) -> dict[str, Any]:
    """Statuses, latencies in seconds, and verdicts a second behind the warm-up."""
    bodies = [body_of(path.read_bytes()) for path in sorted(folder.iterdir())]
    start = time.perf_counter() + WARM_UP
    done: list[tuple[float, float, Any]] = []

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(address, timeout=120)
        turn = number
        while (now := time.perf_counter()) < start + seconds:
            status: Any
            try:
                connection.request("POST", "/api/inspections", bodies[turn % len(bodies)], HEADERS)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
                if status == 429:
                    time.sleep(float(answer.headers["Retry-After"]))
            except (OSError, http.client.HTTPException) as error:
                status = type(error).__name__
                connection.close()
            done.append((now, time.perf_counter(), status))
            turn += clients

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = [(begun, ended, status) for begun, ended, status in done if start <= ended <= start + seconds]
    return {
        "statuses": Counter(str(status) for _, _, status in done),
        "latencies": [ended - begun for begun, ended, status in counted if status == 200],
        "rate": sum(status == 200 for _, _, status in counted) / seconds,
    }


HEADERS = {"Content-Type": "multipart/form-data; boundary=part"}


def body_of(picture: bytes) -> bytes:
    field = b'--part\r\nContent-Disposition: form-data; name="object_name"\r\n\r\nmetal part\r\n'
    head = b'--part\r\nContent-Disposition: form-data; name="files"; filename="part.jpg"\r\n\r\n'
    return field + head + picture + b"\r\n--part--\r\n"


# --- the measuring process ------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> str:
    from _report import machine

    from lriad.data import Sample
    from lriad.data.synthetic import make_dataset

    with tempfile.TemporaryDirectory() as temporary:
        root, folder = Path(temporary), Path(temporary) / "pictures"
        made = make_dataset("objects", root / "made", images=-(-arguments.images // 10), defect_ratio=0.5, seed=6)
        folder.mkdir()
        for number, path in enumerate(sorted((made / "images").rglob("*.jpg"))[: arguments.images]):
            path.rename(folder / f"{number:04}.jpg")
        samples = [
            Sample(path.name, str(path), "unknown", "metal part", "metal part") for path in sorted(folder.iterdir())
        ]
        before = offline(samples, arguments.mode)
        found = with_station(root / "store", folder, arguments)
        after = offline(samples, arguments.mode)
    rate, best = found["rate"], max(before, after)
    latencies = sorted(found["latencies"])
    shares = {f"p{share}": latencies[min(len(latencies) - 1, len(latencies) * share // 100)] for share in (50, 95, 99)}
    errors = {status: count for status, count in found["statuses"].items() if status not in ("200", "429")}
    lines = [
        machine(),
        "",
        f"{arguments.clients} clients for {arguments.seconds:g} s, {arguments.images} pictures of 320 x 320, "
        f"`{arguments.mode}`:",
        "",
        "| | |",
        "|---|---|",
        f"| station, verdicts a second | {rate:.1f} |",
        f"| offline, pictures a second (before, after) | {before:.1f}, {after:.1f} |",
        f"| station / offline | {rate / best:.2f} |",
        *(f"| latency {name}, ms | {1000 * value:.0f} |" for name, value in shares.items()),
        f"| latency, mean, ms | {1000 * statistics.mean(latencies):.0f} |",
        f"| answers 200, 429 | {found['statuses'].get('200', 0)}, {found['statuses'].get('429', 0)} |",
        f"| anything else | {errors or 'none'} |",
    ]
    return "\n".join(lines)


def offline(samples: Any, mode: str) -> float:
    """Pictures a second, the policy being loaded."""
    from lriad.inspection import inspect_rows
    from lriad.policy import load_policy

    policy = load_policy("embedded")
    list(inspect_rows(samples[:64], policy=policy, mode=mode))
    rounds, start = 0, time.perf_counter()
    while rounds < 2 or time.perf_counter() - start < 10:
        rows = list(inspect_rows(samples, policy=policy, mode=mode))
        assert not any(row.get("error") for row in rows)
        rounds += 1
    return rounds * len(samples) / (time.perf_counter() - start)


SERVE = (
    "import sys; from lriad.serving.api import Settings; from lriad.serving.serve import serve\n"
    "from lriad.serving.store import Store\n"
    "serve(Store(sys.argv[1]), Settings(), port=0, mode=sys.argv[2])\n"
)


def with_station(store: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-c", SERVE, str(store), arguments.mode]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as station:
        assert station.stderr is not None
        address = (
            next((line for line in station.stderr if line.startswith("station: ")), "").rpartition("//")[2].strip()
        )
        try:
            clients = [sys.executable, __file__, "--as-clients", address, "--folder", str(folder)]
            clients += ["--clients", str(arguments.clients), "--seconds", str(arguments.seconds)]
            done = subprocess.run(clients, stdout=subprocess.PIPE, check=True, text=True, env={**os.environ})
            found: dict[str, Any] = json.loads(done.stdout)
            return found
        finally:
            station.terminate()


if __name__ == "__main__":
    main()
