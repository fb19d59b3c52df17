"""Corrections that teach: one real category through the station's page, from the first picture to a better verdict.

    LRIAD_REAL_DATA=FOLDER python experiments/station.py --output runs/station-experiment

The station (`lriad serve`) gets 60 pictures of a part that the embedded policy has never seen. Somebody works through
the review queue, the most doubtful first: here the folder's labels say what that person says. The labels are exported,
and what `lriad train` and `lriad remember` make of the export judges pictures of other parts. Everything goes by the
commands and the API that a user has. Writes `docs/results/station.md`.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from lriad import Sample, load_dataset

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PLACE, NAME = "magnetic_tile/tile", "magnetic tile"
SEEN, TEST, SEED = 30, 100, 5
"""Images of each label that the station gets, and at most those of the test; seed of the draw."""
MODE = "reason"
PORT = 8797
LRIAD = (sys.executable, "-m", "lriad")


def divide(samples: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """What the station gets and what is judged in the end: no part (group) on both sides."""
    import random

    drawn = sorted(samples, key=lambda sample: sample.id)
    random.Random(SEED).shuffle(drawn)
    seen = [s for label in ("normal", "defect") for s in [d for d in drawn if d.label == label][:SEEN]]
    groups = {sample.group for sample in seen if sample.group}
    ids = {sample.id for sample in seen}
    rest = [s for s in drawn if s.id not in ids and (s.group is None or s.group not in groups)]
    test = [s for label in ("normal", "defect") for s in [d for d in rest if d.label == label][:TEST]]
    return seen, test


def as_folder(samples: Sequence[Sample], folder: Path) -> str:
    """The samples as a data set of one category in the folder layout; its spec."""
    for sample in samples:
        place = folder / "magnetic_tile" / ("good" if sample.label == "normal" else "defect")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample.image, place / f"{Path(sample.id).parent.name}-{Path(sample.image).name}")
    return f"folder:{folder}"


@contextmanager
def station(store: Path) -> Iterator[str]:
    """A running `lriad serve`; its address."""
    command = [*LRIAD, "serve", "--store", str(store), "--mode", MODE, "--port", str(PORT)]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{PORT}"
    try:
        for _ in range(240):
            try:
                if requests.get(f"{address}/api/health", timeout=60).ok:  # it listens before the policy is loaded
                    break
            except requests.RequestException:
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait()


def worked_through(address: str, seen: Sequence[Sample]) -> dict[str, int]:
    """Send the pictures, work through the review queue, the most doubtful first; how many answers were corrected."""
    truth: dict[str, str] = {}
    for index, sample in enumerate(seen):
        # The station shows the name and never uses it: it must not tell the truth here.
        name = f"{index:03d}{Path(sample.image).suffix}"
        truth[name] = sample.label
        with open(sample.image, "rb") as file:
            form = {"object_name": NAME, **({"group": sample.group} if sample.group else {})}
            requests.post(
                f"{address}/api/inspections", files={"files": (name, file)}, data=form, timeout=300
            ).raise_for_status()
    counts = {"accepted": 0, "corrected": 0}
    queue = {"truth": "none", "order": "doubt", "limit": 10}
    while waiting := requests.get(f"{address}/api/inspections", params=queue, timeout=60).json()["inspections"]:
        for one in waiting:
            said = {"label": truth[one["name"]]}
            answer = requests.put(f"{address}/api/inspections/{one['id']}/label", json=said, timeout=60)
            answer.raise_for_status()
            counts["corrected" if answer.json()["corrected"] else "accepted"] += 1
    return counts


def run(*arguments: str) -> None:
    """A command of ours; what it prints stays on the terminal."""
    print("lriad", *arguments, flush=True)
    subprocess.run([*LRIAD, *arguments], check=True, stdout=subprocess.DEVNULL)


def judged(output: Path, name: str, test: str, *arguments: str) -> dict[str, Any]:
    """An evaluation on the test images: the metrics of its decisions, and the AUROC."""
    folder = output / name
    run("evaluate", "--data", test, "--mode", MODE, "--output", str(folder), *arguments)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    decided = (metrics["at_threshold"] or metrics["by_label"])["pooled"]
    return {**decided, "auroc": metrics["by_label"]["pooled"]["auroc"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/station-experiment"), help="run folders; removed first"
    )
    output = parser.parse_args().output
    if "LRIAD_REAL_DATA" not in os.environ:
        raise SystemExit("error: LRIAD_REAL_DATA names no folder of real images; docs/datasets.md says what it holds")
    samples = [s for s in load_dataset(f"folder:{Path(os.environ['LRIAD_REAL_DATA']) / PLACE}") if s.label != "unknown"]
    seen, held_out = divide(samples)
    shutil.rmtree(output, ignore_errors=True)
    test = as_folder(held_out, output / "test")
    with station(output / "store") as address:
        counts = worked_through(address, seen)
        archive = requests.get(f"{address}/api/export", timeout=60).content
    zipfile.ZipFile(io.BytesIO(archive)).extractall(output / "export")
    spec = f"folder:{output / 'export'}"
    exported = load_dataset(spec)
    [category] = {sample.category for sample in exported}
    good, bad = (str(output / "export" / category / name) for name in ("good", "defect"))
    rows = {"as it is": judged(output, "before", test, "--policy", "embedded")}
    run("train", "embedded-cpu", f"data={spec}", f"output={output / 'trained'}")
    rows["after `lriad train` on the export"] = judged(output, "after-train", test, "--policy", str(output / "trained"))
    for name, more in (("good", ()), ("labels", ("--defects", bad))):
        memory = str(output / f"{name}.memory")
        run("remember", good, *more, "--object", NAME, "--output", memory)
        title = "the export's good parts" if name == "good" else "the export's good and defective parts"
        rows[f"after `lriad remember`, {title}"] = judged(
            output, name, test, "--policy", "embedded", "--memory", memory
        )
    names = {"auroc": "AUROC", "balanced_accuracy": "bal. acc.", "recall": "recall", "false_positive_rate": "FPR"}
    lines = [
        f"| | {' | '.join(names.values())} |",
        "| --- | --: | --: | --: | --: |",
        *(f"| {title} | {' | '.join(f'{100 * row[name]:.1f}' for name in names)} |" for title, row in rows.items()),
    ]
    text = f"""# Corrections that teach

Made by `LRIAD_REAL_DATA=FOLDER python experiments/station.py`: magnetic tiles, embedded policy, `{MODE}` mode, one
draw, percent. {len(seen)} pictures, half of them defective, went through `lriad serve`; in the review queue
{counts["corrected"]} of the {sum(counts.values())} decisions were corrected, the others accepted, by the labels of the
data set in place of a person. The export ({len(exported)} pictures) was used as it came out.
Judged: {len(held_out)} pictures of other tiles.

{chr(10).join(lines)}
"""
    (RESULTS / "station.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
