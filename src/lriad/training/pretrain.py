"""The supervised warm start: from ImageNet eyes and procedural images to the embedded policy.

`lriad pretrain` draws the procedural family `parts`, encodes it once with the frozen tower, and teaches projector and
language model two things at once: where a defect is (dense supervision of the image tokens by the procedural masks,
through a head that is dropped afterwards), and the completion that names object, kind, place and evidence. No category
of `objects` or `textures` and no real image is in it. Everything resumes from the output folder.
"""

from __future__ import annotations

import json
import math
import string
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from lriad.errors import LriadError
from lriad.policy import architecture
from lriad.policy.answer import FAST_PREFIX
from lriad.prompt import ANSWERS, build_completion, build_messages
from lriad.training.callbacks import append_metrics, truncate_metrics

FAMILY = "parts"
_GRID = architecture.IMAGE_SIZE // architecture.STRIDE
_DENSE_LAYER = 3
"""The hidden layer whose image tokens say 'defect here'; the layers behind it can read what it says."""
_COVER = 0.03
"""A token's cell counts as defective from this share of its area on."""
_SAVE_EVERY = 100

NAMES = """
anchor arm axle badge bag ball bar bead bearing belt blade block board bolt bottle bowl box bracket brick bush
button cable can cap capsule card cartridge case casting cell chain chip circuit clamp clip coil coin connector
container cookie cork crystal cube cup cylinder diode disc door drum engine fabric fan felt fibre film filter
fitting flange foam foil frame fuse gasket gear glass grid grille handle hinge hook hose housing insert jar joint
key knob label lamp leather lens lever lid link lock magnet mat mesh module motor nail needle nozzle nut panel paper
part pen phone piece pill pin pipe plate plug pole ring rivet rod roller rope rotor rubber screw seal sensor shaft
sheet shell shoe slab socket spoon spring sponge stamp strap surface switch tablet tank tape tile tin tooth
toothbrush toy tray tube turbine valve veneer vial wafer wall washer wheel wire wood yarn zipper
""".split()
ADJECTIVES = """
black blue brass ceramic coated copper cut fine flat glass gold green grey hex hollow knitted large long magnetic
metal mould moulded oval painted perforated plastic polished printed red ribbed rolled round rubber short silver
small soft solar square steel striped thick thin threaded white wooden woven yellow
""".split()


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of the warm start.

    Attributes:
        images: Images a category; half of them show a defect.
        steps: Optimiser steps.
        batch_size: Images a step.
        learning_rate: Peak of a cosine schedule with a linear warm-up.
        warmup_steps: Length of the warm-up.
        dense_weight: Weight of the 'defect here' loss.
        image_weight: Weight of the image-level loss at the end of the prompt.
        fast_share: Share of the examples that answer without reasoning.
        name_share: Share of the examples whose object goes by another name: the verdict must not hang on it.
        validation_categories: Categories of the family kept out of training.
        seed: Of images, batches and weights.
    """

    images: int = 280
    steps: int = 500
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    dense_weight: float = 0.5
    image_weight: float = 0.5
    fast_share: float = 0.4
    name_share: float = 0.6
    validation_categories: tuple[str, ...] = ("keypad", "nut_kernel", "marble_slab")
    seed: int = 0


class Heads(nn.Module):
    """What only the warm start needs: 'defect here' for each image token, 'defect' for the image."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))
        self.image = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 1))


def pretrain(output: str | Path, config: PretrainConfig | None = None, *, progress: bool = True) -> Path:
    """Make the embedded policy's weights from nothing.

    Args:
        output: Run folder: `data/`, `features.npy`, `checkpoint.pt`, `metrics.jsonl`, and at the end `model/`.
        config: Settings; those of a run that is resumed must be the same.
        progress: Show progress bars.

    Returns:
        The folder of the finished model, in float16 safetensors.

    Raises:
        LriadError: The folder holds a run with other settings, or the ImageNet weights are not installed.
    """
    from lriad.data.synthetic import make_dataset

    config = config or PretrainConfig()
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    _claim(output, config)
    data = make_dataset(
        FAMILY, output / "data", images=config.images, defect_ratio=0.5, seed=config.seed, progress=progress
    )
    rows = [json.loads(line) for line in (Path(data) / "samples.jsonl").read_text(encoding="utf-8").splitlines()]
    torch.manual_seed(config.seed)
    tokenizer = architecture.build_tokenizer(_corpus(rows))
    model = architecture.build_model(tokenizer)
    architecture.load_imagenet_eyes(model)
    processor = architecture.build_processor(tokenizer)

    features = encode_images(model, processor, rows, Path(data), output / "features.npy", progress)
    targets = dense_targets(rows, Path(data))
    train_indices: list[int] = []
    validation_indices: list[int] = []
    for i, row in enumerate(rows):
        held_out = row["category"] in config.validation_categories
        (validation_indices if held_out else train_indices).append(i)

    heads = Heads(model.config.text_config.hidden_size)
    _fit(
        model,
        heads,
        processor,
        rows,
        features,
        targets,
        train_indices,
        validation_indices,
        output,
        config,
        progress,
    )

    folder = output / "model"
    model.half().save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    return folder


def _claim(output: Path, config: PretrainConfig) -> None:
    """Refuse to mix two runs in one folder."""
    settings = output / "config.json"
    text = json.dumps(asdict(config), indent=2)
    if settings.exists() and settings.read_text() != text:
        raise LriadError(f"{output}: holds a run with other settings (see {settings}); give another --output")
    settings.write_text(text)


def _corpus(rows: Sequence[dict]) -> Iterator[str]:
    """What the tokenizer is trained on: prompts with many names, and narrations."""
    rng = np.random.default_rng(0)
    for name in [*NAMES, *ADJECTIVES]:
        yield f" {name} {name}s"
    for row in rows:
        yield build_messages(_name(row, rng, 0.6))[0]["content"][1]["text"]
        yield _completion(row, row["object_name"], rng, fast=False)


def _name(row: dict, rng: np.random.Generator, share: float) -> str:
    """The object's name, or another one: a plausible name, or letters without sense."""
    draw = rng.random()
    if draw >= share:
        return row["object_name"]
    if draw < 0.1 * share:
        return "".join(rng.choice(list(string.ascii_lowercase), rng.integers(3, 10)))
    noun = str(rng.choice(NAMES))
    return f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.5 else noun


def _completion(row: dict, name: str, rng: np.random.Generator, *, fast: bool) -> str:
    from lriad.data.synthetic.narration import narrate

    if fast:
        return f"{FAST_PREFIX}<answer>{ANSWERS[row['label']]}</answer>"
    reasoning = narrate(name, row["defect_type"], row.get("place"), int(rng.integers(1 << 31)))
    return build_completion(reasoning, row["label"])


def encode_images(
    model: Any, processor: Any, rows: Sequence[dict], root: Path, file: Path, progress: bool
) -> np.ndarray:
    """The frozen tower's feature maps as a memory-mapped array of shape (N, tokens, channels), float16.

    Resumes: a side file counts the images that are done.
    """
    from tqdm import tqdm

    from lriad.data.image import open_image

    shape = (len(rows), architecture.IMAGE_TOKENS, architecture.VISION_DIM)
    counter = file.with_suffix(".done")
    done = int(counter.read_text()) if counter.exists() and file.exists() else 0
    mode = "r+" if done else "w+"
    features = np.lib.format.open_memmap(file, mode=mode, dtype=np.float16, shape=shape)
    with (
        torch.inference_mode(),
        tqdm(total=len(rows), initial=done, desc="eyes", disable=not progress) as bar,
    ):
        for start in range(done, len(rows), 8):
            images = [open_image(root / row["image"]) for row in rows[start : start + 8]]
            pixels = processor.image_processor(images, return_tensors="pt")["pixel_values"]
            maps = model.model.vision_tower(pixels).last_hidden_state
            features[start : start + len(images)] = maps.flatten(2).permute(0, 2, 1).half().numpy()
            if (start // 8) % 32 == 31 or start + 8 >= len(rows):
                features.flush()
                counter.write_text(str(start + len(images)))
            bar.update(len(images))
    return features


def dense_targets(rows: Sequence[dict], root: Path) -> np.ndarray:
    """Which image tokens show the defect: bool of shape (N, tokens), from the procedural masks."""
    import cv2
    from PIL import Image

    targets = np.zeros((len(rows), architecture.IMAGE_TOKENS), dtype=bool)
    for i, row in enumerate(rows):
        if row.get("mask"):
            mask = np.asarray(Image.open(root / row["mask"]).convert("L")) > 0
            cover = cv2.resize(mask.astype(np.float32), (_GRID, _GRID), interpolation=cv2.INTER_AREA)
            targets[i] = (cover >= min(_COVER, cover.max())).ravel()
    return targets


@dataclass
class _Batch:
    ids: torch.Tensor  # (N, L), padded on the right: a causal model never looks there
    labels: torch.Tensor  # (N, L), -100 outside the completion
    prompt_end: torch.Tensor  # (N,), index of the prompt's last token
    is_defect: torch.Tensor  # (N,), float


def _collate(processor: Any, rows: Sequence[dict], rng: np.random.Generator, config: PretrainConfig) -> _Batch:
    tokenizer = processor.tokenizer
    image = processor.image_token
    sequences, starts = [], []
    for row in rows:
        name = _name(row, rng, config.name_share)
        prompt = processor.apply_chat_template(build_messages(name), add_generation_prompt=True, tokenize=False)
        prompt = prompt.replace(image, image * architecture.IMAGE_TOKENS)
        completion = _completion(row, name, rng, fast=rng.random() < config.fast_share)
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        completion_ids = tokenizer(completion, add_special_tokens=False)["input_ids"]
        sequences.append(prompt_ids + completion_ids + [tokenizer.eos_token_id])
        starts.append(len(prompt_ids))
    width = max(map(len, sequences))
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    labels = torch.full((len(rows), width), -100)
    for i, (sequence, start) in enumerate(zip(sequences, starts, strict=True)):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        labels[i, start : len(sequence)] = ids[i, start : len(sequence)]
    is_defect = torch.tensor([float(row["label"] == "defect") for row in rows])
    return _Batch(ids, labels, torch.tensor(starts) - 1, is_defect)


def _losses(
    model: Any, heads: Heads, batch: _Batch, features: torch.Tensor, targets: torch.Tensor
) -> dict[str, torch.Tensor]:
    """The three losses and the image-level logits of one batch.

    Args:
        features: Tower outputs (N, T, C).
        targets: 'Defect here' (N, T), float.
    """
    core = model.model
    embeddings = core.get_input_embeddings()(batch.ids)
    image_mask = batch.ids == model.config.image_token_id
    projected = core.multi_modal_projector(features)
    embeddings = embeddings.masked_scatter(image_mask[..., None], projected)
    output = core.language_model(inputs_embeds=embeddings, output_hidden_states=True, use_cache=False)
    hidden = output.last_hidden_state

    scored = batch.labels[:, 1:] != -100
    logits = model.lm_head(hidden[:, :-1][scored])
    text = F.cross_entropy(logits, batch.labels[:, 1:][scored])

    tokens = output.hidden_states[_DENSE_LAYER][image_mask].view(*targets.shape, -1)
    # Defective tokens are one in thirty; without the weight the head says 'nothing' for long.
    dense = F.binary_cross_entropy_with_logits(heads.dense(tokens).squeeze(-1), targets, pos_weight=torch.tensor(6.0))
    ends = hidden[torch.arange(len(hidden)), batch.prompt_end]
    image_logits = heads.image(ends).squeeze(-1)
    image = F.binary_cross_entropy_with_logits(image_logits, batch.is_defect)
    return {"text": text, "dense": dense, "image": image, "image_logits": image_logits}


def _fit(
    model: Any,
    heads: Heads,
    processor: Any,
    rows: Sequence[dict],
    features: np.ndarray,
    targets: np.ndarray,
    train_indices: Sequence[int],
    validation_indices: Sequence[int],
    output: Path,
    config: PretrainConfig,
    progress: bool,
) -> None:
    from tqdm import tqdm

    trained = nn.ModuleDict(
        {
            "projector": model.model.multi_modal_projector,
            "language_model": model.model.language_model,
            "heads": heads,
        }
    )
    decay = [p for p in trained.parameters() if p.dim() > 1]
    rest = [p for p in trained.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=(0.9, 0.95),
    )
    checkpoint = output / "checkpoint.pt"
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trained.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    metrics = output / "metrics.jsonl"
    truncate_metrics(metrics, first)
    with tqdm(total=config.steps, initial=first, desc="warm start", disable=not progress) as bar:
        for step in range(first, config.steps):
            # Each step draws from its own seed, so that a resumed run goes on as if it had never stopped.
            rng = np.random.default_rng([config.seed, step])
            indices = np.sort(rng.choice(train_indices, config.batch_size, replace=False))
            batch = _collate(processor, [rows[i] for i in indices], rng, config)
            losses = _losses(
                model,
                heads,
                batch,
                torch.from_numpy(features[indices]).float(),
                torch.from_numpy(targets[indices]).float(),
            )
            loss = losses["text"] + config.dense_weight * losses["dense"] + config.image_weight * losses["image"]
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _schedule(step, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            optimizer.step()
            bar.update()
            record = {"step": step + 1, **{k: losses[k].item() for k in ("text", "dense", "image")}}
            if (step + 1) % _SAVE_EVERY == 0 or step + 1 == config.steps:
                record |= _validate(model, heads, processor, rows, features, targets, validation_indices, config)
                state = {
                    "weights": trained.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step + 1,
                }
                torch.save(state, checkpoint.with_suffix(".tmp"))
                checkpoint.with_suffix(".tmp").replace(checkpoint)
            bar.set_postfix({k: f"{v:.3f}" for k, v in record.items() if k != "step"})
            append_metrics(metrics, record)


def _schedule(step: int, config: PretrainConfig) -> float:
    """Linear warm-up, then a cosine to a tenth of the peak."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


@torch.inference_mode()
def _validate(
    model: Any,
    heads: Heads,
    processor: Any,
    rows: Sequence[dict],
    features: np.ndarray,
    targets: np.ndarray,
    indices: Sequence[int],
    config: PretrainConfig,
    limit: int = 192,
) -> dict[str, float]:
    """Losses, image-level AUROC and balanced accuracy on categories that are not trained on."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    if not indices:
        return {}
    rng = np.random.default_rng(config.seed)
    chosen = np.sort(rng.choice(indices, min(limit, len(indices)), replace=False))
    logits, text, dense = [], [], []
    for start in range(0, len(chosen), config.batch_size):
        part = chosen[start : start + config.batch_size]
        batch = _collate(processor, [rows[i] for i in part], rng, config)
        losses = _losses(
            model,
            heads,
            batch,
            torch.from_numpy(features[part]).float(),
            torch.from_numpy(targets[part]).float(),
        )
        logits.append(losses["image_logits"])
        text.append(losses["text"].item())
        dense.append(losses["dense"].item())
    scores = torch.cat(logits).numpy()
    truth = np.array([rows[i]["label"] == "defect" for i in chosen])
    return {
        "validation_text": float(np.mean(text)),
        "validation_dense": float(np.mean(dense)),
        "validation_auroc": float(roc_auc_score(truth, scores)),
        "validation_balanced_accuracy": float(balanced_accuracy_score(truth, scores > 0)),
    }
