"""Writing a policy as one plain model folder."""

from __future__ import annotations

import json
from pathlib import Path

from lriad.errors import LriadError
from lriad.policy.loading import OPERATING_POINT, load_policy, resolve_source


def _stored_dtype(name: str) -> str | None:
    """The precision that the base was saved in, where its config says so."""
    from transformers import AutoConfig

    stored = AutoConfig.from_pretrained(resolve_source(name).base, trust_remote_code=False).dtype
    return str(stored).removeprefix("torch.") if stored is not None else None


def export_policy(name: str, directory: str | Path, *, dtype: str | None = None) -> Path:
    """Merge a policy's adapter into its base and write plain safetensors with the processor.

    What is written loads with `AutoModelForImageTextToText.from_pretrained` and with vLLM, without PEFT or lriad. The
    embedded policy is the exception: its tower needs `import lriad.policy.eyes` before, and vLLM does not take it.
    An operating point goes along where there is no adapter, which moves the probabilities.

    Args:
        name: See `lriad.policy.load_policy`.
        directory: Where to write; it must not hold anything yet.
        dtype: Of the written weights; None keeps the base's own.

    Returns:
        The directory.

    Raises:
        LriadError: The directory is not empty, or the policy cannot be loaded.
    """
    directory = Path(directory)
    if directory.exists() and any(directory.iterdir()):
        raise LriadError(f"{directory}: not empty; give a new folder for the export")
    policy = load_policy(name, dtype=dtype or _stored_dtype(name))
    model = policy.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.save_pretrained(directory, safe_serialization=True)
    policy.processor.save_pretrained(directory)
    if policy.operating_point:
        (directory / OPERATING_POINT).write_text(json.dumps(policy.operating_point, indent=2) + "\n", encoding="utf-8")
    return directory
