"""What the embedded policy makes of what a memory says in its prompt: the same drawings with and without the sentence.

    python experiments/reading.py --output runs/reading

Products are drawn, each one part that one camera sees again and again: of the watched categories of `parts`, by which
the words were chosen, and of `objects` and `textures`, which the policy has never seen. Of each, 5, 10 and 30 good
drawings are remembered and 40 others judged, half of them defective, in both modes. Writes `docs/results/reading.md`
and `reading.json`; what is drawn, compared and judged is not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from lriad.data.synthetic import FAMILIES
from lriad.data.synthetic.dataset import VERSION as DRAWINGS
from lriad.memory.memory import FORMAT
from lriad.policy import Policy, architecture, load_policy
from lriad.prompt import PLAIN, PROMPT_VERSION, Context
from lriad.training.pretraining import PretrainConfig
from lriad.training.pretraining.drawings import draw_lines
from lriad.training.pretraining.evidence import gather_evidence
from lriad.verdict import Mode, parse_label

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SETS = {
    "watched": ("watched categories, two products each", PretrainConfig().validation_categories, 2),
    "never seen": (
        "categories never seen, one product each",
        (*FAMILIES["objects"].categories, *FAMILIES["textures"].categories),
        1,
    ),
}
TOKENS = 80
BATCH = 8


def judged(policy: Policy, rows: Sequence[dict[str, Any]], contexts: Sequence[Context], mode: Mode) -> list[dict]:
    """P(defect) and what the answer says, of each drawing."""
    found = []
    for start in range(0, len(rows), BATCH):
        batch = []
        for row, context in zip(rows[start : start + BATCH], contexts[start : start + BATCH], strict=True):
            with Image.open(row["image"]) as image:
                batch.append(policy.encode(image.convert("RGB"), row["object_name"], context))
        for one in policy.fast(batch) if mode == "fast" else policy.reason(batch, max_new_tokens=TOKENS):
            label = parse_label(one.text) if mode == "reason" else ("defect" if one.p_defect >= 0.5 else "normal")
            found.append({"p_defect": one.p_defect, "label": label})
    return found


def of_product(policy: Policy, rows: Sequence[dict[str, Any]], output: Path) -> list[dict[str, Any]]:
    """What is said of each drawing of one product that is not remembered."""
    evidence = gather_evidence(
        architecture.imagenet_eyes(), architecture.build_image_processor(), rows, output / "remembered", False
    )
    compared = [(row, one) for row, one in zip(rows, evidence, strict=True) if one]
    own = [row for row, _ in compared]
    records = [
        {"category": row["category"], "truth": row["label"], "deviation": one.z, "samples": one.samples}
        for row, one in compared
    ]
    for mode in get_args(Mode):
        for told, contexts in (
            ("without", [PLAIN] * len(own)),
            ("with", [Context(evidence=one.line) for _, one in compared]),
        ):
            for record, verdict in zip(records, judged(policy, own, contexts, mode), strict=True):
                record[f"{mode} {told}"] = verdict
    return records


def figures(records: Sequence[dict[str, Any]], name: str) -> dict[str, float]:
    """AUROC by P(defect); recall and false alarms by the answers."""
    from sklearn.metrics import roc_auc_score

    truth = np.array([record["truth"] == "defect" for record in records])
    if name == "deviation":
        return {"auroc": float(roc_auc_score(truth, [record["deviation"] for record in records]))}
    said = np.array([record[name]["label"] == "defect" for record in records])
    return {
        "auroc": float(roc_auc_score(truth, [record[name]["p_defect"] for record in records])),
        "recall": float(said[truth].mean()),
        "fpr": float(said[~truth].mean()),
    }


def to_markdown(document: dict[str, Any]) -> str:
    """The page."""
    columns = [f"{mode} {told}" for mode in get_args(Mode) for told in ("without", "with")]
    parts = [
        "# What the policy makes of a memory's sentence",
        f"`python experiments/reading.py`, {document['date']}; weights {document['policy']}. Percent. The same "
        "drawings without and with what a memory of 5, 10 or 30 good ones of the same product says in the prompt, 20 "
        "sound and 20 defective ones a product. AUROC by `p_defect`, which is the policy's alone: the score of `lriad "
        "inspect --memory` adds the deviation to it. In parentheses: recall and false alarms of the answers; one that "
        "cannot be read finds no defect.",
    ]
    for name, (title, _, _) in SETS.items():
        records = document["sets"][name]
        lines = [
            "| | " + " | ".join((*(f"`{c.split()[0]}`, {c.split()[1]}" for c in columns), "deviation alone")) + " |",
            "|---|" + "--:|" * (len(columns) + 1),
        ]
        for category in (*sorted({record["category"] for record in records}), None):
            own = [record for record in records if category in (None, record["category"])]
            cells = []
            for column in columns:
                found = {key: 100 * value for key, value in figures(own, column).items()}
                cells.append(f"{found['auroc']:.1f} ({found['recall']:.0f}, {found['fpr']:.0f})")
            cells.append(f"{100 * figures(own, 'deviation')['auroc']:.1f}")
            lines.append(f"| {category or 'all together'} | " + " | ".join(cells) + " |")
        parts += [f"## {title[0].upper()}{title[1:]} ({len(records)} drawings)", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--output", type=Path, default=Path("runs/reading"), help="drawings, comparisons, verdicts")
    parser.add_argument("--results", type=Path, default=RESULTS, help="gets the page")
    arguments = parser.parse_args()
    policy = load_policy(arguments.policy, device="cpu")
    known_by = policy.policy_sha256[:12]
    document: dict[str, Any] = {"date": str(date.today()), "policy": known_by, "sets": {}}
    folder = arguments.output / f"products-v{DRAWINGS}-memory-{FORMAT}-{PROMPT_VERSION}"
    for name, (_, categories, products) in SETS.items():
        document["sets"][name] = []
        rows = draw_lines(folder, categories, products, 0)
        for key in dict.fromkeys((row["category"], row["line"]) for row in rows):
            file = folder / known_by / f"{key[0]}.{key[1]}.json"
            if not file.exists():
                own = [row for row in rows if (row["category"], row["line"]) == key]
                file.parent.mkdir(parents=True, exist_ok=True)
                partial = file.with_suffix(".part")
                partial.write_text(json.dumps(of_product(policy, own, folder)), encoding="utf-8")
                partial.replace(file)
                print(file, flush=True)
            document["sets"][name] += json.loads(file.read_text(encoding="utf-8"))
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "reading.json").write_text(json.dumps(document) + "\n", encoding="utf-8")
    (arguments.results / "reading.md").write_text(to_markdown(document), encoding="utf-8")


if __name__ == "__main__":
    main()
