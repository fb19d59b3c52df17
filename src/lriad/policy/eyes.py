"""The embedded policy's eyes: a timm tower that tells each place of a part from the rest of the same picture.

ImageNet features of EfficientNet-Lite0 at four depths stay as they are. What is learned on top of them looks at every
place three ways: as it is, as its deviation from the picture's own mean, and by how like it is to the other places of
the picture that are most like it (PatchCore's idea, https://arxiv.org/abs/2106.08265, with the picture itself as the
memory). Two heads learn that, each by itself: what they say together is right more often than what one says.
Importing this module makes the tower known to timm as `lriad_eyes`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import timm
import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

GRID = 10
"""Tokens a side, each of 32 x 32 pixels; a picture is compared with itself at twice as many places a side."""
WIDTH = 192
"""Channels of a token that each head has of its own."""
HEADS = 2
"""A third would bring the policy over 20 MB, which is what a package may carry here."""
_CHANNELS = (24, 40, 112, 320)
"""Of the backbone at strides 4, 8, 16 and 32."""
_POOLED = (3 * _CHANNELS[0], 3 * _CHANNELS[1], _CHANNELS[2])
FINE_CHANNELS, COARSE_CHANNELS = sum(_POOLED), _CHANNELS[3]
_FIELDS = 3
"""Fields a side of a picture, as `lriad.data.place` names them."""
_SOFTNESS = (40.0, 15.0, 5.0)
"""Inverse temperatures of the smooth maxima of a place's similarities: the higher, the fewer other places count."""


class Block(nn.Module):
    """A transformer layer in which every place sees every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, tokens_NTW: Tensor) -> Tensor:
        count, length, width = tokens_NTW.shape
        qkv = self.qkv(self.before_attention(tokens_NTW)).view(count, length, 3, self.heads, width // self.heads)
        attended = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
        tokens_NTW = tokens_NTW + self.out(attended.transpose(1, 2).reshape(count, length, width))
        return tokens_NTW + self.down(F.gelu(self.up(self.before_mlp(tokens_NTW))))


class Head(nn.Module):
    """What is learned on top of the backbone.

    Args:
        kinds: How many kinds of defect it tells apart.
        grid: Tokens a side.
        width: Of its tokens.
        layers: Transformer layers.
    """

    def __init__(self, kinds: int, grid: int, width: int, layers: int) -> None:
        super().__init__()
        cell = 4 * FINE_CHANNELS + COARSE_CHANNELS
        alike = 2 * (1 + len(_SOFTNESS)) * (4 * len(_POOLED) + 1)
        self.place = nn.Linear(cell, width)
        self.deviation = nn.Linear(cell, width)
        self.likeness = nn.Sequential(nn.Linear(alike, width), nn.GELU(), nn.Linear(width, width))
        self.position = nn.Parameter(torch.randn(grid * grid, width) * 0.02)
        self.whole = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, width // 32) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.here, self.kind, self.somewhere = nn.Linear(width, 1), nn.Linear(width, kinds), nn.Linear(width, 1)

    def forward(self, cells_NTC: Tensor, alike_NTC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is seen in what `Eyes.sense` returned: as `Eyes.look`."""
        deviation_NTC = (cells_NTC - cells_NTC.mean(1, keepdim=True)) / (cells_NTC.std(1, keepdim=True) + 0.1)
        tokens_NTW = self.place(cells_NTC) + self.deviation(deviation_NTC) + self.likeness(alike_NTC) + self.position
        tokens_NTW = torch.cat([self.whole.expand(len(tokens_NTW), 1, -1), tokens_NTW], 1)
        for block in self.blocks:
            tokens_NTW = block(tokens_NTW)
        whole_N1W, tokens_NTW = self.norm(tokens_NTW).tensor_split([1], 1)
        here_NT = self.here(tokens_NTW).squeeze(2)
        return tokens_NTW, here_NT, self.kind(tokens_NTW), self.somewhere(whole_N1W).flatten()


class Eyes(nn.Module):
    """The tower.

    Args:
        kinds: How many kinds of defect it tells apart.
        grid: Tokens a side; pictures have 32 times as many pixels a side.
        width: Of the tokens of a head.
        layers: Transformer layers of a head.

    Attributes:
        kinds, grid: As above.
        heads: What is learned on top of the backbone.
        num_features: Channels of a token that it hands on: its own, of all heads; the heads' mean logits of 'defect
            here' and of each kind of defect; then what is the same in all tokens: in which of nine fields of the
            picture the defect is and of which kind (probabilities times four), the strongest 'defect here', and
            'defect somewhere'. Logits are quartered.
    """

    fine_mean: Tensor
    fine_scale: Tensor
    coarse_mean: Tensor
    coarse_scale: Tensor

    def __init__(self, kinds: int, grid: int = GRID, width: int = WIDTH, layers: int = 3) -> None:
        super().__init__()
        self.kinds, self.grid = kinds, grid
        self.num_features = self.channels(kinds, width)
        self.backbone = timm.create_model(
            "tf_efficientnet_lite0", features_only=True, out_indices=(1, 2, 3, 4), pretrained=False
        )
        # Of each channel over many pictures, so that no channel drowns the others.
        for name, channels in (("fine", FINE_CHANNELS), ("coarse", COARSE_CHANNELS)):
            self.register_buffer(f"{name}_mean", torch.zeros(channels))
            self.register_buffer(f"{name}_scale", torch.ones(channels))
        self.heads = nn.ModuleList(Head(kinds, grid, width, layers) for _ in range(HEADS))

    @staticmethod
    def channels(kinds: int, width: int = WIDTH) -> int:
        """How many channels a token hands on."""
        return HEADS * width + 1 + kinds + _FIELDS**2 + kinds + 2

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What ImageNet's weights make of pictures (N, 3, 32 G, 32 G).

        Returns:
            Features of shape (N, 304, 2 G, 2 G), of strides 4 to 16 (the finer ones as mean, maximum, minimum of each
            place), and (N, 320, G, G), of stride 32.
        """
        # Depthwise convolutions take a fifth less time so, on a CPU.
        stride4, stride8, stride16, stride32 = self.backbone(pixels.contiguous(memory_format=torch.channels_last))
        return torch.cat([*_extremes(stride4, 4), *_extremes(stride8, 2), stride16], 1), stride32

    def sense(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """What does not need to be learned, of pictures (N, 3, 32 G, 32 G).

        Returns:
            The features of each cell, (N, G G, 1536), and how like it is to the rest of its picture, (N, G G, 104).
        """
        fine, coarse = self.features(pixels)
        fine = (fine - self.fine_mean[:, None, None]) / self.fine_scale[:, None, None]
        coarse = (coarse - self.coarse_mean[:, None, None]) / self.coarse_scale[:, None, None]
        alike = torch.cat([_likeness(level) for level in fine.split(_POOLED, 1)], 1)
        cells_NTC = torch.cat([_folded(fine), _rows(coarse)], 2)
        return cells_NTC, torch.cat([_folded(alike), _rows(_likeness(coarse))], 2)

    def look(self, cells_NTC: Tensor, alike_NTC: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is seen in what `sense` returned.

        Returns:
            Tokens (N, T, heads x W), row by row, and logits: 'defect here' (N, T), kinds of defect (N, T, K), 'defect
            somewhere' (N,). The tokens of all heads stand side by side, the logits are their means.
        """
        tokens, *logits = zip(*(head(cells_NTC, alike_NTC) for head in self.heads), strict=True)
        here_NT, kind_NTK, somewhere_N = (torch.stack(each).mean(0) for each in logits)
        return torch.cat(tokens, 2), here_NT, kind_NTK, somewhere_N

    def hand_on(self, tokens_NTW: Tensor, here_NT: Tensor, kind_NTK: Tensor, somewhere_N: Tensor) -> Tensor:
        """What `look` returned and its summary, as one map of shape (N, num_features, G, G).

        The summary stands in every token: a small language model hardly learns to read off a hundred tokens which one
        is strongest, and where it stands.
        """
        weight_NT = here_NT.softmax(1)
        field_NF = weight_NT @ _fields(self.grid, here_NT.device).to(here_NT.dtype)
        kind_NK = (weight_NT[:, None] @ kind_NTK).squeeze(1)
        # Probabilities are as large as tokens are, which are normalised, times four.
        whether_N2 = torch.stack([here_NT.amax(1), somewhere_N], 1)
        summary_NC = torch.cat([4 * field_NF, 4 * kind_NK.softmax(1), whether_N2 / 4], 1)
        everywhere_NTC = summary_NC[:, None].expand(-1, self.grid**2, -1)
        map_NTC = torch.cat([tokens_NTW, here_NT[..., None] / 4, kind_NTK / 4, everywhere_NTC], 2)
        return map_NTC.transpose(1, 2).unflatten(2, (self.grid, self.grid))

    def forward_features(self, pixels: Tensor) -> Tensor:
        """Pictures (N, 3, 32 G, 32 G) in, a map of shape (N, num_features, G, G) out: timm's interface."""
        return self.hand_on(*self.look(*self.sense(pixels)))

    def forward(self, pixels: Tensor) -> Tensor:
        """As `forward_features`: there is no classifier."""
        return self.forward_features(pixels)


@register_model
def lriad_eyes(pretrained: bool = False, *, kinds: int, grid: int, num_classes: int = 0, **unused: Any) -> Eyes:
    """The tower with random weights, for timm; `pretrained` and `num_classes` are timm's and have no meaning here."""
    return Eyes(kinds, grid)


def _extremes(features: Tensor, cell: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, maximum and minimum of each cell: a speck of a few pixels stays visible in the latter."""
    return F.avg_pool2d(features, cell), F.max_pool2d(features, cell), -F.max_pool2d(-features, cell)


def _rows(maps: Tensor) -> Tensor:
    """(N, C, H, W) as (N, H W, C)."""
    return maps.flatten(2).transpose(1, 2)


def _folded(maps: Tensor) -> Tensor:
    """(N, C, 2 H, 2 W) as (N, H W, 4 C): four places in one token."""
    return _rows(F.pixel_unshuffle(maps, 2))


def _likeness(features: Tensor) -> Tensor:
    """How like each place is to the places of its own picture that are most like it.

    Its eight neighbours, which share much of what it sees, do not count.

    Args:
        features: (N, C, H, W).

    Returns:
        Largest cosine similarity and smooth maxima of it, then the same against the picture's own mean and spread:
        (N, 8, H, W).
    """
    size = features.shape[-1]
    directions = F.normalize(_rows(features), dim=2)
    similar = directions @ directions.transpose(1, 2) + _apart(size, features.device).to(features.dtype)
    # Sorting for the k nearest would take ten times as long on a CPU.
    smooth = [(similar * k).logsumexp(-1) / k - math.log(size * size) / k for k in _SOFTNESS]
    alike = torch.stack([similar.amax(-1), *smooth], 1)
    relative = (alike - alike.mean(2, keepdim=True)) / (alike.std(2, keepdim=True) + 0.02)
    return torch.cat([alike, relative], 1).unflatten(2, (size, size))


@lru_cache
@torch.inference_mode(False)
def _fields(grid: int, device: torch.device) -> Tensor:
    """How much of each of the grid's G G cells lies in each of nine fields of the picture, (G G, 9)."""
    edges, sides = torch.arange(grid + 1) / grid, torch.arange(_FIELDS + 1) / _FIELDS
    low = torch.maximum(edges[:-1, None], sides[:-1])
    high = torch.minimum(edges[1:, None], sides[1:])
    share = (high - low).clamp(min=0) * grid
    return torch.kron(share, share).to(device)


@lru_cache
@torch.inference_mode(False)
def _apart(size: int, device: torch.device) -> Tensor:
    """0 for two places that are apart, and -10 for neighbours, of shape (size^2, size^2)."""
    at = torch.arange(size * size, device=device)
    rows, columns = at // size, at % size
    near = ((rows[:, None] - rows).abs() <= 1) & ((columns[:, None] - columns).abs() <= 1)
    return near * -10.0
