"""What happens beside the updates: metrics on disk, checkpoints that can be trusted, validation, warnings."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from lriad.data import Sample
from lriad.policy import Policy
from lriad.prompt import Context

COMPLETE = "lriad_state.json"
"""Written into a checkpoint last: a checkpoint without it was cut off by a kill and is not resumed from."""


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that were written to the end, the oldest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{COMPLETE}")]
    return sorted(found, key=lambda path: int(path.name.rsplit("-", 1)[1]))


class CheckpointState(TrainerCallback):
    """Completes each checkpoint with the state that is ours, and with what the run is made of.

    Args:
        data: Fingerprint of the training set.
        policy_sha256: Hash of the base model.
    """

    def __init__(self, data: str, policy_sha256: str) -> None:
        self.data = data
        self.policy_sha256 = policy_sha256
        self.trainer: Any = None

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Each process writes its own random state into the checkpoint.
        self.trainer.accelerator.wait_for_everyone()
        if not state.is_world_process_zero:
            return
        file = Path(args.output_dir) / f"checkpoint-{state.global_step}" / COMPLETE
        content = {
            "step": state.global_step,
            "data": self.data,
            "policy_sha256": self.policy_sha256,
            "class_factor": self.trainer.class_factor.state_dict(),
            "focal_mean": self.trainer.focal_mean.state_dict(),
        }
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(content))
        partial.replace(file)


class MetricsFile(TrainerCallback):
    """One JSON line a logged step in `metrics.jsonl`, flushed.

    Args:
        file: The run's `metrics.jsonl`.
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            append_metrics(self.file, {"step": state.global_step, **logs})


def append_metrics(file: Path, record: dict[str, Any]) -> None:
    """Append one line, flushed."""
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`, less one that a kill cut short; none where there is no file."""
    records = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            records.append(json.loads(line))
    return records


def truncate_metrics(file: Path, last_step: int) -> None:
    """Drop the lines after `last_step`: the resumed run writes them again."""
    kept = [json.dumps(record) + "\n" for record in read_metrics(file) if record["step"] <= last_step]
    partial = file.with_suffix(".part")
    partial.write_text("".join(kept), encoding="utf-8")
    partial.replace(file)


class Progress(TrainerCallback):
    """A progress bar with the figures one watches."""

    SHOWN = ("reward", "accuracy", "kl", "groups_without_signal")

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        from tqdm import tqdm

        if state.is_world_process_zero:
            self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="GRPO", unit="step")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        if self.bar is not None and logs:
            shown = {key: f"{logs[key]:.3f}" for key in self.SHOWN if isinstance(logs.get(key), float)}
            if shown:
                self.bar.set_postfix(shown)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()


class Validation(TrainerCallback):
    """Inspects held-out images with greedy decoding while training.

    Logs what `validation_metrics` gives, under `validation/`.

    Args:
        policy: The policy in training.
        samples: Images that are not trained on.
        every: Updates between two validations; None: at the end only.
        max_new_tokens: Longest completion.
        batch_size: Images at a time.
    """

    def __init__(
        self,
        policy: Policy,
        samples: Sequence[Sample],
        *,
        every: int | None,
        max_new_tokens: int,
        batch_size: int,
        evidence: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.policy = policy
        self.evidence = evidence
        self.samples = samples
        self.every = every
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.trainer: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        last = state.global_step >= state.max_steps
        if self.samples and (last or (self.every and state.global_step % self.every == 0)):
            # The random state is given back: a run may be validated more or less often and stays the same run.
            with torch.random.fork_rng(enabled=True):
                metrics = self.measure()
            # Not TRL's `log`, which would take the training metrics of this step along; and logging now must not
            # pass for the step's own log.
            should_log = control.should_log
            Trainer.log(self.trainer, {f"validation/{key}": value for key, value in metrics.items()})
            control.should_log = should_log

    def measure(self) -> dict[str, float]:
        """The metrics at this moment; the model is left in training mode as it was."""
        model = self.policy.model
        was_training = model.training
        model.eval()
        try:
            truth, labels, p_defects = self._inspect()
        finally:
            model.train(was_training)
        return validation_metrics(truth, labels, p_defects)

    def _inspect(self) -> tuple[list[bool], list[str], list[float]]:
        from lriad.data.image import open_image
        from lriad.verdict import parse_label

        truth: list[bool] = []
        labels: list[str] = []
        p_defects: list[float] = []
        for start in range(0, len(self.samples), self.batch_size):
            part = self.samples[start : start + self.batch_size]
            prompts = [
                self.policy.encode(
                    open_image(sample.image), sample.object_name, Context(self.evidence.get(sample.image, ""))
                )
                for sample in part
            ]
            completions = self.policy.reason(prompts, max_new_tokens=self.max_new_tokens)
            truth += [sample.label == "defect" for sample in part]
            labels += [parse_label(completion.text) for completion in completions]
            p_defects += [completion.p_defect for completion in completions if completion.p_defect is not None]
        return truth, labels, p_defects


def validation_metrics(truth: Sequence[bool], labels: Sequence[str], p_defects: Sequence[float]) -> dict[str, float]:
    """The rates of `lriad.evaluation`, AUROC, and the mean p of the correct letter per class.

    Args:
        truth: Whether each image shows a defect.
        labels: What each completion said.
        p_defects: P(defect) of each, in [0, 1].

    Returns:
        Rates in [0, 1]; one that the images do not define (a class is missing) is left out.
    """
    import numpy as np

    from lriad.evaluation.metrics import DEFECT, NORMAL, UNPARSABLE, count_outcomes, label_rates, score_rates

    codes = {"defect": DEFECT, "normal": NORMAL, "unparsable": UNPARSABLE}
    truth_N, said_N = np.array(truth, dtype=int), np.array([codes[label] for label in labels])
    p_N = np.array(p_defects)
    metrics = {key: float(value) for key, value in label_rates(count_outcomes(truth_N, said_N)).items()}
    metrics |= {key: value for key, value in score_rates(truth_N, p_N).items() if value is not None}
    for name, code, p_correct_N in (("defect", DEFECT, p_N), ("normal", NORMAL, 1 - p_N)):
        if (truth_N == code).any():
            metrics[f"p_correct/{name}"] = float(p_correct_N[truth_N == code].mean())
    return {key: value for key, value in metrics.items() if value == value}


class CollapseWarnings(TrainerCallback):
    """Plain warnings, once each, when training goes where it does not come back from.

    Args:
        file: The run's `metrics.jsonl`, which gets them too.
        warn: Takes a line for the user.
    """

    WINDOW = 10
    """Logged steps that a judgement is made on."""

    def __init__(self, file: Path, warn: Any) -> None:
        self.file = file
        self.warn = warn
        # A resumed run goes on with what it had seen and said.
        before = read_metrics(file)
        self.recent: deque[dict[str, float]] = deque((r for r in before if "reward" in r), maxlen=self.WINDOW)
        self.given = {record["about"] for record in before if "warning" in record}

    def on_log(self, args: Any, state: Any, control: Any, logs: dict | None = None, **kwargs: Any) -> None:
        logs = logs or {}
        if "reward" in logs:
            self.recent.append(logs)
        if not state.is_world_process_zero:
            return
        for key, text in self.judge(logs):
            if key not in self.given:
                self.given.add(key)
                line = f"step {state.global_step}: {text}"
                append_metrics(self.file, {"step": state.global_step, "about": key, "warning": line})
                self.warn(line)

    def judge(self, logs: dict[str, float]) -> list[tuple[str, str]]:
        """What is wrong, as pairs of a key and a line."""
        found = []
        if len(self.recent) == self.WINDOW:

            def mean(key: str) -> float | None:
                values = [r[key] for r in self.recent if r.get(key) is not None]
                return sum(values) / len(values) if values else None

            def over(key: str, bound: float) -> bool:
                value = mean(key)
                return value is not None and value > bound

            if over("groups_without_signal", 0.9):
                found.append(
                    (
                        "signal",
                        "over 90 % of the groups give no signal (all completions alike); raise temperature or "
                        "group_size, set balance_classes, or stop: the policy has settled",
                    )
                )
            form = mean("rewards/format_reward/mean")
            if form is not None and form < 0.5:
                found.append(
                    (
                        "format",
                        "fewer than half of the completions follow the format; lower learning_rate or raise beta",
                    )
                )
            if over("completions/clipped_ratio", 0.5):
                found.append(("length", "over half of the completions are cut off; raise max_completion_tokens"))
            if over("kl", 1.0):
                found.append(
                    (
                        "kl",
                        "the policy has left its reference (KL above 1); lower learning_rate or raise beta",
                    )
                )
        if logs.get("validation/unparsable_rate", 0) > 0.5:
            found.append(("answers", "validation: over half of the answers cannot be read; lower learning_rate"))
        recall, false_positives = logs.get("validation/recall"), logs.get("validation/false_positive_rate")
        if recall is not None and false_positives is not None and logs["validation/unparsable_rate"] < 0.5:
            if recall == 0 and false_positives == 0:
                found.append(
                    (
                        "normal",
                        "validation: every part is called normal; raise alpha_defect or set balance_classes",
                    )
                )
            if recall == 1 and false_positives == 1:
                found.append(("defect", "validation: every part is called defective; lower alpha_defect"))
        return found
