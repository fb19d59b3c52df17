"""A vision-language model as a policy: images and object names in, completions and answer probabilities out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from lriad.errors import LriadError
from lriad.policy.answer import (
    FAST_PREFIX,
    AnswerSlot,
    Completion,
    answer_slot,
    p_defect_from_logprobs,
    text_before_answer,
)
from lriad.policy.architecture import EYES
from lriad.policy.depths import Depths
from lriad.policy.shared_prefix import Batch, Decoded, PrefilledPrompts, collate, decode, joined, padded, prefill
from lriad.policy.vision import VisionFeatureCache, freeze_vision
from lriad.prompt import PLAIN, Context, build_messages

S = TypeVar("S")
T = TypeVar("T")

_KEPT_PROMPTS = 1024
CPU_TOKENS = 1024
"""Tokens that a CPU computes together."""


class Policy:
    """A loaded policy.

    Args:
        model: A transformers image-text-to-text model, possibly wrapped by PEFT.
        processor: Its processor; padding is set to the left.
        name: What the user called it.
        weights: Files of the base model's weights, for the hash.
        adapter_weights: File of the adapter's weights, None without an adapter.
        operating_point: Threshold on P(defect) by mode, where the policy comes with one.

    Attributes:
        model, processor, tokenizer: The parts.
        name: What the user called it.
        source: Where the base model was loaded from, a path or a hub id.
        operating_point: As above; empty where it has none.
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
        operating_point: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.name = name
        self.source = source
        self.operating_point = dict(operating_point or {})
        self._weights = tuple(weights)
        self._adapter_weights = adapter_weights
        freeze_vision(model)
        self.vision = VisionFeatureCache(self.base, max_bytes=0)
        self._prompts: dict[tuple[str, Context], str] = {}
        self._processing = threading.Lock()

    @property
    def base(self) -> Any:
        """The transformers model inside a PEFT wrapper, or the model itself."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def config(self) -> Any:
        """The transformers config."""
        return self.base.config

    @property
    def reads_several_images(self) -> bool:
        """Whether a prompt may show references; the embedded policy knows prompts of one image only."""
        return getattr(getattr(self.config, "vision_config", None), "architecture", None) != EYES

    @property
    def dtype(self) -> torch.dtype:
        """The base model's precision."""
        return self.base.dtype

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

    def prompt_text(self, object_name: str, context: Context = PLAIN) -> str:
        """The whole conversation up to the completion, as the model's own chat template writes it."""
        known = self._prompts.get((object_name, context))
        if known is None:
            for token in self.tokenizer.get_added_vocab():
                for what, text in (("object name", object_name), ("note", context.note)):
                    if token in text:
                        raise LriadError(f"{what} {text!r}: holds {token!r}, which steers the model; leave it out")
            known = self.processor.apply_chat_template(
                build_messages(object_name, context), add_generation_prompt=True, tokenize=False
            )
            if not context.evidence:  # which hardly comes twice
                if len(self._prompts) >= _KEPT_PROMPTS:
                    self._prompts.clear()
                self._prompts[object_name, context] = known
        return known

    def encode(
        self,
        image: Image.Image,
        object_name: str,
        context: Context = PLAIN,
        references: Sequence[Image.Image] = (),
    ) -> Batch:
        """The processor's output for one prompt, without padding: what the other methods take.

        May be called from several threads.
        """
        text = self.prompt_text(object_name, replace(context, references=len(references)))
        try:
            # A fast tokenizer keeps its padding in itself: two threads would collide.
            with self._processing:
                return dict(self.processor(images=[[*references, image]], text=[text], return_tensors="pt"))
        except ValueError as error:
            # Such as an image 200 times as long as wide.
            raise LriadError(f"{self.name} cannot take this image: {str(error).splitlines()[0]}; crop it") from error

    def size_seen(self, prompt: Batch) -> tuple[int, int]:
        """Width and height in pixels that the vision tower is given of a prompt's image, as the processor has made it.

        Args:
            prompt: From `encode`, of one image.
        """
        grid = prompt.get("image_grid_thw")
        if grid is None:
            height, width = prompt["pixel_values"].shape[-2:]
            return width, height
        # Qwen-VL: the grid counts patches.
        _, rows, columns = grid[0].tolist()
        side = self.config.vision_config.patch_size
        return columns * side, rows * side

    @cached_property
    def depths(self) -> Depths:
        """Where the vision tower is tapped.

        Raises:
            LriadError: It is not of a kind that can be.
        """
        return Depths(self.base)

    @torch.inference_mode()
    def see(self, prompts: Sequence[Batch]) -> list[list[torch.Tensor]]:
        """What the vision tower makes of the prompts' images at three depths; see `Depths`.

        Within `vision.holding()` the passes that follow do not look at the same images again.

        Args:
            prompts: N prompts from `encode`, of one image each.

        Returns:
            For each three maps of shape (C, H, W), float32, on the CPU.

        Raises:
            LriadError: The policy's tower is not of a kind that can be tapped.
        """
        depths = self.depths

        def seen(part: Sequence[Batch]) -> list[list[torch.Tensor]]:
            maps = []
            for prompt in part:
                grid = prompt.get("image_grid_thw")
                extra = {} if grid is None else {"image_grid_thw": grid.to(self.device)}
                with depths.watching() as kept:
                    try:
                        self.vision.see(prompt["pixel_values"].to(self.device, self.dtype), extra)
                    except TypeError as error:
                        # An architecture whose tower needs more than pixels and grids.
                        raise LriadError(
                            f"{self.name}: images cannot be remembered with its tower ({error})"
                        ) from error
                chosen = [kept[index] for index in depths.chosen(kept)]
                maps.append([level.cpu() for level in depths.maps(chosen, grid)])
            return maps

        return [maps for part in self.in_parts(seen, prompts, 1) for maps in part]

    def collate(
        self, prompts: Sequence[Batch], suffixes: Sequence[Sequence[int]] | None = None, *, width: int = 0
    ) -> Batch:
        """N prompts as one batch on the policy's device, with a suffix of token ids behind each, padded on the left."""
        return collate(prompts, suffixes, self.tokenizer.pad_token_id, self.device, width)

    def prefill(self, prompts: Sequence[Batch]) -> PrefilledPrompts:
        """N prompts computed once, to be continued."""
        width = max(_length(prompt) for prompt in prompts)

        def prefilled(part: Sequence[Batch]) -> PrefilledPrompts:
            return prefill(self.base, self.collate(part, width=width))

        return joined(self.in_parts(prefilled, prompts, self._together(width, len(prompts))))

    def _together(self, tokens: int, rows: int) -> int:
        """How many rows of so many tokens are computed together: all; on a CPU a few, since there one long prompt is
        work enough and the large tensors of many are slower."""
        return rows if self.device.type != "cpu" else max(1, CPU_TOKENS // tokens)

    def in_parts(
        self, compute: Callable[[list[S]], T], items: Sequence[S], together: int, *, gradients: bool = False
    ) -> list[T]:
        """What is computed of all items, so many at a time.

        On a CPU, but for training, each core takes items of its own, as many as the others: a small model's operations
        are too short to be shared by several.

        Args:
            compute: Takes some of the items.
            items: All of them.
            together: Items that `compute` takes at a time, at most.
            gradients: Whether it takes gradients, of activations, itself.
        """
        cores = torch.get_num_threads()
        apart = gradients or torch.is_inference_mode_enabled()
        count = -(-len(items) // together)
        shared = self.device.type == "cpu" and apart and 1 < cores <= count
        each = -(-len(items) // (-(-count // cores) * cores)) if shared else together
        parts = [list(items[start : start + each]) for start in range(0, len(items), each)]
        if not shared:
            return [compute(part) for part in parts]

        def alone(part: list[S]) -> T:
            torch.set_num_threads(1)
            with torch.inference_mode(not gradients):
                return compute(part)

        try:
            with ThreadPoolExecutor(cores, thread_name_prefix="prompts") as pool:
                return list(pool.map(alone, parts))
        finally:
            torch.set_num_threads(cores)

    def rows(self, count: int) -> torch.Tensor:
        """0, 1, …, count - 1: one continuation of each prompt."""
        return torch.arange(count, device=self.device)

    def end_tokens(self) -> list[int]:
        """What ends a completion: the model's end tokens and the tokenizer's."""
        own = self.base.generation_config.eos_token_id
        tokens = own if isinstance(own, list) else [own]
        return sorted({token for token in (*tokens, self.tokenizer.eos_token_id) if token is not None})

    def text_of(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Completions without special tokens."""
        with self._processing:
            return self.tokenizer.batch_decode(ids, skip_special_tokens=True)

    def answer_slots(self, before: Sequence[str]) -> list[AnswerSlot]:
        """Where the answer stands behind each of these texts."""
        with self._processing:
            return [answer_slot(self.tokenizer, text) for text in before]

    @torch.inference_mode()
    def reason(self, prompts: Sequence[Batch], *, max_new_tokens: int = 512) -> list[Completion]:
        """Completions under greedy decoding, each with P(defect) where its answer stands.

        Greedy decoding is ours, whatever the model ships with: a repetition penalty, as Qwen2.5-VL has one, would
        punish the answer for standing in the prompt, and the policy that is trained samples without it.

        Args:
            prompts: N prompts from `encode`.
            max_new_tokens: A completion is cut off there.

        Returns:
            N completions, without special tokens. What is said of an image does not depend on the rest of the batch.
        """
        prefilled = self.prefill(prompts)
        decoded = decode(
            self.base,
            prefilled,
            self.rows(len(prompts)),
            lambda logits: logits.argmax(-1),
            max_new_tokens=max_new_tokens,
            end_tokens=self.end_tokens(),
            watch=self.letters,
            keep_cut_off=True,
        )
        return self._scored(prefilled, self.text_of(decoded.ids), decoded)

    @torch.inference_mode()
    def score(self, prompts: Sequence[Batch], texts: Sequence[str]) -> list[Completion]:
        """Given completions with P(defect) where their answers stand, after their own reasoning.

        Args:
            prompts: N prompts from `encode`.
            texts: N completions.
        """
        return self._scored(self.prefill(prompts), texts)

    @torch.inference_mode()
    def fast(self, prompts: Sequence[Batch]) -> list[Completion]:
        """P(defect) without reasoning, in one forward pass.

        Args:
            prompts: N prompts from `encode`.

        Returns:
            N completions without text.
        """
        p = self.p_plain(prompts, [FAST_PREFIX] * len(prompts))
        return [Completion(text="", p_defect=value, forced=False) for value in p.tolist()]

    def _scored(
        self, prefilled: PrefilledPrompts, texts: Sequence[str], decoded: Decoded | None = None
    ) -> list[Completion]:
        pairs = [text_before_answer(text) for text in texts]
        p = self.p_defect(prefilled, self.rows(len(texts)), [before for before, _ in pairs], decoded)
        return [
            Completion(text, value, forced) for text, value, (_, forced) in zip(texts, p.tolist(), pairs, strict=True)
        ]

    @cached_property
    def letters(self) -> tuple[int, ...]:
        """The answers' two tokens, defect first, where each is one token; else none."""
        [slot] = self.answer_slots([FAST_PREFIX])
        return (*slot.defect, *slot.normal) if len(slot.defect) == len(slot.normal) == 1 else ()

    def p_defect(
        self,
        prefilled: PrefilledPrompts,
        rows: torch.Tensor,
        before: Sequence[str],
        decoded: Decoded | None = None,
    ) -> torch.Tensor:
        """P(defect) of shape (B,), float32, where the answer stands behind texts that continue prompts.

        Args:
            prefilled: N prompts.
            rows: (B,), which prompt each text continues.
            before: B texts up to the answer block.
            decoded: The texts' own tokens, where this policy has just written them watching `letters`: where they are
                the canonical ones, the answer's logits are known already, or what was cut off goes on from there.
        """
        slots = self.answer_slots(before)
        p = torch.empty(len(slots), device=self.device)
        known = [index for index, slot in enumerate(slots) if decoded is not None and self._wrote(decoded, index, slot)]
        if known and decoded is not None:
            at = decoded.watched[known, [len(slots[index].prefix) for index in known]]
            p[known] = p_defect_from_logprobs(at[:, 0], at[:, 1])
        cut_off = decoded.cut_off if decoded is not None else None
        left = [index for index in range(len(slots)) if index not in set(known)]
        going_on = [index for index in left if cut_off is not None and index in cut_off.completions]
        if going_on and decoded is not None and cut_off is not None:
            common = {index: _common(decoded.ids[index], slots[index].prefix) for index in going_on}
            behind = [replace(slots[index], prefix=slots[index].prefix[common[index] :]) for index in going_on]
            start = cut_off.after([common.get(index, 0) for index in cut_off.completions])
            places = [cut_off.completions.index(index) for index in going_on]
            p[going_on] = self._p_behind(start, torch.tensor(places, device=self.device), behind)
        rest = [index for index in left if index not in set(going_on)]
        if rest:
            p[rest] = self._p_behind(prefilled, rows[rest], [slots[index] for index in rest])
        return p

    def p_plain(self, prompts: Sequence[Batch], before: Sequence[str]) -> torch.Tensor:
        """As `p_defect`, in one forward pass over each prompt and its text."""
        slots = self.answer_slots(before)
        if any((*slot.defect, *slot.normal) != self.letters for slot in slots):
            return self.p_defect(self.prefill(prompts), self.rows(len(prompts)), before)
        pairs = list(zip(prompts, slots, strict=True))

        def logits_of(part: Sequence[tuple[Batch, AnswerSlot]]) -> torch.Tensor:
            batch = self.collate([prompt for prompt, _ in part], [slot.prefix for _, slot in part])
            return self.base(**batch, logits_to_keep=1).logits[:, -1]

        together = self._together(max(map(_length, prompts)), len(prompts))
        logits = torch.cat(self.in_parts(logits_of, pairs, together))[:, list(self.letters)].float()
        return p_defect_from_logprobs(logits[:, 0], logits[:, 1])

    def _wrote(self, decoded: Decoded, index: int, slot: AnswerSlot) -> bool:
        """Whether a completion's own tokens lead up to the answer in this slot, and one stands there."""
        ids, end = decoded.ids[index], len(slot.prefix)
        return len(ids) > end and tuple(ids[:end]) == slot.prefix and (*slot.defect, *slot.normal) == self.letters

    def _p_behind(self, prefilled: PrefilledPrompts, rows: torch.Tensor, slots: Sequence[AnswerSlot]) -> torch.Tensor:
        """P(defect) of shape (B,) from a pass over the texts."""
        if all(len(slot.defect) == len(slot.normal) == 1 for slot in slots):
            logits = self._logits_behind(prefilled, rows, [slot.prefix for slot in slots], keep=1)[:, -1]
            each = torch.arange(len(slots), device=logits.device)
            defect = logits[each, [slot.defect[0] for slot in slots]]
            normal = logits[each, [slot.normal[0] for slot in slots]]
        else:
            defect = self._sequence_logprobs(prefilled, rows, slots, "defect")
            normal = self._sequence_logprobs(prefilled, rows, slots, "normal")
        return p_defect_from_logprobs(defect, normal)

    def _logits_behind(
        self, prefilled: PrefilledPrompts, rows: torch.Tensor, suffixes: Sequence[Sequence[int]], *, keep: int
    ) -> torch.Tensor:
        """Logits (B, keep, V) in float32 at the last tokens of the texts."""
        ids, mask = padded(suffixes, self.tokenizer.pad_token_id, "left", self.device)
        inputs = prefilled.continuation(rows, ids, mask)
        return self.base(**inputs, logits_to_keep=keep).logits.float()

    def _sequence_logprobs(
        self, prefilled: PrefilledPrompts, rows: torch.Tensor, slots: Sequence[AnswerSlot], answer: str
    ) -> torch.Tensor:
        """Log-probability (B,) of each slot's answer, which may be several tokens long."""
        endings = [getattr(slot, answer) for slot in slots]
        suffixes = [slot.prefix + ending for slot, ending in zip(slots, endings, strict=True)]
        logits = self._logits_behind(prefilled, rows, suffixes, keep=max(map(len, endings)) + 1)
        logps = logits.log_softmax(-1)
        total = []
        for row, ending in enumerate(endings):
            # The logits before the last n tokens of a left-padded row predict them.
            steps = torch.arange(-len(ending) - 1, -1, device=logps.device)
            total.append(logps[row, steps, torch.tensor(ending, device=logps.device)].sum())
        return torch.stack(total)


def _common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two texts begin with in common."""
    same = (a == b for a, b in zip(left, right, strict=False))
    return sum(1 for _ in takewhile(bool, same))


def _length(prompt: Batch) -> int:
    return prompt["input_ids"].shape[1]


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        with open(file, "rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
