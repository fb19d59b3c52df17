"""One GRPO run from a recipe: set up, resume, train, keep the adapter."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import math
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from lriad.data import Sample, load_dataset
from lriad.data.split import split_by_group
from lriad.errors import LriadError
from lriad.training.recipe import Recipe, load_recipe, recipe_differences, save_recipe
from lriad.training.sampling import drawn_samples

if TYPE_CHECKING:
    from lriad.memory import Memory


def train(recipe: Recipe | str, overrides: Sequence[str] = ()) -> Path:
    """Train a policy by GRPO, or go on with a run that was stopped.

    The run folder gets `config.yaml`, `metrics.jsonl`, `checkpoints/` and at the end `adapter/` (plain PEFT). On one
    machine a resumed run makes the same completions and losses as one that was never stopped.

    Args:
        recipe: A recipe, or the path or name of one.
        overrides: `key=value` each, where a path or name was given.

    Returns:
        The run folder, which `load_policy` takes.

    Raises:
        LriadError: Something the user can mend: recipe, data, policy, a run folder of another recipe, a full disk.
    """
    if not isinstance(recipe, Recipe):
        recipe = load_recipe(recipe, overrides)
    run = Path(recipe.output)
    try:
        return _train(recipe, run)
    except (OSError, RuntimeError, SafetensorError) as error:
        if _is_full_disk(error):
            raise LriadError(
                f"{run}: no space left on the disk; free some and run the same command again, it resumes from the last "
                "checkpoint"
            ) from error
        raise


def _is_full_disk(error: Exception) -> bool:
    """Whether writing failed for want of space: torch and safetensors wrap the system's error in their own."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    text = str(error)
    return any(hint in text for hint in ("PytorchStreamWriter", "No space left", "File too large"))


def _train(recipe: Recipe, run: Path) -> Path:
    samples, validation = training_samples(recipe)
    memory = _memory(recipe)

    # Heavy imports behind all that can go wrong quickly.
    import torch
    from accelerate import PartialState

    from lriad.policy.loading import resolve_source
    from lriad.training import callbacks

    if resolve_source(recipe.policy).adapter:
        raise LriadError(
            f"policy {recipe.policy!r} has an adapter already; lriad export it first, then train the export"
        )
    # Left to itself, Accelerate takes several processes on CPUs for one each.
    process = PartialState(cpu=not torch.accelerator.is_available())
    _check_launch(recipe, process)
    checkpoints = run / "checkpoints"
    done = callbacks.complete_checkpoints(checkpoints)
    if process.is_main_process:
        _claim(recipe, run, started=bool(done))
    process.wait_for_everyone()
    saved = json.loads((done[-1] / callbacks.COMPLETE).read_text()) if done else None
    if saved and saved["data"] != data_fingerprint(samples, memory):
        raise LriadError(
            f"{run}: the images, labels or memory of {recipe.data} have changed since; give another output=FOLDER"
        )
    if saved is None or saved["step"] < _updates(recipe, samples):
        _fit(recipe, run, samples, validation, memory, done[-1] if done else None, saved, process)
    if process.is_main_process:
        _keep_adapter(callbacks.complete_checkpoints(checkpoints)[-1], recipe, run)
    process.wait_for_everyone()
    return run


def _updates(recipe: Recipe, samples: Sequence[Sample]) -> int:
    """How many updates the whole run has, as Trainer counts them: a last, incomplete batch is dropped."""
    if recipe.steps is not None:
        return recipe.steps
    return math.ceil(recipe.epochs * (len(drawn_samples(samples, recipe)) // recipe.prompts_per_step))


def _check_launch(recipe: Recipe, process: Any) -> None:
    """Say before anything is loaded what Trainer would fail with later."""
    import torch

    devices = torch.cuda.device_count()
    if devices > 1 and process.num_processes == 1:
        raise LriadError(
            f"{devices} GPUs are visible to one process; start with accelerate launch --num_processes {devices} "
            "-m lriad train …, or show it one: CUDA_VISIBLE_DEVICES=0 lriad train …"
        )
    if process.num_processes > 1 and recipe.dynamic_sampling > 1:
        raise LriadError(
            f"dynamic_sampling={recipe.dynamic_sampling} is for one process, this is one of {process.num_processes}: "
            "set dynamic_sampling=1, or start one"
        )
    for setting, wanted, package in (
        ("deepspeed", recipe.deepspeed is not None, "deepspeed"),
        ("attention", recipe.attention == "flash_attention_2", "flash_attn"),
    ):
        if wanted and importlib.util.find_spec(package) is None:
            value = getattr(recipe, setting)
            other = "null" if setting == "deepspeed" else "auto"
            raise LriadError(f"{setting}={value} needs the package {package}: install it, or set {setting}={other}")


def _fit(
    recipe: Recipe,
    run: Path,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    memory: Memory | None,
    resume: Path | None,
    saved: dict[str, Any] | None,
    process: Any,
) -> None:
    """Train from the start or from a checkpoint, to the last checkpoint."""
    from transformers.integrations import is_deepspeed_zero3_enabled
    from transformers.trainer_callback import PrinterCallback

    from lriad.policy import load_policy
    from lriad.training import callbacks
    from lriad.training.grpo import GRPOTrainer, grpo_config

    policy = load_policy(
        recipe.policy,
        device=str(process.device),
        dtype=recipe.dtype,
        # FlashAttention 2 takes no mask of its own, which prompts that are shared need: a smaller gain than theirs.
        attention="sdpa" if recipe.attention == "auto" else recipe.attention,
        max_pixels=recipe.max_pixels,
    )
    if saved and saved["policy_sha256"] != policy.policy_sha256:
        raise LriadError(f"{run}: the weights of {recipe.policy!r} have changed since; give another output=FOLDER")
    if saved and recipe.reward == "focal" and "focal_mean" not in saved:
        raise LriadError(f"{run}: was begun by an earlier version that weighted otherwise; give another output=FOLDER")
    before = vision_fingerprint(policy.base)
    evidence: dict[str, str] = {}
    if memory is not None:
        from lriad.memory.evidence import evidence_for

        evidence = evidence_for(memory, policy, [*samples, *validation])
    # Read by Transformers' callback; every run has its own folder, also where one process trains several.
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run / "tensorboard")
    args = grpo_config(
        recipe,
        str(run / "checkpoints"),
        world_size=process.num_processes,
        use_cpu=process.device.type == "cpu",
        bf16=next(policy.model.parameters()).dtype.itemsize == 2,
    )
    metrics = run / "metrics.jsonl"
    if process.is_main_process:
        callbacks.truncate_metrics(metrics, saved["step"] if saved else 0)
    state = callbacks.CheckpointState(data_fingerprint(samples, memory), policy.policy_sha256)
    validate = callbacks.Validation(
        policy,
        validation,
        every=recipe.eval_steps,
        max_new_tokens=recipe.max_completion_tokens,
        batch_size=recipe.completions_per_device,
        evidence=evidence,
    )
    trainer = GRPOTrainer(
        policy,
        recipe,
        samples,
        args,
        [
            state,
            validate,
            callbacks.MetricsFile(metrics),
            callbacks.Progress(),
            callbacks.CollapseWarnings(metrics, lambda line: print(f"warning: {line}", file=sys.stderr)),
        ],
        evidence,
    )
    trainer.remove_callback(PrinterCallback)
    state.trainer = validate.trainer = trainer
    if saved:
        trainer.class_factor.load_state_dict(saved["class_factor"])
        if "focal_mean" in saved:
            trainer.focal_mean.load_state_dict(saved["focal_mean"])
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)

    # Under ZeRO-3 each process holds a shard; `check_adapter` has seen that none of it is trained.
    if not is_deepspeed_zero3_enabled() and vision_fingerprint(policy.base) != before:
        raise RuntimeError("the frozen vision tower has changed during training")


def training_samples(recipe: Recipe) -> tuple[list[Sample], list[Sample]]:
    """The labelled samples to train on and those to validate on; no group falls on both sides.

    Raises:
        LriadError: No labelled images, one class only, fewer than an update needs, or an image on both sides.
    """
    data = load_dataset(recipe.data, split=recipe.split, categories=recipe.categories)
    samples = [sample for sample in data if sample.label != "unknown"]
    validation: list[Sample] = []
    if recipe.validation_data:
        validation = [s for s in load_dataset(recipe.validation_data) if s.label != "unknown"]
        if len(validation) > recipe.validation_images:
            _, validation = split_by_group(validation, recipe.validation_images / len(validation), recipe.seed)
        shared = {sample.image for sample in samples} & {sample.image for sample in validation}
        if shared:
            raise LriadError(f"validation_data: {min(shared)} is trained on too; give images that are not in data")
    elif recipe.validation_fraction > 0 and samples:
        fraction = min(recipe.validation_fraction, recipe.validation_images / len(samples))
        samples, validation = split_by_group(samples, fraction, recipe.seed)
    labels = {sample.label for sample in samples}
    if labels != {"defect", "normal"}:
        only = f"only {labels.pop()} images" if labels else "no labelled images"
        raise LriadError(f"data {recipe.data!r}: {only}; training needs both normal and defective ones")
    if len(samples) < recipe.prompts_per_step:
        raise LriadError(
            f"data {recipe.data!r}: {len(samples)} images to train on, fewer than prompts_per_step="
            f"{recipe.prompts_per_step}; add images or lower it"
        )
    return samples, validation


def _memory(recipe: Recipe) -> Memory | None:
    if recipe.memory is None:
        return None
    from lriad.memory import load_memory

    return load_memory(recipe.memory)


def data_fingerprint(samples: Sequence[Sample], memory: Memory | None = None) -> str:
    """Hash of the ids and labels that a run is trained on, in their order, and of the memory that its prompts read."""
    digest = hashlib.blake2b((memory.sha256 if memory is not None else "").encode(), digest_size=16)
    for sample in samples:
        digest.update(f"{sample.id}\0{sample.label}\0".encode())
    return digest.hexdigest()


def _claim(recipe: Recipe, run: Path, *, started: bool) -> None:
    """Make the run folder, or check that what was trained in it so far is this run."""
    config = run / "config.yaml"
    if config.exists() and started:
        differences = recipe_differences(load_recipe(str(config)), recipe)
        if differences:
            raise LriadError(
                f"{run}: holds a run with another recipe ({'; '.join(differences[:3])}); give another output=FOLDER"
            )
    run.mkdir(parents=True, exist_ok=True)
    save_recipe(recipe, config)


def vision_fingerprint(model: Any) -> str:
    """Hash of every parameter and buffer of the vision modules."""
    import torch

    from lriad.policy.vision import vision_modules

    digest = hashlib.blake2b(digest_size=16)
    for module in vision_modules(model):
        for name, tensor in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _keep_adapter(checkpoint: Path, recipe: Recipe, run: Path) -> None:
    """Copy a checkpoint's adapter to `adapter/`, whole or not at all, naming its base as the recipe does."""
    partial, final = run / "adapter.part", run / "adapter"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    shutil.copyfile(checkpoint / "adapter_model.safetensors", partial / "adapter_model.safetensors")
    config = json.loads((checkpoint / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = recipe.policy
    (partial / "adapter_config.json").write_text(json.dumps(config, indent=2))
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
