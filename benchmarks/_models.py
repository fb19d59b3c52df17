"""The models that are measured: the embedded policy, and Qwen2-VL shapes with random weights."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from lriad.data import Sample
from lriad.prompt import build_completion, build_prompt

PATCH, MERGE = 14, 2
_SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"),
)
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Shape:
    """A Qwen2-VL: sizes of the language model and of the vision tower."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int
    vision_depth: int
    vision_hidden: int
    vision_heads: int


SHAPES = {
    # As the 7B: heads of 128 and 80, an MLP 5.3 times as wide as the rest, a tenth of the weights in the vocabulary.
    "27M": Shape(384, 2048, 8, 3, 1, 8192, 3, 160, 2),
    "2B": Shape(1536, 8960, 28, 12, 2, 151_936, 32, 1280, 16),
    "7B": Shape(3584, 18_944, 28, 28, 4, 152_064, 32, 1280, 16),
}


def save_qwen2_vl(shape: Shape, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """A Qwen2-VL of a shape with random weights, and a processor for it, in `folder`."""
    import transformers as t

    tokenizer = _tokenizer(shape.vocabulary)
    token = tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": shape.hidden < 3584,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": _mrope_section(shape.hidden // shape.heads),
        },
    }
    vision = {
        "depth": shape.vision_depth,
        "embed_dim": shape.vision_hidden,
        "hidden_size": shape.hidden,
        "num_heads": shape.vision_heads,
        "patch_size": PATCH,
        "spatial_merge_size": MERGE,
    }
    config = t.Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=text["tie_word_embeddings"],
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    processor = t.Qwen2VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(
            patch_size=PATCH, merge_size=MERGE, size={"shortest_edge": 56 * 56, "longest_edge": 4_000_000}
        ),
        tokenizer=tokenizer,
        video_processor=t.Qwen2VLVideoProcessor(patch_size=PATCH),
        chat_template=_CHAT_TEMPLATE,
    )
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = t.Qwen2VLForConditionalGeneration(config).to(dtype)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _mrope_section(head: int) -> list[int]:
    quarter = head // 8
    return [quarter, (head // 2 - quarter) // 2, (head // 2 - quarter) - (head // 2 - quarter) // 2]


def _tokenizer(vocabulary: int) -> Any:
    """Byte-level BPE that knows a prompt's words and random ones, so that what a random model says reads back as about
    as many tokens; filled up to the vocabulary's size with words that nobody says."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    draw = random.Random(0)
    words = ["".join(draw.choices(string.ascii_lowercase, k=draw.randint(2, 8))) for _ in range(20_000)]
    texts = [build_prompt("metal nut"), build_completion("A dark line breaks the surface.", "defect")] * 1000
    trainer = trainers.BpeTrainer(
        vocab_size=min(vocabulary, 8192),
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, " ".join(words)], trainer)
    tokenizer.add_tokens([f"<word{i}>" for i in range(vocabulary - tokenizer.get_vocab_size())])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        model_max_length=32_768,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
    )


def noise_images(folder: Path, count: int, tokens: int) -> list[Sample]:
    """Images of noise that a Qwen2-VL sees as about `tokens` image tokens each, half of them called defects."""
    rng = np.random.default_rng(0)
    side = PATCH * MERGE
    rows = max(r for r in range(1, int(tokens**0.5) + 1) if tokens % r == 0)
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for index in range(count):
        path = folder / f"{tokens}-{index}.png"
        coarse = rng.integers(0, 255, (rows, tokens // rows, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((side * (tokens // rows), side * rows)).save(path)
        label: Any = "defect" if index % 2 else "normal"
        samples.append(Sample(path.name, str(path), label, "metal_nut", "metal nut"))
    return samples
