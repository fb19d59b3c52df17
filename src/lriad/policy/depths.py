"""What a policy's vision tower makes of an image at three depths, found by hooks, without training."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from lriad.errors import LriadError
from lriad.policy.vision import vision_modules

_PREFIX = 8
"""Tokens before those of the places, at most: one of the class, and registers."""


class Depths:
    """The places where a tower is tapped.

    Of a convolutional tower these are the last stages of its three coarsest resolutions (strides 8, 16 and 32), of a
    transformer the blocks at a third and two thirds and the last one: PatchCore's two middle levels
    (https://arxiv.org/abs/2106.08265), and one that knows what it sees.

    Args:
        model: A transformers vision-language model.

    Attributes:
        known: The `chosen` blocks, once an image was seen, the same for all images; before that none.

    Raises:
        LriadError: The model has no tower whose blocks can be found.
    """

    def __init__(self, model: nn.Module) -> None:
        towers = vision_modules(model)
        stacks = {
            name: stack
            for tower in towers[:1]
            for name, stack in tower.named_modules()
            if isinstance(stack, nn.ModuleList | nn.Sequential) and len(stack) > 1 and len({*map(type, stack)}) == 1
        }
        # Of a convolutional tower's stages, each a stack itself, the outermost is meant; of blocks, the longest.
        outer = [stacks[name] for name in stacks if not any(name.startswith(f"{other}.") for other in stacks)]
        if not outer:
            raise LriadError(f"{type(model).__name__}: no vision tower with a stack of blocks to remember images by")
        self.tower: Any = towers[0]
        self.stack = max(outer, key=len)
        self._local = threading.local()
        self.known: list[int] = []
        for index, block in enumerate(self.stack):
            block.register_forward_hook(lambda _, __, output, index=index: self._keep(index, output))

    def _keep(self, index: int, output: Any) -> Any:
        kept = getattr(self._local, "kept", None)
        if kept is None:
            return None
        kept[index] = output[0] if isinstance(output, tuple) else output
        if index != self._local.gradients_from:
            return None
        # From here on gradients are recorded; a copy goes on, which a later layer may write into.
        kept[index] = kept[index].detach().requires_grad_()
        onwards = kept[index].clone()
        return (onwards, *output[1:]) if isinstance(output, tuple) else onwards

    @contextmanager
    def watching(self, *, gradients_from: int | None = None) -> Iterator[dict[int, Tensor]]:
        """Collect what the blocks return to this thread, by their index.

        Args:
            gradients_from: The first block with respect to whose outcome gradients will be asked for; None for none.
        """
        self._local.kept, self._local.gradients_from = {}, gradients_from
        try:
            yield self._local.kept
        finally:
            self._local.kept = None

    def chosen(self, kept: dict[int, Tensor]) -> list[int]:
        """Which of the blocks are the three depths.

        Args:
            kept: What `watching` collected while the tower saw one image.
        """
        if not kept or (kept[0].dim() > 2 and len(kept[0]) != 1):
            raise LriadError(
                f"{type(self.tower).__name__}: sees an image in several pieces, whose places cannot be put together"
            )
        if kept[len(kept) - 1].dim() == 4:
            self.known = list({kept[index].shape[-2:]: index for index in sorted(kept)}.values())[-3:]
        else:
            self.known = [max(0, len(kept) * part // 3 - 1) for part in (1, 2, 3)]
        return self.known

    def maps(self, outputs: Sequence[Tensor], grid_thw: Tensor | None) -> list[Tensor]:
        """The maps of one image at three depths: of what the blocks returned, or of the gradients of that.

        Args:
            outputs: The `chosen` of what `watching` collected while the tower saw one image.
            grid_thw: Its patches along time, height and width, (1, 3), for the Qwen-VL kind; else None.

        Returns:
            Three maps of shape (C, H, W) in float32, the earliest one first.
        """
        return [
            output[0].float() if output.dim() == 4 else self._map(output.flatten(0, -2).float(), grid_thw)
            for output in outputs
        ]

    def _map(self, tokens_TC: Tensor, grid_thw: Tensor | None) -> Tensor:
        if grid_thw is None:
            side = math.isqrt(len(tokens_TC))
            if len(tokens_TC) - side**2 > _PREFIX:
                raise LriadError(
                    f"{type(self.tower).__name__}: {len(tokens_TC)} tokens an image are no square of places"
                )
            # A class token, and registers, stand in front.
            return tokens_TC[len(tokens_TC) - side**2 :].T.unflatten(1, (side, side))
        _, height, width = grid_thw[0].tolist()
        merge = self.tower.spatial_merge_size
        if hasattr(self.tower, "window_size"):
            # Qwen2.5-VL computes in windows: groups of merge x merge patches are in another order.
            from transformers.vision_utils import get_vision_window_index

            order, _ = get_vision_window_index(grid_thw, merge, self.tower.window_size, self.tower.patch_size)
            tokens_TC = tokens_TC.unflatten(0, (-1, merge**2))[order.argsort().to(tokens_TC.device)].flatten(0, 1)
        cells = tokens_TC.unflatten(0, (height // merge, width // merge, merge, merge))
        return cells.permute(4, 0, 2, 1, 3).flatten(3, 4).flatten(1, 2)
