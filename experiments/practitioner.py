"""The practitioner's case: 20, 50 or 100 labelled images of one part, and every other one to inspect.

    LRIAD_REAL_DATA=FOLDER python experiments/practitioner.py --output runs/practitioner
    LRIAD_REAL_DATA=FOLDER python experiments/practitioner.py --only toy_alien --try 50 learning_rate=3e-3

On each real category and on identical splits: the policy as it is, with a memory and a rule that `lriad remember` makes
of the N images, the policy after `lriad train` on them, and what one would try first instead (`rivals.py`; anomalib's
PaDiM too, where that package is installed). A cell that stands in docs/results/practitioner.json with the same images
and settings is not done again, so the command resumes, and several may share the work with --only. With `--try` it
trains on N images with other settings of the recipe, prints what comes of it, and writes no results. No image leaves
the folder of the data: the results hold numbers only.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import fcntl
import hashlib
import importlib.util
import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rivals
from rivals import Judged

from lriad.data import Sample, load_dataset
from lriad.data.split import split_by_group
from lriad.errors import LriadError
from lriad.evaluation.metrics import count_outcomes, label_rates, score_rates

CATEGORIES = {
    "ball_screw": "bsdata",
    "bottle": "mvtec_ad_part",
    "pcb": "deeppcb",
    "solar_mono": "elpv",
    "solar_poly": "elpv",
    "tile": "magnetic_tile",
    "toothbrush": "mvtec_ad_part",
    "toy_alien": "aws_lookout",
}
"""The data set of each category."""
SIZES = (20, 50, 100)
TEST_IMAGES = 100
"""Most images of a class that are tested on."""
STEPS = 40
NEW_TOKENS = 80
RESAMPLES = 2_000
METRICS = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "recall_at_fpr_5": "recall at 5 % FPR"}
TITLES = METRICS | {"balanced_accuracy_p50": "balanced accuracy at p >= 0.5"}
RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"

TRAINED = "lr-iad + lriad train"
REMEMBERED = "lr-iad + lriad remember"
REMEMBERED_VERSION = 1
"""It changes when the same images and policy would give another memory or rule."""
ZERO_SHOT = "lr-iad zero-shot"
COLOURS = {
    ZERO_SHOT: "tab:grey",
    REMEMBERED: "tab:orange",
    TRAINED: "tab:red",
    "logistic regression": "tab:blue",
    "patch memory": "tab:green",
    "PaDiM (anomalib)": "tab:purple",
}


@dataclass(frozen=True)
class Draw:
    """One division of a category.

    Attributes:
        train: The training images by N; the smaller ones are parts of the larger ones.
        test: Images of other groups than any of these, the same for every N.
    """

    train: dict[int, list[Sample]]
    test: list[Sample]


@dataclass(frozen=True)
class Task:
    """What a method is given: N labelled images and those to judge."""

    category: str
    samples: Sequence[Sample]  # all of the category, of which features are kept
    train: Sequence[Sample]
    test: Sequence[Sample]
    draw: int
    output: Path


@dataclass(frozen=True)
class Method:
    """A method, which may judge in several ways at once (the modes of a policy), under a name each.

    Attributes:
        names: The rows that it gives.
        settings: What its numbers depend on, besides the images.
        run: The judgements by name, with further metrics where there are any.
        packages: Whose versions are told.
        learns: Whether it depends on N.
    """

    names: tuple[str, ...]
    settings: Mapping[str, Any]
    run: Callable[[Task], dict[str, tuple[Judged, dict[str, float]]]]
    packages: tuple[str, ...]
    learns: bool = True


def divide(samples: Sequence[Sample], draw: int, sizes: Sequence[int] = SIZES) -> Draw:
    """At most `sizes` images to train on, at most half of them defects, and the images to test on.

    Half of the groups may be trained on, the other half is tested on; in a group-less category these are half of the
    images. No more than half of a category's defects or good images are trained on, so that a small category gives
    fewer than N.
    """
    tested, pool = split_by_group(samples, 0.5, draw)
    rng = random.Random(draw)
    kept = {}
    for label in ("defect", "normal"):
        own = sorted((sample for sample in pool if sample.label == label), key=lambda sample: sample.id)
        rng.shuffle(own)
        kept[label] = own[: sum(sample.label == label for sample in samples) // 2]
    train = {}
    for n in sizes:
        defects = min(n // 2, len(kept["defect"]), len(kept["normal"]))
        train[n] = kept["defect"][:defects] + kept["normal"][: n - defects]
    return Draw(train, [s for label in ("defect", "normal") for s in thinned(tested, label, rng)])


def thinned(samples: Sequence[Sample], label: str, rng: random.Random) -> list[Sample]:
    """The samples of a label, or as many as are tested on, drawn."""
    own = sorted((sample for sample in samples if sample.label == label), key=lambda sample: sample.id)
    return sorted(rng.sample(own, min(TEST_IMAGES, len(own))), key=lambda sample: sample.id)


def ids_hash(samples: Sequence[Sample]) -> str:
    """Short hash of ids and labels, in their order."""
    text = "\n".join(f"{sample.id} {sample.label}" for sample in samples)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Short hash of settings."""
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=6).hexdigest()


def truth_of(samples: Sequence[Sample]) -> np.ndarray:
    """1 for defects, 0 for good images."""
    return np.array([int(sample.label == "defect") for sample in samples])


def measured(truth_N: np.ndarray, judged: Judged) -> dict[str, float | None]:
    """The metrics of one cell, in [0, 1]."""
    rates = label_rates(count_outcomes(truth_N, judged.defect_N.astype(int)))
    scores = score_rates(truth_N, judged.score_N)
    return {
        "auroc": scores["auroc"],
        "balanced_accuracy": float(rates["balanced_accuracy"]),
        "recall": float(rates["recall"]),
        "false_positive_rate": float(rates["false_positive_rate"]),
        "recall_at_fpr_5": scores["recall_at_fpr_5"],
    }


# The methods.


def _indices(task: Task, chosen: Sequence[Sample]) -> np.ndarray:
    position = {sample.id: index for index, sample in enumerate(task.samples)}
    return np.array([position[sample.id] for sample in chosen])


def _features(task: Task) -> rivals.Features:
    return rivals.cached_features(task.samples, task.output / "features" / task.category)


def run_logistic_regression(task: Task) -> dict[str, tuple[Judged, dict[str, float]]]:
    """The rival that learns from labels."""
    pooled = _features(task).pooled_NF
    train, test = _indices(task, task.train), _indices(task, task.test)
    is_defect_N = truth_of(task.train).astype(bool)
    return {
        "logistic regression": (rivals.logistic_regression(pooled[train], is_defect_N, pooled[test], task.draw), {})
    }


def run_patch_memory(task: Task) -> dict[str, tuple[Judged, dict[str, float]]]:
    """The rival that learns from good images only."""
    patches = _features(task).patches_NPC
    good = _indices(task, _good(task.train))
    return {"patch memory": (rivals.patch_memory(patches[good], patches[_indices(task, task.test)], task.draw), {})}


def run_padim(task: Task) -> dict[str, tuple[Judged, dict[str, float]]]:
    """anomalib's own code, on good images only."""
    return {"PaDiM (anomalib)": (rivals.padim(_good(task.train), task.test, task.draw), {})}


def _good(samples: Sequence[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample.label == "normal"]


def inspected(task: Task, policy: str, folder: Path, name: str) -> dict[str, tuple[Judged, dict[str, float]]]:
    """A policy's judgements of the test images in both modes."""
    from lriad.evaluation import read_predictions
    from lriad.inspection.run import inspect_to_file

    found = {}
    for mode in ("reason", "fast"):
        file = folder / f"{mode}.jsonl"
        inspect_to_file(task.test, file, policy=policy, mode=mode, max_new_tokens=NEW_TOKENS, batch_size=16)
        rows = {row["id"]: row for row in read_predictions(file)}
        found[f"{name}, {mode}"] = judgement([rows[sample.id] for sample in task.test])
    return found


def judgement(rows: Sequence[Mapping[str, Any]]) -> tuple[Judged, dict[str, float]]:
    """What the answers say, and the balanced accuracy that p >= 0.5 would have; an unparsable answer is wrong."""
    failed = [row for row in rows if row.get("error")]
    if failed:
        raise LriadError(f"{failed[0]['id']}: {failed[0]['error']}; every method must judge the same images")
    truth_N = np.array([int(row["truth"] == "defect") for row in rows])
    p_N = np.array([np.nan if row["p_defect"] is None else row["p_defect"] for row in rows])
    wrong_N = np.array([row["label"] != row["truth"] for row in rows])
    at_half = label_rates(count_outcomes(truth_N, (p_N >= 0.5).astype(int)))
    return Judged(p_N, truth_N.astype(bool) ^ wrong_N), {"balanced_accuracy_p50": float(at_half["balanced_accuracy"])}


def run_zero_shot(task: Task, policy: str, sha256: str) -> dict[str, tuple[Judged, dict[str, float]]]:
    """The policy as it is; draws share the images that they have in common."""
    return inspected(task, policy, task.output / "zero-shot" / f"{task.category}-{sha256[:8]}", ZERO_SHOT)


def training_recipe(policy: str, data: str = "", output: str = "", seed: int = 0, changes: Sequence[str] = ()) -> Any:
    """The recipe embedded-cpu on N images: all of them are trained on, for a constant number of steps."""
    from lriad.training import load_recipe

    settings = {
        "policy": policy,
        "steps": STEPS,
        "validation_fraction": 0.0,
        **({"data": data} if data else {}),
        **({"output": output} if output else {}),
        "seed": seed,
    }
    return load_recipe("embedded-cpu", [*(f"{key}={value}" for key, value in settings.items()), *changes])


def run_trained(
    task: Task, policy: str, settings: Mapping[str, Any], changes: Sequence[str] = ()
) -> dict[str, tuple[Judged, dict[str, float]]]:
    """`lriad train` on the N images, then inspection; `changes` are other settings than the recipe's, KEY=VALUE."""
    from lriad.training import train

    name = f"{task.category}-{ids_hash(task.train)}-draw{task.draw}-{settings_hash(settings)}"
    run = task.output.resolve() / "train" / name
    listed = run.parent / f"{name}.jsonl"
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("".join(_manifest_line(sample) for sample in task.train), encoding="utf-8")
    if not (run / "adapter").exists():
        train(training_recipe(policy, f"jsonl:{listed}", str(run), task.draw, changes))
    return inspected(task, str(run), run / "inspection", TRAINED)


def run_remembered(task: Task, policy: str, settings: Mapping[str, Any]) -> dict[str, tuple[Judged, dict[str, float]]]:
    """`lriad remember` with the N images, then inspection: what the memory decides."""
    from lriad.inspection import Inspector
    from lriad.memory import remember
    from lriad.policy import load_policy

    name = f"{task.category}-{ids_hash(task.train)}-{settings_hash(settings)}.memory"
    defects = [sample for sample in task.train if sample.label == "defect"]
    loaded = load_policy(policy)
    memory = remember(_good(task.train), task.output / "memories" / name, policy=loaded, defects=defects).memory
    inspector = Inspector(loaded, mode="fast", memory=memory)
    verdicts = [inspector.inspect(sample.image, sample.object_name) for sample in task.test]
    scores = np.array([verdict.score for verdict in verdicts])
    return {REMEMBERED: (Judged(scores, np.array([verdict.decision == "defect" for verdict in verdicts])), {})}


def _manifest_line(sample: Sample) -> str:
    row = {name: value for name, value in dataclasses.asdict(sample).items() if value and name not in ("split", "mask")}
    return json.dumps(row | {"image": os.path.abspath(sample.image)}) + "\n"


def rival_methods() -> list[Method]:
    """Those that are installed."""
    packages = ("torch", "timm", "scikit-learn")
    methods = [
        Method(("logistic regression",), rivals.LOGISTIC_SETTINGS, run_logistic_regression, packages),
        Method(("patch memory",), rivals.MEMORY_SETTINGS, run_patch_memory, packages),
    ]
    if importlib.util.find_spec("anomalib"):
        methods.append(Method(("PaDiM (anomalib)",), rivals.PADIM_SETTINGS, run_padim, (*packages, "anomalib")))
    return methods


def policy_methods(policy: str, *, train: bool = True) -> list[Method]:
    """The policy as it is, with a memory, and after training."""
    from lriad.policy import load_policy

    sha256 = load_policy(policy).policy_sha256
    packages = ("lriad", "torch", "transformers", "trl", "peft")
    base = {"policy_sha256": sha256, "max_new_tokens": NEW_TOKENS, "threshold": "the answer's label"}
    recipe = dataclasses.asdict(training_recipe("POLICY", "N images", "RUN"))
    given = ("data", "memory", "output", "policy")  # the task's own, or never used here
    taught = base | {"recipe": {key: value for key, value in recipe.items() if key not in given}}
    remembered = {"policy_sha256": sha256, "version": REMEMBERED_VERSION, "mode": "fast"}
    methods = [
        Method(_modes(ZERO_SHOT), base, partial(run_zero_shot, policy=policy, sha256=sha256), packages, learns=False),
        Method((REMEMBERED,), remembered, partial(run_remembered, policy=policy, settings=remembered), packages[:3]),
    ]
    if train:
        methods.append(Method(_modes(TRAINED), taught, partial(run_trained, policy=policy, settings=taught), packages))
    return methods


def _modes(name: str) -> tuple[str, ...]:
    return f"{name}, reason", f"{name}, fast"


# The results' file.


def read_results(file: Path) -> dict[str, Any]:
    """The document, or an empty one."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {"settings": {}, "cells": []}


def same_cells(document: Mapping[str, Any], cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Cells of the same method, settings and images, whatever their N: a small category is used up before N is."""
    names = ("category", "draw", "method", "settings", "train", "test")
    return [other for other in document["cells"] if all(other[name] == cell[name] for name in names)]


def add_cells(file: Path, cells: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Write cells beside those of other processes, in place of those with other settings; returns the document."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with locked(file.parent):
        document = read_results(file)
        for cell in cells:
            document["cells"] = [other for other in document["cells"] if _place(other) != _place(cell)] + [dict(cell)]
            document["settings"][cell["settings"]] = dict(settings)
        document["cells"].sort(key=_place)
        used = {cell["settings"] for cell in document["cells"]}
        document["settings"] = {key: value for key, value in sorted(document["settings"].items()) if key in used}
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        part.write_text(_as_json(document), encoding="utf-8")
        part.replace(file)
    return document


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; a lock on the folder itself leaves no file behind."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _place(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return cell["method"], cell["category"], cell["n"], cell["draw"]


def _as_json(document: Mapping[str, Any]) -> str:
    """One cell a line, so that differences can be read."""
    cells = ",\n  ".join(json.dumps(cell) for cell in document["cells"])
    return f'{{\n "settings": {json.dumps(document["settings"], indent=2)},\n "cells": [\n  {cells}\n ]\n}}\n'


def run_cell(method: Method, n: int, task: Task, file: Path) -> bool:
    """Measure a method on a task unless that was done before; returns whether there was anything to do."""
    sides = {
        "settings": settings_hash(method.settings),
        "train": ids_hash(task.train) if method.learns else "",
        "test": ids_hash(task.test),
    }
    heads = [
        {"category": task.category, "n": n if method.learns else 0, "draw": task.draw, "method": name, **sides}
        for name in method.names
    ]
    known = [same_cells(read_results(file), head) for head in heads]
    if all(any(cell["n"] == head["n"] for cell in cells) for head, cells in zip(heads, known, strict=True)):
        return False
    if all(known):  # the same training images under a smaller N
        add_cells(file, [cells[0] | head for head, cells in zip(heads, known, strict=True)], method.settings)
        return True
    start = time.perf_counter()
    judged = method.run(task)
    seconds = round(time.perf_counter() - start, 1)
    train, truth_N = truth_of(task.train), truth_of(task.test)
    counts = {
        "train_images": len(train) if method.learns else 0,
        "train_defects": int(train.sum()) if method.learns else 0,
        "test_images": len(truth_N),
        "test_defects": int(truth_N.sum()),
    }
    made = {
        "seconds": seconds,
        "date": str(datetime.date.today()),
        "versions": {package: version_of(package) for package in method.packages},
    }
    cells = [
        head | counts | _rounded(measured(truth_N, judged[name][0]) | judged[name][1]) | made
        for name, head in zip(method.names, heads, strict=True)
    ]
    add_cells(file, cells, method.settings)
    return True


def version_of(package: str) -> str:
    """Of an installed package; lriad's own also where it runs from its source."""
    import lriad

    return lriad.__version__ if package == "lriad" else version(package)


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: None if value is None else round(value, 4) for name, value in values.items()}


# Tables and figure.


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of the cells, and its 95 % interval by the bootstrap of the cells."""
    array = np.array(values)
    means = np.random.default_rng(seed).choice(array, (RESAMPLES, len(array))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(array.mean()), float(low), float(high)


def values_of(cells: Sequence[Mapping[str, Any]], method: str, n: int, metric: str) -> dict[tuple[str, int], float]:
    """A metric by category and draw."""
    return {
        (cell["category"], cell["draw"]): cell[metric]
        for cell in cells
        if cell["method"] == method and cell["n"] == n and cell.get(metric) is not None
    }


def everywhere(cells: Sequence[Mapping[str, Any]], method: str, n: int, metric: str) -> dict[tuple[str, int], float]:
    """`values_of`, or nothing where a category lacks: means of other categories do not compare."""
    found = values_of(cells, method, n, metric)
    return found if {name for name, _ in found} == {cell["category"] for cell in cells} else {}


def methods_of(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """The methods' names, ours first."""
    return sorted({cell["method"] for cell in cells}, key=lambda name: (list(COLOURS).index(_family(name)), name))


def _family(method: str) -> str:
    return method.rsplit(", ", 1)[0]


def _percent(values: Sequence[float]) -> str:
    mean, low, high = mean_interval(values)
    return f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sizes_of(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """Every N, without the 0 of a policy that learns nothing."""
    return sorted({cell["n"] for cell in cells} - {0})


def mean_table(cells: Sequence[Mapping[str, Any]], metric: str) -> str:
    """A method a row, an N a column, where every category is done; what learns nothing has one number, under 0."""
    sizes = [n for n in (0, *sizes_of(cells)) if any(cell["n"] == n for cell in cells)]
    rows = []
    for method in methods_of(cells):
        found = [everywhere(cells, method, n, metric) for n in sizes]
        if any(found):
            most = str(max(map(len, found)))
            rows.append([method, *(_percent([*own.values()]) if own else "–" for own in found), most])
    return _table([TITLES[metric], *(f"N = {n}" for n in sizes), "cells"], rows)


def difference_table(cells: Sequence[Mapping[str, Any]], metric: str = "auroc") -> str:
    """Trained minus each other method on the cells that both have; '' before there are any."""
    rows, ours, sizes = [], f"{TRAINED}, reason", sizes_of(cells)
    for method in methods_of(cells):
        row = []
        for n in sizes:
            first = values_of(cells, ours, n, metric)
            second = values_of(cells, method, 0 if _family(method) == ZERO_SHOT else n, metric)
            shared = sorted(first.keys() & second.keys())
            gains = [first[key] - second[key] for key in shared]
            row.append(f"{_percent(gains)} ({len(gains)})" if gains else "–")
        if method != ours and set(row) != {"–"}:
            rows.append([method, *row])
    columns = [f"{ours}, minus", *(f"N = {n} (cells)" for n in sizes)]
    return _table(columns, rows) if rows else ""


def category_table(cells: Sequence[Mapping[str, Any]], metric: str) -> str:
    """Means over draws: a category and N a row, a method a column."""
    methods, rows = methods_of(cells), []
    for category in sorted({cell["category"] for cell in cells}):
        for n in sizes_of(cells):
            of = [cell for cell in cells if cell["category"] == category and cell["n"] == n]
            row = []
            for method in methods:
                found = values_of(cells, method, 0 if _family(method) == ZERO_SHOT else n, metric)
                own = [value for (name, _), value in found.items() if name == category]
                row.append(f"{100 * np.mean(own):.1f}" if own else "–")
            if of:
                sides = f"{of[0]['train_images']} ({of[0]['train_defects']})", f"{of[0]['test_defects']}"
                rows.append([category, str(n), *sides, *row])
    return _table([TITLES[metric], "N", "trained on (defects)", "defects tested on", *methods], rows)


def to_markdown(document: Mapping[str, Any]) -> str:
    """The whole report."""
    cells = document["cells"]
    draws = len({cell["draw"] for cell in cells})
    dates = sorted({cell["date"] for cell in cells})
    parts = [
        "# The practitioner's case",
        "Made by `python experiments/practitioner.py --output runs/practitioner`; percent. "
        f"{len({cell['category'] for cell in cells})} real categories ([datasets.md](../datasets.md)), {draws} "
        f"draw{'s' * (draws > 1)} of each, {dates[0]} to {dates[-1]}. Settings and versions of every cell: "
        "[practitioner.json](practitioner.json).",
        "N labelled images of one category are learned from, half of them defects as far as there are any; images of "
        f"other groups are judged: at most {TEST_IMAGES} good and {TEST_IMAGES} defective ones, drawn, the same for "
        "every N and method. A small N is a part of a larger one. No more than half of a category's defects or good "
        "images are learned from: where that is fewer than N, the cell holds what there is. Bottle and toothbrush have "
        "about 15 defects to test on, so their numbers are coarse.",
        "Thresholds come from the training images alone: logistic regression p >= 0.5; patch memory the 95 % quantile "
        "of its good training images, each without its own patches; PaDiM the same by 5-fold cross-fitting; the policy "
        "its answer's label, with a memory (`fast`) its rule's p >= 0.5. In brackets: 95 % intervals by the bootstrap "
        "of the cells (category x draw). Draws of one category resemble one another, so with several draws the "
        "intervals are too narrow as a statement on other categories. A method is averaged once every category is "
        "done; `cells` says over how many.",
        "![AUROC over N](practitioner.png)",
        "## Mean of categories",
    ]
    parts += [mean_table(cells, metric) for metric in METRICS]
    if any("balanced_accuracy_p50" in cell for cell in cells):
        parts.append(mean_table(cells, "balanced_accuracy_p50"))
    if difference := difference_table(cells):
        parts += ["AUROC in points, on the cells that both have:", difference]
    note = "Each method's mean over its own draws, which may be fewer than another's."
    parts += ["## By category", note, *(category_table(cells, metric) for metric in ("auroc", "balanced_accuracy"))]
    return "\n\n".join(parts) + "\n"


def draw_figure(document: Mapping[str, Any], file: Path) -> None:
    """AUROC over N: the mean of categories, and each of them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cells = document["cells"]
    names = sorted({cell["category"] for cell in cells})
    columns = -(-len(names) // 2)
    layout = [["mean", "mean", *row] for row in np.resize([*names, *["."] * (len(names) % 2)], (2, columns)).tolist()]
    figure, axes = plt.subplot_mosaic(layout, figsize=(4 + 2.2 * columns, 5), layout="constrained")
    for name, axis in axes.items():
        shown = cells if name == "mean" else [cell for cell in cells if cell["category"] == name]
        for method in methods_of(cells):
            _draw_curve(axis, shown, method)
        axis.axhline(0.5, color="black", lw=0.5, ls=":")
        sizes = sizes_of(cells) or list(SIZES)
        axis.set(xscale="log", ylim=(None, 1.02), title="mean of categories" if name == "mean" else name)
        axis.set_xticks(sizes, map(str, sizes), minor=False)
        axis.set_xticks([], minor=True)
    axes["mean"].set(xlabel="N labelled images", ylabel="AUROC (bars: 95 %, cells)")
    # A method that lacks a category has no mean, but curves of its own.
    handles = {
        label: handle for axis in axes.values() for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*handles.values()], [*handles], loc="outside lower center", ncols=4, fontsize=8)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    figure.savefig(part, dpi=110, format="png")
    part.replace(file)
    plt.close(figure)


def _draw_curve(axis: Any, cells: Sequence[Mapping[str, Any]], method: str) -> None:
    """One method's means over N, or a level line for what learns nothing."""
    style = {"color": COLOURS[_family(method)], "ls": "--" if method.endswith("fast") else "-", "label": method}
    if _family(method) == ZERO_SHOT:
        if own := everywhere(cells, method, 0, "auroc"):
            axis.axhline(np.mean([*own.values()]), **style)
        return
    found = {n: [*own.values()] for n in sizes_of(cells) if (own := everywhere(cells, method, n, "auroc"))}
    if not found:
        return
    means, lows, highs = zip(*(mean_interval(values) for values in found.values()), strict=True)
    bars = [np.subtract(means, lows), np.subtract(highs, means)]
    axis.errorbar(list(found), means, bars, marker="o", ms=3, capsize=2, elinewidth=0.8, **style)


def write_report(file: Path, *, figure: bool) -> None:
    """The tables, and the figure where asked for, beside the results' file."""
    document = read_results(file)
    if document["cells"]:
        file.with_suffix(".md").write_text(to_markdown(document), encoding="utf-8")
        if figure:
            draw_figure(document, file.with_suffix(".png"))


def run_category(
    category: str,
    samples: Sequence[Sample],
    methods: Sequence[Method],
    draws: int,
    output: Path,
    file: Path,
    sizes: Sequence[int] = SIZES,
) -> None:
    """Every cell of one category that is not there yet; results and tables are written after each."""
    for draw in range(draws):
        divided = divide(samples, draw, sizes)
        for n in sizes:
            task = Task(category, samples, divided.train[n], divided.test, draw, output)
            for method in methods:
                start = time.perf_counter()
                if run_cell(method, n, task, file):
                    write_report(file, figure=False)
                    seconds = time.perf_counter() - start
                    print(f"{category}, draw {draw}, N = {n}: {method.names[0]}, {seconds:.0f} s", flush=True)
    write_report(file, figure=True)


def try_settings(category: str, n: int, changes: Sequence[str], policy: str, output: Path) -> None:
    """Train on N images with other settings than the recipe's, and print what comes of it."""
    samples = real_category(category)
    divided = divide(samples, 0, (n,))
    task = Task(category, samples, divided.train[n], divided.test, 0, output)
    for name, (judged, _) in run_trained(task, policy, {"changes": list(changes)}, changes).items():
        found = measured(truth_of(task.test), judged)
        print(f"{category}, N = {n}, {' '.join(changes)}: {name}: {found}")


def real_category(name: str) -> list[Sample]:
    """The images of a real category.

    Raises:
        SystemExit: The folder of real images is not named.
    """
    if "LRIAD_REAL_DATA" not in os.environ:
        raise SystemExit("error: LRIAD_REAL_DATA names no folder of real images; docs/datasets.md says what it holds")
    folder = Path(os.environ["LRIAD_REAL_DATA"]) / CATEGORIES[name]
    return list(load_dataset(f"folder:{folder}", categories=[name]))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/practitioner"), help="features, runs, predictions")
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CATEGORIES, default=list(CATEGORIES), metavar="CATEGORY")
    parser.add_argument("--rivals-only", action="store_true")
    parser.add_argument(
        "--without-training", action="store_true", help="all but lriad train, which takes minutes a cell"
    )
    parser.add_argument(
        "--try", nargs="+", dest="tried", metavar=("N", "KEY=VALUE"), help="other settings of lriad train; only printed"
    )
    args = parser.parse_args()
    if args.tried:
        for category in args.only:
            try_settings(category, int(args.tried[0]), args.tried[1:], args.policy, args.output)
        return
    ours = [] if args.rivals_only else policy_methods(args.policy, train=not args.without_training)
    methods = [*ours, *rival_methods()]
    for category in args.only:
        start = time.perf_counter()
        run_category(category, real_category(category), methods, args.draws, args.output, RESULTS / "practitioner.json")
        print(f"{category}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main()
    except LriadError as error:
        raise SystemExit(f"error: {error}") from error
