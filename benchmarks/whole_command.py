"""Wall time of a command, and the peak memory of all its processes together.

python benchmarks/whole_command.py make demo
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

INTERVAL = 0.5
"""Seconds between two looks."""


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and all its children, shared pages counted for each."""
    total = 0
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(sys.argv[1:]) as process:
        while process.poll() is None:
            peak = max(peak, resident_bytes(process.pid))
            time.sleep(INTERVAL)
    print(f"exit code {process.returncode}, {time.perf_counter() - start:.0f} s, peak {peak / 1e9:.2f} GB")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
