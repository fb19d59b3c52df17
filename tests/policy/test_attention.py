"""Attention of one new token against Transformers' own."""

import pytest
import torch
from torch import nn
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lriad.policy.attention import one_token_attention


@pytest.mark.parametrize(("heads", "key_heads"), [(6, 6), (3, 1), (8, 2)])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scaling", [None, 0.3])
@torch.inference_mode()
def test_equals_sdpa(heads, key_heads, padded, scaling):
    draw = torch.Generator().manual_seed(0)
    layer = nn.Module()
    layer.num_key_value_groups = heads // key_heads
    layer.is_causal = True
    query = torch.randn(4, heads, 1, 16, generator=draw)
    key, value = torch.randn(2, 4, key_heads, 30, 16, generator=draw)[..., :25, :]
    mask = None
    if padded:
        mask = torch.ones(4, 1, 1, 25, dtype=torch.bool)
        mask[0, ..., :7] = False
        mask[2, ..., 9:20] = False
    ours, _ = one_token_attention(layer, query, key, value, mask, scaling=scaling)
    theirs, _ = sdpa_attention_forward(layer, query, key, value, mask, scaling=scaling)
    assert ours.shape == theirs.shape == (4, 1, heads, 16)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_several_queries_and_gradients_go_the_ordinary_way():
    layer = nn.Module()
    layer.num_key_value_groups, layer.is_causal = 1, True
    query, key, value = torch.randn(3, 1, 2, 5, 8)
    assert torch.equal(
        one_token_attention(layer, query, key, value, None)[0],
        sdpa_attention_forward(layer, query, key, value, None)[0],
    )
    query.requires_grad_(True)
    one_token_attention(layer, query[:, :, :1], key, value, None)[0].sum().backward()
    assert query.grad is not None
