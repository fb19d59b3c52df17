"""Latency of one inspection with the embedded policy, from an image file to its verdict: p50 and p99, both modes.

    python benchmarks/latency.py [--policy embedded] [--images 100]

Each image is another one, so that nothing is read from a cache; the first five are warm-up and not counted.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from lriad import Inspector, load_dataset
from lriad.data.synthetic import make_dataset

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--images", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print("| mode | p50 (ms) | p99 (ms) | mean (ms) | images |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        per_category = -(-(arguments.images + WARM_UP) // 10)
        data = make_dataset("objects", Path(folder) / "objects", images=per_category, defect_ratio=0.5, seed=9)
        samples = list(load_dataset(f"jsonl:{data / 'samples.jsonl'}"))[: arguments.images + WARM_UP]
        for mode in ("fast", "reason"):
            inspector = Inspector(arguments.policy, mode=mode)
            seconds = []
            for sample in samples:
                start = time.perf_counter()
                inspector.inspect(sample.image, sample.object_name)
                seconds.append(time.perf_counter() - start)
            ms = 1000 * np.array(seconds[WARM_UP:])
            p50, p99 = np.percentile(ms, [50, 99])
            print(f"| {mode} | {p50:.0f} | {p99:.0f} | {ms.mean():.0f} | {len(ms)} |")


if __name__ == "__main__":
    main()
