"""What the labels of one family teach about another where nothing stands in the way of learning.

    python experiments/ceiling.py --output runs/evidence

On the training and test sets of `evidence.py`: a logistic regression, with balanced classes, learns from the labelled
training images what the policy holds of an image at the end of its prompt, or what its eyes hand on. It sees every
label, without sampling and without noise, so that it says how much there is to gain; a model that learns to look
otherwise may gain more. Beside it the policy's own
P(defect) in `fast` mode, and the same family's new images, where what is learned need not carry over to other
categories. Writes `docs/results/ceiling.md`.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parent))

from _runs import WAYS, Scale, data_spec, write_whole

from lriad.data import load_dataset
from lriad.data.image import open_image
from lriad.data.synthetic import FAMILIES
from lriad.evaluation.metrics import count_outcomes, label_rates, score_rates
from lriad.policy import Policy, load_policy
from lriad.training.pretraining.pretrain import best_threshold

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SEEDS = 2
PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse strengths; the best one on the test set is taken, which flatters the regression."""
SOURCES = ("the language model, at the prompt's end", "the eyes: mean and maximum over the tokens")
Known = tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]
"""Of N images: what each source holds (N, C), P(defect) (N,), and whether it shows a defect (N,)."""


@torch.inference_mode()
def known_of(policy: Policy, spec: str) -> Known:
    """What the policy knows of the images of a data set."""
    model = policy.base.model
    at_end, seen, p, truth = [], [], [], []
    for sample in load_dataset(spec):
        prompt = policy.encode(open_image(sample.image), sample.object_name)
        batch = policy.collate([prompt])
        tokens_TC = model.vision_tower.timm_model(batch["pixel_values"])[0].flatten(1).T
        seen.append(torch.cat([tokens_TC.mean(0), tokens_TC.amax(0)]).numpy())
        at_end.append(model(**batch).last_hidden_state[0, -1].numpy())
        p.append(policy.fast([prompt])[0].p_defect)
        truth.append(sample.label == "defect")
    return np.array(at_end), np.array(seen), np.array(p), np.array(truth)


def figures(truth: NDArray[np.bool_], score: NDArray[np.floating]) -> tuple[float, float, float]:
    """AUROC, the balanced accuracy of the best threshold on these very images, and the recall at 5 % false alarms."""
    rates = score_rates(truth.astype(int), score)
    best = label_rates(count_outcomes(truth.astype(int), (score >= best_threshold(truth, score)).astype(int)))
    return rates["auroc"], float(best["balanced_accuracy"]), rates["recall_at_fpr_5"]


def taught(train: Known, test: Known, source: int) -> tuple[float, float, float]:
    """The figures of the best regression."""
    found = []
    for penalty in PENALTIES:
        regression = LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000)
        model = make_pipeline(StandardScaler(), regression).fit(train[source], train[3])
        found.append(figures(test[3], model.predict_proba(test[source])[:, 1]))
    return max(found)


def to_markdown(sha256: str, rows: list[tuple[str, str, NDArray[np.floating]]]) -> str:
    lines = [
        "# What there is to learn",
        "",
        f"`python experiments/ceiling.py`, {date.today()}; policy {sha256[:12]}. Percent; mean over {SEEDS} training "
        "sets of `evidence.py`, in brackets the lowest and the highest. The regression is the best of "
        f"{len(PENALTIES)} by its AUROC on the test images, and 'best threshold' is chosen on them too: both flatter, "
        "as a ceiling may. It is the ceiling of a linear probe, not of all learning.",
        "",
        "| trained on → tested on | judge | AUROC | balanced accuracy, best threshold | recall at 5 % FPR |",
        "|---|---|--:|--:|--:|",
    ]
    for way, judge, values_SF in rows:
        cells = (
            f"{100 * column.mean():.1f}"
            + (f" [{100 * column.min():.1f}, {100 * column.max():.1f}]" * (len(column) > 1))
            for column in values_SF.T
        )
        lines.append(f"| {way} | {judge} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/evidence"), help="has or gets the data sets")
    parser.add_argument("--policy", default="embedded")
    arguments = parser.parse_args()
    policy, scale = load_policy(arguments.policy, device="cpu"), Scale()

    def known(family: str, images: int, defect_ratio: float, seed: int) -> Known:
        settings = {"family": family, "images": images, "defect_ratio": defect_ratio, "seed": seed}
        return known_of(policy, data_spec(settings, arguments.output / "data"))

    tests = {family: known(family, scale.test_images, 0.5, scale.test_seed) for family in scale.train_images}
    trains = {
        family: [known(family, images, FAMILIES[family].defect_ratio, seed) for seed in range(SEEDS)]
        for family, images in scale.train_images.items()
    }
    rows = []
    for way, (source, target) in {**WAYS, "objects → new images of objects": ("objects", "objects")}.items():
        test = tests[target]
        rows.append((way, "the policy's own P(defect)", np.array([figures(test[3], test[2])])))
        for number, name in enumerate(SOURCES):
            rows.append((way, name, np.array([taught(train, test, number) for train in trains[source]])))
    write_whole(RESULTS / "ceiling.md", to_markdown(policy.policy_sha256, rows))
    print(RESULTS / "ceiling.md")


if __name__ == "__main__":
    main()
