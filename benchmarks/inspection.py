"""Inspection against the naive loop: `generate` for one image after the other, as people write it.

    python benchmarks/inspection.py                 # the embedded policy; a 27 M Qwen2-VL of the paper's proportions
    python benchmarks/inspection.py --models 2B 7B  # on a GPU: the real shapes with random weights, in bfloat16

The same policy, image files and greedy completions of at most 100 tokens; ours reads p_defect besides. The floor of
`fast` is one batched pass of the vision tower and the language model over images that are processed already.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from _models import SHAPES, noise_images, save_qwen2_vl
from _report import machine, write_section

from lriad import Inspector
from lriad.data import Sample, load_dataset
from lriad.data.image import open_image
from lriad.data.synthetic import make_dataset
from lriad.policy import Policy, load_policy
from lriad.prompt import build_messages
from lriad.verdict import parse_label

NEW_TOKENS = 100
SINGLE = 32  # images that ours inspects one at a time, too


def naive(policy: Policy, samples: Sequence[Sample]) -> list[str]:
    """One image after the other through the processor and `generate`."""
    model, processor = policy.base, policy.processor
    texts = []
    for sample in samples:
        prompt = processor.apply_chat_template(
            build_messages(sample.object_name), add_generation_prompt=True, tokenize=False
        )
        inputs = processor(images=[open_image(sample.image)], text=[prompt], return_tensors="pt").to(policy.device)
        with torch.inference_mode():
            ids = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        texts.append(processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0])
        parse_label(texts[-1])
    return texts


def floor(policy: Policy, prompts: Sequence[Any], batch_size: int) -> None:
    """One pass over prompts that are ready, and nothing else."""
    with torch.inference_mode():
        for start in range(0, len(prompts), batch_size):
            batch = policy.collate(prompts[start : start + batch_size])
            policy.base(**batch, logits_to_keep=1)


def seconds(action: Any) -> tuple[float, Any]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def measure(name: str, folder: Path, images: int, rounds: int) -> str:
    if name == "embedded":
        data = make_dataset("objects", folder / "objects", images=-(-images // 10), defect_ratio=0.5, seed=6)
        samples = list(load_dataset(f"jsonl:{data / 'samples.jsonl'}"))[:images]
        policy = load_policy("embedded")
    else:
        model = save_qwen2_vl(SHAPES[name], folder / name, torch.float32 if name == "27M" else torch.bfloat16)
        samples = noise_images(folder / "images", images, 512)
        policy = load_policy(str(model))

    def inspect(mode: Any) -> list[dict[str, Any]]:
        return list(Inspector(policy, mode=mode, max_new_tokens=NEW_TOKENS).inspect_samples(samples))

    prompts = [policy.encode(open_image(sample.image), sample.object_name) for sample in samples]
    size = Inspector(policy, mode="fast").planned_batch_size(prompts[0]["input_ids"].shape[1])
    times: dict[str, list[float]] = {"naive": [], "reason": [], "fast": [], "floor": []}
    naive(policy, samples[:2])
    inspect("fast")
    for _ in range(rounds):
        for key, action in (
            ("naive", lambda: naive(policy, samples)),
            ("reason", lambda: inspect("reason")),
            ("fast", lambda: inspect("fast")),
            ("floor", lambda: floor(policy, prompts, size)),
        ):
            spent, result = seconds(action)
            times[key].append(spent / images)
            if key == "naive":
                texts = result
            elif key == "reason":
                rows = result
        print(name, {key: round(1000 * values[-1], 1) for key, values in times.items()}, "ms an image", flush=True)
    single = list(Inspector(policy, max_new_tokens=NEW_TOKENS, batch_size=1).inspect_samples(samples[:SINGLE]))
    same = sum(row["text"] == text for row, text in zip(rows, texts, strict=True))
    pairs = list(zip(rows, single, strict=False))
    as_single = sum(row["text"] == other["text"] for row, other in pairs)
    difference = max(abs(row["p_defect"] - other["p_defect"]) for row, other in pairs)
    labels = {"naive": "naive loop", "reason": "ours, `reason`", "fast": "ours, `fast`", "floor": "floor of `fast`"}
    lines = [
        f"**{name}**: {images} images, {rounds} rounds, batches of {size}.",
        "",
        "| | ms an image: median (min - max) | naive / this |",
        "|---|---|---|",
    ]
    for key, label in labels.items():
        ratio = statistics.median(n / t for n, t in zip(times["naive"], times[key], strict=True))
        values = [1000 * value for value in times[key]]
        lines.append(
            f"| {label} | {statistics.median(values):.0f} ({min(values):.0f} - {max(values):.0f}) | {ratio:.1f} |"
        )
    over = statistics.median(fast / low for fast, low in zip(times["fast"], times["floor"], strict=True))
    lines += [
        "",
        f"`fast` / floor: {over:.2f}. Texts equal to the naive loop's: {same} of {images}. Of {len(single)} inspected "
        f"one at a time, {as_single} texts are equal; largest difference of p_defect: {difference:.1e}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["embedded", "27M"], choices=["embedded", *SHAPES])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", type=Path, help="markdown file whose section on this is replaced")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        parts = [measure(name, Path(temporary), arguments.images, arguments.rounds) for name in arguments.models]
    text = "\n".join([machine(), "", *parts])
    print(text)
    if arguments.write:
        write_section(arguments.write, "inspect", text)


if __name__ == "__main__":
    main()
