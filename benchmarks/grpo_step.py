"""A GRPO step: stock TRL against ours, in turn, in one process.

    python benchmarks/grpo_step.py                  # the embedded policy; a 27 M Qwen2-VL of the paper's proportions
    python benchmarks/grpo_step.py --models 2B 7B   # on a GPU: the real shapes with random weights, in bfloat16
    python benchmarks/grpo_step.py --curves FOLDER  # step time over G and over image tokens, as PNG
    python benchmarks/grpo_step.py --forms          # the two forms of a shared prompt, over the completions' length

Stock is `trl.GRPOTrainer` as it comes, its vision tower frozen in eval mode. Ours computes the answer probability p
of each completion besides, which the focal reward needs and stock does not have. The same images, seeds and number of
completions.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import trl
from _models import SHAPES, noise_images, save_qwen2_vl
from _report import machine, write_section
from torch.utils.flop_counter import FlopCounterMode

from lriad.data import load_dataset
from lriad.data.synthetic import make_dataset
from lriad.policy import load_policy
from lriad.policy.vision import freeze_vision
from lriad.rewards import accuracy_reward, format_reward
from lriad.training import Recipe
from lriad.training.grpo import GRPOTrainer, grpo_config, lora_config, training_dataset

NAMES = {"stock": "stock TRL", "ours": "ours"}
PHASES = ("generation", "scoring", "update")


class Case:
    """What is measured: a model, its images, and the size of a step."""

    def __init__(
        self, name: str, folder: Path, *, prompts: int, group: int, completion: int, tokens: int = 512
    ) -> None:
        self.name = name
        if name == "embedded":
            policy = "embedded"
            data = make_dataset("objects", folder / "objects", images=2, defect_ratio=0.5, seed=5)
            self.samples = list(load_dataset(f"jsonl:{data / 'samples.jsonl'}"))
        else:
            policy = str(folder / name)
            if not Path(policy).exists():
                dtype = torch.float32 if name == "27M" else torch.bfloat16
                save_qwen2_vl(SHAPES[name], Path(policy), dtype)
            self.samples = noise_images(folder / "images", max(8, prompts), tokens)
        self.recipe = Recipe(
            policy=policy,
            data="unused",
            output=str(folder / "run"),
            reward="paper",
            prompts_per_step=prompts,
            group_size=group,
            completions_per_device=prompts * group,
            max_completion_tokens=completion,
            max_prompt_tokens=4096,
            max_pixels=4_000_000,
            learning_rate=1e-6,
            lora_dropout=0.0,
            beta=0.04,
            attention="sdpa",
            report_to=[],
        )

    def trainer(self, kind: str) -> Any:
        recipe, gpu = self.recipe, torch.cuda.is_available()
        device = "cuda" if gpu else "cpu"
        policy = load_policy(recipe.policy, device=device, max_pixels=recipe.max_pixels, attention="sdpa")
        half = next(policy.model.parameters()).dtype == torch.bfloat16
        args = grpo_config(recipe, recipe.output, world_size=1, use_cpu=not gpu, bf16=half)
        if kind == "ours":
            return GRPOTrainer(policy, recipe, self.samples, args)
        freeze_vision(policy.model)
        return trl.GRPOTrainer(
            model=policy.model,
            reward_funcs=[format_reward, accuracy_reward],
            args=args,
            train_dataset=training_dataset(self.samples, recipe, {}),
            processing_class=policy.processor,
            peft_config=lora_config(recipe),
        )


class Stepper:
    """Takes one training step at a time, and says how long its phases took."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        trainer.create_optimizer()
        trainer.current_gradient_accumulation_steps = 1
        trainer.model.train()
        self.seconds: dict[str, float] = {}
        for name, phase in (("_generate_single_turn", "generation"), ("_generate_and_score_completions", "rollout")):
            setattr(trainer, name, self._timed(getattr(trainer, name), phase))

    def _timed(self, function: Any, phase: str) -> Any:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = _now()
            result = function(*args, **kwargs)
            self.seconds[phase] = _now() - start
            return result

        return timed

    def step(self, index: int) -> dict[str, float]:
        trainer = self.trainer
        recipe_prompts = trainer.args.per_device_train_batch_size // trainer.num_generations
        count = len(trainer.train_dataset)
        chosen = [(index * recipe_prompts + i) % count for i in range(recipe_prompts)]
        rows = [trainer.train_dataset[i] for i in chosen for _ in range(trainer.num_generations)]
        torch.manual_seed(index)
        start = _now()
        trainer.training_step(trainer.model, rows, None)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        trainer.state.global_step += 1
        total = _now() - start
        rollout, generation = self.seconds["rollout"], self.seconds["generation"]
        return {
            "total": total,
            "generation": generation,
            "scoring": rollout - generation,
            "update": total - rollout,
        }


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_memory(case: Case, kind: str) -> float:
    """Bytes that a step takes above the loaded trainer, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (case, kind))


def _peak_memory(case: Case, kind: str) -> float:
    stepper = Stepper(case.trainer(kind))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        loaded = torch.cuda.memory_allocated()
        for index in range(2):
            stepper.step(index)
        return torch.cuda.max_memory_allocated() - loaded
    # The highest so far is that of loading: it is forgotten (Linux).
    Path("/proc/self/clear_refs").write_text("5")
    loaded = _kilobytes("VmRSS")
    for index in range(2):
        stepper.step(index)
    return 1024 * (_kilobytes("VmHWM") - loaded)


def _kilobytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def flops(stepper: Stepper, index: int) -> float:
    """Floating-point operations of a step, as torch counts its matrix products and attentions."""
    with FlopCounterMode(display=False) as counter:
        stepper.step(index)
    return counter.get_total_flops()


def peak_flops(dtype: torch.dtype) -> float:
    """Operations a second of a large matrix product here."""
    size, device = (8192, "cuda") if torch.cuda.is_available() else (2048, "cpu")
    a = torch.randn(size, size, dtype=dtype, device=device)
    a @ a
    start = _now()
    for _ in range(10):
        a @ a
    return 10 * 2 * size**3 / (_now() - start)


def compare(case: Case, pairs: int) -> dict[str, Any]:
    steppers = {kind: Stepper(case.trainer(kind)) for kind in ("stock", "ours")}
    times: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}
    for kind, stepper in steppers.items():
        stepper.step(0)
        print(f"{case.name}: {kind} is warm", flush=True)
    for index in range(1, pairs + 1):
        for kind in ("stock", "ours") if index % 2 else ("ours", "stock"):
            times[kind].append(steppers[kind].step(index))
        latest = {kind: round(runs[-1]["total"], 2) for kind, runs in times.items()}
        print(f"{case.name}: {json.dumps(latest)}", flush=True)
    work = {kind: flops(stepper, pairs + 1) for kind, stepper in steppers.items()}
    return {"times": times, "flops": work}


def summary(case: Case, result: dict[str, Any], memory: dict[str, float]) -> str:
    """A markdown table of one case."""
    recipe, times = case.recipe, result["times"]
    peak = peak_flops(torch.float32 if case.name in ("embedded", "27M") else torch.bfloat16)
    ratios = [stock["total"] / ours["total"] for stock, ours in zip(times["stock"], times["ours"], strict=True)]
    lines = [
        f"**{case.name}**: {recipe.prompts_per_step} prompts x {recipe.group_size} completions x "
        f"{recipe.max_completion_tokens} tokens, {len(ratios)} pairs.",
        "",
        "| | a step (s): median (min - max) | " + " | ".join(PHASES) + " | peak memory (MB) | TFLOP | share of peak |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("stock", "ours"):
        totals = [run["total"] for run in times[kind]]
        middle = statistics.median(totals)
        phases = " | ".join(f"{statistics.median(run[phase] for run in times[kind]):.2f}" for phase in PHASES)
        work = result["flops"][kind]
        lines.append(
            f"| {NAMES[kind]} | {middle:.2f} ({min(totals):.2f} - {max(totals):.2f}) | {phases} | "
            f"{memory[kind] / 1e6:.0f} | {work / 1e12:.3f} | {work / middle / peak:.0%} |"
        )
    lines += [
        "",
        f"Stock / ours: {statistics.median(ratios):.2f} ({min(ratios):.2f} - {max(ratios):.2f}) in time, "
        f"{result['flops']['stock'] / result['flops']['ours']:.2f} in operations; memory ours / stock "
        f"{memory['ours'] / memory['stock']:.2f}. A large matrix product here: {peak / 1e12:.2f} TFLOP/s"
        f"{_in_bfloat16()}.",
        "",
    ]
    return "\n".join(lines)


def _in_bfloat16() -> str:
    """What bfloat16 would give on this CPU; nothing on a GPU, where it is what is measured."""
    return "" if torch.cuda.is_available() else f", in bfloat16 {peak_flops(torch.bfloat16) / 1e12:.2f}"


def curves(folder: Path, output: Path, repeats: int) -> str:
    """Step time over the group size and over the image tokens, as plots and as a table."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    output.mkdir(parents=True, exist_ok=True)
    lines = ["| image tokens | G | stock (s) | ours (s) | ratio |", "|---|---|---|---|---|"]
    for name, values, title in (
        ("group", (4, 8, 16, 32), "completions a prompt"),
        ("tokens", (64, 256, 512, 1024, 2048), "image tokens"),
    ):
        seconds: dict[str, list[float]] = {"stock": [], "ours": []}
        for value in values:
            group, tokens = (value, 512) if name == "group" else (8, value)
            case = Case("27M", folder, prompts=1, group=group, completion=100, tokens=tokens)
            for kind in seconds:
                stepper = Stepper(case.trainer(kind))
                runs = [stepper.step(index)["total"] for index in range(repeats + 1)][1:]
                seconds[kind].append(statistics.median(runs))
            stock, ours = seconds["stock"][-1], seconds["ours"][-1]
            lines.append(f"| {tokens} | {group} | {stock:.1f} | {ours:.1f} | {stock / ours:.1f} |")
            print(lines[-1], flush=True)
        figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
        for kind, style in (("stock", "o--"), ("ours", "o-")):
            axes.plot(values, seconds[kind], style, label=NAMES[kind])
        axes.set(xlabel=title, ylabel="seconds a step", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(output / f"grpo_step_{name}.png", dpi=110)
        pyplot.close(figure)
    return "\n".join(lines) + "\n"


def forms(folder: Path) -> str:
    """Seconds of the loss, forward and backward, with an expanded prefix and with packed rows."""
    case = Case("27M", folder, prompts=1, group=8, completion=8)
    trainer = case.trainer("ours")
    Stepper(trainer).step(0)
    prompt = trainer.rollout.batch["input_ids"].shape[1]
    lines = [
        "| prompt tokens | G | completion tokens | expanded prefix (s) | packed row (s) |",
        "|---|---|---|---|---|",
    ]
    for group, length in ((8, 8), (8, 32), (8, 100), (8, 250), (4, 100), (16, 32)):
        rows = torch.zeros(group, dtype=torch.long, device=trainer.accelerator.device)
        ids = torch.randint(20, 500, (group, length), device=rows.device)
        seconds = []
        for packed in (False, True):
            trainer._takes_no_cache = lambda _, packed=packed: packed
            runs = []
            for _ in range(3):
                start = _now()
                logps, _ = trainer._shared_logps(trainer.model, rows, ids, torch.ones_like(ids))
                logps.sum().backward()
                runs.append(_now() - start)
            seconds.append(statistics.median(runs))
        lines.append(f"| {prompt} | {group} | {length} | {seconds[0]:.2f} | {seconds[1]:.2f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["embedded", "27M"], choices=["embedded", *SHAPES])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--curves", type=Path, help="folder for the plots, instead of the pairs")
    parser.add_argument("--forms", action="store_true", help="the two forms of a shared prompt, instead of the pairs")
    parser.add_argument("--repeats", type=int, default=2, help="steps a point of the curves")
    parser.add_argument("--write", type=Path, help="markdown file whose section on this is replaced")
    arguments = parser.parse_args()
    parts = [machine(), ""]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.curves:
            parts.append(curves(folder, arguments.curves, arguments.repeats))
        if arguments.forms:
            parts.append(forms(folder))
        for name in [] if arguments.curves or arguments.forms else arguments.models:
            sizes = {"embedded": (4, 8, 48), "27M": (2, 8, 100)}.get(name, (8, 8, 100))
            case = Case(name, folder, prompts=sizes[0], group=sizes[1], completion=sizes[2])
            memory = {kind: peak_memory(case, kind) for kind in ("stock", "ours")}
            parts.append(summary(case, compare(case, arguments.pairs), memory))
    text = "\n".join(parts)
    print(text)
    if arguments.write:
        section = "grpo-curves" if arguments.curves else "grpo-forms" if arguments.forms else "grpo-step"
        write_section(arguments.write, section, text)


if __name__ == "__main__":
    main()
