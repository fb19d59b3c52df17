"""Attention of one new token over a long cache, on a CPU.

PyTorch's kernel for CPUs is made for many queries. With one, the time goes into reading keys and values, and two plain
matrix products do that twice as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "sdpa_one_token"
_LEAST_ROWS = 4
"""Fewer rows make a product with the values slower, not faster."""


def one_token_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function in Transformers' signature, as `sdpa`; several queries go there.

    Args:
        module: The layer's attention.
        query: (B, H, 1, D).
        key, value: (B, K, S, D), each for H / K heads.
        attention_mask: (B or 1, 1, 1, S), True where a key may be seen; None where all may.
        scaling: What scores are multiplied with, 1 / sqrt(D) if None.

    Returns:
        Tensor (B, 1, H, D), and no weights.
    """
    plain = attention_mask is None or (attention_mask.dtype == torch.bool and attention_mask.shape[1] == 1)
    if query.shape[2] > 1 or not plain or torch.is_grad_enabled():
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    batch, heads, _, size = query.shape
    shared = heads // key.shape[1]
    grouped = query.reshape(batch, -1, shared, size)
    # Written with the keys on the left: the other way round they would be copied.
    scores = (key @ grouped.transpose(-1, -2)).transpose(-1, -2) * (size**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    weights = torch.nn.functional.pad(scores.softmax(-1), (0, 0, 0, max(0, _LEAST_ROWS - shared)))
    return (weights @ value)[:, :, :shared].reshape(batch, 1, heads, size), None


AttentionInterface.register(_NAME, one_token_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)


@contextmanager
def fast_decoding(model: Any) -> Iterator[None]:
    """Use it for as long as tokens are written one at a time, where it replaces `sdpa` on a CPU."""
    config = model.config.get_text_config()
    if config._attn_implementation != "sdpa" or model.device.type != "cpu":
        yield
        return
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
