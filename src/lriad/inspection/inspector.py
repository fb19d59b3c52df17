"""The Inspector: photographs in, verdicts out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from PIL import Image, ImageOps

from lriad.data.image import file_sha256, open_image, to_rgb
from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.inspection.batching import MAX_BATCH, batch_size_for, free_memory, length_windows, memory_per_prompt
from lriad.prompt import PROMPT_VERSION, build_prompt
from lriad.verdict import Mode, Verdict, VerdictLabel, decide, follows_format, parse_label, parse_reasoning

if TYPE_CHECKING:
    from lriad.inspection.remote import RemotePolicy
    from lriad.policy import Completion, Policy

_READERS = 4
_UNKNOWN_TOKENS = 1024
"""Of a prompt, where the first image, which tells how long prompts are, cannot be read."""
_WINDOW = 2
"""Batches whose images are read together, so that each can be made of images of about one length."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Part:
    """One image, ready for the policy."""

    prompt: Any
    tokens: int
    sha256: str


class Inspector:
    """Inspects photographs with one policy.

    The policy is loaded at the first image.

    Args:
        policy: `embedded`, a run folder, a model folder or a hub id (see `lriad.policy.load_policy`), the address
            of a server (see `lriad.inspection.remote.RemotePolicy`), or a policy that is loaded already.
        mode: `reason` writes the whole chain of thought; `fast` reads the answer's probability from one pass.
        threshold: In [0, 1]; a part is decided `defect` where p_defect reaches it. None takes the policy's own
            operating point, and decides by the label where it has none.
        batch_size: Images that go through the policy together; None finds a number that fits into the memory.
        max_new_tokens: Where a completion is cut off.
        device: Such as `cpu` or `cuda:1`; None takes the best there is. Only for a policy given by name.
        processes: Processes that share this one's memory, itself included.

    Raises:
        LriadError: A setting is out of its range.

    Example:
        >>> Inspector("embedded").inspect("part.jpg", object_name="magnetic tile")  # doctest: +SKIP
    """

    def __init__(
        self,
        policy: str | Path | Policy | RemotePolicy = "embedded",
        *,
        mode: Mode = "reason",
        threshold: float | None = None,
        batch_size: int | None = None,
        max_new_tokens: int = 512,
        device: str | None = None,
        processes: int = 1,
    ) -> None:
        if mode not in get_args(Mode):
            raise LriadError(f"mode {mode!r}: expected reason or fast")
        if threshold is not None and not 0 <= threshold <= 1:
            raise LriadError(f"threshold {threshold}: expected a probability from 0 to 1")
        for name, value in (("batch size", batch_size), ("max new tokens", max_new_tokens)):
            if value is not None and value < 1:
                raise LriadError(f"{name} {value}: expected 1 or more")
        self._given = policy
        self.mode = mode
        self.threshold = None if threshold is None else float(threshold)
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.device = device
        self.processes = processes

    @cached_property
    def policy(self) -> Policy | RemotePolicy:
        """The loaded policy, or the server."""
        if not isinstance(self._given, str | Path):
            return self._given
        if str(self._given).startswith(("http://", "https://")):
            from lriad.inspection.remote import RemotePolicy

            return RemotePolicy(str(self._given))
        from lriad.policy import load_policy

        return load_policy(str(self._given), device=self.device)

    @property
    def threshold_in_use(self) -> float | None:
        """The threshold that was given, else the policy's own, which is loaded for it."""
        return self.policy.operating_point.get(self.mode) if self.threshold is None else self.threshold

    def inspect(self, image: str | Path | Image.Image, object_name: str) -> Verdict:
        """Inspect one image.

        Args:
            image: Path of an image file, or an image in memory (of an RGB array: `Image.fromarray`).
            object_name: The object in words, such as `magnetic tile`.

        Raises:
            LriadError: The image, the object's name or the policy cannot be used.
        """
        [outcome] = self._outcomes([self._prepared(image, object_name)], 1)
        if isinstance(outcome, LriadError):
            raise outcome
        return outcome

    def inspect_samples(self, samples: Iterable[Sample]) -> Generator[dict[str, Any], None, None]:
        """Inspect many images, in order and in batches; the next batch is read while the policy works.

        Yields:
            One prediction row a sample: the sample's `id, image, category, object_name, dataset, split,
            defect_type, group`, its label as `truth`, and the fields of `Verdict`; or, where the image could
            not be inspected, the sample's fields and `error`, one line.

        Raises:
            LriadError: The policy cannot be loaded.
        """
        remaining = iter(samples)
        first = next(remaining, None)
        if first is None:
            return
        _ = self.policy  # loaded here, once, where what goes wrong is no image's error
        part = self._prepared(first.image, first.object_name)
        size = self.planned_batch_size(part.tokens if isinstance(part, _Part) else _UNKNOWN_TOKENS)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="read-image") as pool:
            windows = (
                (window, [pool.submit(self._prepared, sample.image, sample.object_name) for sample in window])
                for window in _windows(chain([first], remaining), size)
            )
            try:
                for window, reads in _one_ahead(windows):
                    yield from map(prediction_row, window, self._outcomes([read.result() for read in reads], size))
            finally:
                pool.shutdown(cancel_futures=True)  # whoever stops early does not wait for images still to be read

    def planned_batch_size(self, tokens: int) -> int:
        """How many prompts of so many tokens go through the policy together."""
        if self.batch_size is not None:
            return self.batch_size
        policy: Any = self.policy
        if not hasattr(policy, "config"):
            return MAX_BATCH  # a server makes its own batches
        new_tokens = self.max_new_tokens if self.mode == "reason" else 0
        per_prompt = memory_per_prompt(policy.config, tokens, new_tokens, policy.dtype.itemsize)
        return batch_size_for(free_memory(policy.device), per_prompt, self.processes)

    def _prepared(self, image: str | Path | Image.Image, object_name: str) -> _Part | LriadError:
        """The image as a prompt, with its hash, or why it cannot be had."""
        try:
            build_prompt(object_name)
            if isinstance(image, Image.Image):
                pixels = to_rgb(ImageOps.exif_transpose(image))
                digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            else:
                pixels, digest = open_image(image), file_sha256(image)
            prompt = self.policy.encode(pixels, object_name)
            tokens = prompt["input_ids"].shape[1] if isinstance(prompt, dict) else 0
            return _Part(prompt, tokens, digest)
        except LriadError as error:
            return error

    def _outcomes(self, parts: Sequence[_Part | LriadError], batch_size: int) -> list[Verdict | LriadError]:
        """One outcome a part, in batches of about one length; what could not be read stays the error it is."""
        outcomes: list[Any] = list(parts)
        readable = [(index, part) for index, part in enumerate(parts) if isinstance(part, _Part)]
        for chosen in length_windows([part.tokens for _, part in readable], batch_size):
            batch = [readable[position] for position in chosen]
            for (index, _), outcome in zip(batch, self._judge([part for _, part in batch]), strict=True):
                outcomes[index] = outcome
        return outcomes

    def _judge(self, parts: list[_Part]) -> list[Verdict | LriadError]:
        """One outcome a part. A batch that fails is halved until the image at fault stands alone."""
        from torch import OutOfMemoryError

        policy = self.policy
        problem: LriadError
        try:
            return list(self._run(policy, parts))
        except LriadError as error:
            problem = error
        except OutOfMemoryError:
            problem = LriadError("out of GPU memory on one image; use a smaller policy, or --device cpu")
        # Outside the handlers, which would keep the failed batch's tensors alive.
        if len(parts) == 1:
            return [problem]
        half = len(parts) // 2
        return self._judge(parts[:half]) + self._judge(parts[half:])

    def _run(self, policy: Policy | RemotePolicy, parts: list[_Part]) -> list[Verdict]:
        prompts = [part.prompt for part in parts]
        start = time.perf_counter()
        if self.mode == "reason":
            completions = policy.reason(prompts, max_new_tokens=self.max_new_tokens)
        else:
            completions = policy.fast(prompts)
        seconds = (time.perf_counter() - start) / len(parts)
        return [
            self._verdict(policy, part, completion, seconds)
            for part, completion in zip(parts, completions, strict=True)
        ]

    def _verdict(self, policy: Policy | RemotePolicy, part: _Part, completion: Completion, seconds: float) -> Verdict:
        text, p_defect = completion.text, completion.p_defect
        if p_defect is not None and not 0 <= p_defect <= 1:
            # NaN compares false with every threshold: it would pass the part as normal.
            raise LriadError(f"the policy's answer probability is {p_defect}: its weights or its dtype are broken")
        threshold = self.threshold_in_use
        label: VerdictLabel
        if self.mode == "reason":
            label = parse_label(text)
        elif p_defect is None:
            label = "unparsable"
        else:
            label = "defect" if p_defect >= 0.5 else "normal"
        return Verdict(
            label=label,
            p_defect=p_defect,
            decision=decide(label, p_defect, threshold),
            reasoning=parse_reasoning(text),
            text=text,
            follows_format=follows_format(text),
            answer_forced=completion.forced,
            mode=self.mode,
            seconds=seconds,
            image_sha256=part.sha256,
            policy_sha256=policy.policy_sha256,
            adapter_sha256=policy.adapter_sha256,
            prompt_version=PROMPT_VERSION,
            threshold=threshold,
            p_missing=completion.p_missing,
        )


def prediction_row(sample: Sample, outcome: Verdict | LriadError) -> dict[str, Any]:
    """One line of `predictions.jsonl`: the sample's fields, then the verdict's or the error."""
    row = {
        "id": sample.id,
        "image": sample.image,
        "category": sample.category,
        "object_name": sample.object_name,
        "dataset": sample.dataset,
        "split": sample.split,
        "defect_type": sample.defect_type,
        "group": sample.group,
        "truth": sample.label,
    }
    return row | ({"error": str(outcome)} if isinstance(outcome, LriadError) else outcome.to_dict())


def _windows(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Items for `_WINDOW` batches each; only one at first, for which the policy has to wait."""
    iterator = iter(items)
    window = list(islice(iterator, size))
    while window:
        yield window
        window = list(islice(iterator, _WINDOW * size))


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items (none of them None), each drawn before the one in front of it is handed out."""
    waiting = next(items, None)
    while waiting is not None:
        following = next(items, None)
        yield waiting
        waiting = following
