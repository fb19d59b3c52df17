"""The runs behind the evidence: what each trains and tests, the key it is remembered by, and how it is done."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import os
import platform
import random
import re
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lriad.data import load_dataset
from lriad.data.synthetic import FAMILIES, make_dataset
from lriad.data.synthetic.dataset import VERSION as DRAWINGS
from lriad.errors import LriadError
from lriad.policy.loading import resolve_source, weight_files
from lriad.prompt import PROMPT_VERSION
from lriad.training import Recipe, load_recipe, train
from lriad.training.pretraining.pretrain import PretrainConfig

RECIPE = "embedded-cpu"
METHOD = 1
"""Of advantages, rewards and sampling: another number where a change of the code changes what runs give."""
WAYS = {"objects → textures": ("objects", "textures"), "textures → objects": ("textures", "objects")}
"""What is trained on and what is tested on: the paper's protocol, families in the place of data sets."""
ABLATION_WAY = "textures → objects"
"""On textures the policy is nearly always right, before and after."""
WATCHED, WATCHED_RATIO = "watched", 0.235
"""The categories of `parts` that nothing is trained on, as a family of their own, and their share of defects in
training (MVTec-AD's, as that of 'textures')."""
OPEN_WAYS = {"objects → watched": ("objects", WATCHED), "watched → objects": (WATCHED, "objects")}
"""The same between two families on both of which there is something to learn."""
ALL_WAYS = WAYS | OPEN_WAYS

COMMON: dict[str, Any] = {
    "balance_classes": False,  # to deal with rare defects is what the rewards are compared in
    "validation_fraction": 0.0,  # nothing is chosen by it, and a rare defect would be lost to it
    "report_to": (),
}
ACCURACY: dict[str, Any] = {"reward": "accuracy"}
PAPER: dict[str, Any] = {"reward": "paper", "paper_reading": "signed"}  # by the group's spread, where f cancels
FOCAL: dict[str, Any] = {"reward": "focal", "class_factor": "inverse_frequency"}
METHODS = {"accuracy": ACCURACY, "paper": PAPER, "focal": FOCAL}
BALANCED = "focal with balanced classes"
PLAIN_BALANCED = "accuracy with balanced classes"
RARE_METHODS = METHODS | {
    name: reward | {"balance_classes": True} for name, reward in ((BALANCED, FOCAL), (PLAIN_BALANCED, ACCURACY))
}
"""Where an update hardly ever sees a defect by chance, a weight on it is not enough."""

ABLATIONS: dict[str, dict[str, Any]] = {
    "focal, no format reward": FOCAL | {"format_weight": 0.0},
    **{f"focal, gamma {gamma:g}": FOCAL | {"gamma": gamma} for gamma in (0.0, 1.0, 4.0)},
    **{f"focal, alpha_defect {alpha}": FOCAL | {"alpha_defect": alpha} for alpha in (0.25, 0.75)},
    **{f"focal, class factor {factor}": FOCAL | {"class_factor": factor} for factor in ("none", "dynamic")},
    **{f"focal, scaled by {scale}": FOCAL | {"scale_rewards": scale} for scale in ("batch", "none")},
    **{f"paper, scaled by {scale}": PAPER | {"scale_rewards": scale} for scale in ("batch", "none")},
    # Only without the group's spread does Eq. 4's class factor not cancel.
    "paper, scaled by batch, class factor": PAPER | {"scale_rewards": "batch", "class_factor": "inverse_frequency"},
    **{f"{name}, dynamic sampling": METHODS[name] | {"dynamic_sampling": 3} for name in ("focal", "accuracy")},
    **{f"{name}, balanced classes": METHODS[name] | {"balance_classes": True} for name in ("focal", "accuracy")},
}
ABLATION_SEEDS = 2
LONG_STEPS = 240
LONG_METHODS = {
    f"{name}, {LONG_STEPS} updates": settings | {"steps": LONG_STEPS}
    for name, settings in {
        "accuracy": ACCURACY,
        "focal": FOCAL,
        **{f"focal, gamma {gamma:g}": FOCAL | {"gamma": gamma} for gamma in (0.0, 1.0)},
    }.items()
}
"""Nearly three times through the training images, where 60 updates see two thirds of them."""


@dataclass(frozen=True)
class Scale:
    """How large the evidence is.

    Attributes:
        train_images: Training images a category, by family; the shares of defects are the families' own.
        test_images: Test images a category where there are ten, half of them defective, which makes intervals of both
            rates alike; as many in all where there are fewer.
        test_seed: Of the test sets; training sets have the run's seed.
        rare_defects: Defects of the training sets with rare ones, by name.
        rare_images: Images of these sets, defects included.
        steps: Updates of all but the long runs; None: the recipe's.
    """

    train_images: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"objects": 36, "textures": 34, WATCHED: 60}
    )
    test_images: int = 40
    test_seed: int = 1000
    rare_defects: Mapping[str, int] = dataclasses.field(default_factory=lambda: {"1 %": 10, "0.1 %": 1})
    rare_images: int = 1000
    steps: int | None = None


@dataclass(frozen=True)
class Run:
    """One training run with its test, or the test of the policy as it was.

    Attributes:
        name: What is trained: the same for all seeds and ways.
        way: One of `WAYS` or `OPEN_WAYS`.
        seed: Of the training set and the training; None for the policy as it was.
        settings: What differs from the recipe; None for the policy as it was.
        train: Settings of the training set; `defects` where so many of so many `total` images are kept.
        test: Settings of the test set.
        policy_sha256: Of the policy that it starts from.
    """

    name: str
    way: str
    seed: int | None
    settings: Mapping[str, Any] | None
    train: Mapping[str, Any] | None
    test: Mapping[str, Any]
    policy_sha256: str

    def recipe(self, policy: str = "embedded", data: str = "-", output: str = "-") -> Recipe:
        assert self.settings is not None
        places = {"policy": policy, "data": data, "output": output}
        return dataclasses.replace(shipped_recipe(), **self.settings, **places)

    @cached_property
    def key(self) -> str:
        """Hash of the policy, the recipe's settings and the data: equal keys are equal runs."""
        content = {
            "policy_sha256": self.policy_sha256,
            "recipe": None if self.settings is None else telling_settings(self.recipe()),
            "train": self.train and dict(self.train),
            "test": dict(self.test),
            "drawings": DRAWINGS,
            "method": METHOD,
            "prompt": PROMPT_VERSION,
        }
        if self.way in OPEN_WAYS and self.settings is None:
            content["way"] = self.way  # Else 'watched → objects' had the key of 'textures → objects'.
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def folder_name(self) -> str:
        parts = (self.name, self.way.replace("→", "to"), "" if self.seed is None else f"s{self.seed}", self.key)
        return "-".join(re.sub(r"[^\w.]+", "-", part) for part in parts if part)

    def __str__(self) -> str:
        return f"{self.name}, {self.way}" + ("" if self.seed is None else f", seed {self.seed}")


@cache
def shipped_recipe() -> Recipe:
    return load_recipe(RECIPE)


def telling_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe sets otherwise than its defaults, less what does not change the outcome.

    A setting that is added to recipes later, at its default, leaves the keys of earlier runs as they are.
    """
    untelling = {"policy", "data", "output", "report_to", "save_steps", "eval_steps", "logging_steps"}
    default = Recipe(policy="-", data="-", output="-").to_dict()
    return {k: v for k, v in recipe.to_dict().items() if k not in untelling and v != default[k]}


def plan(policy_sha256: str, seeds: int, scale: Scale | None = None) -> list[Run]:
    """All runs, the most important ones first.

    Args:
        policy_sha256: Of the policy that they start from.
        seeds: Seeds of the three methods; ablations have two at most.
        scale: How large; None: as published.
    """
    scale = scale or Scale()
    steps = {} if scale.steps is None else {"steps": scale.steps}

    def training_set(name: str, seed: int) -> dict[str, Any]:
        ratio = WATCHED_RATIO if name == WATCHED else FAMILIES[name].defect_ratio
        return categories_of(name) | {"images": scale.train_images[name], "defect_ratio": ratio, "seed": seed}

    def test_set(name: str) -> dict[str, Any]:
        chosen = categories_of(name)
        images = round(scale.test_images * 10 / len(chosen.get("categories", FAMILIES[chosen["family"]].categories)))
        return chosen | {"images": images, "defect_ratio": 0.5, "seed": scale.test_seed}

    def rare_set(family: str, seed: int, defects: int) -> dict[str, Any]:
        # A fifth more images than are kept, so that there are sound ones enough.
        images = -(-scale.rare_images * 12 // (10 * len(FAMILIES[family].categories)))
        drawn = {"images": images, "defect_ratio": 0.1}
        return training_set(family, seed) | drawn | {"defects": defects, "total": scale.rare_images}

    def run(name: str, way: str, seed: int | None, settings: Mapping[str, Any] | None, train: Any) -> Run:
        if settings is not None:
            settings = COMMON | steps | dict(settings) | {"seed": seed}
        return Run(name, way, seed, settings, train, test_set(ALL_WAYS[way][1]), policy_sha256)

    def compared(methods: Mapping[str, Mapping[str, Any]], ways: Mapping[str, tuple[str, str]]) -> list[Run]:
        return [
            run(name, way, seed, settings, training_set(source, seed))
            for seed in range(seeds)
            for name, settings in methods.items()
            for way, (source, _) in ways.items()
        ]

    runs = [run("warm start", way, None, None, None) for way in ALL_WAYS]
    runs += [*compared(METHODS, WAYS), *compared(METHODS, OPEN_WAYS), *compared(LONG_METHODS, OPEN_WAYS)]
    family = WAYS[ABLATION_WAY][0]
    for seed in range(min(seeds, ABLATION_SEEDS)):
        for share, defects in scale.rare_defects.items():
            for name, settings in RARE_METHODS.items():
                train = rare_set(family, seed, defects)
                runs.append(run(f"{name}, {share} defects", ABLATION_WAY, seed, settings, train))
        for name, settings in ABLATIONS.items():
            runs.append(run(name, ABLATION_WAY, seed, settings, training_set(family, seed)))
    return runs


def policy_sha256(policy: str) -> str:
    """SHA-256 of a model folder's weights, as `Policy.policy_sha256`, without loading it."""
    source = resolve_source(policy)
    if source.adapter:
        raise LriadError(f"policy {policy!r}: has an adapter; lriad export it first, then give the export")
    digest = hashlib.sha256()
    for file in weight_files(source.base):
        digest.update(file.read_bytes())
    return digest.hexdigest()


# --- Data -------------------------------------------------------------------------------------------


def categories_of(name: str) -> dict[str, Any]:
    """The family of a name, and which of its categories where not all are meant."""
    if name != WATCHED:
        return {"family": name}
    return {"family": "parts", "categories": list(PretrainConfig().validation_categories)}


def data_spec(settings: Mapping[str, Any], folder: Path) -> str:
    """The spec of a set, which is drawn where it is not there yet."""
    made = {name: settings[name] for name in ("images", "defect_ratio", "seed")}
    some = settings.get("categories")
    name = "-".join([WATCHED if some else settings["family"], *map(str, made.values()), f"v{DRAWINGS}"])
    drawn = make_dataset(settings["family"], folder / name, categories=some, **made)
    if "defects" not in settings:
        return f"jsonl:{drawn / 'samples.jsonl'}"
    rows = [json.loads(line) for line in (drawn / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = with_rare_defects(rows, settings["defects"], settings["total"], settings["seed"])
    for row in kept:
        row |= {field: f"{name}/{row[field]}" for field in ("image", "mask") if row[field]}
    manifest = folder / f"{name}-{settings['defects']}-of-{settings['total']}.jsonl"
    partial = manifest.with_name(f"{manifest.name}.{os.getpid()}.part")
    partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    partial.replace(manifest)
    return f"jsonl:{manifest}"


def with_rare_defects(rows: Iterable[Mapping[str, Any]], defects: int, total: int, seed: int) -> list[dict[str, Any]]:
    """`total` of a set's rows, so many of them defective, of categories and kinds in turn, in the set's order.

    Raises:
        LriadError: There are not enough of either.
    """
    rows = [dict(row) for row in rows]
    draw = random.Random(f"rare {seed}")
    by_label: dict[bool, list[int]] = {True: [], False: []}
    for index, row in enumerate(rows):
        by_label[row["label"] == "defect"].append(index)
    chosen: list[int] = []
    for is_defect, count in ((True, defects), (False, total - defects)):
        there = by_label[is_defect]
        if len(there) < count:
            raise LriadError(f"{count} images with defect={is_defect} are asked for, {len(there)} are there")
        draw.shuffle(there)
        chosen += _spread(there, [rows[index]["category"] for index in there])[:count]
    return [rows[index] for index in sorted(chosen)]


def _spread(indices: list[int], classes: list[str]) -> list[int]:
    """Indices in which the classes come in turn, each in the order given."""
    seen: dict[str, int] = {}
    turns = []
    for place, name in enumerate(classes):
        turns.append((seen.get(name, 0), place))
        seen[name] = seen.get(name, 0) + 1
    return [indices[place] for _, place in sorted(turns)]


# --- One run ----------------------------------------------------------------------------------------


def execute(run: Run, output: Path, policy: str) -> dict[str, Any]:
    """Train and test, or only test; what an earlier call did is not done again.

    Args:
        run: What to do.
        output: Gets `data/` and `runs/<run>/` with `train/`, `test/` and, last, `metrics.json`.
        policy: Where to start: a model folder, or `embedded`.

    Returns:
        The content of `metrics.json`.
    """
    from lriad.inspection import evaluate_policy

    folder = output / "runs" / run.folder_name
    if found := finished(run, output):
        return found
    test = load_dataset(data_spec(run.test, output / "data"))
    seconds = {}
    tested, tokens = policy, shipped_recipe().max_completion_tokens
    if run.settings is not None:
        assert run.train is not None
        spec = data_spec(run.train, output / "data")
        start = time.perf_counter()
        tested = str(train(run.recipe(policy, spec, str(folder / "train"))))
        seconds["train"] = round(time.perf_counter() - start, 1)
    start = time.perf_counter()
    evaluate_policy(test, folder / "test", policy=tested, mode="reason", batch_size=16, max_new_tokens=tokens)
    seconds["test"] = round(time.perf_counter() - start, 1)
    record = {
        "name": run.name,
        "way": run.way,
        "seed": run.seed,
        "numbers": numbers_of(json.loads((folder / "test" / "metrics.json").read_text(encoding="utf-8"))),
        "training": training_figures(folder / "train" / "metrics.jsonl"),
        "settings": None if run.settings is None else _without_places(run.recipe()),
        "train": run.train and dict(run.train),
        "test": dict(run.test),
        "policy_sha256": run.policy_sha256,
        "seconds": seconds,
        "threads": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "date": datetime.date.today().isoformat(),
        "versions": versions(),
    }
    write_whole(folder / "metrics.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return finished(run, output) or record


def finished(run: Run, output: Path) -> dict[str, Any] | None:
    """What a finished run's folder holds, None for another one; its checkpoints are removed."""
    folder = output / "runs" / run.folder_name
    if not (folder / "metrics.json").is_file():
        return None
    shutil.rmtree(folder / "train" / "checkpoints", ignore_errors=True)
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def numbers_of(report: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence's numbers in an evaluation's `metrics.json`, over all images, in [0, 1]; None: undefined."""
    names = (
        *("balanced_accuracy", "recall", "false_positive_rate", "auroc", "recall_at_fpr_5"),
        *("accuracy", "f1_macro", "unparsable_rate"),
    )
    pooled = report["by_label"]["pooled"]
    numbers = {name: pooled.get(name) for name in names} | {name: pooled[name] for name in ("n", "n_defect")}
    faithfulness = report.get("faithfulness") or {}
    for aspect in ("place", "kind"):
        share = faithfulness.get(aspect, {}).get("pooled", {})
        numbers |= {f"{aspect}_right": share.get("right"), f"{aspect}_n": share.get("n", 0)}
    return numbers


def training_figures(metrics: Path) -> dict[str, float] | None:
    """What a run's `metrics.jsonl` tells of its training; None without one."""
    if not metrics.exists():
        return None
    from lriad.training.callbacks import read_metrics

    steps = [line for line in read_metrics(metrics) if "loss" in line]
    second_half = steps[len(steps) // 2 :]

    def mean(name: str, lines: Sequence[Mapping[str, Any]] = steps) -> float | None:
        values = [line[name] for line in lines if line.get(name) is not None]
        return round(sum(values) / len(values), 4) if values else None

    figures = {
        "updates": len(steps),
        "updates_with_a_defect": sum("accuracy/defect" in line for line in steps),
        "groups_without_signal": mean("groups_without_signal"),
        "groups_replaced": mean("groups_replaced"),
        "kl_at_the_end": steps[-1].get("kl") if steps else None,
        # As sampled, of the training images, each update alike.
        "right_of_defects": mean("accuracy/defect", second_half),
        "right_of_sound": mean("accuracy/normal", second_half),
    }
    return {name: value for name, value in figures.items() if value is not None}


def _without_places(recipe: Recipe) -> dict[str, Any]:
    return {k: v for k, v in recipe.to_dict().items() if k not in ("policy", "data", "output")}


def versions() -> dict[str, str]:
    names = ("torch", "transformers", "trl", "peft", "lriad")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def write_whole(file: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
