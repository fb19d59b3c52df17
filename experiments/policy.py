"""What the embedded policy is worth, zero-shot: on procedural categories that it has never seen, and on real ones.

    python experiments/policy.py --output runs/policy                       # procedural only
    LRIAD_REAL_DATA=FOLDER python experiments/policy.py --output runs/policy

Both modes, at the policy's own operating point beside its answers. The same command goes on where it was stopped.
Writes `docs/results/policy.md`, `policy.json` and `policy.png`. Real categories are looked at once for each result that
is published: the looks are counted in docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import date
from pathlib import Path
from typing import Any

from lriad.data import load_dataset
from lriad.data.synthetic import make_dataset
from lriad.data.synthetic.dataset import VERSION as DRAWINGS
from lriad.evaluation import Evaluation
from lriad.evaluation.tables import evaluation_tables, faithfulness_table
from lriad.inspection import evaluate_policy
from lriad.policy import Policy, load_policy

RESULTS = Path(__file__).parents[1] / "docs" / "results"
FAMILIES = ("objects", "textures")
IMAGES, SEED = 60, 11
"""Images a category of the procedural test, half of them defective, and its seed."""
REAL = ("aws_lookout", "bsdata", "deeppcb", "elpv", "magnetic_tile", "mvtec_ad_part")
TOKENS = 80


def procedural(output: Path) -> str:
    """The spec of the procedural test set, which is drawn where it is missing."""
    made = [
        make_dataset(
            family, output / f"data-v{DRAWINGS}" / family, images=IMAGES, defect_ratio=0.5, seed=SEED, progress=True
        )
        for family in FAMILIES
    ]
    return ",".join(f"jsonl:{folder / 'samples.jsonl'}" for folder in made)


def judge(policy: Policy, spec: str, folder: Path) -> dict[str, Evaluation]:
    """The evaluation in each mode, at the policy's operating point."""
    samples = [sample for sample in load_dataset(spec) if sample.label != "unknown"]
    return {
        mode: evaluate_policy(
            samples,
            folder / mode,
            policy=policy,
            mode=mode,
            threshold=policy.operating_point.get(mode, 0.5),
            max_new_tokens=TOKENS,
            progress=True,
        )
        for mode in ("fast", "reason")
    }


def to_markdown(title: str, evaluations: dict[str, Evaluation]) -> str:
    parts = [f"## {title}", next(iter(evaluations.values())).summary()]
    for mode, evaluation in evaluations.items():
        parts.append(f"### Mode `{mode}`")
        parts += [table.to_markdown() for table in (*evaluation_tables(evaluation), *faithfulness_table(evaluation))]
    return "\n\n".join(parts)


def draw(by_set: dict[str, dict[str, Evaluation]], file: Path) -> None:
    """AUROC per category, a bar a mode."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    count = [len(next(iter(evaluations.values())).origin) for evaluations in by_set.values()]
    figure, axes = plt.subplots(1, len(by_set), figsize=(3 + 0.34 * sum(count), 4.4), squeeze=False, width_ratios=count)
    for axis, (title, evaluations) in zip(axes[0], by_set.items(), strict=True):
        for shift, (mode, evaluation) in zip((-0.2, 0.2), evaluations.items(), strict=True):
            values = {name: scores.values["auroc"] for name, scores in evaluation.by_label.per_category.items()}
            axis.bar([i + shift for i in range(len(values))], list(values.values()), 0.4, label=mode)
        names = [name.replace("_", " ") for name in values]
        axis.set_xticks(range(len(names)), names, rotation=60, ha="right")
        axis.axhline(0.5, color="grey", linewidth=0.8)
        axis.set(ylim=(0, 1), ylabel="AUROC", title=title)
    axes[0][0].legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(file, dpi=110, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--output", type=Path, default=Path("runs/policy"))
    arguments = parser.parse_args()
    policy = load_policy(arguments.policy, device="cpu")
    folder = arguments.output / policy.policy_sha256[:12]
    by_set = {"procedural categories never seen": judge(policy, procedural(arguments.output), folder / "procedural")}
    real = os.environ.get("LRIAD_REAL_DATA")
    if real:
        spec = ",".join(f"folder:{Path(real) / name}" for name in REAL)
        by_set["real categories, zero-shot"] = judge(policy, spec, folder / "real")
    RESULTS.mkdir(parents=True, exist_ok=True)
    point = ", ".join(f"{mode} {value:.3f}" for mode, value in policy.operating_point.items()) or "none, 0.5"
    head = (
        "# The embedded policy, zero-shot\n\n"
        f"`python experiments/policy.py`, {date.today()}; weights {policy.policy_sha256[:12]}. Procedural: {IMAGES} "
        f"images a category, half of them defective, seed {SEED}. Thresholds, chosen on validation categories of the "
        f"family `parts`: {point}. The categories of `parts` were added to with an eye on what the eyes got wrong in "
        "`objects`, whose numbers are optimistic in so far; nothing was chosen by `textures` or by the real "
        "categories, but six of `parts` have wood, leather and cloth in them, as `textures` has, and figures were "
        "drawn for the like of toy alien.\n\n"
        "![AUROC per category](policy.png)"
    )
    body = [to_markdown(title[0].upper() + title[1:], evaluations) for title, evaluations in by_set.items()]
    (RESULTS / "policy.md").write_text("\n\n".join([head, *body]) + "\n", encoding="utf-8")
    numbers: dict[str, Any] = {"policy_sha256": policy.policy_sha256, "operating_point": policy.operating_point}
    numbers |= {title: {mode: e.to_json() for mode, e in evaluations.items()} for title, evaluations in by_set.items()}
    (RESULTS / "policy.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    draw(by_set, RESULTS / "policy.png")
    print(RESULTS / "policy.md")


if __name__ == "__main__":
    main()
