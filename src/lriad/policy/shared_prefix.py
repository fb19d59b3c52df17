"""Prompts computed once and continued many times.

GRPO samples G completions of one prompt, and a prompt with an image is many times longer than what is said about it. So
its keys and values are computed once: rollouts, answer probabilities and log-probabilities all continue from them. Two
forms give the same numbers:

- *expanded prefix*: the prompt's keys and values are repeated for its completions, which form a batch of their own;
- *packed row*: one row [prompt | completion 1 | … | completion G], in which no completion sees another. It needs no
  cache, but its attention is (P + G C)^2 and it was slower at every length measured (docs/performance.md).

Both keep the prompt's last token out of the shared part and put it in front of each completion instead: it is the one
that predicts a completion's first token. Positions are always passed explicitly, as the architecture counts them: the
index in a row is not a position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import Cache, DynamicCache
from transformers.cache_utils import DynamicLayer

from lriad.policy.attention import fast_decoding

Batch = dict[str, torch.Tensor]

_GROWTH = 128
"""Tokens by which a cache's buffers grow."""


@dataclass(frozen=True)
class PrefilledPrompts:
    """N prompts whose keys and values are computed, all but those of their last token.

    Attributes:
        cache: Keys and values of L - 1 tokens a prompt, padded on the left.
        mask: (N, L - 1), 1 where a token is no padding.
        last_ids: (N, 1), the last tokens.
        last_positions: Their positions, (N, 1), or (3, N, 1) under M-RoPE.
    """

    cache: Cache
    mask: torch.Tensor
    last_ids: torch.Tensor
    last_positions: torch.Tensor

    def continuation(self, rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
        """A model's inputs for B continuations: the last token of its prompt, then its own.

        Args:
            rows: (B,), which prompt each continues.
            ids: (B, C) token ids, padded on either side.
            mask: (B, C), 1 where a token is no padding.

        Returns:
            Inputs of shape (B, 1 + C), with a cache of their own that gradients flow through.
        """
        own = torch.cat([mask.new_ones(len(rows), 1), mask], 1)
        return {
            "input_ids": torch.cat([self.last_ids[rows], ids], 1),
            "attention_mask": torch.cat([self.mask[rows], own], 1),
            "position_ids": self.last_positions[..., rows, :] + (own.cumsum(-1) - 1).clamp(min=0),
            "past_key_values": _repeated(self.cache, rows, DynamicLayer),
        }


def per_token(batch: Batch) -> set[str]:
    """Names of a batch's fields that hold one value a token."""
    return {name for name, value in batch.items() if value.shape == batch["input_ids"].shape}


def padded(
    rows: Sequence[Sequence[int]], fill: int, side: Literal["left", "right"], device: Any = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of token ids as one tensor (B, C), and its mask: 1 where a token is no padding."""
    ids = pad_sequence([torch.tensor(row) for row in rows], True, fill, side)
    mask = pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], True, 0, side)
    return ids.to(device), mask.to(device)


def collate(
    prompts: Sequence[Batch],
    suffixes: Sequence[Sequence[int]] | None,
    pad_token_id: int,
    device: Any,
    width: int = 0,
) -> Batch:
    """One batch of N prompts, padded on the left.

    Args:
        prompts: A processor's output for one prompt each.
        suffixes: Token ids behind each prompt.
        pad_token_id: Stands where there is nothing.
        device: Where the batch goes.
        width: Tokens of a row at least.

    Returns:
        Per-token fields of shape (N, L); image tensors one behind the other.
    """
    names = per_token(prompts[0])
    tails = suffixes if suffixes is not None else [()] * len(prompts)
    batch = {}
    for name in prompts[0]:
        values = [prompt[name] for prompt in prompts]
        if name in names:
            text = {"input_ids": None, "attention_mask": 1}.get(name, 0)
            rows = [
                [*value[0].tolist(), *(tail if text is None else [text] * len(tail))]
                for value, tail in zip(values, tails, strict=True)
            ]
            fill = pad_token_id if name == "input_ids" else 0
            field = padded(rows, fill, "left", device)[0]
            batch[name] = torch.nn.functional.pad(field, (max(0, width - field.shape[1]), 0), value=fill)
        else:
            batch[name] = torch.cat(values).to(device, non_blocking=True)
    return batch


def position_ids(model: Any, batch: Batch) -> torch.Tensor:
    """Positions of a processor's batch as the model counts them: (N, L), or (3, N, L) under M-RoPE."""
    mask = batch["attention_mask"]
    if hasattr(model.base_model, "get_rope_index"):
        image_fields = {name: batch[name] for name in ("mm_token_type_ids", "image_grid_thw")}
        positions, _ = model.base_model.get_rope_index(batch["input_ids"], attention_mask=mask, **image_fields)
        return positions
    return (mask.cumsum(-1) - 1).clamp(min=0)


def prefill(model: Any, batch: Batch) -> PrefilledPrompts:
    """Compute the prompts of a processor's batch, padded on the left, once.

    Args:
        model: The transformers model (not a wrapper around it), with or without adapter layers in it.
        batch: N prompts of L tokens with their images' tensors.
    """
    positions = position_ids(model, batch)
    names = per_token(batch)
    shortened = {name: value[:, :-1] if name in names else value for name, value in batch.items()}
    cache = DynamicCache(config=model.config)
    with _until_written(cache):
        model.base_model(**shortened, position_ids=positions[..., :-1], past_key_values=cache, use_cache=True)
    return PrefilledPrompts(
        cache=cache,
        mask=batch["attention_mask"][:, :-1],
        last_ids=batch["input_ids"][:, -1:],
        last_positions=positions[..., -1:],
    )


class _Written(Exception):
    """A cache is complete."""


@contextmanager
def _until_written(cache: Cache) -> Iterator[None]:
    """Leave the model's forward pass once the last layer's keys and values are known.

    Nobody reads what that layer would make of them: of four layers that is up to a quarter of the work. PyTorch's
    checkpointing stops its recomputation in the same way.
    """
    last: Any = cache.layers[-1]
    update = last.update

    def update_and_stop(*args: Any, **kwargs: Any) -> None:
        update(*args, **kwargs)
        raise _Written

    last.update = update_and_stop
    try:
        with suppress(_Written):
            yield
    finally:
        del last.update


def joined(parts: Sequence[PrefilledPrompts]) -> PrefilledPrompts:
    """Prompts of one width that were computed in several batches, as one."""
    if len(parts) == 1:
        return parts[0]
    layers: list[Any] = []
    for same_depth in zip(*(part.cache.layers for part in parts), strict=True):
        layer = DynamicLayer()
        layer.update(*(torch.cat([getattr(one, name) for one in same_depth]) for name in ("keys", "values")))
        layers.append(layer)
    return PrefilledPrompts(
        cache=Cache(layers=layers),
        mask=torch.cat([part.mask for part in parts]),
        last_ids=torch.cat([part.last_ids for part in parts]),
        last_positions=torch.cat([part.last_positions for part in parts], -2),
    )


@dataclass(frozen=True)
class CutOff:
    """Completions that were cut off before their end, to be continued.

    Attributes:
        completions: Which of the B completions they are.
        cache: Keys and values of their prompts and of all their tokens but the last.
        mask: (K, L - 1 + T), 1 where a token is no padding.
        tokens: (K, 1 + T), the last token of the prompt and the completion's own.
        positions: That token's position, (K, 1), or (3, K, 1) under M-RoPE.
    """

    completions: list[int]
    cache: Cache
    mask: torch.Tensor
    tokens: torch.Tensor
    positions: torch.Tensor

    def after(self, counts: Sequence[int]) -> PrefilledPrompts:
        """Each as a prompt up to a number of its own tokens; what the cache holds beyond is as padding."""
        kept = torch.tensor(counts, device=self.mask.device)[:, None]
        mask = self.mask.clone()
        written = mask[:, 1 - self.tokens.shape[1] :]
        written[torch.arange(written.shape[1], device=mask.device) >= kept] = 0
        return PrefilledPrompts(self.cache, mask, self.tokens.gather(1, kept), self.positions + kept)


@dataclass(frozen=True)
class Decoded:
    """B completions as they were written.

    Attributes:
        ids: Their token ids; one that ended holds its end token.
        watched: (B, T, W), logits of the watched tokens where each token of a completion was chosen.
        cut_off: Those that did not end, where they were to be kept and there are any.
    """

    ids: list[list[int]]
    watched: torch.Tensor
    cut_off: CutOff | None = None


def decode(
    model: Any,
    prompts: PrefilledPrompts,
    rows: torch.Tensor,
    pick: Callable[[torch.Tensor], torch.Tensor],
    *,
    max_new_tokens: int,
    end_tokens: Sequence[int],
    watch: Sequence[int] = (),
    keep_cut_off: bool = False,
) -> Decoded:
    """Write B completions, one token of each at a time.

    Args:
        model: As in `prefill`.
        prompts: What is continued.
        rows: (B,), which prompt each completion continues.
        pick: Chooses token ids (B,) from logits (B, V).
        max_new_tokens: A completion is cut off there.
        end_tokens: What ends a completion.
        watch: Token ids whose logits are kept at every step.
        keep_cut_off: Keep the cache of the completions that are cut off.
    """
    device = prompts.last_ids.device
    ends = torch.tensor(sorted(end_tokens), device=device)
    cache = _repeated(prompts.cache, rows, _GrowingLayer)
    prefix = prompts.mask.shape[1]
    mask = torch.cat([prompts.mask[rows], prompts.mask.new_ones(len(rows), max_new_tokens)], 1)
    ids, positions = prompts.last_ids[rows], prompts.last_positions[..., rows, :]
    written = ids.new_zeros(len(rows), max_new_tokens)
    watched = torch.zeros(len(rows), max_new_tokens, len(watch), device=device)
    lengths = ids.new_full((len(rows),), max_new_tokens)
    in_batch = torch.arange(len(rows), device=device)
    running = torch.ones(len(rows), dtype=torch.bool, device=device)
    for step in range(max_new_tokens):
        with fast_decoding(model):
            logits = model(
                input_ids=ids,
                attention_mask=mask[:, : prefix + step + 1],
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
        if watch:
            watched[in_batch, step] = logits[:, list(watch)].float()
        chosen = pick(logits)
        written[in_batch, step] = chosen
        ended = running & torch.isin(chosen, ends)
        lengths[in_batch[ended]] = step + 1
        running &= ~ended
        left = int(running.sum())
        if left == 0:
            break
        ids, positions = chosen[:, None], positions + 1
        # Rows that have ended cost as much as the others: they go once they are a quarter of the batch.
        if left <= 0.75 * len(running):
            cache.batch_select_indices(running)
            in_batch, mask, ids, positions = in_batch[running], mask[running], ids[running], positions[..., running, :]
            running = running[running]
    texts = [tokens[:length] for tokens, length in zip(written.tolist(), lengths.tolist(), strict=True)]
    if not keep_cut_off or not running.any():
        return Decoded(texts, watched)
    if not running.all():
        cache.batch_select_indices(running)
    left_over = in_batch[running]
    first = prompts.last_ids[rows][left_over], prompts.last_positions[..., rows, :][..., left_over, :]
    cut_off = CutOff(left_over.tolist(), cache, mask[running], torch.cat([first[0], written[left_over]], 1), first[1])
    return Decoded(texts, watched, cut_off)


@dataclass(frozen=True)
class PackedRows:
    """N rows [prompt | completion | completion | …] in which no completion sees another.

    Attributes:
        inputs: A model's inputs, S tokens a row.
        labels: (N, S), the completions' tokens where they stand, -100 elsewhere.
        rows, branches: (B,), in which row and in which of its places each completion is.
        shape: Tokens of a prompt before the completions, places, and tokens of a place.
    """

    inputs: dict[str, Any]
    labels: torch.Tensor
    rows: torch.Tensor
    branches: torch.Tensor
    shape: tuple[int, int, int]

    def unpacked(self, values: torch.Tensor) -> torch.Tensor:
        """The completions' part (B, C) of values (N, S - 1) that belong to tokens 1, 2, …, S - 1 of each row."""
        prefix, places, width = self.shape
        of_places = values[:, prefix - 1 :].view(len(values), places, width)
        return of_places[self.rows, self.branches, 1:]


def packed_rows(
    model: Any, batch: Batch, rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor, pad_token_id: int
) -> PackedRows:
    """One row for each prompt with all of its completions behind it.

    Args:
        model: As in `prefill`.
        batch: N prompts of L tokens with their images' tensors, padded on the left.
        rows: (B,), which prompt each completion continues.
        ids: (B, C) the completions' token ids, padded on the right.
        mask: (B, C), 1 where a token is no padding.
        pad_token_id: Stands where there is nothing.
    """
    prompt_ids, prompt_mask = batch["input_ids"], batch["attention_mask"]
    count, prefix, width = len(prompt_ids), prompt_ids.shape[1] - 1, 1 + ids.shape[1]
    earlier = torch.tril(rows[:, None] == rows, -1)
    branches = earlier.sum(1)
    places = int(branches.max()) + 1

    place_ids = prompt_ids.new_full((count, places, width), pad_token_id)
    place_ids[rows, branches] = torch.cat([prompt_ids[rows, -1:], ids], 1)
    place_mask = prompt_mask.new_zeros(count, places, width)
    place_mask[rows, branches] = torch.cat([mask.new_ones(len(rows), 1), mask], 1).to(prompt_mask.dtype)
    labels = place_ids.masked_fill(place_mask == 0, -100)
    labels[:, :, 0] = -100
    # A placeholder may be sampled too; the model would look for its image.
    placeholders = [getattr(model.config, name, None) for name in ("image_token_id", "video_token_id")]
    known = torch.tensor([token for token in placeholders if token is not None], device=place_ids.device)
    shown_ids = place_ids.masked_fill(torch.isin(place_ids, known), pad_token_id)

    positions = position_ids(model, batch)
    behind = positions[..., -1:, None] + (place_mask.cumsum(-1) - 1).clamp(min=0)
    names = per_token(batch)
    inputs = {
        **{
            name: torch.cat([value[:, :-1], value.new_zeros(count, places * width)], 1) if name in names else value
            for name, value in batch.items()
        },
        "input_ids": torch.cat([prompt_ids[:, :-1], shown_ids.flatten(1)], 1),
        "position_ids": torch.cat([positions[..., :-1], behind.flatten(-2)], -1),
        "attention_mask": _packed_mask(
            torch.cat([prompt_mask[:, :-1], place_mask.flatten(1)], 1), prefix, places, width, model.dtype
        ),
    }
    labels = torch.cat([labels.new_full((count, prefix), -100), labels.flatten(1)], 1)
    return PackedRows(inputs, labels, rows, branches, (prefix, places, width))


def _packed_mask(valid: torch.Tensor, prefix: int, places: int, width: int, dtype: torch.dtype) -> torch.Tensor:
    """What is added to the attention's scores, (N, 1, S, S): 0 where a token may look, a very negative number else."""
    index = torch.arange(valid.shape[1], device=valid.device)
    place = torch.div(index - prefix, width, rounding_mode="floor").clamp(min=-1)
    causal = (index[:, None] >= index) & ((place == -1) | (place[:, None] == place))
    # Padding looks at itself: the softmax over nothing is not a number, and spreads.
    allowed = (causal & valid[:, None, :].bool()) | (index[:, None] == index)
    return torch.zeros(allowed.shape, dtype=dtype, device=valid.device).masked_fill_(~allowed, torch.finfo(dtype).min)[
        :, None
    ]


def disagreement(model: Any, prompt: Batch, completions: Sequence[Sequence[int]], pad_token_id: int) -> float:
    """By how much log-probabilities of either form differ from those of the plain forward pass, in the mean.

    Args:
        model: As in `prefill`.
        prompt: One prompt.
        completions: Token ids of completions of different length.
        pad_token_id: Stands where there is nothing.
    """
    device = prompt["input_ids"].device
    ids, mask = padded(completions, pad_token_id, "right", device)
    rows = torch.zeros(len(completions), dtype=torch.long, device=device)

    def logps(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        return logits.float().log_softmax(-1).gather(-1, tokens[..., None])[..., 0]

    batch = collate([prompt] * len(completions), completions, pad_token_id, device)
    keep = ids.shape[1] + 1
    plain_tokens = batch["input_ids"][:, -keep + 1 :]
    plain = logps(model(**batch, logits_to_keep=keep).logits[:, :-1], plain_tokens)
    reference = torch.cat([row[-len(tokens) :] for row, tokens in zip(plain, completions, strict=True)])

    inputs = prefill(model, prompt).continuation(rows, ids, mask)
    expanded = logps(model(**inputs).logits[:, :-1], ids)[mask.bool()]
    packed = packed_rows(model, prompt, rows, ids, mask, pad_token_id)
    values = logps(model(**packed.inputs).logits[:, :-1], packed.inputs["input_ids"][:, 1:])
    unpacked = packed.unpacked(values)[mask.bool()]
    # Not Python's max, which may lose a NaN.
    return torch.stack([(reference - other).abs().mean() for other in (expanded, unpacked)]).max().item()


class _GrowingLayer(DynamicLayer):
    """A layer of a cache that writes new tokens into spare room instead of copying all of the old ones each time.

    Only without gradients.
    """

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: dict[str, torch.Tensor] = {}

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> Any:
        self.keys = self._appended("keys", self.keys, key_states)
        self.values = self._appended("values", self.values, value_states)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        super().batch_select_indices(indices)
        self._buffers.clear()

    def _appended(self, name: str, old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        start, end = old.shape[-2], old.shape[-2] + new.shape[-2]
        buffer = self._buffers.get(name)
        if buffer is None or end > buffer.shape[-2]:
            buffer = new.new_empty(*new.shape[:-2], end + _GROWTH, new.shape[-1])
            buffer[..., :start, :] = old
            self._buffers[name] = buffer
        buffer[..., start:end, :] = new
        return buffer[..., :end, :]


def _repeated(cache: Cache, rows: torch.Tensor, layer_class: type[DynamicLayer]) -> Cache:
    """A new cache of B rows taken from those of `cache`; gradients flow back to it."""
    layers: list[Any] = []
    source: Any
    for source in cache.layers:
        repeated = layer_class()
        repeated.lazy_initialization(source.keys, source.values)
        repeated.keys, repeated.values = source.keys.index_select(0, rows), source.values.index_select(0, rows)
        layers.append(repeated)
    return Cache(layers=layers)
