"""What a memory of good parts costs: building it, an inspection with it, and which library finds nearest neighbours.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--images 30] [--build 1000]

The images are procedural. Inspections of whole images, and of these with 2 x 2 tiles, alternate with those that
compare; ratios are of each image's own times, their median.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lriad import Inspector, load_dataset, remember
from lriad.data.synthetic import make_dataset
from lriad.data.views import Views
from lriad.memory.build import BANK
from lriad.memory.patches import nearest
from lriad.policy import load_policy

CHANNELS, PLACES = 152, 1600
"""Of the embedded policy's eyes."""


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def neighbours(rounds: int = 15) -> dict[str, float]:
    """Milliseconds to find the nearest of 2,000 vectors for 1,600 places, by library; the median."""
    rng = np.random.default_rng(0)
    bank, places = (rng.normal(size=(count, CHANNELS)).astype(np.float32) for count in (BANK, PLACES))
    bank_t, places_t = torch.from_numpy(bank), torch.from_numpy(places)
    half_norms = bank_t.square().sum(1) / 2
    ways: dict[str, Callable[[], object]] = {
        "ours (torch, one product)": lambda: nearest(places_t, bank_t, half_norms),
        "torch.cdist": lambda: torch.cdist(places_t, bank_t).amin(1),
    }
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(bank)
    ways["scikit-learn, brute"] = lambda: found.kneighbors(places)
    try:
        import faiss

        index = faiss.IndexFlatL2(CHANNELS)
        index.add(bank)
        ways["FAISS, flat"] = lambda: index.search(places, 1)
    except ImportError:
        pass
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            times[name].append(1000 * timed(work))
    return {name: float(np.median(own)) for name, own in times.items()}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30, help="inspected, one by one, without and with")
    parser.add_argument("--build", type=int, default=1000, help="good images that a memory is built of; 0: none")
    args = parser.parse_args()
    for name, milliseconds in neighbours().items():
        print(f"nearest of {BANK} for {PLACES} places, {name}: {milliseconds:.1f} ms")
    policy = load_policy("embedded")
    with tempfile.TemporaryDirectory() as folder:
        made = make_dataset(
            "textures",
            Path(folder) / "drawn",
            images=max(args.build, args.images + 30),
            defect_ratio=0.0,
            categories=["leather"],
        )
        samples = list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))
        good, others = samples[:30], samples[30 : 30 + args.images]
        for views in (Views(), Views(tiles=2)):
            memory = remember(good, Path(folder) / f"{views.tiles}.memory", policy=policy, views=views).memory
            ways = [Inspector(policy, mode="fast"), Inspector(policy, mode="fast", views=views)]
            ways.append(Inspector(policy, mode="fast", memory=memory))
            times = np.array([[timed(partial(way.inspect, s.image, s.object_name)) for way in ways] for s in others])
            whole, cut, with_memory = 1000 * np.median(times, axis=0)
            ratio, in_all = np.median(times[:, 2] / times[:, 1]), np.median(times[:, 2] / times[:, 0])
            print(
                f"{views}: fast inspection {cut:.0f} ms, with a memory {with_memory:.0f} ms, ratio {ratio:.2f}; "
                f"{in_all:.2f} of an inspection of whole images without one ({whole:.0f} ms)"
            )
        if args.build:
            file = Path(folder) / "large.memory"
            seconds = timed(lambda: remember(samples[: args.build], file, policy=policy))
            print(f"{args.build} good images: {seconds:.0f} s, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
