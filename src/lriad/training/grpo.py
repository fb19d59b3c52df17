"""GRPO on TRL's trainer: what the paper needs and TRL does not have, and nothing more.

Four things are added to `trl.GRPOTrainer` (a fifth, its speed, is `SharedPrefixTrainer`):

- the policy's answer probability p reaches the rewards (as the column `p_correct`), and the class factor with it;
- the advantages are Eq. 6-8's (population standard deviation), or our `focal` weighting of them;
- groups that carry no signal can be replaced by those of further prompts (dynamic sampling);
- the vision tower stays frozen in eval mode, and each image is encoded once for the whole run (`lriad.policy.vision`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from types import MappingProxyType
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from torch.utils.data import Sampler
from trl import GRPOConfig

from lriad.data import Sample
from lriad.data.image import open_image
from lriad.errors import LriadError
from lriad.policy import Policy
from lriad.policy.answer import text_before_answer
from lriad.policy.vision import VISION_NAMES, vision_modules
from lriad.prompt import Context, build_prompt
from lriad.rewards import ClassFactor, FocalReward, accuracy_reward, class_name, format_reward
from lriad.training.advantages import RunningMean, focal_weights, paper_advantages, weighted_advantages
from lriad.training.recipe import Recipe, deepspeed_config
from lriad.training.sampling import drawn_samples, further_indices
from lriad.training.shared_prefix import Sampled, SharedPrefixTrainer


class GRPOTrainer(SharedPrefixTrainer):
    """TRL's trainer with the paper's rewards and advantages.

    Args:
        policy: The policy to train; its model gets a LoRA adapter.
        recipe: All settings.
        samples: Labelled training images.
        args: TRL's arguments, from `grpo_config`.
        callbacks: Transformers callbacks.
        evidence: What a memory of good parts says of each image, by its path.
        shared: False computes each completion with a prompt of its own, as stock TRL does.

    Raises:
        LriadError: The adapter would touch the vision tower, or matches nothing.
    """

    def __init__(
        self,
        policy: Policy,
        recipe: Recipe,
        samples: Sequence[Sample],
        args: GRPOConfig,
        callbacks: Sequence[Any] = (),
        evidence: Mapping[str, str] = MappingProxyType({}),
        *,
        shared: bool = True,
    ) -> None:
        self.recipe = recipe
        # Frequencies as they are drawn: balanced classes have no rare one left.
        drawn = drawn_samples(samples, recipe)
        self.class_factor = ClassFactor.from_samples(drawn, recipe.class_factor, recipe.class_factor_by)
        self.focal_mean = RunningMean()
        if recipe.reward == "paper":
            answer_reward: Any = FocalReward(gamma=recipe.gamma, alpha=recipe.alpha, reading=recipe.paper_reading)
        else:
            answer_reward = accuracy_reward
        rewards: list[Any] = [format_reward, answer_reward]
        check_targets(policy.base, recipe.lora_targets)
        super().__init__(
            policy,
            recipe.max_prompt_tokens,
            shared=shared,
            reward_funcs=rewards,
            args=args,
            train_dataset=training_dataset(drawn, recipe, evidence),
            peft_config=lora_config(recipe),
            callbacks=list(callbacks),
        )
        check_adapter(policy.model)

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        return EpochSampler(super()._get_train_sampler(dataset), self)

    def _sample(self, inputs: list[dict]) -> Sampled:
        """As above; groups without signal give way to those of further prompts that have one (DAPO)."""
        self._seen: list[tuple[str, float]] = []
        sampled = super()._sample(inputs)
        rounds, size, replaced = self.recipe.dynamic_sampling, self.num_generations, 0
        first = {row["index"] for row in inputs}
        further = iter(further_indices(first, len(self.train_dataset), rounds, self.args.seed, self.state.global_step))
        for _ in range(1, rounds):
            flat = self._flat_groups(sampled)
            indices = list(islice(further, len(flat)))
            if not indices:
                break
            rows = self.train_dataset[indices]
            other = super()._sample(
                [{name: column[i] for name, column in rows.items()} for i in range(len(indices)) for _ in range(size)]
            )
            useless = self._flat_groups(other)
            useful = [group for group in range(len(indices)) if group not in useless]
            for group, other_group in zip(flat, useful, strict=False):
                sampled.replace(group, other, other_group, size)
            replaced += len(useful)
        if rounds > 1:
            self._metrics["train"]["groups_replaced"].append(float(replaced))
        # All that was sampled: what is trained on is picked by its errors. And only now, so that an update has one f.
        self.class_factor.update(*zip(*self._seen, strict=True))
        return sampled

    def _flat_groups(self, sampled: Sampled) -> list[int]:
        """Which groups carry no signal, by their number."""
        size, scores = self.num_generations, sampled.scores
        flat_P = without_signal(scores["accuracy"].view(-1, size), scores["rewards"][:, 0].view(-1, size))
        return flat_P.nonzero().flatten().tolist()

    def _score(self, inputs: list[dict], prompts: Any, completions: Any, ids: Any) -> dict[str, torch.Tensor]:
        texts = [completion[0]["content"] for completion in completions]
        p_defect = self._answer_probabilities(inputs, texts)
        is_defect = torch.tensor([row["label"] == "defect" for row in inputs], device=p_defect.device)
        p_correct = torch.where(is_defect, p_defect, 1 - p_defect)
        factors = self.class_factor.factors([row["class_name"] for row in inputs])
        for row, p, factor in zip(inputs, p_correct.tolist(), factors, strict=True):
            row["p_correct"] = p
            row["class_factor"] = factor
        rewards = self._calculate_rewards(inputs, prompts, completions, ids)
        accuracy = accuracy_reward(prompts, completions, label=[row["label"] for row in inputs])
        self._see(inputs, accuracy)
        own = {
            "p_correct": p_correct,
            "is_defect": is_defect,
            "class_factor": torch.tensor(factors, device=p_defect.device),
            "accuracy": torch.tensor(accuracy, device=p_defect.device),
        }
        gathered = {name: self.accelerator.gather(values) for name, values in own.items()}
        return gathered | {"rewards": rewards}

    def _own_advantages(self, count: int) -> torch.Tensor:
        start = self.accelerator.process_index * count
        return self._advantages().flatten()[start : start + count]

    def _advantages(self) -> torch.Tensor:
        """Advantages (P, G) of all processes' completions."""
        assert self.sampled is not None
        recipe, group_size, scores = self.recipe, self.num_generations, self.sampled.scores
        format_PG, answer_PG = scores["rewards"].view(-1, group_size, 2).unbind(-1)
        accuracy_PG, p_PG = scores["accuracy"].view(-1, group_size), scores["p_correct"].view(-1, group_size)
        is_defect_P = scores["is_defect"].view(-1, group_size)[:, 0]
        factor_P = scores["class_factor"].view(-1, group_size)[:, 0]
        self._log_groups(accuracy_PG, format_PG, p_PG, is_defect_P)
        if recipe.reward != "focal":
            return paper_advantages(
                recipe.format_weight * format_PG,
                recipe.accuracy_weight * answer_PG,
                scale=recipe.scale_rewards,
                epsilon=recipe.epsilon_std,
            )
        weights_P = focal_weights(
            p_PG,
            is_defect_P,
            factor_P,
            alpha_defect=recipe.alpha_defect,
            gamma=recipe.gamma,
            floor=recipe.focal_floor,
            running=self.focal_mean,
        )
        self._metrics["train"]["focal_weight/max"].append(weights_P.max().item())
        return weighted_advantages(
            weights_P,
            accuracy_PG,
            format_PG,
            accuracy_weight=recipe.accuracy_weight,
            format_weight=recipe.format_weight,
            scale=recipe.scale_rewards,
            epsilon=recipe.epsilon_std,
        )

    def _log_groups(
        self,
        accuracy_PG: torch.Tensor,
        format_PG: torch.Tensor,
        p_PG: torch.Tensor,
        is_defect_P: torch.Tensor,
    ) -> None:
        metrics = self._metrics["train"]
        metrics["accuracy"].append(accuracy_PG.mean().item())
        for name, chosen in (("defect", is_defect_P), ("normal", ~is_defect_P)):
            if chosen.any():
                metrics[f"accuracy/{name}"].append(accuracy_PG[chosen].mean().item())
                metrics[f"p_correct/{name}"].append(p_PG[chosen].mean().item())
        metrics["groups_without_signal"].append(without_signal(accuracy_PG, format_PG).float().mean().item())

    @torch.no_grad()
    def _answer_probabilities(self, inputs: Sequence[dict], texts: Sequence[str]) -> torch.Tensor:
        """P(defect) after each completion's own reasoning, (B,) on the training device, without dropout."""
        before = [text_before_answer(text)[0] for text in texts]
        rollout = self.rollout
        with self._evaluating():
            if rollout is not None and rollout.prefilled is not None:
                return self.policy.p_defect(rollout.prefilled, rollout.rows, before, rollout.decoded)
            p = []
            for part in self._micro_batches(len(texts)):
                prompts = [self.encode(row) for row in inputs[part]]
                p.append(self.policy.p_plain(prompts, before[part]))
        return torch.cat(p)

    def _see(self, inputs: Sequence[dict], accuracy: Sequence[float]) -> None:
        """Keep the class of each image that was sampled, and what was got wrong of it."""
        from accelerate.utils import gather_object

        names = gather_object([row["class_name"] for row in inputs])
        errors = gather_object([1.0 - value for value in accuracy])
        # One entry an image: its group's share of wrong completions.
        size = self.num_generations
        grouped = [sum(errors[i : i + size]) / size for i in range(0, len(errors), size)]
        self._seen += zip(names[::size], grouped, strict=True)


class EpochSampler(Sampler):
    """TRL's sampler with the shuffle of each epoch drawn from the epoch's own seed.

    TRL draws the epochs' shuffles one after the other from one generator, which a resumed run starts anew: from its
    second epoch on it would see other images than the run that was never stopped.

    Args:
        sampler: TRL's `RepeatSampler`.
        trainer: Says how far the run is.
    """

    def __init__(self, sampler: Any, trainer: GRPOTrainer) -> None:
        self.sampler = sampler
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        updates_per_epoch = max(1, self.sampler.num_samples // self.sampler.batch_size)
        epoch = self.trainer.state.global_step // updates_per_epoch
        self.sampler.generator.manual_seed(self.trainer.args.seed + epoch)
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)


def without_signal(accuracy_PG: torch.Tensor, format_PG: torch.Tensor) -> torch.Tensor:
    """Groups all of whose completions are equally right and equally well written, (P,)."""
    return (accuracy_PG == accuracy_PG[:, :1]).all(1) & (format_PG == format_PG[:, :1]).all(1)


def training_dataset(samples: Sequence[Sample], recipe: Recipe, evidence: Mapping[str, str]) -> Dataset:
    """TRL's data set over the samples: images are opened when they are asked for, one after the other.

    Args:
        samples: The samples.
        recipe: Of the run.
        evidence: What a memory of good parts says of each image, by its path; empty without a memory.
    """
    # TRL asks for each image once a completion.
    cached_open = lru_cache(maxsize=2 * recipe.prompts_per_step)(open_image)

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [samples[index] for index in batch["index"]]
        contexts = [Context(evidence.get(sample.image, "")) for sample in chosen]
        return {
            "index": batch["index"],
            "prompt": [
                [{"role": "user", "content": build_prompt(sample.object_name, context)}]
                for sample, context in zip(chosen, contexts, strict=True)
            ],
            "context": contexts,
            "image": [cached_open(sample.image) for sample in chosen],
            "label": [sample.label for sample in chosen],
            "object_name": [sample.object_name for sample in chosen],
            "class_name": [class_name(sample, recipe.class_factor_by) for sample in chosen],
        }

    return Dataset.from_dict({"index": list(range(len(samples)))}).with_transform(rows)


def lora_config(recipe: Recipe) -> LoraConfig:
    """LoRA on the language model's Q and V (Section IV-A), never on a vision module of the same name."""
    return LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=list(recipe.lora_targets),
        exclude_modules=rf".*\b({'|'.join(VISION_NAMES)})\b.*",
        task_type="CAUSAL_LM",
    )


def check_targets(model: Any, targets: Sequence[str]) -> None:
    """Make sure that every target is a layer of the language model, and that it is known which part sees.

    Raises:
        LriadError: A target matches nothing, or only layers that see; or no vision module is found.
    """
    vision = vision_modules(model)
    if not vision:
        raise LriadError(
            f"{type(model).__name__}: no module is named as a vision tower is ({', '.join(VISION_NAMES)}), so none "
            "can be kept frozen; train another policy"
        )
    seeing = {id(layer) for module in vision for layer in module.modules()}
    names = {name.rsplit(".", 1)[-1] for name, layer in model.named_modules() if id(layer) not in seeing}
    for target in targets:
        if target.rsplit(".", 1)[-1] not in names:
            raise LriadError(
                f"lora_targets: {target!r} is no layer of this policy's language model; name layers of it, such as "
                "[q_proj, v_proj]"
            )


def check_adapter(model: Any) -> None:
    """Make sure that LoRA weights outside the vision modules are trained and nothing else.

    Raises:
        RuntimeError: Something else is.
    """
    vision = {id(parameter) for module in vision_modules(model) for parameter in module.parameters()}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and ("lora_" not in name or id(parameter) in vision):
            raise RuntimeError(f"{name} would be trained")


def grpo_config(recipe: Recipe, output_dir: str, *, world_size: int, use_cpu: bool, bf16: bool) -> GRPOConfig:
    """TRL's arguments for a recipe.

    Args:
        recipe: All settings.
        output_dir: Where checkpoints go.
        world_size: Number of processes.
        use_cpu: Train on the CPU although there may be a GPU.
        bf16: Mixed precision in bfloat16.

    Raises:
        LriadError: The completions of an update do not divide among devices and micro-batches.
    """
    completions = recipe.prompts_per_step * recipe.group_size
    micro = recipe.completions_per_device * world_size
    if completions % micro:
        raise LriadError(
            f"prompts_per_step x group_size = {completions} completions do not divide by completions_per_device x "
            f"processes = {recipe.completions_per_device} x {world_size}; change one of them"
        )
    return GRPOConfig(
        output_dir=output_dir,
        seed=recipe.seed,
        per_device_train_batch_size=recipe.completions_per_device,
        gradient_accumulation_steps=completions // micro,
        num_generations=recipe.group_size,
        max_completion_length=recipe.max_completion_tokens,
        temperature=recipe.temperature,
        top_p=recipe.top_p,
        beta=recipe.beta,
        epsilon=recipe.clip_epsilon,
        # The paper's objective; TRL's own default is another one.
        loss_type="grpo",
        scale_rewards=recipe.scale_rewards,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler,
        warmup_steps=recipe.warmup_steps,
        max_grad_norm=recipe.max_grad_norm,
        max_steps=recipe.steps or -1,
        num_train_epochs=recipe.epochs,
        logging_steps=recipe.logging_steps,
        save_strategy="steps",
        save_steps=recipe.save_steps,
        save_total_limit=2,
        report_to=list(recipe.report_to),
        bf16=bf16,
        use_cpu=use_cpu,
        gradient_checkpointing=recipe.gradient_checkpointing,
        deepspeed=deepspeed_config(recipe),
        remove_unused_columns=False,
        disable_tqdm=True,
    )
