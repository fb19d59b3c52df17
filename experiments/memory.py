"""Ten good parts: what a memory of good images adds, on one's own product, and what rivals make of the same images.

    LRIAD_REAL_DATA=FOLDER python experiments/memory.py --output runs/memory
    LRIAD_REAL_DATA=FOLDER python experiments/memory.py --output runs/memory --tiles

On each real category, and on the procedural ones that the embedded policy has never seen: zero-shot, with 10 and with
30 good images, and with 30 good and at most 30 labelled defects; beside them a patch memory and a logistic regression
on frozen features of the same backbone (`rivals.py`). With `--tiles` the setting of 30 good images once more, with the
tiles of `lriad remember --tiles auto`. Images of one group are never on both sides. A cell that stands
in docs/results/memory.json with the same images, policy and settings is not done again. No image leaves the folder of
the data: the results hold numbers only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rivals
from practitioner import CATEGORIES, RESULTS, ids_hash, mean_interval, real_category, thinned

from lriad.data import Sample, load_dataset
from lriad.data.image import open_image
from lriad.data.split import split_by_group
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.evaluation.faithfulness import read_mask
from lriad.evaluation.localisation import localisation
from lriad.evaluation.metrics import count_outcomes, label_rates, score_rates
from lriad.inspection import Inspector
from lriad.memory import Memory, fitting_views, remember
from lriad.memory.memory import is_grey
from lriad.policy import Policy, load_policy

GOOD = (10, 30)
DEFECTS = 30
DRAWS = 5
VERSION = 7
"""Of the settings. It changes when the same images and policy would give other numbers."""
PROCEDURAL = ("objects", "textures")
PROCEDURAL_IMAGES = 120
PADIM = "PaDiM's map"
TILED = "real, in tiles"
TILES = (
    "`python experiments/memory.py --output runs/memory --tiles`: beside the whole image the tiles of `lriad remember "
    "--tiles auto`, as many as show it to the eyes about as large as it is, or none where the images have several "
    "shapes. What has none has the numbers of whole images with the same policy; the rivals, and the policy zero-shot, "
    "look at whole images as before. An inspection with n tiles takes up to n + 1 times as long, with and without a "
    "memory."
)
FILE = RESULTS / "memory.json"


def divide(samples: Sequence[Sample], draw: int) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Good images to remember, labelled defects, and images of other groups to test on."""
    tested, pool = split_by_group(samples, 0.5, draw)
    rng = random.Random(draw)
    kept = {}
    for label in ("normal", "defect"):
        own = sorted((sample for sample in pool if sample.label == label), key=lambda sample: sample.id)
        rng.shuffle(own)
        kept[label] = own
    defects = min(DEFECTS, sum(sample.label == "defect" for sample in samples) // 2)
    test = [sample for label in ("defect", "normal") for sample in thinned(tested, label, rng)]
    return kept["normal"][: max(GOOD)], kept["defect"][:defects], test


def judged(policy: Policy, memory: Memory | None, test: Sequence[Sample]) -> list[Any]:
    """The verdicts of the policy in `fast` mode."""
    inspector = Inspector(policy, mode="fast", memory=memory)
    return [inspector.inspect(sample.image, sample.object_name) for sample in test]


def zero_shot(policy: Policy, samples: Sequence[Sample], folder: Path) -> dict[str, float]:
    """The policy's p_defect of every image of a category by id, made once."""
    file = folder / "zero-shot" / f"{samples[0].category}-{policy.policy_sha256[:12]}.json"
    if not file.exists() or json.loads(file.read_text()).keys() != {sample.id for sample in samples}:
        found = judged(policy, None, samples)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({s.id: one.p_defect for s, one in zip(samples, found, strict=True)}))
    return json.loads(file.read_text())


def rates(truth_N: np.ndarray, score_N: np.ndarray, defect_N: np.ndarray | None = None) -> dict[str, float | None]:
    """AUROC, recall at 5 % false alarms, and those of the decisions, in [0, 1]."""
    found: dict[str, float | None] = {
        name: score_rates(truth_N, score_N)[name] for name in ("auroc", "recall_at_fpr_5")
    }
    if defect_N is not None:
        decided = label_rates(count_outcomes(truth_N, defect_N.astype(int)))
        found |= {name: float(decided[name]) for name in ("balanced_accuracy", "recall", "false_positive_rate")}
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


def with_memory(policy: Policy, memory: Memory, test: Sequence[Sample], p_zero: Mapping[str, float]) -> dict[str, Any]:
    """What a memory adds, by the way in which what it says is used."""
    truth_N = np.array([sample.label == "defect" for sample in test]).astype(int)
    found = judged(policy, memory, test)
    p_N, z_N = np.array([one.p_defect for one in found]), np.array([one.deviation for one in found])
    ranks = [memory.rank(one.p_defect, one.deviation, "fast") for one in found]
    alarm_N = np.array([rank.alarm_rate <= memory.promised_rate for rank in ranks])
    rows = {
        "p_defect, having read the evidence": rates(truth_N, p_N, p_N >= 0.5),
        "deviation alone": rates(truth_N, z_N),
        "both": rates(truth_N, np.array([rank.score for rank in ranks]), alarm_N),
        "p_defect zero-shot": rates(truth_N, np.array([p_zero[sample.id] for sample in test])),
    }
    if memory.rule:
        p_rule_N = np.array([one.score for one in found])
        rows["both, and the labels' rule"] = rates(truth_N, p_rule_N, p_rule_N >= 0.5)
    masked = [(one.heatmap, s) for one, s in zip(found, test, strict=True) if s.mask or s.label == "normal"]
    if any(sample.mask for _, sample in masked):
        rows["map"] = located([one for one, _ in masked], [sample for _, sample in masked])
    return rows


def located(maps: Sequence[np.ndarray], samples: Sequence[Sample]) -> dict[str, float | None]:
    """How well maps tell where the defects are."""
    masks = [read_mask(sample.mask) if sample.mask else np.zeros((32, 32), bool) for sample in samples]
    found = vars(localisation(maps, masks))
    return {name: None if value is None else round(value, 4) for name, value in found.items()}


def rival_rows(
    samples: Sequence[Sample], good: Sequence[Sample], defects: Sequence[Sample], test: Sequence[Sample], folder: Path
) -> dict[str, Any]:
    """The two rivals on the same images; logistic regression where there are defects to learn from."""
    features = rivals.cached_features(samples, folder / "features" / samples[0].category)
    position = {sample.id: index for index, sample in enumerate(samples)}
    good_N, defects_N, test_N = ([position[s.id] for s in side] for side in (good, defects, test))
    truth_N = np.array([sample.label == "defect" for sample in test]).astype(int)
    memory = rivals.patch_memory(features.patches_NPC[good_N], features.patches_NPC[test_N])
    rows = {"patch memory": rates(truth_N, memory.score_N, memory.defect_N)}
    if defects:
        is_defect_N = np.array([False] * len(good) + [True] * len(defects))
        learned = rivals.logistic_regression(
            features.pooled_NF[good_N + defects_N], is_defect_N, features.pooled_NF[test_N]
        )
        rows["logistic regression"] = rates(truth_N, learned.score_N, learned.defect_N)
    return rows


def run_cells(policy: Policy, kind: str, samples: Sequence[Sample], draw: int, folder: Path) -> None:
    """Every setting of one draw of one category, unless they are there."""
    good, defects, test = divide(samples, draw)
    category = samples[0].category
    head = {
        "category": category,
        "kind": kind,
        "draw": draw,
        "policy": policy.policy_sha256[:12],
        "version": VERSION,
        "images": ids_hash([*good, *defects, *test]),
    }
    document = read_results()
    if any(all(cell[name] == value for name, value in head.items()) for cell in document["cells"]):
        return
    settings: dict[str, Any]
    views = fitting_views([*good, *defects], policy) if kind == TILED else Views()
    made_of = {"good": len(good), "defects": len(defects), "test": len(test), "views": str(views)}
    if kind == TILED and views == Views():
        same = head | {"kind": "real"}
        whole = [cell for cell in document["cells"] if all(cell[name] == value for name, value in same.items())]
        if not whole:
            raise SystemExit(f"{category}: is looked at whole, which is measured without --tiles: run that first")
        most = str(max(GOOD))
        settings = {name: row for name, row in whole[0]["settings"][most].items() if name != PADIM}
        add_cell({**whole[0], "kind": kind, "views": str(views), "settings": {most: settings}})
        return
    start = time.perf_counter()
    p_zero = zero_shot(policy, samples, folder)
    settings = {}
    for count in GOOD[-1:] if kind == TILED else GOOD:
        labelled = defects if count == max(GOOD) else []
        file = folder / "memories" / f"{category}-{draw}-{count}{'-tiles' * (kind == TILED)}.memory"
        made = remember(good[:count], file, policy=policy, defects=labelled, views=views)
        settings[str(count)] = with_memory(policy, made.memory, test, p_zero) | rival_rows(
            samples, good[:count], labelled, test, folder
        )
        settings[str(count)]["megabytes"] = round(file.stat().st_size / 1e6, 2)
    made_of |= {"date": str(datetime.date.today()), "seconds": round(time.perf_counter() - start)}
    add_cell(head | made_of | {"settings": settings})
    print(f"{category}, draw {draw}: {time.perf_counter() - start:.0f} s", flush=True)


def read_results() -> dict[str, Any]:
    """The document, or an empty one."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"cells": []}


def add_cell(cell: Mapping[str, Any]) -> None:
    """Write one cell in place of an older one, beside those of other processes, and the tables."""
    from practitioner import locked

    with locked(FILE.parent):
        document = read_results()
        place, most = ("kind", "category", "draw"), str(max(GOOD))
        for old in document["cells"]:
            if all(old[name] == cell[name] for name in (*place, "images")) and PADIM in old["settings"][most]:
                cell["settings"][most][PADIM] = old["settings"][most][PADIM]  # of the same images, whatever is ours
        others = [other for other in document["cells"] if any(other[name] != cell[name] for name in place)]
        document["cells"] = sorted([*others, cell], key=lambda one: tuple(str(one[name]) for name in place))
        lines = ",\n  ".join(json.dumps(one) for one in document["cells"])
        part = FILE.with_suffix(f".{os.getpid()}.part")
        part.write_text(f'{{"cells": [\n  {lines}\n]}}\n', encoding="utf-8")
        part.replace(FILE)
        FILE.with_suffix(".md").write_text(to_markdown(document["cells"]), encoding="utf-8")


# The report.


def values(cells: Sequence[Mapping[str, Any]], setting: str, row: str, metric: str) -> dict[tuple[str, int], float]:
    """A metric by category and draw, where it is known."""
    found = {(c["category"], c["draw"]): c["settings"].get(setting, {}).get(row, {}).get(metric) for c in cells}
    return {place: value for place, value in found.items() if value is not None}


def of_categories(found: Mapping[tuple[str, int], float]) -> dict[str, float]:
    """The mean over a category's draws."""
    names = sorted({name for name, _ in found})
    return {name: float(np.mean([value for (own, _), value in found.items() if own == name])) for name in names}


def percent(found: Mapping[tuple[str, int], float]) -> str:
    """Mean of the categories with its 95 % interval by the bootstrap of the cells."""
    if not found:
        return "–"
    _, low, high = mean_interval([100 * value for value in found.values()])
    return f"{np.mean([100 * value for value in of_categories(found).values()]):.1f} [{low:.1f}, {high:.1f}]"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


METRICS = {
    "auroc": "AUROC",
    "recall_at_fpr_5": "recall at 5 % FPR",
    "balanced_accuracy": "bal. accuracy",
    "recall": "recall",
    "false_positive_rate": "FPR",
}


def mean_table(cells: Sequence[Mapping[str, Any]], setting: str) -> str:
    """A way of using what is known a row, a metric a column."""
    names = [name for name in cells[0]["settings"][setting] if name not in ("map", PADIM, "megabytes")]
    rows = [[name, *(percent(values(cells, setting, name, metric)) for metric in METRICS)] for name in names]
    return table([f"{setting} good", *METRICS.values()], rows)


def difference_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Ours minus the rival on the same images, AUROC in points."""
    pairs = (
        ("10", "both", "patch memory"),
        ("30", "both", "patch memory"),
        ("30", "both, and the labels' rule", "logistic regression"),
        ("30", "both, and the labels' rule", "patch memory"),
        ("30", "both", "deviation alone"),
        ("30", "both", "p_defect zero-shot"),
    )
    rows = []
    for setting, ours, rival in pairs:
        first, second = values(cells, setting, ours, "auroc"), values(cells, setting, rival, "auroc")
        shared = {place: first[place] - second[place] for place in first.keys() & second.keys()}
        if not shared:
            continue
        rows.append([f"{setting} good: {ours} minus {rival}", percent(dict(sorted(shared.items())))])
    return table(["AUROC in points", "mean of categories [95 %]"], rows)


def tiles_table(tiled: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]) -> str:
    """What tiles add: each category with tiles minus whole images, in points, on the draws that both have."""
    names = {"deviation alone": "auroc", "both": "auroc", "both, and the labels' rule": "auroc"}
    columns = [*names.items(), ("both", "balanced_accuracy"), ("both, and the labels' rule", "balanced_accuracy")]
    titles, differences = [], []
    for name, metric in columns:
        first, second = (values(cells, str(max(GOOD)), name, metric) for cells in (tiled, whole))
        differences.append({place: first[place] - second[place] for place in sorted(first.keys() & second.keys())})
        titles.append(f"{name}: {METRICS[metric]}")
    means = [of_categories(own) for own in differences]
    cut = sorted({cell["category"] for cell in tiled if cell["views"] != str(Views())})
    rows = [
        [category, *(f"{100 * own[category]:+.1f}" if category in own else "–" for own in means)] for category in cut
    ]
    rows.append(["mean of all categories", *map(percent, differences)])
    return table(["tiles and whole minus whole images, points", *titles], rows)


def category_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """AUROC of each category, mean of its draws."""
    columns = {
        "zero-shot": ("30", "p_defect zero-shot"),
        "10 good": ("10", "both"),
        "30 good": ("30", "both"),
        "deviation alone, 30": ("30", "deviation alone"),
        "patch memory, 30": ("30", "patch memory"),
        "30 good + defects": ("30", "both, and the labels' rule"),
        "logistic regression": ("30", "logistic regression"),
    }
    found = {name: of_categories(values(cells, *where, "auroc")) for name, where in columns.items()}
    rows = []
    for category in sorted({cell["category"] for cell in cells}):
        own = [cell for cell in cells if cell["category"] == category]
        shown = (f"{100 * found[name][category]:.1f}" if category in found[name] else "–" for name in columns)
        rows.append([category, str(own[0]["defects"]), *shown])
    return table(["AUROC", "labelled defects", *columns], rows)


def map_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Where the defects are, 30 good."""
    titles = {"pixel_auroc": "pixel AUROC", "aupro": "AUPRO to 30 % FPR", "pointing": "pointing game"}
    columns = {
        f"{title}{whose}": values(cells, "30", row, name)
        for row, whose in (("map", ""), (PADIM, ", PaDiM"))
        for name, title in titles.items()
        if values(cells, "30", row, name)
    }
    means = {title: of_categories(own) for title, own in columns.items()}
    rows = [
        [category, *(f"{100 * own[category]:.1f}" if category in own else "–" for own in means.values())]
        for category in sorted(next(iter(means.values())))
    ]
    rows.append(["mean", *(percent(own) for own in columns.values())])
    return table(["30 good", *columns], rows)


def to_markdown(cells: Sequence[Mapping[str, Any]]) -> str:
    """The whole report."""
    dates = sorted({cell["date"] for cell in cells})
    parts = [
        "# Ten good parts",
        f"Made by `python experiments/memory.py --output runs/memory`, {dates[0]} to {dates[-1]}, `fast` "
        "mode; percent. Every cell: [memory.json](memory.json).",
        "Good images of one product are remembered (`lriad remember`), images of other groups are judged, at most 100 "
        f"good and 100 defective ones, drawn; up to {DRAWS} draws of each category. The policy has been taught on "
        "procedural drawings alone; nothing is trained on the product. *Both* adds the deviation and, for a half, "
        "what the policy says, each in standard deviations of the good images' own; its decisions are those that a "
        "false-alarm rate of 5 % promises by the good images alone (with 10 of them no less than 1 in 11 can be "
        "promised). With labelled defects (at most 30, and no more than half of all) a rule is learned from "
        "them. Patch memory and logistic regression are the rivals of [practitioner.md](practitioner.md), on the same "
        "images and the same backbone. In brackets: 95 % intervals by the bootstrap of the cells (category x draw); "
        "draws of one category resemble one another, so that they are too narrow as a statement on other categories.",
    ]
    kinds = {
        "real": "Real categories",
        TILED: "Real categories, whole and in as many tiles as show the images in full size",
        "procedural": "Procedural categories, never seen",
    }
    for kind, title in kinds.items():
        own = [cell for cell in cells if cell["kind"] == kind]
        if own:
            policies = {cell["policy"] for cell in own}
            made_by = {(cell["policy"], cell["version"]) for cell in own}
            whole = [c for c in cells if c["kind"] == "real" and (c["policy"], c["version"]) in made_by]
            draws = sorted({sum(c["category"] == name for c in own) for name in {c["category"] for c in own}})
            parts += [
                f"## {title}",
                f"{len({cell['category'] for cell in own})} categories, {' to '.join(map(str, draws))} draws each, "
                f"embedded policy {', '.join(sorted(policies))}.",
                *([TILES] if kind == TILED else []),
                *(mean_table(own, str(count)) for count in GOOD if str(count) in own[0]["settings"]),
                difference_table(own),
                *([tiles_table(own, whole)] if kind == TILED and whole else []),
                category_table(own),
            ]
            if values(own, "30", "map", "pixel_auroc"):
                parts.append(map_table(own))
    return "\n\n".join(parts) + "\n"


def run_padim_maps(samples: Sequence[Sample], draw: int) -> None:
    """anomalib's PaDiM on the same images of a real category, for its maps alone, beside the cell that is there."""
    good, _, test = divide(samples, draw)
    masked = [sample for sample in test if sample.mask or sample.label == "normal"]
    place = ("real", samples[0].category, draw)
    cells = [cell for cell in read_results()["cells"] if (cell["kind"], cell["category"], cell["draw"]) == place]
    if cells and any(sample.mask for sample in masked) and PADIM not in cells[0]["settings"]["30"]:
        cells[0]["settings"]["30"][PADIM] = located(list(rivals.padim_maps(good, masked)), masked)
        add_cell(cells[0])
        print(f"{samples[0].category}, draw {draw}: {PADIM}", flush=True)


def procedural(folder: Path) -> dict[str, list[Sample]]:
    """New drawings of the categories that the policy has never seen."""
    from lriad.data.synthetic import FAMILIES, make_dataset

    found = {}
    for family in PROCEDURAL:
        made = make_dataset(family, folder / family, images=PROCEDURAL_IMAGES, defect_ratio=0.4, seed=77)
        samples = load_dataset(f"jsonl:{made / 'samples.jsonl'}")
        for name in FAMILIES[family].categories:
            found[name] = of_one_camera([sample for sample in samples if sample.category == name])
    return found


def of_one_camera(samples: Sequence[Sample]) -> list[Sample]:
    """Without the few drawings that are grey to the last bit among coloured ones, which a memory refuses."""
    grey = [is_grey(open_image(sample.image)) for sample in samples]
    most = 2 * sum(grey) > len(grey)
    return [sample for sample, own in zip(samples, grey, strict=True) if own == most]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/memory"), help="features, memories, drawings")
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--only", nargs="+", choices=[*CATEGORIES, "procedural"], metavar="CATEGORY")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--padim", action="store_true", help="measure PaDiM's maps instead; needs the package anomalib")
    other.add_argument("--tiles", action="store_true", help="measure `lriad remember --tiles auto` instead")
    other.add_argument("--table", action="store_true", help="measure nothing: write the tables of what is done")
    args = parser.parse_args()
    if "procedural" in (args.only or ()) and (args.tiles or args.padim):
        parser.error("--tiles and --padim are of real categories")
    if args.table:
        FILE.with_suffix(".md").write_text(to_markdown(read_results()["cells"]), encoding="utf-8")
        return
    policy = load_policy(args.policy)
    for draw in range(args.draws):
        for category in args.only or CATEGORIES:
            if category != "procedural" and args.padim:
                run_padim_maps(real_category(category), draw)
            elif category != "procedural":
                run_cells(policy, TILED if args.tiles else "real", real_category(category), draw, args.output)
    if not (args.padim or args.tiles) and (not args.only or "procedural" in args.only):
        for samples in procedural(args.output / "drawings").values():
            run_cells(policy, "procedural", samples, 0, args.output)


if __name__ == "__main__":
    try:
        main()
    except LriadError as error:
        raise SystemExit(f"error: {error}") from error
