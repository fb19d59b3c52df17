"""The frozen vision tower: kept as it is through training, and asked once for each image."""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import nn
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.utils import ModelOutput

CACHE_BYTES = 2 * 1024**3
"""Image features that training keeps."""

VISION_NAMES = (
    "vision_tower",
    "visual",
    "vision_model",
    "vision_encoder",
    "vision_backbone",
    "multi_modal_projector",
    "connector",
)
"""What transformers calls the parts that see: towers, and the projectors behind them."""


def vision_modules(model: nn.Module) -> list[nn.Module]:
    """The parts of a vision-language model that no adapter may touch, found by `VISION_NAMES`; maybe none."""
    return [module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in VISION_NAMES]


def freeze_vision(model: nn.Module) -> None:
    """Keep the vision modules in eval mode for good, without gradients.

    `Trainer` calls `model.train()` before every step, which would switch the tower's BatchNorm to batch statistics: an
    image would get other features in another batch, and the running statistics would drift.
    """
    for module in vision_modules(model):
        module.eval()
        module.requires_grad_(False)
        module.train = _stay.__get__(module)  # type: ignore[method-assign]


def _stay(module: nn.Module, mode: bool = True) -> nn.Module:
    """In place of `Module.train`."""
    return module


@dataclass
class ImageFeatures(ModelOutput):
    """What a language model reads of its images.

    Attributes:
        pooler_output: Tensor (N, T, D), or a tuple of N tensors (T_i, D) where images differ in size.
        deepstack_features: Qwen3-VL only: a list with one tuple of N tensors (T_i, D) a depth.
    """

    pooler_output: Any = None
    deepstack_features: Any = None


class VisionFeatureCache:
    """Image features computed once for each distinct image, in a bounded least-recently-used cache.

    It stands in for the model's own `get_image_features`, so that generation, the reference pass and the loss of
    stock code all read from it. Each image is encoded by itself: its features do not depend on what else is in the
    batch, and a resumed run sees the very same numbers. Only for frozen vision modules.

    Args:
        model: A transformers model with `base_model.get_image_features(pixel_values, ...)`.
        max_bytes: Bound of the cache; 0 keeps nothing, for inspection, which sees an image once. The images of a
            batch then go through the tower together, but on a CPU, where the large tensors of a batch are slower:
            memory that is given back to the system is faulted in again.
    """

    def __init__(self, model: nn.Module, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.encoded = 0
        self._bytes = 0
        self._entries: OrderedDict[bytes, Any] = OrderedDict()
        self._seen: dict[bytes, Any] = {}
        self._local = threading.local()
        base: Any = model.base_model
        original = getattr(base, "get_image_features", None)
        self.active = original is not None
        if original is not None:
            self._original = original
            self._dtype = next(model.parameters()).dtype
            self._on_cpu = next(model.parameters()).device.type == "cpu"

            @wraps(original)
            def get_image_features(*args: Any, **kwargs: Any) -> Any:
                return self._features(*args, **kwargs)

            base.get_image_features = get_image_features

    def _features(self, *args: Any, **kwargs: Any) -> Any:
        if getattr(self._local, "differentiable", False):
            return self._original(*args, **kwargs)
        if not self._on_cpu and not self._seen and (not self.max_bytes or torch.is_inference_mode_enabled()):
            return self._original(*args, **kwargs)
        given = inspect.signature(self._original).bind(*args, **kwargs).arguments
        given = {**given.pop("kwargs", {}), **given}
        needed = {name for name, value in given.items() if value is not None}
        if not needed <= {"pixel_values", "image_grid_thw", "return_dict"} or is_deepspeed_zero3_enabled():
            # An architecture that needs more than pixels and grids (tiles, masks); or ZeRO-3, where a miss on one
            # process alone would gather the tower's shards without the others.
            return self._original(*args, **kwargs)
        pixels, grids = given["pixel_values"], given.get("image_grid_thw")
        if grids is None:
            return _merge([self._one(image, {}) for image in torch.split(pixels, 1)])
        # Qwen-VL: rows are patches, `image_grid_thw` (N, 3) says how many belong to each image.
        images = torch.split(pixels, grids.prod(-1).tolist())
        return _merge(
            [self._one(image, {"image_grid_thw": grid[None]}) for image, grid in zip(images, grids, strict=True)]
        )

    def _one(self, pixels: torch.Tensor, extra: dict[str, torch.Tensor]) -> Any:
        if not self.max_bytes or torch.is_inference_mode_enabled():
            # Inspection, also on the way of a training run: seen once, and by several threads.
            known = self._seen.get(self._key(pixels, extra)) if self._seen else None
            if known is not None:
                return known
            with torch.no_grad():
                return self._original(pixels, **extra, return_dict=True)
        digest = self._key(pixels, extra)
        if digest in self._entries:
            self._entries.move_to_end(digest)
            return self._entries[digest]
        with torch.no_grad():
            features = self._original(pixels, **extra, return_dict=True)
        features = ImageFeatures(
            pooler_output=features.pooler_output,
            deepstack_features=getattr(features, "deepstack_features", None),
        )
        self.encoded += 1
        self._entries[digest] = features
        self._bytes += _size(features)
        while self._bytes > self.max_bytes and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self._bytes -= _size(dropped)
        return features

    def _key(self, pixels: torch.Tensor, extra: dict[str, torch.Tensor]) -> bytes:
        # In the tower's own precision: callers differ in the one they pass.
        rounded = pixels.detach().to(self._dtype).float().cpu()
        key = hashlib.blake2b(rounded.numpy().tobytes(), digest_size=16)
        key.update(repr([tuple(pixels.shape), *(v.tolist() for v in extra.values())]).encode())
        return key.digest()

    @contextmanager
    def differentiable(self) -> Iterator[None]:
        """Within it, this thread's images go through the tower anew, and gradients through it are recorded."""
        self._local.differentiable = True
        try:
            yield
        finally:
            self._local.differentiable = False

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Within it, what `see` has seen is not computed again."""
        try:
            yield
        finally:
            self._seen.clear()

    def see(self, pixels: torch.Tensor, extra: dict[str, torch.Tensor]) -> None:
        """Compute one image's features and hold them until `holding` ends."""
        self._seen[self._key(pixels, extra)] = self._original(pixels, **extra, return_dict=True)


def _merge(outputs: list[ImageFeatures]) -> ImageFeatures:
    """The features of a batch from those of its images."""
    first = outputs[0]
    if isinstance(first.pooler_output, torch.Tensor):
        pooled: Any = torch.cat([output.pooler_output for output in outputs])
    else:
        pooled = tuple(image for output in outputs for image in output.pooler_output)
    deepstack = None
    if getattr(first, "deepstack_features", None) is not None:
        depths = zip(*(output.deepstack_features for output in outputs), strict=True)
        deepstack = [tuple(image for level in depth for image in level) for depth in depths]
    return ImageFeatures(pooler_output=pooled, deepstack_features=deepstack)


def _size(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    items = value.values() if hasattr(value, "values") else value
    return sum(_size(item) for item in items)
