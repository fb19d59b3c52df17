"""Where the policy's answer comes from: which way of asking shows the defect, and what it costs.

    python experiments/heatmap.py --output runs/heatmap                       # procedural only
    LRIAD_REAL_DATA=FOLDER python experiments/heatmap.py --output runs/heatmap

First the heat-maps that `lriad inspect --explain` draws, on procedural categories that the embedded policy has never
seen and on the real ones that have masks; then other ways on some of the procedural images, with the time that each
takes. The same command goes on where it was stopped. Writes `docs/results/heatmap.md` and `heatmap.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from policy import RESULTS, procedural

from lriad import Sample, load_dataset
from lriad.data.image import open_image
from lriad.evaluation.faithfulness import read_mask
from lriad.evaluation.localisation import localisation
from lriad.evaluation.tables import localisation_table
from lriad.explain.relevance import relevance
from lriad.inspection import evaluate_policy
from lriad.policy import Policy, load_policy
from lriad.policy.answer import FAST_PREFIX

REAL = {
    "tile": "magnetic_tile/tile",
    "ball_screw": "bsdata/ball_screw",
    "pcb": "deeppcb/pcb",
    "toothbrush": "mvtec_ad_part/toothbrush",
}
"""Real categories with masks."""
COMPARED, GRID = 6, 40
"""Images a category that all ways are compared on, half of them defective; places a side that maps are brought to."""
PAIRS, TIMED = 7, 32

Map = NDArray[np.float32]


def tokens(policy: Policy, prompt: Any) -> tuple[Any, dict[str, Any]]:
    """The image's tokens as the tower gives them, and the rest of the batch, up to the answer."""
    batch = policy.collate([prompt], [policy.answer_slots([FAST_PREFIX])[0].prefix])
    with policy.vision.differentiable():
        return policy.base.model.get_image_features(batch.pop("pixel_values"), return_dict=True), batch


def answer(policy: Policy, features: Any, batch: dict[str, Any]) -> torch.Tensor:
    """logit(A) - logit(B) of each row."""
    logits = policy.base(**batch, mm_encoder_outputs={"image": features}, logits_to_keep=1).logits[:, -1].float()
    defect, normal = policy.letters
    return logits[:, defect] - logits[:, normal]


def by_token_gradient(policy: Policy, prompt: Any) -> Map:
    """Gradient x (token - mean token), at the language model's door."""
    with torch.no_grad():
        features, batch = tokens(policy, prompt)
    features.pooler_output = features.pooler_output.detach().requires_grad_()
    with torch.enable_grad():
        difference = answer(policy, features, batch)
        [slope] = torch.autograd.grad(difference.sum(), [features.pooler_output])
    seen, slope = (one.detach().reshape(-1, one.shape[-1]) for one in (features.pooler_output, slope))
    return square((slope * (seen - seen.mean(0))).abs().sum(1)) * torch.sigmoid(difference).item()


@torch.inference_mode()
def by_occlusion(policy: Policy, prompt: Any) -> Map:
    """How far the answer falls where a token is replaced by the mean of all."""
    features, batch = tokens(policy, prompt)
    seen_TC = features.pooler_output.reshape(-1, features.pooler_output.shape[-1])
    count = len(seen_TC)
    without_VTC = seen_TC.expand(count + 1, -1, -1).clone()
    without_VTC[torch.arange(count), torch.arange(count)] = seen_TC.mean(0)
    falls = []
    for rows_VTC in without_VTC.split(26):
        features.pooler_output = rows_VTC.reshape(-1, *features.pooler_output.shape[1:])
        many = {name: value.expand(len(rows_VTC), *value.shape[1:]) for name, value in batch.items()}
        falls.append(answer(policy, features, many))
    difference = torch.cat(falls)
    return square((difference[-1] - difference[:-1]).clamp(min=0)) * torch.sigmoid(difference[-1]).item()


@torch.inference_mode()
def by_attention(policy: Policy, prompt: Any) -> Map:
    """How much the answer's place attends to each token, mean of layers and heads."""
    features, batch = tokens(policy, prompt)
    policy.base.set_attn_implementation("eager")
    try:
        seen = policy.base(**batch, mm_encoder_outputs={"image": features}, output_attentions=True)
    finally:
        policy.base.set_attn_implementation("sdpa")
    at_image = batch["input_ids"][0] == policy.config.image_token_id
    attention = torch.stack([layer[0, :, -1, at_image].mean(0) for layer in seen.attentions]).mean(0)
    defect, normal = policy.letters
    logits = seen.logits[0, -1].float()
    return square(attention) * torch.sigmoid(logits[defect] - logits[normal]).item()


@torch.inference_mode()
def by_taught_head(policy: Policy, prompt: Any) -> Map:
    """What the embedded policy's eyes were taught with masks: 'defect here'. No other policy has that."""
    eyes = policy.base.model.vision_tower.timm_model
    _, here_NT, _, _ = eyes.look(*eyes.sense(prompt["pixel_values"]))
    return here_NT.sigmoid().reshape(eyes.grid, eyes.grid).numpy()


def square(values_T: torch.Tensor) -> Map:
    """As a map with 1 as its highest value."""
    side = round(len(values_T) ** 0.5)
    return (values_T / values_T.max().clamp(min=1e-12)).reshape(side, side).float().numpy()


WAYS: dict[str, Callable[[Policy, Any], Map]] = {
    "gradient at three depths of the tower (ours)": lambda policy, prompt: relevance(policy, [prompt])[0].heatmap,
    "gradient at the image tokens": by_token_gradient,
    "occlusion of image tokens": by_occlusion,
    "attention of the answer": by_attention,
    "'defect here', taught with masks": by_taught_head,
}


def compare(policy: Policy, samples: Sequence[Sample]) -> dict[str, Any]:
    """Each way on the same images, brought to one grid."""
    masks = [read_mask(s.mask) if s.mask else np.zeros((1, 1), bool) for s in samples]
    prompts = [policy.encode(open_image(s.image), s.object_name) for s in samples]
    policy.fast(prompts[:2])
    found: dict[str, Any] = {}
    start = time.perf_counter()
    for prompt in prompts:
        policy.fast([prompt])
    fast = time.perf_counter() - start
    for name, way in WAYS.items():
        way(policy, prompts[0])
        start = time.perf_counter()
        maps = [way(policy, prompt) for prompt in prompts]
        seconds = time.perf_counter() - start
        even = [cv2.resize(np.asarray(one, np.float32), (GRID, GRID)) for one in maps]
        found[name] = {**asdict(localisation(even, masks)), "times_fast": seconds / fast}
        print(name, found[name], flush=True)
    return {"images": len(samples), "ways": found}


def cost(policy: Policy, samples: Sequence[Sample]) -> dict[str, Any]:
    """Time of `fast` inspection with heat-maps over that without, medians of pairs."""
    from lriad import Inspector

    plain, mapped = (Inspector(policy, mode="fast", heatmap=heatmap) for heatmap in (False, True))
    seconds: dict[str, list[float]] = {"plain": [], "mapped": []}
    for inspector in (plain, mapped):
        list(inspector.inspect_samples(samples[:4]))
    for _ in range(PAIRS):
        for name, inspector in (("plain", plain), ("mapped", mapped)):
            start = time.perf_counter()
            list(inspector.inspect_samples(samples))
            seconds[name].append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(seconds["plain"], seconds["mapped"], strict=True)]
    return {
        "images": len(samples),
        "pairs": PAIRS,
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/heatmap"), help="run folders")
    output = parser.parse_args().output
    policy = load_policy("embedded")
    spec = procedural(output)
    parts = [
        "# Where the policy's answer comes from",
        f"Made by `python experiments/heatmap.py`, embedded policy {policy.policy_sha256[:12]}, `fast` mode; percent. "
        "The maps are those of `lriad inspect --explain` without a memory: nobody has shown the policy a part of these "
        "categories.",
    ]
    file = RESULTS / "heatmap.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    sets = {"Procedural categories, never seen": spec}
    if "LRIAD_REAL_DATA" in os.environ:
        root = Path(os.environ["LRIAD_REAL_DATA"])
        sets["Real categories with masks"] = ",".join(f"folder:{root / place}" for place in REAL.values())
    for title, data in sets.items():
        samples = [sample for sample in load_dataset(data) if sample.label == "normal" or sample.mask]
        folder = output / title.split()[0].lower()
        evaluation = evaluate_policy(samples, folder, policy=policy, mode="fast", explain=True, progress=True)
        [table] = localisation_table(evaluation)
        document[title] = table.to_markdown()
    samples = list(load_dataset(spec))
    by_category: dict[str, dict[str, list[Sample]]] = {}
    for sample in samples:
        by_category.setdefault(sample.category, {}).setdefault(sample.label, []).append(sample)
    some = [s for labels in by_category.values() for own in labels.values() for s in own[: COMPARED // 2]]
    document["compared"] = compare(policy, some)
    document["cost"] = cost(policy, some[:: len(some) // TIMED][:TIMED])
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for title in ("Procedural categories, never seen", "Real categories with masks"):
        if title in document:
            parts += [f"## {title}", document[title]]
    ways = document["compared"]["ways"]
    lines = [
        "| way | pixel AUROC | AUPRO to 30 % FPR | pointing | time, in `fast` passes |",
        "| --- | --: | --: | --: | --: |",
        *(
            f"| {name} | {100 * one['pixel_auroc']:.1f} | {100 * one['aupro']:.1f} | {100 * one['pointing']:.1f} | "
            f"{one['times_fast']:.1f} |"
            for name, one in ways.items()
        ),
    ]
    price = document["cost"]
    parts += [
        "## Other ways",
        f"On {document['compared']['images']} of the procedural images, one at a time, each brought to "
        f"{GRID} x {GRID} places. The embedded policy's tokens all carry a summary of the picture: one left out "
        "changes little; its eyes' own map, taught with masks, is what no other policy has.",
        "\n".join(lines),
        f"Inspection with heat-maps takes {price['ratio']:.2f} times as long as `fast` inspection without "
        f"({price['lowest']:.2f} to {price['highest']:.2f}, {price['pairs']} pairs of {price['images']} images).",
    ]
    (RESULTS / "heatmap.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
