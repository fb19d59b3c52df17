"""The recipe: every setting of a training run, as one flat dataclass and as YAML."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import os
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml

from lriad.errors import LriadError
from lriad.rewards.focal import check_not_cancelling


@dataclass(frozen=True)
class Range:
    """The numbers that a setting may take: from low to high, both included unless said otherwise."""

    low: float
    high: float = math.inf
    above_low: bool = False
    below_high: bool = False

    def __contains__(self, number: float) -> bool:
        above = number > self.low if self.above_low else number >= self.low
        below = number < self.high if self.below_high else number <= self.high
        return above and below and math.isfinite(number)

    def __str__(self) -> str:
        low = f"{'>' if self.above_low else '>='} {self.low}"
        high = f"{'<' if self.below_high else '<='} {self.high}"
        return low if self.high == math.inf else f"{low} and {high}"


Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
Positive = Annotated[float, Range(0, above_low=True)]
PositiveOrZero = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
ShareBelowOne = Annotated[float, Range(0, 1, below_high=True)]
ShareAboveZero = Annotated[float, Range(0, 1, above_low=True)]
Inside = Annotated[float, Range(0, 1, above_low=True, below_high=True)]

Tracker = Literal[
    "azure_ml",
    "clearml",
    "codecarbon",
    "comet_ml",
    "dagshub",
    "dvclive",
    "flyte",
    "mlflow",
    "swanlab",
    "tensorboard",
    "trackio",
    "wandb",
]
"""The integrations of Transformers' `report_to`."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every setting of a GRPO run. Paper: LR-IAD; where it is silent, the default's source is named.

    Attributes:
        policy: Where to start: `embedded`, a hub id, or the folder of a model.
        data: Training set, as a spec (`visa:PATH`, `synthetic:objects`, ...).
        output: Run folder.
        split: Official side of the data set to train on (paper, Table II: `all`).
        categories: Categories to train on; None: all of them.
        validation_data: Spec of a validation set of its own, all of it; None: a share of `data`.
        validation_fraction: Share of `data` kept for validation, drawn by group, in [0, 1); 0: no validation.
            Not used beside `validation_data`.
        validation_images: Most images that one validation looks at.
        memory: A file of `lriad remember`: what it says of each image enters the prompts, those of images that are in
            memory themselves as compared with the others; None: the paper's prompt.
        seed: Seed of the order of images, the sampling and the adapter's first weights.

        reward: `focal` (the accuracy advantage weighted by difficulty), `paper` (Eq. 4 literally, summed with
            the format reward) or `accuracy` (no focal weight).
        paper_reading: Reading of Eq. 4 under `paper`: `signed`, `gated` or `ungated`; see
            `lriad.rewards.focal`.
        gamma: Focus, at least 0 (no value in the paper; 2 is Lin et al.'s).
        alpha: Scale of Eq. 4 under `paper` (no value in the paper).
        alpha_defect: Under `focal`, alpha of defects, in (0, 1); normal images have 1 - alpha_defect; 0.5:
            alike.
        class_factor: f: `none` (1), `inverse_frequency`, or `dynamic` (follows the policy's errors). Not used
            by `accuracy`.
        class_factor_by: Classes of f: `label`, or `defect_type` where the data set names it.
        focal_floor: Under `focal`, least value of (1 - p)^gamma, in [0, 1].
        accuracy_weight: Weight of the accuracy (under `paper`: focal) reward or advantage.
        format_weight: Weight of the format reward or advantage.
        scale_rewards: Spread that advantages are divided by: the `group`'s (Eq. 8), the `batch`'s, or `none`.
        epsilon_std: Epsilon of Eq. 8 (no value in the paper; TRL's).

        prompts_per_step: Images of one update, over all devices (paper: 1 x 4 GPUs x 2 accumulation steps).
        group_size: Completions of one image, G (not in the paper; Visual-RFT: 8).
        completions_per_device: Completions that one device takes in one forward pass; the rest is
            accumulated.
        steps: Updates; None: as many as `epochs` makes.
        epochs: Passes over the training images, a fraction too; not used beside `steps` (paper: 1).
        balance_classes: Draw defective and normal images equally often.
        dynamic_sampling: Rounds of sampling that an update may take; 1: off. From the second round on, groups whose
            completions are all equally right and equally well written, which teach nothing, are replaced by groups
            of further images (DAPO, https://arxiv.org/abs/2503.14476). For one process.
        learning_rate: Peak learning rate of AdamW (not in the paper; Visual-RFT: 1e-6).
        lr_scheduler: Course of the learning rate after the warm-up.
        warmup_steps: Updates of linear warm-up.
        beta: Weight of the KL term in Eq. 9 (no value in the paper; Visual-RFT: 0.04).
        clip_epsilon: Clipping of the probability ratio; without effect while each batch is used for one
            update, as here (TRL's).
        max_grad_norm: Gradients are clipped to this norm.

        temperature: Temperature of the sampled completions.
        top_p: Nucleus of the sampled completions, in (0, 1].
        max_prompt_tokens: A longer prompt, the image's tokens included, is refused (paper: 1024).
        max_completion_tokens: Longest completion, in tokens (not in the paper; Visual-RFT: 512).
        max_pixels: Larger images are scaled down to this many pixels (paper: 401408, about 640 x 640).

        lora_rank: Rank of the adapter (paper: 4).
        lora_alpha: Scale of the adapter (paper: 16).
        lora_dropout: Dropout of the adapter's input, in [0, 1) (paper: 0.1).
        lora_targets: Layers of the language model that are adapted (paper: Q and V).
        dtype: `bfloat16` (paper), `float32`, or `auto`: bfloat16 where the hardware has it, but for policies of
            the embedded one's kind.
        attention: `flash_attention_2` (paper), `sdpa`, `eager`, or `auto`: SDPA, which lets completions share their
            prompt (`lriad.training.shared_prefix`).
        gradient_checkpointing: Recompute activations to save memory (paper: off).
        deepspeed: `zero2` or `zero3` (paper) for our settings of that stage, or the path of a DeepSpeed JSON
            file; None: without DeepSpeed.

        save_steps: Updates between two checkpoints (paper: 100).
        eval_steps: Updates between two validations; None: at the end only.
        logging_steps: Updates between two lines of metrics.
        report_to: Trackers, by Transformers' names; empty: none.

    Raises:
        LriadError: A setting is of the wrong type or out of its range, or two settings do not go together.
            The line names the setting, its value and what is expected.
    """

    policy: str
    data: str
    output: str
    split: Literal["all", "train", "test"] = "all"
    categories: tuple[str, ...] | None = None
    validation_data: str | None = None
    validation_fraction: ShareBelowOne = 0.1
    validation_images: Count = 64
    memory: str | None = None
    seed: Annotated[int, Range(0, 2**32 - 1)] = 0

    reward: Literal["focal", "paper", "accuracy"] = "focal"
    paper_reading: Literal["signed", "gated", "ungated"] = "signed"
    gamma: PositiveOrZero = 2.0
    alpha: Positive = 1.0
    alpha_defect: Inside = 0.5
    class_factor: Literal["none", "inverse_frequency", "dynamic"] = "none"
    class_factor_by: Literal["label", "defect_type"] = "label"
    focal_floor: Share = 0.05
    accuracy_weight: PositiveOrZero = 1.0
    format_weight: PositiveOrZero = 1.0
    scale_rewards: Literal["group", "batch", "none"] = "group"
    epsilon_std: Positive = 1e-4

    prompts_per_step: Count = 8
    group_size: Annotated[int, Range(2)] = 8
    completions_per_device: Count = 8
    steps: Count | None = None
    epochs: Positive = 1.0
    balance_classes: bool = False
    dynamic_sampling: Count = 1
    learning_rate: Positive = 1e-6
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_steps: CountOrZero = 0
    beta: PositiveOrZero = 0.04
    clip_epsilon: Inside = 0.2
    max_grad_norm: Positive = 1.0

    temperature: Positive = 1.0
    top_p: ShareAboveZero = 1.0
    max_prompt_tokens: Count = 1024
    max_completion_tokens: Count = 512
    max_pixels: Count = 401408

    lora_rank: Count = 4
    lora_alpha: Count = 16
    lora_dropout: ShareBelowOne = 0.1
    lora_targets: tuple[str, ...] = ("q_proj", "v_proj")
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    gradient_checkpointing: bool = False
    deepspeed: str | None = None

    save_steps: Count = 100
    eval_steps: Count | None = 50
    logging_steps: Count = 1
    report_to: tuple[Tracker, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            object.__setattr__(self, name, _checked(name, kind, getattr(self, name)))
        if not self.lora_targets:
            raise LriadError("lora_targets is empty, expected layers such as [q_proj, v_proj]")
        if self.categories == ():
            raise LriadError("categories is empty, expected names of categories, or null for all")
        completions = self.prompts_per_step * self.group_size
        if completions % self.completions_per_device:
            raise LriadError(
                f"completions_per_device is {self.completions_per_device}, expected a divisor of "
                f"prompts_per_step x group_size = {completions}"
            )
        check_not_cancelling(
            self.reward,
            self.scale_rewards,
            reading=self.paper_reading,
            gamma=self.gamma,
            class_factor=self.class_factor,
            prompts_per_step=self.prompts_per_step,
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings in their order, YAML- and JSON-ready."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }


_KINDS: dict[str, Any] = get_type_hints(Recipe, include_extras=True)
_REQUIRED = {
    "policy": "a model: embedded, a hub id or a folder",
    "data": "a data set, such as visa:PATH or synthetic:objects",
    "output": "the folder of the run",
}
_ELSEWHERE = {
    "attn_implementation": "attention",
    "batch_size": "prompts_per_step",
    "dataset": "data",
    "lora_r": "lora_rank",
    "lora_target_modules": "lora_targets",
    "lr": "learning_rate",
    "lr_scheduler_type": "lr_scheduler",
    "max_completion_length": "max_completion_tokens",
    "max_prompt_length": "max_prompt_tokens",
    "max_steps": "steps",
    "model": "policy",
    "model_name_or_path": "policy",
    "num_generations": "group_size",
    "num_train_epochs": "epochs",
    "output_dir": "output",
    "per_device_train_batch_size": "completions_per_device",
}
"""What other trainers call a setting: read only to name ours where a key is unknown."""
_MAY_DIFFER = {"output", "steps", "epochs", "report_to", "save_steps", "eval_steps", "logging_steps"}
"""What may be changed when a run is resumed: where it stands, how long it goes, and who is told when."""


def shipped_recipes() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _shipped().iterdir() if entry.name.endswith(".yaml"))


def load_recipe(path_or_name: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path_or_name: A YAML file, or the name of a shipped recipe (`embedded-cpu`); a shipped name wins
            unless the text ends in `.yaml` or `.yml` or names a folder.
        overrides: `key=value` each, the value in YAML; a list may also be given as `a,b`. The last one of a
            key wins.

    Raises:
        LriadError: No such recipe, not YAML (with the line), an unknown key (with the nearest right one), a
            value of the wrong type or out of range, or settings that do not go together.

    Example:
        >>> load_recipe("embedded-cpu", ["steps=20", "gamma=1", "categories=gear,bolt"]).categories
        ('gear', 'bolt')
    """
    source = os.fspath(path_or_name)
    values = _read(source)
    for override in overrides:
        name, value = _parse_override(override)
        values[name] = value
    for name, meaning in _REQUIRED.items():
        if name not in values:
            raise LriadError(f"recipe {source}: {name!r} is missing; add {name}=VALUE, {meaning}")
    try:
        return Recipe(**values)
    except LriadError as error:
        raise LriadError(f"recipe {source}: {error}") from None


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe as YAML, whole or not at all. Raises LriadError where that fails, as on a full disk."""
    target = Path(path)
    partial = target.with_name(target.name + ".part")
    try:
        text = yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise LriadError(f"cannot write {target}: {error.strerror}; free space or choose another output") from None


def recipe_differences(before: Recipe, now: Recipe) -> list[str]:
    """What keeps `now` from resuming a run of `before`: one text a setting (`gamma: 2.0 -> 1.0`), or none.

    `output`, `steps`, `epochs`, `report_to` and the intervals of saving, validating and logging may differ.
    """
    old, new = before.to_dict(), now.to_dict()
    return [f"{name}: {old[name]} -> {new[name]}" for name in old if name not in _MAY_DIFFER and old[name] != new[name]]


def deepspeed_config(recipe: Recipe) -> dict[str, Any] | str | None:
    """What Transformers' `deepspeed` argument takes: our settings for `zero2` and `zero3`, a path, or None.

    `auto` is filled in by Transformers from the run's other settings
    (https://huggingface.co/docs/transformers/deepspeed).
    """
    if recipe.deepspeed not in ("zero2", "zero3"):
        return recipe.deepspeed
    return {
        "bf16": {"enabled": "auto"},
        "zero_optimization": {
            "stage": int(recipe.deepspeed[-1]),
            "overlap_comm": True,
            "contiguous_gradients": True,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
    }


def _shipped() -> Any:
    return resources.files("lriad") / "recipes"


def _read(source: str) -> dict[str, Any]:
    """The settings in a recipe file, each checked, so that an error names its line."""
    text, where = _read_text(source), f"recipe {source}"
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise LriadError(f"{where}{line}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise LriadError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if node is None:
        return {}
    if not isinstance(content, dict) or not isinstance(node, yaml.MappingNode):
        raise LriadError(f"{where}: expected lines of the form 'key: value'")
    line_of: dict[str, int] = {}
    for key_node, _ in node.value:
        key, line = str(key_node.value), key_node.start_mark.line + 1
        if key in line_of:
            raise LriadError(f"{where}, line {line}: {key!r} is set a second time (first on line {line_of[key]})")
        line_of[key] = line
    values = {}
    for key, value in content.items():
        here = f"{where}, line {line_of[str(key)]}" if str(key) in line_of else where
        name = _known(str(key), here)
        try:
            values[name] = _checked(name, _KINDS[name], value)
        except LriadError as error:
            raise LriadError(f"{here}: {error}") from None
    return values


def _read_text(source: str) -> str:
    is_path = source.endswith((".yaml", ".yml")) or Path(source).name != source
    if not is_path and source in shipped_recipes():
        return (_shipped() / f"{source}.yaml").read_text(encoding="utf-8")
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        names = shipped_recipes()
        near = difflib.get_close_matches(source, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "give a YAML file or one of: " + ", ".join(names)
        raise LriadError(f"recipe {source}: no such file or shipped recipe; {hint}") from None
    except UnicodeDecodeError:
        raise LriadError(f"recipe {source}: not a text file in UTF-8; give a YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LriadError(f"recipe {source}: cannot be read: {reason}; give a YAML file") from None


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise LriadError(f"override {override!r}: expected key=value, such as steps=100")
    name = _known(key.strip(), f"override {override!r}")
    kind = _KINDS[name]
    if text.strip() in ("", "~", "null"):
        value = None
    elif _is_text(kind):
        value = text  # a path may hold what YAML reads as a date, a comment or a mapping
    else:
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            value = text  # the check says what is expected
        if _is_list(kind) and not isinstance(value, list):
            value = text
    try:
        return name, _checked(name, kind, value)
    except LriadError as error:
        raise LriadError(f"override {override!r}: {error}") from None


def _known(key: str, where: str) -> str:
    if key in _KINDS:
        return key
    candidates = [*_KINDS, *_ELSEWHERE]
    near = difflib.get_close_matches(key.lower().replace("-", "_"), candidates, n=1, cutoff=0.0)[0]
    raise LriadError(f"{where}: unknown key {key!r}, did you mean {_ELSEWHERE.get(near, near)!r}?")


def _checked(name: str, kind: Any, value: Any) -> Any:
    """The value in the setting's own type. Raises LriadError where it does not fit."""
    try:
        return _fit(kind, value)
    except (ValueError, OverflowError):
        raise LriadError(f"{name} is {reprlib.repr(value)}, expected {_expected(kind)}") from None


def _fit(kind: Any, value: Any) -> Any:
    """The value as one of `kind`, an annotation of Recipe. Raises ValueError where it does not fit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return None if value is None else _fit(_without_none(kind), value)
    if origin is Annotated:
        result = _fit(arguments[0], value)
        fits = result in arguments[1]
    elif origin is Literal:
        result, fits = value, isinstance(value, str) and value in arguments
    elif origin is tuple:
        items = [item.strip() for item in value.split(",")] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ValueError
        return tuple(_fit(arguments[0], item) for item in items)
    elif kind is float:
        # YAML 1.1 reads 1e-6, which has no point, as text.
        fits = isinstance(value, (int, float, str)) and not isinstance(value, bool)
        result = float(value) if fits else value
    elif kind is int:
        result, fits = value, isinstance(value, int) and not isinstance(value, bool)
    elif kind is bool:
        result, fits = value, isinstance(value, bool)
    else:
        result, fits = value, isinstance(value, str) and bool(value.strip())
    if not fits:
        raise ValueError
    return result


def _expected(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return f"{_expected(_without_none(kind))}, or null"
    if origin is Annotated:
        return f"{_expected(arguments[0])} {arguments[1]}"
    if origin is Literal:
        return f"one of {', '.join(arguments)}"
    if origin is tuple:
        return f"a list, each {_expected(arguments[0])}"
    return {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        str: "text (in quotes if need be)",
    }[kind]


def _without_none(kind: Any) -> Any:
    if get_origin(kind) not in (Union, UnionType):
        return kind
    return next(argument for argument in get_args(kind) if argument is not NoneType)


def _is_text(kind: Any) -> bool:
    inner = _without_none(kind)
    return inner is str or get_origin(inner) is Literal


def _is_list(kind: Any) -> bool:
    return get_origin(_without_none(kind)) is tuple
