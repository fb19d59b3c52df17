"""Run as a program: a watch that is killed at one point of its work after the other, and started again each time.

    python watch_killed.py FOLDER OTHER_DISK WEBHOOK

FOLDER gets a folder `killed-N` for each point N, with `in/`, `store/` and, unless OTHER_DISK is given, `out-N/`.
Prints N for each run that was killed and whose second start ended well.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import requests
from PIL import Image

from lriad.data.image import open_image
from lriad.prompt import Context
from lriad.serving import watch as watch_module
from lriad.serving.store import Store
from lriad.serving.watch import watch
from lriad.verdict import Verdict

PICTURES = {"a.png": 200, "b.png": 200, "c.png": 20}
"""Their greys; two are the same to the last bit."""


class ByBrightness:
    """A judge of no weight: what is killed here is the watch. Of an `Inspector` it has what the watch looks at."""

    policy = SimpleNamespace(policy_sha256="p", adapter_sha256=None)
    mode = "fast"
    prompt_version = "1"
    setting = "zero-shot"
    context = Context()
    threshold_in_use: float | None = None
    memory: Any = None
    calibration: Any = None

    def inspect(self, image: Path, object_name: str) -> Verdict:
        bright = float(np.asarray(Image.open(image)).mean()) > 100
        decision: Any = "defect" if bright else "normal"
        said: dict[str, Any] = {"reasoning": "", "text": "", "follows_format": True, "answer_forced": False}
        by: dict[str, Any] = {"policy_sha256": "p", "adapter_sha256": None, "prompt_version": "1", "image_sha256": "0"}
        return Verdict(label=decision, p_defect=0.5, decision=decision, mode="fast", seconds=0.0, **said, **by)


def kill_at(point: int) -> None:
    """Kill this process at its n-th point: before each step that outlives it, which is after the one before."""
    passed = 0

    def pass_point() -> None:
        nonlocal passed
        passed += 1
        if passed == point:
            os.kill(os.getpid(), signal.SIGKILL)

    def tap(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def tapped(*arguments: Any, **more: Any) -> Any:
            pass_point()
            return real(*arguments, **more)

        setattr(owner, name, tapped)

    for name in ("receive", "adopt", "arrive", "conclude", "update_arrival"):
        tap(Store, name)
    tap(watch_module, "_write_sidecar")
    tap(os, "link")
    tap(os, "rename")
    tap(watch_module.shutil, "copy2")
    tap(Path, "unlink")
    tap(requests.Session, "post")


def run(folder: Path, target: Path, webhook: str, point: int) -> int:
    """How a process ends that watches `folder/in` and is killed at a point; 0 for none."""
    child = os.fork()  # This process has one thread.
    if child == 0:
        try:
            if point:
                kill_at(point)
            watch(
                folder / "in",
                Store(folder / "store"),
                ByBrightness(),
                object_name="tile",
                move_to=target,
                tag=True,
                webhook=webhook,
                every=0.001,
                once=True,
            )
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def image(path: Path, grey: int) -> Path:
    """A small picture of one grey."""
    Image.new("L", (8, 8), grey).save(path)
    return path


def main() -> None:
    root, other, webhook = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    # So that what is imported late is there before the first fork.
    Store(root / "warm").close()
    open_image(image(root / "warm" / "a.png", 1))
    point = 0
    while True:
        point += 1
        folder = root / f"killed-{point}"
        (folder / "in").mkdir(parents=True)
        for name, grey in PICTURES.items():
            image(folder / "in" / name, grey)
        target = (Path(other) if other else folder) / f"out-{point}"
        address = f"{webhook}/{point}"
        first = run(folder, target, address, point)
        if first == 0:
            break  # There is no such point any more.
        assert first == -signal.SIGKILL, first
        assert run(folder, target, address, 0) == 0
        print(point, flush=True)


if __name__ == "__main__":
    main()
