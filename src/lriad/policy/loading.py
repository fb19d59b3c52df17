"""Loading a policy: the embedded one, a run folder, a local model, a PEFT adapter, or a hub id."""

from __future__ import annotations

import gc
import importlib.util
import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import yaml

from lriad.errors import LriadError
from lriad.policy.policy import Policy
from lriad.verdict import Mode

EMBEDDED = "embedded"
MAX_PIXELS = 401_408
"""The paper's bound on an image's pixels (Section IV-A)."""

OPERATING_POINT = "operating_point.json"
"""Beside a model's weights: the threshold on P(defect) of each mode."""

_EMBEDDED_FOLDER = Path(__file__).parent / "embedded"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Source:
    """Where a policy's parts lie.

    Attributes:
        base: Local folder of the base model, or a hub id.
        adapter: Local folder of a PEFT adapter, None without one.
        max_pixels: Bound on an image's pixels that the adapter was trained with; None where nothing says so.
    """

    base: str
    adapter: str | None = None
    max_pixels: int | None = None


def resolve_source(name: str, adapter: str | None = None) -> Source:
    """Find the parts behind what a user calls a policy.

    Args:
        name: `embedded`; a run folder (`config.yaml` with `adapter/`); a folder of a PEFT adapter; a folder of a model;
            else a hub id.
        adapter: Folder of a PEFT adapter to put on top.

    Raises:
        LriadError: The folder holds nothing that can be loaded.
    """
    if name == EMBEDDED:
        return Source(str(_EMBEDDED_FOLDER), adapter)
    folder = Path(name).expanduser()
    if not folder.exists():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise LriadError(
                f"policy {name!r}: no such folder; give '{EMBEDDED}', a run folder, a model folder or a hub id such as "
                "Qwen/Qwen2-VL-2B-Instruct"
            )
        return Source(name, adapter)
    if (folder / "config.yaml").is_file():
        if not (folder / "adapter" / "adapter_config.json").is_file():
            raise LriadError(
                f"policy {name!r}: no adapter/ in this run yet; run the same lriad train again to finish it"
            )
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        return _on_base(name, str(config["policy"]), folder / "adapter", adapter, config.get("max_pixels"))
    if (folder / "adapter_config.json").is_file():
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        base = settings.get("base_model_name_or_path")
        if not base:
            raise LriadError(f"policy {name!r}: adapter_config.json names no base model; put its name or folder there")
        return _on_base(name, str(base), folder, adapter, None)
    if not (folder / "config.json").is_file():
        raise LriadError(
            f"policy {name!r}: no config.json, config.yaml or adapter_config.json there; give a model or run folder"
        )
    return Source(str(folder), adapter)


def _on_base(name: str, base: str, own: Path, other: str | None, max_pixels: int | None) -> Source:
    """An adapter on its base, of which neither may hide a second adapter."""
    if other is not None:
        raise LriadError(f"policy {name!r}: has an adapter of its own; give its base with the other adapter")
    source = resolve_source(base)
    if source.adapter:
        raise LriadError(f"policy {name!r}: its base {base!r} has an adapter too; lriad export the base first")
    return Source(source.base, str(own), max_pixels)


def weight_files(base: str) -> list[Path]:
    """The safetensors files of a base model that is on this machine, sorted by name."""
    folder = Path(base)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        # In the hub's cache, put there by loading the model.
        folder = Path(snapshot_download(base, allow_patterns=["model*.safetensors"], local_files_only=True))
    return sorted(folder.glob("*.safetensors"))


def default_device() -> str:
    """`cuda`, `mps` or `cpu`: the best that is there."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_policy(
    name: str = EMBEDDED,
    *,
    adapter: str | None = None,
    device: str | None = None,
    dtype: str | None = None,
    attention: str | None = None,
    max_pixels: int | None = None,
) -> Policy:
    """Load a policy from safetensors, without running any code that came with it.

    Args:
        name: See `resolve_source`.
        adapter: Folder of a PEFT adapter to put on top.
        device: Such as `cpu`, `cuda:0`; None takes the best there is.
        dtype: `float32`, `bfloat16` or `float16`; None or `auto` takes bfloat16 where a GPU has it, float32 else, and
            for policies of the embedded one's kind, which are small and whose probabilities were measured so.
        attention: `sdpa`, `flash_attention_2` or `eager`; None or `auto` takes FlashAttention 2 where it is installed
            and the device is a GPU, SDPA else.
        max_pixels: Bound on an image's pixels, for processors of the Qwen-VL kind; None takes what a run was
            trained with, else the paper's 401,408.

    Raises:
        LriadError: The policy cannot be found or loaded.
    """
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    source = resolve_source(name, adapter)
    if source.adapter and not (Path(source.adapter) / "adapter_model.safetensors").is_file():
        raise LriadError(f"adapter {source.adapter!r}: no adapter_model.safetensors there; only safetensors are loaded")
    device = device or default_device()
    model, processor = _load_base(source.base, name, device, dtype, attention)
    set_max_pixels(processor, max_pixels or source.max_pixels or MAX_PIXELS)
    adapter_weights = None
    if source.adapter:
        from peft import PeftModel

        adapter_weights = Path(source.adapter) / "adapter_model.safetensors"
        try:
            model = PeftModel.from_pretrained(model, source.adapter)
        except (ValueError, OSError, RuntimeError, KeyError) as error:
            raise LriadError(f"adapter {source.adapter!r} does not fit {source.base!r}: {_line(error)}") from error
        model.eval()
    return Policy(
        model,
        processor,
        name=name,
        source=source.base,
        weights=weight_files(source.base),
        adapter_weights=adapter_weights,
        # An adapter moves the probabilities.
        operating_point=None if source.adapter else _operating_point(Path(source.base)),
    )


def _operating_point(base: Path) -> dict[str, float]:
    """The thresholds in a model's folder, by mode; none where it says nothing."""
    file = base / OPERATING_POINT
    if not file.is_file():
        return {}
    try:
        point = {mode: float(value) for mode, value in json.loads(file.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError):
        point = {"": math.nan}
    if not (point.keys() <= set(get_args(Mode)) and all(0 <= value <= 1 for value in point.values())):
        raise LriadError(f"{file}: expected thresholds from 0 to 1 by mode, such as {{'fast': 0.5}}; mend or delete it")
    return point


def _load_base(base: str, name: str, device: str, dtype: str | None, attention: str | None) -> tuple[Any, Any]:
    from safetensors import SafetensorError
    from transformers import AutoModelForImageTextToText, AutoProcessor

    if Path(base).is_dir() and not weight_files(base):
        raise LriadError(f"policy {name!r}: no *.safetensors in {base}; only safetensors are loaded, convert it first")
    wanted = _dtype(dtype, device)
    try:
        if not Path(base).is_dir() and _is_hub_adapter(base):
            raise LriadError(f"policy {name!r}: is an adapter on the hub; download it and give its folder")
        if _import_eyes(base) and dtype in (None, "auto"):
            wanted = torch.float32
        settings: dict[str, Any] = {"dtype": wanted, "use_safetensors": True, "trust_remote_code": False}
        processor = AutoProcessor.from_pretrained(base, trust_remote_code=False)
        model = _with_attention(AutoModelForImageTextToText, base, attention, wanted, settings)
        model.to(device)
    except (ValueError, OSError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        hint = "" if Path(base).is_dir() else " (no such folder here; taken for a hub id)"
        raise LriadError(f"policy {name!r} cannot be loaded{hint}: {_line(error)}") from error
    if getattr(processor, "tokenizer", None) is None or getattr(processor, "chat_template", None) is None:
        raise LriadError(f"policy {name!r}: its processor has no tokenizer or no chat template; use an instruct model")
    model.eval()
    return model, processor


def _import_eyes(base: str) -> bool:
    """Make the embedded policy's tower known to timm, where this is a policy of its kind; returns whether it is."""
    from transformers import PreTrainedConfig

    from lriad.policy.architecture import EYES

    vision = PreTrainedConfig.get_config_dict(base)[0].get("vision_config")
    if not (isinstance(vision, dict) and vision.get("architecture") == EYES):
        return False
    from lriad.policy.eyes import Eyes

    size = vision.get("model_args") or {}
    width = Eyes.channels(size.get("kinds", 0))
    if vision.get("hidden_size") != width:
        raise LriadError(
            f"policy {base}: its eyes hand on {vision.get('hidden_size')} channels, those of this version {width}; "
            "use the version of lriad that it was made with, or train it anew"
        )
    return True


def _is_hub_adapter(base: str) -> bool:
    """Whether a hub id is a PEFT adapter: transformers would load its weights unasked, pickled ones too."""
    from transformers.utils import find_adapter_config_file

    return find_adapter_config_file(base) is not None


def _with_attention(model_class: Any, base: str, attention: str | None, dtype: torch.dtype, settings: dict) -> Any:
    """The model with the attention that was asked for; without a wish, with the fastest that it supports."""
    if attention not in (None, "auto"):
        return model_class.from_pretrained(base, attn_implementation=attention, **settings)
    if torch.cuda.is_available() and importlib.util.find_spec("flash_attn") and dtype != torch.float32:
        try:
            return model_class.from_pretrained(base, attn_implementation="flash_attention_2", **settings)
        except ValueError as error:
            # A part of the model, such as a timm tower, has no FlashAttention 2.
            logging.getLogger(__name__).info("%s: %s; using SDPA", base, _line(error))
    return model_class.from_pretrained(base, attn_implementation="sdpa", **settings)


def set_max_pixels(processor: Any, max_pixels: int) -> None:
    """Bound an image's pixels, where the processor counts in pixels (Qwen-VL); others have a fixed size."""
    image_processor = processor.image_processor
    if hasattr(image_processor, "merge_size"):
        size = {key: value for key, value in dict(image_processor.size).items() if value is not None}
        shortest = min(size.get("shortest_edge", 56 * 56), max_pixels)
        image_processor.size = {**size, "longest_edge": max_pixels, "shortest_edge": shortest}


def _dtype(dtype: str | None, device: str) -> torch.dtype:
    if dtype not in (None, "auto"):
        if dtype not in _DTYPES:
            raise LriadError(f"dtype {dtype!r}: expected auto, {', '.join(_DTYPES)}")
        return _DTYPES[dtype]
    in_hardware = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if in_hardware else torch.float32


def _line(error: Exception) -> str:
    """An exception's first line, short."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text[:300]


def free_memory() -> None:
    """Let go of a policy that nothing refers to any more, before another one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
