"""Small randomly initialised models of the families that the project runs on, saved to disk like real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lriad.policy import architecture
from lriad.policy.eyes import Eyes
from lriad.prompt import build_completion, build_prompt

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "fast_vlm")

QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def corpus() -> list[str]:
    names = ["metal nut", "gear", "magnetic tile", "bottle", "ball screw"]
    reasons = ["The surface is even and whole.", "A dark line at the upper left breaks the metal."]
    return [build_prompt(name) for name in names] * 4 + [
        build_completion(reason, label) for reason in reasons for label in ("defect", "normal")
    ] * 10


def qwen_tokenizer() -> Any:
    """Byte-level BPE whose pre-tokenizer keeps punctuation and letters together, so that `>A` can be one token, as in
    Qwen's own vocabulary."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    tokenizer.train_from_iterator(
        corpus(),
        trainers.BpeTrainer(
            vocab_size=512,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        model_max_length=4096,
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_bos_token": "<|vision_start|>",
            "vision_eos_token": "<|vision_end|>",
        },
    )


def _qwen_parts(family: str) -> tuple[Any, Any]:
    import transformers as t

    tokenizer = qwen_tokenizer()
    ids = {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in {
            "image_token_id": "<|image_pad|>",
            "video_token_id": "<|video_pad|>",
            "vision_start_token_id": "<|vision_start|>",
            "vision_end_token_id": "<|vision_end|>",
        }.items()
    }
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
    }
    patch = 16 if family == "qwen3_vl" else 14
    if family == "qwen2_vl":
        vision = {
            "depth": 2,
            "embed_dim": 32,
            "hidden_size": 32,
            "num_heads": 2,
            "mlp_ratio": 2,
            "patch_size": patch,
        }
        config = t.Qwen2VLConfig(text_config=text, vision_config=vision, **ids)
        model_class, processor_class = t.Qwen2VLForConditionalGeneration, t.Qwen2VLProcessor
    elif family == "qwen2_5_vl":
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": patch,
            "window_size": 56,
            "fullatt_block_indexes": [1],
        }
        config = t.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
        model_class, processor_class = t.Qwen2_5_VLForConditionalGeneration, t.Qwen2_5_VLProcessor
    else:
        vision = {
            "depth": 2,
            "hidden_size": 32,
            "out_hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": patch,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        }
        config = t.Qwen3VLConfig(text_config={**text, "head_dim": 8}, vision_config=vision, **ids)
        model_class, processor_class = t.Qwen3VLForConditionalGeneration, t.Qwen3VLProcessor
    image_processor = t.Qwen2VLImageProcessor(
        patch_size=patch, size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}
    )
    video_class = t.Qwen3VLVideoProcessor if family == "qwen3_vl" else t.Qwen2VLVideoProcessor
    processor = processor_class(
        image_processor=image_processor,
        tokenizer=tokenizer,
        video_processor=video_class(patch_size=patch),
        chat_template=QWEN_TEMPLATE,
    )
    return model_class(config), processor


def save_tiny_model(family: str, folder: Path) -> Path:
    """A model of `family` with random weights, and its processor, in `folder`."""
    import torch

    torch.manual_seed(0)
    if family == "fast_vlm":
        tokenizer = architecture.build_tokenizer(corpus())
        # A tenth of the pixels: the tower is what takes the time.
        model = architecture.build_model(tokenizer, Eyes(kinds=3, grid=3))
        processor = architecture.build_processor(tokenizer)
        processor.image_processor.size = processor.image_processor.crop_size = {"height": 96, "width": 96}
    else:
        model, processor = _qwen_parts(family)
    with torch.no_grad():
        # Large enough that what is said depends on the image.
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "vision_tower" not in name:
                weight.normal_(0.0, 1.5 * weight.shape[1] ** -0.5)
        for module in model.modules():
            # With transformers' initial weights an EfficientNet fades to nothing through its 50 layers.
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight)
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
