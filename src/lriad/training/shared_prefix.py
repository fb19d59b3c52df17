"""TRL's GRPO step without its copies of the prompt.

Stock TRL computes a prompt and its image once for each of its G completions: in generation, again for the reference,
again for the loss. Here each prompt is computed once in each of them, and its completions continue from it
(`lriad.policy.shared_prefix`); the processor runs once a prompt, a group stays together, and the numbers are the same:
exactly so without dropout; with it, the completions of a group share what is dropped from their prompt.
The loss and everything around it stay TRL's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import DistributedType, gather_object
from transformers import TemperatureLogitsWarper, TopPLogitsWarper
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOConfig
from trl import GRPOTrainer as TRLGRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from lriad.errors import LriadError
from lriad.policy import Policy
from lriad.policy.shared_prefix import (
    Batch,
    Decoded,
    PrefilledPrompts,
    decode,
    disagreement,
    packed_rows,
    padded,
    prefill,
)
from lriad.policy.vision import CACHE_BYTES
from lriad.prompt import PLAIN

logger = logging.getLogger(__name__)

FLOAT32_TOLERANCE, HALF_TOLERANCE = 1e-3, 0.1
"""Mean difference from the plain forward pass that log-probabilities may have; in half precision both are rounded."""


@dataclass
class Rollout:
    """What is kept of a generation batch until the next one.

    Attributes:
        prompts: N prompts, each without padding.
        batch: Their `input_ids` and `attention_mask` together, (N, L), padded on the left.
        rows: (B,), which prompt each completion continues.
        prefilled, decoded: The prompts' keys and values under the policy that sampled, and what it wrote, until the
            rewards are there.
    """

    prompts: list[Batch]
    batch: Batch
    rows: torch.Tensor
    prefilled: PrefilledPrompts | None = None
    decoded: Decoded | None = None


@dataclass
class Sampled:
    """Completions that are sampled and scored, one a row, those of a prompt one behind the other.

    Attributes:
        inputs: The data set's rows, one a completion.
        said: What TRL's `_generate` returns: lists with an entry a completion, or nothing.
        scores: Tensors with an entry a completion of all processes, among them TRL's `rewards`.
        prompts: The N prompts where they are shared; else empty.
    """

    inputs: list[dict]
    said: tuple[Any, ...]
    scores: dict[str, torch.Tensor]
    prompts: list[Batch]

    def replace(self, group: int, other: Sampled, other_group: int, size: int) -> None:
        """Put a group of `size` completions of another sampling in the place of one of this."""
        to, of = (slice(number * size, (number + 1) * size) for number in (group, other_group))
        self.inputs[to] = other.inputs[of]
        for ours, theirs in zip(self.said, other.said, strict=True):
            if isinstance(ours, list) and ours:
                ours[to] = theirs[of]
        for name, values in self.scores.items():
            values[to] = other.scores[name][of]
        if self.prompts:
            self.prompts[group] = other.prompts[other_group]


class SharedPrefixTrainer(TRLGRPOTrainer):
    """TRL's trainer, with prompts shared by their completions where the model allows it.

    Its data set's rows are `prompt`, `image`, `object_name` and, where the prompt says more, `context`. Subclasses say
    what the advantages are, and may sample other prompts than they are given (`_sample`).

    Args:
        policy: The policy to train.
        max_prompt_tokens: A longer prompt is an error.
        shared: False trains as stock TRL does.
        settings: TRL's arguments.

    Attributes:
        stock_because: Why each completion is computed with a prompt of its own after all; None where it is not.
        rollout: The generation batch that is being trained on, None in the stock way.
        sampled: Its completions and scores, until its advantages are known.
    """

    args: GRPOConfig
    model: Any
    num_generations: int
    max_completion_length: int
    train_dataset: Any
    _buffered_inputs: Any

    def __init__(self, policy: Policy, max_prompt_tokens: int, *, shared: bool = True, **settings: Any) -> None:
        self.policy = policy
        self.max_prompt_tokens = max_prompt_tokens
        super().__init__(model=policy.model, processing_class=policy.processor, **settings)
        policy.model = self.accelerator.unwrap_model(self.model)
        policy.vision.max_bytes = CACHE_BYTES if shared else 0
        self.rollout: Rollout | None = None
        self.sampled: Sampled | None = None
        self.stock_because: str | None = None if shared else "asked for"
        self._probed = not shared
        self._rows: Any = None

    # --- Whether prompts can be shared --------------------------------------------------------------

    def _obstacle(self, prompt: Batch) -> str | None:
        """Why prompts cannot be shared here, None where they can."""
        base = self.policy.base
        attention = base.config.get_text_config()._attn_implementation
        if self.use_vllm:
            return "completions come from vLLM"
        if is_deepspeed_zero3_enabled() or self.accelerator.distributed_type == DistributedType.FSDP:
            return "the weights are sharded over processes"
        if attention not in ("sdpa", "eager"):
            return f"attention is {attention}; sdpa and eager take the masks that it needs"
        # An architecture that nobody thought of is compared with its plain forward pass.
        texts = ["<think>A dark line breaks the surface.</think> <answer>A</answer>", "<think>Even</think>"]
        try:
            with torch.no_grad(), self._evaluating():
                difference = disagreement(
                    base, prompt, [self.policy.tokenizer(text)["input_ids"] for text in texts], self._pad_token_id
                )
        except Exception as error:
            return f"{type(base).__name__} refuses it ({(str(error).splitlines() or [type(error).__name__])[0][:120]})"
        # Written so that a NaN is an obstacle.
        if not difference <= (FLOAT32_TOLERANCE if base.dtype == torch.float32 else HALF_TOLERANCE):
            return f"log-probabilities of {type(base).__name__} would be wrong by {difference:.3g}"
        return None

    @property
    def _pad_token_id(self) -> int:
        return self.policy.tokenizer.pad_token_id

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Without dropout: what samples is the policy itself."""
        was_training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(was_training)

    # --- Rollouts -----------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        sampled = self.sampled = self._sample(inputs)
        if self.stock_because:
            output = super()._generate_and_score_completions(sampled.inputs)
        else:
            output = self._shared_batch(sampled)
        output |= {"advantages": self._own_advantages(len(inputs))}
        self.sampled = None
        return output

    def _sample(self, inputs: list[dict]) -> Sampled:
        """Completions of the given rows, and their scores."""
        self.rollout = None
        prompts = [row["prompt"] for row in inputs]
        if self.stock_because:
            prompts = [prepare_multimodal_messages(row["prompt"], images=[row["image"]]) for row in inputs]
        else:
            self.rollout = self._encoded(inputs)
        said = self._generate(prompts)
        _, ids, _, completions, *_ = said
        scores = self._score(inputs, prompts, completions, ids)
        if self.rollout is not None:
            self.rollout.prefilled = self.rollout.decoded = None
        return Sampled(list(inputs), said, scores, self.rollout.prompts if self.rollout else [])

    def _score(self, inputs: list[dict], prompts: Any, completions: Any, ids: Any) -> dict[str, torch.Tensor]:
        """The scores of completions that were just sampled."""
        return {"rewards": self._calculate_rewards(inputs, prompts, completions, ids)}

    # TRL's method samples and scores by these two: it is given what was sampled and scored already.

    def _generate(self, prompts: list) -> Any:
        return super()._generate(prompts) if self.sampled is None else self.sampled.said

    def _calculate_rewards(self, *args: Any) -> torch.Tensor:
        return super()._calculate_rewards(*args) if self.sampled is None else self.sampled.scores["rewards"]

    def _own_advantages(self, count: int) -> torch.Tensor:
        """Advantages (B,) of this process's completions, from the scores of what was `sampled`."""
        raise NotImplementedError

    def _shared_batch(self, sampled: Sampled) -> dict[str, torch.Tensor]:
        """What TRL's method returns, with the row of each completion's prompt in place of the images."""
        self.rollout = rollout = self._rollout(sampled.prompts, self._groups(len(sampled.inputs)))
        device = self.accelerator.device
        ids, mask = padded(sampled.said[1], self._pad_token_id, "right", device)
        output = {
            "prompt_rows": rollout.rows,
            "prompt_ids": rollout.batch["input_ids"][rollout.rows],
            "prompt_mask": rollout.batch["attention_mask"][rollout.rows],
            "completion_ids": ids,
            "completion_mask": mask,
            "num_items_in_batch": self.accelerator.gather(mask.sum()).sum(),
        }
        if self.beta:
            base = self.accelerator.unwrap_model(self.model)
            with torch.no_grad(), base.disable_adapter():
                output["ref_per_token_logps"] = torch.cat(
                    [
                        self._shared_logps(base, rollout.rows[part], ids[part], mask[part])[0]
                        for part in self._micro_batches(len(ids))
                    ]
                )
        self._log_rewards(sampled.scores["rewards"])
        return output

    def _groups(self, count: int) -> list[int]:
        """Which prompt each of this process's completions is of, counted over all processes."""
        # TRL's sampler repeats each prompt G times; a process's share may begin inside of a group.
        start = self.accelerator.process_index * count
        return [(start + index) // self.num_generations for index in range(count)]

    def encode(self, row: dict) -> Batch:
        """The prompt of one row of the data set."""
        return self.policy.encode(row["image"], row["object_name"], row.get("context", PLAIN))

    def _encoded(self, inputs: list[dict]) -> Rollout:
        """The distinct prompts of a generation batch, each processed once."""
        groups = self._groups(len(inputs))
        firsts = [index for index, group in enumerate(groups) if index == 0 or group != groups[index - 1]]
        prompts = [self.encode(inputs[i]) for i in firsts]
        self._check_length(max(prompt["input_ids"].shape[1] for prompt in prompts))
        return self._rollout(prompts, groups)

    def _rollout(self, prompts: list[Batch], groups: list[int]) -> Rollout:
        """A rollout of encoded prompts; `groups` names the prompt of each completion, from any number on."""
        rows = torch.tensor(groups, device=self.accelerator.device) - groups[0]
        text = [{name: prompt[name] for name in ("input_ids", "attention_mask")} for prompt in prompts]
        return Rollout(prompts, self.policy.collate(text), rows)

    def _check_length(self, tokens: int) -> None:
        if tokens > self.max_prompt_tokens:
            raise LriadError(
                f"a prompt has {tokens} tokens with its image, more than max_prompt_tokens={self.max_prompt_tokens}; "
                "lower max_pixels or raise it"
            )

    def _tokenize_prompts(self, prompts: list) -> Any:
        if self.rollout is None:
            return super()._tokenize_prompts(prompts)
        each = [prompt["input_ids"][0].tolist() for prompt in self.rollout.prompts]
        return [each[row] for row in self.rollout.rows.tolist()], None, {}

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        rollout = self.rollout
        if rollout is None:
            self._check_length(max(map(len, prompt_ids)))
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        with torch.no_grad(), self._evaluating():
            rollout.prefilled = self.policy.prefill(rollout.prompts)
            rollout.decoded = decode(
                self.policy.base,
                rollout.prefilled,
                rollout.rows,
                sampler(self.temperature, self.top_p),
                max_new_tokens=self.max_completion_length,
                end_tokens=self.eos_token_ids,
                watch=self.policy.letters,
            )
        return rollout.decoded.ids, None

    def _log_rewards(self, rewards: torch.Tensor) -> None:
        """TRL's metrics of the rewards (B, number of rewards) of all processes."""
        metrics = self._metrics["train"]
        for name, values in zip(self.reward_func_names, rewards.unbind(1), strict=True):
            metrics[f"rewards/{name}/mean"].append(values.mean().item())
            metrics[f"rewards/{name}/std"].append(values.std().item())
        total = (rewards * self.reward_weights.to(rewards.device)).sum(1)
        spread = total.view(-1, self.num_generations).std(1)
        metrics["reward"].append(total.mean().item())
        metrics["reward_std"].append(total.std().item())
        metrics["frac_reward_zero_std"].append(spread.isclose(torch.zeros_like(spread)).float().mean().item())

    # --- Loss ---------------------------------------------------------------------------------------

    def _micro_batches(self, count: int) -> list[slice]:
        size = self.args.per_device_train_batch_size
        return [slice(start, start + size) for start in range(0, count, size)]

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        if not self._probed:
            first = self.encode(generation_batch[0])
            # All processes go one way.
            reasons = gather_object([self._obstacle(self.policy.collate([first]))])
            self.stock_because, self._probed = next((reason for reason in reasons if reason), None), True
            if self.stock_because:
                logger.warning("each completion gets a prompt of its own, as in stock TRL: %s", self.stock_because)
        if self.stock_because:
            return super()._prepare_inputs(generation_batch)
        # TRL shuffles the completions here, which would tear groups apart.
        parts = self._micro_batches(len(generation_batch))
        if self._step % len(parts) == 0 or self._buffered_inputs is None:
            batch = self._generate_and_score_completions(generation_batch)
            self._buffered_inputs = [
                {name: value if value.dim() == 0 else value[part] for name, value in batch.items()} for part in parts
            ]
        return self._buffered_inputs[self._step % len(parts)]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._rows = inputs.get("prompt_rows")
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if self.rollout is None:
            return super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        ids, mask = input_ids[:, -logits_to_keep:], attention_mask[:, -logits_to_keep:]
        return *self._shared_logps(model, self._rows, ids, mask), None

    def _shared_logps(
        self, model: Any, rows: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probabilities of completions' tokens and the entropies there, both (B, C).

        Args:
            model: The policy's model as it is trained, or as the reference.
            rows: (B,), which of the rollout's prompts each continues.
            ids, mask: (B, C), the completions, padded on the right.
        """
        assert self.rollout is not None
        base = self.policy.base
        used, local = rows.unique(return_inverse=True)
        batch = self.policy.collate([self.rollout.prompts[row] for row in used.tolist()])
        with self.accelerator.autocast():
            if self._takes_no_cache(model):
                packed = packed_rows(base, batch, local, ids, mask, self._pad_token_id)
                outputs = model(**packed.inputs, labels=packed.labels, fused_lm_head=True)
                return packed.unpacked(outputs.log_probs), packed.unpacked(outputs.entropy)
            inputs = prefill(base, batch).continuation(local, ids, mask)
            labels = torch.nn.functional.pad(ids.masked_fill(mask == 0, -100), (1, 0), value=-100)
            outputs = model(**inputs, labels=labels, fused_lm_head=True)
            return outputs.log_probs, outputs.entropy

    def _takes_no_cache(self, model: Any) -> bool:
        """Whether a model drops the cache it is given: checkpointed layers do, and a wrapper counts forward passes."""
        return self.args.gradient_checkpointing or model is not self.policy.model


def sampler(temperature: float, top_p: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Draws token ids (B,) from logits (B, V), as Transformers' `generate` does."""
    warpers: list[Any] = [TemperatureLogitsWarper(temperature)] if temperature != 1 else []
    warpers += [TopPLogitsWarper(top_p)] if top_p < 1 else []

    def pick(logits: torch.Tensor) -> torch.Tensor:
        scores = logits.float()
        for warper in warpers:
            scores = warper(None, scores)
        return torch.multinomial(scores.softmax(-1), num_samples=1)[:, 0]

    return pick
