"""How long `report.html` takes and how large it gets.

    python benchmarks/report.py [--rows 10000] [--drawn 400]

The pictures are drawn, and stand in for more than there are: a row each, with another name, another p_defect and a
heat-map of noise.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from lriad import load_dataset
from lriad.data.synthetic import make_dataset
from lriad.evaluation import evaluate_predictions
from lriad.evaluation.report import write_report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--drawn", type=int, default=400, help="pictures that are drawn")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        made = make_dataset("textures", Path(folder) / "parts", images=max(1, arguments.drawn // 10), progress=True)
        samples = list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))
        maps = Path(folder) / "maps"
        maps.mkdir()
        rows = []
        for index in range(arguments.rows):
            sample = samples[index % len(samples)]
            p = float(rng.beta(5, 2) if sample.label == "defect" else rng.beta(2, 5))
            digest = hashlib.sha256(str(index).encode()).hexdigest()
            np.save(maps / f"{digest[:16]}.npy", (p * rng.random((40, 40))).astype(np.float16))
            reason = (
                f"Checking the {sample.object_name} part by part. The surface shows a thin line: perhaps a scratch."
            )
            rows.append(
                {
                    "id": f"{index:05d}/{sample.id}",
                    "image": sample.image,
                    "image_sha256": digest,
                    "truth": sample.label,
                    "category": sample.category,
                    "p_defect": p,
                    "label": "defect" if p > 0.5 else "normal",
                    "decision": "defect" if p > 0.5 else "normal",
                    "threshold": 0.5,
                    "reasoning": reason,
                }
            )
        evaluation = evaluate_predictions(rows, resamples=100)
        for name, own in (("without heat-maps", None), ("with heat-maps", maps)):
            start = time.perf_counter()
            file = write_report(evaluation, rows, Path(folder) / "run", maps=own)
            seconds, size = time.perf_counter() - start, file.stat().st_size
            print(f"{len(rows)} pictures {name}: {seconds:.0f} s, {size / 1e6:.1f} MB")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
