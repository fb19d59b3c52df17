"""A vision-language model as a policy: images and object names in, completions and answer probabilities out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import GenerationConfig

from lriad.errors import LriadError
from lriad.policy.answer import (
    FAST_PREFIX,
    AnswerProbability,
    AnswerSlot,
    answer_slot,
    p_defect_from_logprobs,
    text_before_answer,
)
from lriad.policy.vision import VisionFeatureCache, freeze_vision
from lriad.prompt import build_messages


class Policy:
    """A loaded policy.

    Args:
        model: A transformers image-text-to-text model, possibly wrapped by PEFT.
        processor: Its processor; padding is set to the left.
        name: What the user called it.
        weights: Files of the base model's weights, for the hash.
        adapter_weights: File of the adapter's weights, None without an adapter.

    Attributes:
        model, processor, tokenizer: The parts.
        name: What the user called it.
        source: Where the base model was loaded from, a path or a hub id.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str,
        source: str,
        weights: Sequence[Path] = (),
        adapter_weights: Path | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.name = name
        self.source = source
        self._weights = tuple(weights)
        self._adapter_weights = adapter_weights
        freeze_vision(model)
        self.vision = VisionFeatureCache(self.base)
        self._prompts: dict[str, str] = {}

    @property
    def base(self) -> Any:
        """The transformers model inside a PEFT wrapper, or the model itself."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @cached_property
    def policy_sha256(self) -> str:
        """SHA-256 over the base model's weight files, in the order of their names."""
        return _sha256(self._weights)

    @cached_property
    def adapter_sha256(self) -> str | None:
        """SHA-256 of the adapter's weight file; None without an adapter."""
        return _sha256([self._adapter_weights]) if self._adapter_weights else None

    def prompt_text(self, object_name: str) -> str:
        """The whole conversation up to the completion, as the model's own chat template writes it."""
        if object_name not in self._prompts:
            for token in self.tokenizer.get_added_vocab():
                if token in object_name:
                    raise LriadError(
                        f"object name {object_name!r}: holds {token!r}, which steers the model; leave it out"
                    )
            self._prompts[object_name] = self.processor.apply_chat_template(
                build_messages(object_name), add_generation_prompt=True, tokenize=False
            )
        return self._prompts[object_name]

    def encode(self, images: Sequence[Image.Image], object_names: Sequence[str]) -> dict[str, torch.Tensor]:
        """The processor's batch for N prompts: `input_ids` and `attention_mask` of shape (N, L), padded on the left,
        and the image tensors of the architecture."""
        texts = [self.prompt_text(name) for name in object_names]
        try:
            batch = self.processor(images=[[image] for image in images], text=texts, padding=True, return_tensors="pt")
        except ValueError as error:
            # Such as an image 200 times as long as wide.
            raise LriadError(f"{self.name} cannot take this image: {str(error).splitlines()[0]}; crop it") from error
        return dict(batch.to(self.device))

    def _end_tokens(self) -> list[int]:
        """What ends a completion: the model's end tokens and the tokenizer's."""
        own = self.base.generation_config.eos_token_id
        tokens = own if isinstance(own, list) else [own]
        return sorted({token for token in (*tokens, self.tokenizer.eos_token_id) if token is not None})

    @torch.inference_mode()
    def generate(
        self, images: Sequence[Image.Image], object_names: Sequence[str], *, max_new_tokens: int = 512
    ) -> list[str]:
        """Completions under greedy decoding.

        Args:
            images: N RGB images.
            object_names: Their N objects, in words.
            max_new_tokens: A completion is cut off there.

        Returns:
            N completions, without special tokens.
        """
        batch = self.encode(images, object_names)
        # Not the model's own settings: a repetition penalty, as Qwen2.5-VL ships one, would punish the answer for
        # standing in the prompt, and the policy that is trained samples without it.
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            # What is not set here is taken from the model after all.
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            num_beams=1,
            eos_token_id=self._end_tokens(),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        ids = self.model.generate(**batch, generation_config=settings)
        return self.tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)

    @torch.inference_mode()
    def answer_probabilities(
        self,
        images: Sequence[Image.Image],
        object_names: Sequence[str],
        completions: Sequence[str] | None = None,
    ) -> list[AnswerProbability]:
        """P(defect) where the answer stands, after each completion's own reasoning.

        Args:
            images: N RGB images.
            object_names: Their N objects, in words.
            completions: N completions; None reads the answer without reasoning (`fast` mode).

        Returns:
            N probabilities. An image's value does not depend on the rest of the batch.
        """
        if completions is None:
            before, forced = [FAST_PREFIX] * len(images), [False] * len(images)
        else:
            pairs = [text_before_answer(completion) for completion in completions]
            before, forced = [text for text, _ in pairs], [flag for _, flag in pairs]
        p = self.score_answers(self.encode(images, object_names), before)
        return [AnswerProbability(value, flag) for value, flag in zip(p.tolist(), forced, strict=True)]

    def score_answers(self, batch: dict[str, torch.Tensor], before: Sequence[str]) -> torch.Tensor:
        """P(defect) of shape (N,), float32, behind the texts `before`, for the N prompts of a processor's batch."""
        slots = [answer_slot(self.tokenizer, text) for text in before]
        if all(len(slot.defect) == len(slot.normal) == 1 for slot in slots):
            logits = self._logits_behind(batch, [slot.prefix for slot in slots])
            rows = torch.arange(len(slots), device=logits.device)
            defect = logits[rows, [slot.defect[0] for slot in slots]]
            normal = logits[rows, [slot.normal[0] for slot in slots]]
        else:
            defect = self._sequence_logprobs(batch, slots, "defect")
            normal = self._sequence_logprobs(batch, slots, "normal")
        return p_defect_from_logprobs(defect, normal)

    def _logits_behind(self, batch: dict[str, torch.Tensor], suffixes: Sequence[tuple[int, ...]]) -> torch.Tensor:
        """Logits of the next token, (N, V) in float32, behind each prompt and its suffix of token ids."""
        extended = extend_batch(batch, suffixes, self.tokenizer.pad_token_id)
        return self.model(**extended, logits_to_keep=1).logits[:, -1].float()

    def _sequence_logprobs(
        self, batch: dict[str, torch.Tensor], slots: Sequence[AnswerSlot], answer: str
    ) -> torch.Tensor:
        """Log-probability (N,) of each slot's answer, which may be several tokens long."""
        endings = [getattr(slot, answer) for slot in slots]
        suffixes = [slot.prefix + ending for slot, ending in zip(slots, endings, strict=True)]
        longest = max(len(ending) for ending in endings)
        extended = extend_batch(batch, suffixes, self.tokenizer.pad_token_id)
        logits = self.model(**extended, logits_to_keep=longest + 1).logits.float()
        logps = logits.log_softmax(-1)
        total = []
        for row, ending in enumerate(endings):
            # The logits before the last n tokens of a left-padded row predict them.
            steps = torch.arange(-len(ending) - 1, -1, device=logps.device)
            total.append(logps[row, steps, torch.tensor(ending, device=logps.device)].sum())
        return torch.stack(total)


def extend_batch(
    batch: dict[str, torch.Tensor], suffixes: Sequence[Sequence[int]], pad_token_id: int
) -> dict[str, torch.Tensor]:
    """A processor's batch with each row's token ids appended, padded on the left anew.

    Per-token fields (`attention_mask`, `mm_token_type_ids`, …) grow with the rows; image tensors stay.
    """
    ids, mask = batch["input_ids"], batch["attention_mask"]
    lengths = mask.sum(1).tolist()
    width = max(length + len(suffix) for length, suffix in zip(lengths, suffixes, strict=True))
    per_token = {key for key, value in batch.items() if value.shape[:2] == ids.shape and value.dim() == 2}
    extended = dict(batch)
    for key in per_token:
        fill = pad_token_id if key == "input_ids" else 0
        rows = batch[key].new_full((len(lengths), width), fill)
        for row, (length, suffix) in enumerate(zip(lengths, suffixes, strict=True)):
            start = width - length - len(suffix)
            rows[row, start : start + length] = batch[key][row, ids.shape[1] - length :]
            tail = {"input_ids": list(suffix), "attention_mask": [1] * len(suffix)}.get(key, [0] * len(suffix))
            rows[row, start + length :] = rows.new_tensor(tail)
        extended[key] = rows
    return extended


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
