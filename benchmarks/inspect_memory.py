"""Memory of an inspection above that of the loaded policy, from 100 to 100,000 images.

    OMP_NUM_THREADS=1 python benchmarks/inspect_memory.py [--images 100 1000 10000 100000]

A process of its own for each number: it loads a small Qwen2-VL of random weights, inspects some images in `fast` mode,
and then a manifest of so many rows with ids of their own, which name 50 files, into a `.jsonl` file. From there on the
peak of its resident memory counts, with the manifest's table. Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _models import Shape, noise_images, save_qwen2_vl

FILES, IMAGE_TOKENS, BATCH = 50, 4, 8
SHAPE = Shape(64, 128, 2, 2, 1, 512, 2, 32, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        inspect(Path(arguments.child[0]), int(arguments.child[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        save_qwen2_vl(SHAPE, Path(folder) / "policy")
        noise_images(Path(folder) / "images", FILES, IMAGE_TOKENS)
        print("| images | loaded (MB) | peak above it (MB) | images/s |\n|---|---|---|---|", flush=True)
        for images in arguments.images:
            subprocess.run([sys.executable, __file__, "--child", folder, str(images)], check=True)


def inspect(folder: Path, images: int) -> None:
    """Inspect in this process, and print a row of the table."""
    from lriad import load_dataset
    from lriad.inspection import Inspector, inspect_to_file
    from lriad.policy import load_policy

    policy = load_policy(str(folder / "policy"), device="cpu")
    files = sorted((folder / "images").iterdir())
    manifest, output = folder / "samples.jsonl", folder / f"{images}.jsonl"
    write_manifest(manifest, files, 16 * BATCH)
    list(Inspector(policy, mode="fast", batch_size=BATCH).inspect_samples(load_dataset(f"jsonl:{manifest}")))
    write_manifest(manifest, files, images)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    loaded, start = status("VmRSS"), time.perf_counter()
    summary = inspect_to_file(load_dataset(f"jsonl:{manifest}"), output, policy=policy, mode="fast", batch_size=BATCH)
    seconds = time.perf_counter() - start
    assert (summary.images, summary.errors) == (images, 0)
    peak = status("VmHWM") - loaded
    print(f"| {images:,} | {loaded / 1e6:.0f} | {peak / 1e6:.1f} | {images / seconds:.0f} |", flush=True)


def write_manifest(manifest: Path, files: list[Path], count: int) -> None:
    """A list of so many images, each of them one of the files in turn."""
    with manifest.open("w") as stream:
        for number in range(count):
            image = f"images/{files[number % len(files)].name}"
            row = {"id": f"part-{number:07}", "image": image, "label": "unknown", "object_name": "metal nut"}
            stream.write(json.dumps(row) + "\n")


def status(name: str) -> int:
    """A field of this process's status, in bytes."""
    with open("/proc/self/status") as stream:
        return next(1024 * int(line.split()[1]) for line in stream if line.startswith(name))


if __name__ == "__main__":
    main()
