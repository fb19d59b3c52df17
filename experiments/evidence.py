"""The paper's cross-family protocol in small: plain GRPO, the paper's reward and ours; seeds, ablations, rare defects.

    python experiments/evidence.py                             # everything, the most important first
    python experiments/evidence.py --jobs 2 --only accuracy paper focal "warm start"
    python experiments/evidence.py --table                     # only the tables, of what is done

The same command goes on where it was stopped: a finished run is not done again, a killed one goes on from its
checkpoint. What is finished stands in `docs/results/evidence.json`, by a hash of policy, recipe and data: with that
file a run counts as done on another machine too. (The hash does not see a change of the code.) After every run the
JSON, the page and the figure are written anew.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from _runs import (
    ABLATION_WAY,
    ABLATIONS,
    ALL_WAYS,
    BALANCED,
    LONG_METHODS,
    METHODS,
    OPEN_WAYS,
    PLAIN_BALANCED,
    RECIPE,
    WAYS,
    Run,
    Scale,
    execute,
    finished,
    plan,
    policy_sha256,
    shipped_recipe,
    write_whole,
)

from lriad.data.synthetic import FAMILIES
from lriad.errors import LriadError
from lriad.evaluation.tables import COLUMNS, NO_VALUE, TextTable, percent

RESULTS = Path(__file__).parents[1] / "docs" / "results"
LEVEL = 0.95
COMPARISONS = (("focal", "accuracy"), ("focal", "paper"), ("focal", "warm start"), ("accuracy", "warm start"))
LONG_COMPARISONS = (
    *((b, a) for a, b in combinations(LONG_METHODS, 2)),
    *((name, "warm start") for name in LONG_METHODS),
)
BALANCED_COMPARISONS = ((BALANCED, PLAIN_BALANCED), (BALANCED, "warm start"), (PLAIN_BALANCED, "accuracy"))
DIFFERENCES = ("balanced_accuracy", "recall", "false_positive_rate", "auroc", "recall_at_fpr_5")
"""Metrics whose differences are given."""
SHIPPED = "those that ship in the package: the supervised stage's, taught to judge on drawings, half of them defective."
OTHER = "not those that ship in the package, but the ones in the folder that `--policy` names."
SHOWN = (*DIFFERENCES, "accuracy", "f1_macro", "unparsable_rate", "place_right", "kind_right")
WITH_INTERVAL = ("balanced_accuracy", "recall_at_fpr_5")
"""Metrics whose means are given with their interval, and drawn."""
HEADINGS = {**COLUMNS, "place_right": "place named", "kind_right": "kind named"}
BOTH, BOTH_OPEN = "both ways", "both open ways"


Records = Mapping[str, Mapping[str, Any]]
"""Finished runs by their keys, as `metrics.json` holds them."""


# --- From runs to numbers ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean of some runs, or of differences of pairs of them.

    Attributes:
        mean: Over `values`.
        interval: Its 95 % interval; None where nothing tells it.
        values: One a run or a pair.
        interval_from: `runs` (Student's t over the values), `images` (bootstrap of one run's images) or None.
    """

    mean: float
    interval: tuple[float, float] | None
    values: tuple[float, ...]
    interval_from: str | None


def estimate(values: Iterable[float | None]) -> Estimate | None:
    """Mean and Student's t interval of values, None without any; one value has no interval."""
    from scipy.stats import t

    known = tuple(float(value) for value in values if value is not None)
    if not known:
        return None
    mean, n = sum(known) / len(known), len(known)
    if n == 1:
        return Estimate(mean, None, known, None)
    error = (sum((value - mean) ** 2 for value in known) / (n - 1) / n) ** 0.5
    half = float(t.ppf((1 + LEVEL) / 2, n - 1)) * error
    return Estimate(mean, (mean - half, mean + half), known, "runs")


def of_method(records: Records, name: str, way: str) -> list[Mapping[str, Any]]:
    """The finished runs of a name and a way, by seed."""
    found = [record for record in records.values() if (record["name"], record["way"]) == (name, way)]
    return sorted(found, key=lambda record: -1 if record["seed"] is None else record["seed"])


def pairs(records: Records, a: str, b: str, ways: Sequence[str]) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Runs of `a` beside those of `b` of the same way and seed; the policy as it was goes with every seed."""
    found = []
    for way in ways:
        others = {record["seed"]: record for record in of_method(records, b, way)}
        for record in of_method(records, a, way):
            other = others.get(record["seed"], others.get(None))
            if other is not None:
                found.append((record, other))
    return found


Bootstrap = Callable[[Mapping[str, Any], Mapping[str, Any], str], tuple[float, float] | None]


def difference(
    records: Records, a: str, b: str, ways: Sequence[str], metric: str, bootstrap: Bootstrap | None = None
) -> Estimate | None:
    """The metric of `a` minus that of `b`, None where no pair of runs is there.

    With two seeds or more, the interval is Student's t over the differences of the pairs. With one seed two ways are
    no sample of anything: the interval of one way is the bootstrap's, paired by image, that of both is left out.
    """
    both = pairs(records, a, b, ways)
    values = [
        None if None in (x["numbers"][metric], y["numbers"][metric]) else x["numbers"][metric] - y["numbers"][metric]
        for x, y in both
    ]
    found = estimate(values)
    if found is None or len({x["seed"] for x, _ in both}) > 1:
        return found
    interval = bootstrap(*both[0], metric) if bootstrap and len(both) == 1 else None
    return Estimate(found.mean, interval, found.values, "images" if interval else None)


def image_bootstrap(runs: Sequence[Run], output: Path) -> Bootstrap:
    """The paired bootstrap over images, for runs whose predictions are still in their folders."""
    from lriad.evaluation import evaluate_predictions, paired_difference, read_predictions

    folders = {(run.name, run.way, run.seed): output / "runs" / run.folder_name / "test" for run in runs}

    @lru_cache(maxsize=8)
    def evaluation(folder: Path) -> Any:
        return evaluate_predictions(read_predictions(folder / "predictions.jsonl"), resamples=0)

    def interval(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> tuple[float, float] | None:
        ours, theirs = (folders[record["name"], record["way"], record["seed"]] for record in (a, b))
        if not all((folder / "predictions.jsonl").is_file() for folder in (ours, theirs)):
            return None
        return paired_difference(evaluation(theirs), evaluation(ours), metric=metric).pooled_interval

    return interval


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of the runs, in the plan's order."""
    return list(dict.fromkeys(run.name for run in runs))


def rare_groups(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """The methods' names under each share of rare defects: {'1 %': {'focal': 'focal, 1 % defects', …}}."""
    groups: dict[str, dict[str, str]] = {}
    for name in names_of(runs):
        method, _, rest = name.partition(", ")
        if rest.endswith(" defects"):
            groups.setdefault(rest.removesuffix(" defects"), {})[method] = name
    return groups


def comparisons(runs: Sequence[Run]) -> list[tuple[str, str, dict[str, tuple[str, ...]]]]:
    """What is compared with what, over which ways."""
    over = {way: (way,) for way in ALL_WAYS} | {BOTH: tuple(WAYS), BOTH_OPEN: tuple(OPEN_WAYS)}
    one = {ABLATION_WAY: (ABLATION_WAY,)}
    rare = [
        (group[a], group.get(b, b), one)
        for group in rare_groups(runs).values()
        for a, b in (*COMPARISONS, ("paper", "warm start"), *BALANCED_COMPARISONS)
    ]
    ablations = [(name, name.partition(",")[0], one) for name in ABLATIONS]
    return [*((a, b, over) for a, b in (*COMPARISONS, *LONG_COMPARISONS)), *rare, *ablations]


def summarise(runs: Sequence[Run], records: Records, bootstrap: Bootstrap | None) -> dict[str, Any]:
    """Means of each name and way, and differences, JSON-ready."""
    methods: dict[str, Any] = {}
    for way in ALL_WAYS:
        for name in names_of(runs):
            done = of_method(records, name, way)
            if done:
                figures = {metric: estimate(record["numbers"][metric] for record in done) for metric in SHOWN}
                methods.setdefault(way, {})[name] = {k: v and asdict(v) for k, v in figures.items()}
    differences = []
    for a, b, over in comparisons(runs):
        for label, ways in over.items():
            found = {metric: difference(records, a, b, ways, metric, bootstrap) for metric in DIFFERENCES}
            if any(found.values()):
                metrics = {k: v and asdict(v) for k, v in found.items()}
                differences.append({"a": a, "b": b, "over": label, "metrics": metrics})
    return {"methods": methods, "differences": differences}


# --- Tables and figure ------------------------------------------------------------------------------


def cell(figures: Mapping[str, Any] | None, *, signed: bool = False, interval: bool = True) -> str:
    """`91.2 [89.0, 93.4]` of an estimate, in percent or points."""
    if figures is None:
        return NO_VALUE
    style = "+.1f" if signed else ".1f"
    text = f"{100 * figures['mean']:{style}}"
    if figures["interval"] is None or not interval:
        return text
    low, high = (f"{100 * bound:{style}}" for bound in figures["interval"])
    return f"{text} [{low}, {high}]" + (" (images)" if figures["interval_from"] == "images" else "")


def methods_table(summary: Mapping[str, Any], way: str, names: Sequence[str], title: str) -> TextTable | None:
    """Names in lines, metrics in columns; None where nothing is done."""
    there = summary["methods"].get(way, {})
    rows = []
    for name in names:
        if figures := there.get(name):
            runs = str(len(figures["balanced_accuracy"]["values"]))
            cells = [cell(figures[metric], interval=metric in WITH_INTERVAL) for metric in SHOWN]
            rows.append((name, runs, *cells))
    return TextTable(title, ("", "runs", *(HEADINGS[metric] for metric in SHOWN)), rows) if rows else None


def differences_table(summary: Mapping[str, Any], chosen: Sequence[tuple[str, str]], title: str) -> TextTable | None:
    """Differences of pairs of names, in points; None where nothing is done."""
    rows = []
    for pair in chosen:
        for found in summary["differences"]:
            if (found["a"], found["b"]) == pair:
                metrics = found["metrics"]
                n = str(max(len(figures["values"]) for figures in metrics.values() if figures))
                cells = (cell(metrics[metric], signed=True) for metric in DIFFERENCES)
                rows.append((f"{pair[0]} − {pair[1]}", found["over"], n, *cells))
    columns = ("", "over", "pairs", *(HEADINGS[metric] for metric in DIFFERENCES))
    return TextTable(title, columns, rows, left=2) if rows else None


def training_table(records: Records, names: Sequence[str]) -> TextTable | None:
    """How often the completions of the second half of a run were right, on its own training images, in percent."""
    rows = []
    for way in ALL_WAYS:
        for name in names:
            done = [record["training"] or {} for record in of_method(records, name, way)]
            right = [(own["right_of_defects"], own["right_of_sound"]) for own in done if "right_of_defects" in own]
            if right:
                defects, sound = (sum(values) / len(values) for values in zip(*right, strict=True))
                rows.append((name, way, str(len(right)), *map(percent, (defects, sound, (defects + sound) / 2))))
    title, columns = "Right on the training images, second half", ("", "way", "runs", "defects", "sound parts", "mean")
    return TextTable(title, columns, rows, left=2) if rows else None


def to_markdown(runs: Sequence[Run], records: Records, summary: Mapping[str, Any]) -> str:
    """The whole page."""
    main = ["warm start", *METHODS, *LONG_METHODS]
    rare = rare_groups(runs)
    rare_names = [name for group in rare.values() for name in group.values()]
    rare_pairs = [(a, b) for a, b, _ in comparisons(runs) if a in rare_names]
    tables = [
        *(methods_table(summary, way, main, f"Trained on '{a}', tested on '{b}'") for way, (a, b) in ALL_WAYS.items()),
        differences_table(summary, (*COMPARISONS, *LONG_COMPARISONS), "Differences, in points"),
        training_table(records, list(LONG_METHODS)),
        methods_table(summary, ABLATION_WAY, ["warm start", *rare_names], f"Rare defects ({ABLATION_WAY})"),
        differences_table(summary, rare_pairs, "Differences under rare defects, in points"),
        methods_table(summary, ABLATION_WAY, ["focal", "accuracy", "paper", *ABLATIONS], f"Ablations ({ABLATION_WAY})"),
        differences_table(
            summary,
            [(name, name.partition(",")[0]) for name in ABLATIONS],
            "Ablations minus their method, in points",
        ),
    ]
    done = sum(run.key in records for run in runs)
    seconds = sum(sum(record["seconds"].values()) for record in records.values())
    shipped = runs[0].policy_sha256 == policy_sha256("embedded")
    start, command = (SHIPPED, "") if shipped else (OTHER, " --policy FOLDER --results FOLDER")
    head = f"""# Evidence: the cross-family protocol in small

`python experiments/evidence.py{command}`; {done} of {len(runs)} runs are done ({seconds / 3600:.1f} hours of them).
Numbers, settings and versions of each run: `evidence.json`. Recipe `{RECIPE}` but for what a name says, without
class-balanced sampling and validation images. All runs start from one policy's weights ('warm start'),
`{runs[0].policy_sha256[:12]}`, {start}
Trained on one family of procedural images, tested on another, no category in common, in reason mode, greedy. (Some of
the drawings that the eyes were taught on were made with an eye on what earlier eyes got wrong in 'objects'.) 'watched'
are the six categories of 'parts' that nothing else is trained on, harder ones; between these and 'objects' both ways
are open, where 'textures' is nearly solved before and after.
{describe_data(runs)}

- `accuracy`: plain GRPO. `paper`: Eq. 4 literally, read as `signed`. `focal`: ours, class factor
  `{METHODS["focal"]["class_factor"]}`, gamma {shipped_recipe().gamma:g} unless a name says otherwise.
- In percent, mean over the seeds, all test images pooled. In brackets: 95 % interval of the mean, Student's t over the
  runs.
- Differences are paired by seed and way; their intervals are Student's t over the pairs. They tell the luck of training
  (seed, training images), not that of the test images, which are the same for all runs. Over several ways, the pairs of
  each way count as draws of one kind. With two pairs t is 12.7: such intervals are wide.
- `(images)`: there is one seed, and the interval is the bootstrap paired by image.
- 'place named', 'kind named': share of the defects found whose reasoning names the right one and no other.
"""
    figure = "![Balanced accuracy and recall at 5 % false alarms of each method](evidence.png)"
    parts = [head.strip(), figure, *(table.to_markdown() for table in tables if table), rare_note(records)]
    return "\n\n".join(part for part in parts if part) + "\n"


def describe_data(runs: Sequence[Run]) -> str:
    """How many images, in words."""
    train = {ALL_WAYS[run.way][0]: run.train for run in runs if run.train and "defects" not in run.train}
    sets = (
        f"'{family}' {settings['images']} images a category, {percent(settings['defect_ratio'])} % defects"
        for family, settings in train.items()
    )
    total = runs[0].test["images"] * len(FAMILIES[runs[0].test["family"]].categories)
    return f"Training sets: {'; '.join(sets)}. Test sets: {total} images or nearly so, half of them defective."


def rare_note(records: Records) -> str:
    """How often the runs with rare defects saw one at all."""
    lines = []
    for record in records.values():
        if record["name"].endswith(" defects") and record.get("training"):
            seen, updates = record["training"]["updates_with_a_defect"], record["training"]["updates"]
            lines.append(f"{record['name']}, seed {record['seed']}: {seen} of {updates}")
    if not lines:
        return ""
    return "Updates that saw a defective image at all, of the runs with rare defects: " + "; ".join(lines) + "."


def draw(summary: Mapping[str, Any], file: Path) -> None:
    """Balanced accuracy and recall at 5 % false alarms, a dot a run, the means with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    ways = [way for way in ALL_WAYS if way in summary["methods"]]
    done = {name for figures in summary["methods"].values() for name in figures}
    names = [name for name in ("warm start", *METHODS, *LONG_METHODS) if name in done]
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    for axes, metric in zip(panels, WITH_INTERVAL, strict=True):
        for number, way in enumerate(ways):
            for place, name in enumerate(names):
                figures = summary["methods"].get(way, {}).get(name, {}).get(metric)
                if figures is None:
                    continue
                x, mean, colour = place + 0.2 * (number - (len(ways) - 1) / 2), 100 * figures["mean"], f"C{number}"
                values = [100 * value for value in figures["values"]]
                axes.plot([x + 0.07] * len(values), values, "o", color=colour, alpha=0.45, markersize=4)
                low, high = figures["interval"] or (figures["mean"], figures["mean"])
                bars = [[max(0.0, mean - 100 * low)], [max(0.0, 100 * high - mean)]]
                axes.errorbar([x], [mean], bars, fmt="D", color=colour, capsize=3, markersize=5)
        axes.set_xticks(range(len(names)), [name.replace(", ", ",\n") for name in names])
        axes.set_ylabel(f"{HEADINGS[metric]} (%)")
        axes.grid(axis="y", alpha=0.3)
    for number, way in enumerate(ways):
        panels[0].plot([], [], "D", color=f"C{number}", label=way)
    if ways:
        figure.legend(loc="outside upper center", ncols=len(ways), fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


# --- Cache and work ---------------------------------------------------------------------------------


def stored_records(file: Path) -> dict[str, Any]:
    """The finished runs that an earlier JSON tells of, by key."""
    return json.loads(file.read_text(encoding="utf-8"))["runs"] if file.is_file() else {}


def done_records(runs: Sequence[Run], output: Path, stored: Mapping[str, Any]) -> dict[str, Any]:
    """The finished ones of these runs, in their order: from their folders, else as stored."""
    found = {run.key: finished(run, output) or stored.get(run.key) for run in runs}
    return {key: record for key, record in found.items() if record}


def write_results(
    runs: Sequence[Run], records: Records, stored: Mapping[str, Any], output: Path, results: Path
) -> None:
    """Write the JSON, the page and the figure; runs that are stored and not of this plan stay in the JSON."""
    summary = summarise(runs, records, image_bootstrap(runs, output))
    content = {
        "policy_sha256": runs[0].policy_sha256,
        "recipe": RECIPE,
        "summary": summary,
        "runs": {**stored, **records},
    }
    write_whole(results / "evidence.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_whole(results / "evidence.md", to_markdown(runs, records, summary))
    draw(summary, results / "evidence.png")


def chosen(runs: Sequence[Run], only: Sequence[str]) -> list[Run]:
    """The runs of these names (`*` stands for anything), all without any name.

    Raises:
        LriadError: A name is of none.
    """
    for name in only:
        if not fnmatch.filter(names_of(runs), name):
            raise LriadError(f"--only {name!r}: no such run; there are {'; '.join(names_of(runs))}")
    return [run for run in runs if not only or any(fnmatch.fnmatch(run.name, name) for name in only)]


def launch(run: Run, arguments: argparse.Namespace) -> str | None:
    """Do a run in a process of its own, with its output in `log.txt`; returns what went wrong."""
    folder = arguments.output / "runs" / run.folder_name
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "--one", run.key, "--seeds", str(arguments.seeds)]
    command += ["--output", str(arguments.output), "--results", str(arguments.results)]
    command += ["--policy", arguments.policy]
    one_thread = {"OMP_NUM_THREADS": "1"} if arguments.jobs > 1 else {}
    with open(folder / "log.txt", "ab") as log:
        code = subprocess.run(command, stdout=log, stderr=log, env=os.environ | one_thread).returncode
    if code == 0:
        return None
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"exit code {code}: {lines[-1] if lines else ''} ({folder / 'log.txt'})"


def line_of(run: Run, record: Mapping[str, Any]) -> str:
    """A finished run on one line."""
    numbers = ", ".join(f"{HEADINGS[metric]} {percent(record['numbers'][metric])}" for metric in DIFFERENCES)
    return f"{run}: {sum(record['seconds'].values()):.0f} s ({record['seconds']}); {numbers}"


def matches(way: str, patterns: Sequence[str]) -> bool:
    """Whether a way is one of those that are asked for; any is where none are."""
    return not patterns or any(fnmatch.fnmatch(way, pattern) for pattern in patterns)


def main(arguments: Sequence[str] | None = None, scale: Scale | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/evidence"), help="data and run folders")
    parser.add_argument("--results", type=Path, default=RESULTS, help="gets the JSON, the page and the figure")
    parser.add_argument("--policy", default="embedded", help="where all runs start: a model's folder")
    parser.add_argument("--seeds", type=int, default=3, help="of the three methods; ablations have two at most")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="runs of these names; * for anything")
    parser.add_argument("--ways", nargs="+", default=[], metavar="WAY", help="only these ways; * for anything")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; above 1, of one thread each")
    parser.add_argument("--table", action="store_true", help="run nothing: write the tables of what is done")
    parser.add_argument("--one", metavar="KEY", help="do one run, here, and write no tables")
    options = parser.parse_args(arguments)
    if options.policy != "embedded" and options.results == RESULTS:
        parser.error("--policy: another policy's results are no part of docs/results; give a folder by --results, too")
    runs = plan(policy_sha256(options.policy), options.seeds, scale)
    if options.one:
        execute(next(run for run in runs if run.key == options.one), options.output, options.policy)
        return 0
    todo = [run for run in chosen(runs, options.only) if matches(run.way, options.ways)]
    stored = stored_records(options.results / "evidence.json")
    records = done_records(runs, options.output, stored)
    todo = [] if options.table else [run for run in todo if run.key not in records]
    write_results(runs, records, stored, options.output, options.results)
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {pool.submit(launch, run, options): run for run in todo}
        try:
            for number, future in enumerate(as_completed(running), 1):
                run, problem = running[future], future.result()
                if problem:
                    failed += 1
                    print(f"[{number}/{len(todo)}] {run}: {problem}", file=sys.stderr, flush=True)
                    continue
                records = done_records(runs, options.output, stored)
                print(f"[{number}/{len(todo)}] {line_of(run, records[run.key])}", flush=True)
                write_results(runs, records, stored, options.output, options.results)
        except BaseException:
            # What is running ends with us on Ctrl-C; what is waiting must not start.
            pool.shutdown(cancel_futures=True)
            raise
    print(f"{len(records)} of {len(runs)} runs are done: {options.results / 'evidence.md'}")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LriadError as error:
        sys.exit(f"error: {error}")
