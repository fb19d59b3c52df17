"""From the shell to the verdict of one image, against the bare import of torch and the model class.

    python benchmarks/startup.py [--pairs 7]

Both are processes of their own, in turn, each seen to its end; the verdict is also timed when its line appears. Prints
a table, and the heaviest packages that each of them imports.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lriad.data.synthetic import render

BARE = [sys.executable, "-c", "import torch; from transformers import FastVlmForConditionalGeneration; print('done')"]
IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\w+)")


def measure(command: Sequence[str]) -> tuple[float, float]:
    """Seconds to the first line of output, and to the end of the process."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        to_line = time.perf_counter() - start
        process.stdout.read()
    if not line:
        raise SystemExit(f"no output: {' '.join(command)}")
    return to_line, time.perf_counter() - start


def heaviest_imports(arguments: Sequence[str]) -> list[tuple[str, float]]:
    """The ten packages whose modules take longest to import, with seconds, most first."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True)
    seconds: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if match := IMPORT_LINE.match(line):
            seconds[match[2]] += int(match[1]) / 1e6  # type: ignore[assignment]
    return seconds.most_common(10)


def row(name: str, seconds: Sequence[float]) -> str:
    return f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} | {max(seconds):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        from PIL import Image

        image = Path(folder) / "part.png"
        Image.fromarray(render("gear", 0, 0, None).image).save(image)
        arguments = ["-m", "lriad", "inspect", str(image), "--object", "gear"]
        ours = [sys.executable, *arguments]
        measure(BARE), measure(ours)  # the files into the page cache
        times = [(measure(BARE), measure(ours)) for _ in range(pairs)]
        imports = {"lriad inspect": heaviest_imports(arguments), "bare import": heaviest_imports(BARE[1:])}
    print(f"Python {sys.version.split()[0]}, {pairs} pairs\n")
    print("| seconds | median | min | max |\n|---|---|---|---|")
    print(row("bare import, to the end of its process", [bare[1] for bare, _ in times]))
    print(row("bare import, to its last statement", [bare[0] for bare, _ in times]))
    print(row("lriad inspect, to the verdict", [inspect[0] for _, inspect in times]))
    print(row("lriad inspect, to the end of its process", [inspect[1] for _, inspect in times]))
    print(row("ratio, to the verdict / last statement", [inspect[0] / bare[0] for bare, inspect in times]))
    print(row("ratio, to the ends of the processes", [inspect[1] / bare[1] for bare, inspect in times]))
    for name, heaviest in imports.items():
        print(f"\nHeaviest packages of {name}: " + ", ".join(f"{package} {time:.2f} s" for package, time in heaviest))


if __name__ == "__main__":
    main()
