"""The Inspector: photographs in, verdicts out."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from PIL import Image, ImageOps

from lriad.data.image import file_sha256, open_image, to_rgb
from lriad.data.sample import Sample
from lriad.errors import LriadError
from lriad.prompt import PROMPT_VERSION, build_prompt
from lriad.verdict import Mode, Verdict, VerdictLabel, decide, follows_format, parse_label, parse_reasoning

if TYPE_CHECKING:
    from lriad.policy import AnswerProbability, Policy

_READERS = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Part:
    """One image, read and ready for the policy."""

    image: Image.Image
    sha256: str
    object_name: str


class Inspector:
    """Inspects photographs with one policy.

    The policy is loaded at the first image.

    Args:
        policy: `embedded`, a run folder, a model folder or a hub id (see `lriad.policy.load_policy`), or a
            policy that is loaded already.
        mode: `reason` writes the whole chain of thought; `fast` reads the answer's probability from one pass.
        threshold: In [0, 1]; a part is decided `defect` where p_defect reaches it. None decides by the label.
        batch_size: Images that go through the policy together.
        max_new_tokens: Where a completion is cut off.
        device: Such as `cpu` or `cuda:1`; None takes the best there is. Only for a policy given by name.

    Raises:
        LriadError: A setting is out of its range.

    Example:
        >>> Inspector("embedded").inspect("part.jpg", object_name="magnetic tile")  # doctest: +SKIP
    """

    def __init__(
        self,
        policy: str | Path | Policy = "embedded",
        *,
        mode: Mode = "reason",
        threshold: float | None = None,
        batch_size: int = 8,
        max_new_tokens: int = 512,
        device: str | None = None,
    ) -> None:
        if mode not in get_args(Mode):
            raise LriadError(f"mode {mode!r}: expected reason or fast")
        if threshold is not None and not 0 <= threshold <= 1:
            raise LriadError(f"threshold {threshold}: expected a probability from 0 to 1")
        for name, value in (("batch size", batch_size), ("max new tokens", max_new_tokens)):
            if value < 1:
                raise LriadError(f"{name} {value}: expected 1 or more")
        self._given = policy
        self.mode = mode
        self.threshold = None if threshold is None else float(threshold)
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.device = device

    @cached_property
    def policy(self) -> Policy:
        """The loaded policy."""
        if not isinstance(self._given, str | Path):
            return self._given
        from lriad.policy import load_policy

        return load_policy(str(self._given), device=self.device)

    def inspect(self, image: str | Path | Image.Image, object_name: str) -> Verdict:
        """Inspect one image.

        Args:
            image: Path of an image file, or an image in memory (of an RGB array: `Image.fromarray`).
            object_name: The object in words, such as `magnetic tile`.

        Raises:
            LriadError: The image, the object's name or the policy cannot be used.
        """
        [outcome] = self._outcomes([_read(image, object_name)])
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
        with ThreadPoolExecutor(_READERS, thread_name_prefix="read-image") as pool:
            batches = (
                (batch, [pool.submit(_read, sample.image, sample.object_name) for sample in batch])
                for batch in _batched(samples, self.batch_size)
            )
            for batch, reads in _one_ahead(batches):
                outcomes = self._outcomes([read.result() for read in reads])
                yield from map(prediction_row, batch, outcomes)

    def _outcomes(self, parts: list[_Part | LriadError]) -> list[Verdict | LriadError]:
        """One outcome a part; what could not be read stays the error it is."""
        readable = [part for part in parts if isinstance(part, _Part)]
        verdicts = iter(self._judge(readable) if readable else [])
        return [next(verdicts) if isinstance(part, _Part) else part for part in parts]

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

    def _run(self, policy: Policy, parts: list[_Part]) -> list[Verdict]:
        images = [part.image for part in parts]
        names = [part.object_name for part in parts]
        start = time.perf_counter()
        if self.mode == "reason":
            texts = policy.generate(images, names, max_new_tokens=self.max_new_tokens)
            answers = policy.answer_probabilities(images, names, texts)
        else:
            texts = [""] * len(parts)
            answers = policy.answer_probabilities(images, names, None)
        seconds = (time.perf_counter() - start) / len(parts)
        return [
            self._verdict(policy, part, text, answer, seconds)
            for part, text, answer in zip(parts, texts, answers, strict=True)
        ]

    def _verdict(self, policy: Policy, part: _Part, text: str, answer: AnswerProbability, seconds: float) -> Verdict:
        p_defect = float(answer.p_defect)
        if not 0 <= p_defect <= 1:
            # NaN compares false with every threshold: it would pass the part as normal.
            raise LriadError(f"the policy's answer probability is {p_defect}: its weights or its dtype are broken")
        said: VerdictLabel = "defect" if p_defect >= 0.5 else "normal"
        label = parse_label(text) if self.mode == "reason" else said
        return Verdict(
            label=label,
            p_defect=p_defect,
            decision=decide(label, p_defect, self.threshold),
            reasoning=parse_reasoning(text),
            text=text,
            follows_format=follows_format(text),
            answer_forced=answer.forced,
            mode=self.mode,
            seconds=seconds,
            image_sha256=part.sha256,
            policy_sha256=policy.policy_sha256,
            adapter_sha256=policy.adapter_sha256,
            prompt_version=PROMPT_VERSION,
            threshold=self.threshold,
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


def _read(image: str | Path | Image.Image, object_name: str) -> _Part | LriadError:
    """The image in RGB with its hash, or why it cannot be had."""
    try:
        build_prompt(object_name)
        if isinstance(image, Image.Image):
            pixels = to_rgb(ImageOps.exif_transpose(image))
            return _Part(pixels, hashlib.sha256(pixels.tobytes()).hexdigest(), object_name)
        return _Part(open_image(image), file_sha256(image), object_name)
    except LriadError as error:
        return error


def _batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items (none of them None), each drawn before the one in front of it is handed out."""
    waiting = next(items, None)
    while waiting is not None:
        following = next(items, None)
        yield waiting
        waiting = following
