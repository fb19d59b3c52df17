"""The Inspector: photographs in, verdicts out."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast, get_args

from PIL import Image, ImageOps

from lriad.data._files import show
from lriad.data.image import file_sha256, open_image, pixel_hash, to_rgb
from lriad.data.sample import Sample
from lriad.data.views import Box, Views, stitch
from lriad.errors import LriadError
from lriad.inspection.batching import MAX_BATCH, batch_size_for, free_memory, length_windows, memory_per_prompt
from lriad.prompt import PLAIN, Context, build_prompt, check_note
from lriad.verdict import (
    DecidedBy,
    Decision,
    Mode,
    Verdict,
    VerdictLabel,
    decide,
    follows_format,
    parse_label,
    parse_reasoning,
)

if TYPE_CHECKING:
    from lriad.calibration import Binding, Calibration
    from lriad.explain.relevance import Relevance
    from lriad.inspection.remote import RemotePolicy
    from lriad.memory import Comparison, Memory
    from lriad.policy import Completion, Policy

_log = logging.getLogger(__name__)

_READERS = 4
_WITH_CROPS = 16
"""Images of a batch whose pixels are held until the evidence has entered their prompts."""
_UNKNOWN_TOKENS = 1024
"""Of a prompt, where the first image, which tells how long prompts are, cannot be read."""
_FLOOR_POLICY, _FLOOR_MEMORY = 0.25, 3.0
"""Of a heat-map: what lies below is in no box."""
_WINDOW = 2
"""Batches whose images are read together, so that each can be made of images of about one length."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """One image, ready for the policy: a prompt for each part of it that is looked at."""

    prompts: list[Any]
    tokens: int
    sha256: str
    object_name: str
    size: tuple[int, int]
    boxes: list[Box]
    # Only with a memory, whose evidence is still to enter the prompts:
    crops: list[Image.Image]
    group: str | None


@dataclass(frozen=True, slots=True)
class _Compared:
    """What a memory says of one image."""

    whole: Comparison
    prompts: list[Any]  # With the evidence in them.
    depths: list[list[Any]]


class Explanation(NamedTuple):
    """Where in the image: see `Verdict.heatmap` and `Verdict.boxes`."""

    heatmap: Any
    boxes: tuple[Box, ...]


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
        memory: A memory of good parts (`lriad.remember`), or its file: each image is compared with them, and what comes
            of it enters the prompt, the verdict and the decision. An image that is in memory itself is compared with
            those of other groups.
        references: Images of good parts, shown before each image to a policy that reads several.
        note: What the prompt says of the product besides, such as 'scratches under 2 mm are fine'.
        views: Which parts of an image are looked at: region of interest, tiles. A memory brings its own.
        calibration: Thresholds that keep a promise (`lriad.calibration.calibrate`), or their file; they decide. Only
            for what they were made with: policy, mode, prompt, memory, product.
        heatmap: Whether verdicts have a heat-map and boxes also without a memory: where the policy's answer comes from
            (`lriad.explain.relevance`; a backward pass an image). With a memory they have them anyway.
        overlays: A folder that gets, for each image of `inspect_samples`, a picture with heat-map, verdict and reason.
        maps: A folder that gets, for each of them, the heat-map itself: `<image_sha256[:16]>.npy`, float16.

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
        memory: str | Path | Memory | None = None,
        references: Sequence[str | Path | Image.Image] = (),
        note: str | None = None,
        views: Views | None = None,
        calibration: str | Path | Calibration | None = None,
        heatmap: bool = False,
        overlays: str | Path | None = None,
        maps: str | Path | None = None,
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
        if memory is not None and references:
            raise LriadError("a memory and references both say what is good: give one of them")
        if calibration is not None and threshold is not None:
            raise LriadError("a calibration and a threshold both decide: give one of them")
        self._given_memory = memory
        self._given_calibration = calibration
        self.heatmap = heatmap or overlays is not None or maps is not None
        self.overlays = overlays
        self.maps = maps
        self._given_views = views
        self.references = [
            to_rgb(ImageOps.exif_transpose(image)) if isinstance(image, Image.Image) else open_image(image)
            for image in references
        ]
        self.context = Context(note=check_note(note) if note is not None else "", references=len(self.references))

    @cached_property
    def memory(self) -> Memory | None:
        """The memory, read from its file."""
        if not isinstance(self._given_memory, str | Path):
            return self._given_memory
        from lriad.memory import load_memory

        return load_memory(self._given_memory)

    @cached_property
    def calibration(self) -> Calibration | None:
        """The calibration, read from its file."""
        if not isinstance(self._given_calibration, str | Path):
            return self._given_calibration
        from lriad.calibration import load_calibration

        return load_calibration(self._given_calibration)

    @cached_property
    def views(self) -> Views:
        """Which parts of an image are looked at."""
        if self.memory is None:
            return self._given_views or Views()
        if self._given_views not in (None, self.memory.views):
            raise LriadError(f"the memory looks at {self.memory.views}: give no other --roi or --tiles")
        return self.memory.views

    @property
    def prompt_version(self) -> str:
        """The version of the prompts that are asked."""
        return replace(self.context, evidence="given" if self._given_memory is not None else "").version

    @cached_property
    def setting(self) -> str:
        """What the policy is given besides the image: see `Verdict.setting`."""
        given = "zero-shot"
        if self.memory is not None:
            given = self.memory.setting
        elif self.references:
            names = " ".join(pixel_hash(image)[:8] for image in self.references)
            given = f"{len(self.references)} reference{'s' if len(self.references) > 1 else ''} {names}"
        return given if self.views == Views() else f"{given}, {self.views}"

    def loaded(self) -> Policy | RemotePolicy:
        """The policy, after a look whether memory, references and calibration are for it.

        Raises:
            LriadError: They are not, or the policy cannot be loaded.
        """
        policy = self.policy
        _ = self.views, self._shown  # views must agree with the memory's, and lie in the references
        if self.memory is not None:
            self.memory.check_adapter(policy)
        if hasattr(policy, "prompt_text"):
            policy.prompt_text("part", self.context)  # whose note must not steer the model
        if self.references and not getattr(policy, "reads_several_images", True):
            raise LriadError("the embedded policy reads one image at a time: use lriad remember in place of references")
        if self.calibration is not None:
            self.calibration.check(self._binding(policy))
        if self.heatmap and self.memory is None and not hasattr(policy, "depths"):
            raise LriadError("a server shows no heat-map: load the policy here, or give a memory")
        for folder in [folder for folder in (self.overlays, self.maps) if folder is not None]:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LriadError(f"{show(folder)}: no folder can be made there: {error.strerror}") from error
        return policy

    def _binding(self, policy: Policy | RemotePolicy) -> Binding:
        """What a calibration must have been made with."""
        from lriad.calibration import Binding

        return Binding(
            policy_sha256=policy.policy_sha256,
            adapter_sha256=policy.adapter_sha256,
            mode=self.mode,
            prompt_version=self.prompt_version,
            memory=None if self.memory is None else self.memory.sha256,
            setting=self.setting,
            note=self.context.note or None,
        )

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
        """The threshold that was given, else the policy's own, which is loaded for it.

        Of a calibration on `p_defect` the one from which a part is defective; none where a memory, or a calibration on
        its score, decides.
        """
        if self.calibration is not None:
            return self.calibration.defect_from if self.calibration.quantity == "p_defect" else None
        if self._given_memory is not None and self.threshold is None:
            return None
        return self.policy.operating_point.get(self.mode) if self.threshold is None else self.threshold

    def inspect(self, image: str | Path | Image.Image, object_name: str) -> Verdict:
        """Inspect one image.

        Args:
            image: Path of an image file, or an image in memory (of an RGB array: `Image.fromarray`).
            object_name: The object in words, such as `magnetic tile`.

        Raises:
            LriadError: The image, the object's name or the policy cannot be used.
        """
        part = self.prepare(image, object_name)
        if isinstance(part, LriadError):
            raise part
        self.loaded()
        [outcome] = self.judge([part], 1)
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
        self.loaded()  # here, once, where what goes wrong is no image's error
        part = self.prepare(first.image, first.object_name, first.group)
        size = self.planned_batch_size(part.tokens if isinstance(part, Part) else _UNKNOWN_TOKENS)
        if isinstance(part, Part):
            size = max(1, size // len(part.prompts))
        if self.memory is not None:
            size = min(size, _WITH_CROPS)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="read-image") as pool:
            windows = (
                (window, [pool.submit(self.prepare, s.image, s.object_name, s.group) for s in window])
                for window in _windows(chain([first], remaining), size)
            )
            try:
                for window, reads in _one_ahead(windows):
                    outcomes = self.judge([read.result() for read in reads], size)
                    self._keep_maps(window, outcomes)
                    yield from map(prediction_row, window, outcomes)
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

    def _keep_maps(self, samples: Sequence[Sample], outcomes: Sequence[Verdict | LriadError]) -> None:
        if self.overlays is None and self.maps is None:
            return
        from lriad.explain import save_map, save_overlay

        for sample, outcome in zip(samples, outcomes, strict=True):
            if not isinstance(outcome, Verdict) or outcome.heatmap is None:
                continue
            try:
                if self.overlays is not None:
                    save_overlay(sample.image, outcome, self.overlays)
                if self.maps is not None:
                    save_map(outcome, self.maps)
            except LriadError as error:
                _log.warning("no heat-map of %s: %s", show(sample.image), error)  # the verdict stands

    def prepare(self, image: str | Path | Image.Image, object_name: str, group: str | None = None) -> Part | LriadError:
        """The image as prompts, with its hash, or why it cannot be had; may be called from several threads.

        Args:
            image: As for `inspect`.
            object_name: The object in words.
            group: Images of one part are not compared with one another.
        """
        try:
            build_prompt(object_name)
            if self.memory is not None:
                self.memory.check_name(object_name)
                object_name = self.memory.object_name  # as its good images were asked about, letter by letter
            if self.calibration is not None:
                self.calibration.check_name(object_name)
            if isinstance(image, Image.Image):
                pixels = to_rgb(ImageOps.exif_transpose(image))
                digest = pixel_hash(pixels)
            else:
                pixels, digest = open_image(image), file_sha256(image)
            if self.memory is not None:
                from lriad.memory.memory import Look

                self.memory.look.check(Look.of(pixels, self.views))
            crops = self.views.crops(pixels)
            prompts = [self._encoded(crop, object_name, self.context) for crop in crops]
            tokens = prompts[0]["input_ids"].shape[1] if isinstance(prompts[0], dict) else 0
            boxes = self.views.boxes(pixels.size)
            known = None if self.memory is None else self.memory.group_of(pixel_hash(pixels), group)
            kept = [] if self.memory is None else crops
            return Part(prompts, tokens, digest, object_name, pixels.size, boxes, kept, known)
        except LriadError as error:
            return error if isinstance(image, Image.Image) or show(image) in str(error) else _named(image, error)

    @cached_property
    def _shown(self) -> list[Image.Image]:
        """The references, each cut to the region of interest."""
        return [Views(self.views.roi).crops(image)[0] for image in self.references]

    def _encoded(self, image: Image.Image, object_name: str, context: Context) -> Any:
        if context == PLAIN:
            return self.policy.encode(image, object_name)
        return self.policy.encode(image, object_name, context, self._shown)

    def judge(self, parts: Sequence[Part | LriadError], batch_size: int) -> list[Verdict | LriadError]:
        """One outcome a part, in batches of about one length; what could not be read stays the error it is.

        For one thread at a time.

        Args:
            parts: From `prepare`.
            batch_size: Images that go through the policy together.
        """
        outcomes: list[Any] = list(parts)
        readable = [(index, part) for index, part in enumerate(parts) if isinstance(part, Part)]
        for chosen in length_windows([part.tokens for _, part in readable], batch_size):
            batch = [readable[position] for position in chosen]
            for (index, _), outcome in zip(batch, self._judged([part for _, part in batch]), strict=True):
                outcomes[index] = outcome
        return outcomes

    def _judged(self, parts: list[Part]) -> list[Verdict | LriadError]:
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
        return self._judged(parts[:half]) + self._judged(parts[half:])

    def _run(self, policy: Policy | RemotePolicy, parts: list[Part]) -> list[Verdict]:
        start = time.perf_counter()
        compared: list[_Compared | None] = [None] * len(parts)
        explained: Iterator[Relevance | None] = repeat(None)
        prompts = [prompt for part in parts for prompt in part.prompts]
        if self.memory is not None:
            local = cast("Policy", policy)
            with local.vision.holding():
                found = self._compare(self.memory, local, parts)
                completions = self._complete(policy, [prompt for one in found for prompt in one.prompts])
            compared = [*found]
        elif self.heatmap:
            relevances = self._relevance(prompts)
            completions = self._answers(relevances) or self._complete(policy, prompts)
            explained = iter(relevances)
        else:
            completions = self._complete(policy, prompts)
        waiting = iter(completions)
        verdicts = []
        for part, one in zip(parts, compared, strict=True):
            verdict = self._verdict(policy, part, [next(waiting) for _ in part.prompts], one)
            own = [next(explained) for _ in part.prompts]
            heatmap = _heatmap(own, part) if one is None else one.whole.map_HW
            if heatmap is not None:
                verdict = replace(verdict, heatmap=heatmap, boxes=self._boxes(heatmap, part.size))
            verdicts.append(verdict)
        seconds = (time.perf_counter() - start) / len(parts)
        return [replace(verdict, seconds=seconds) for verdict in verdicts]

    def _answers(self, relevances: Sequence[Relevance | None]) -> list[Completion]:
        """The completions of `fast` mode, which the passes that heat-maps come from have given already; else none."""
        from lriad.policy import Completion

        given = [Completion("", one.p_defect, False) for one in relevances if one is not None]
        wanted = self.mode == "fast" and cast("Policy", self.policy).letters and len(given) == len(relevances)
        return given if wanted else []

    def explain(self, image: str | Path | Image.Image, object_name: str, group: str | None = None) -> Explanation:
        """Only the heat-map and the boxes that a verdict would have.

        Args, Raises: As for `inspect`.
        """
        part = self.prepare(image, object_name, group)
        if isinstance(part, LriadError):
            raise part
        policy = self.loaded()
        if self.memory is None:
            heatmap = _heatmap(self._relevance(part.prompts), part)
            if heatmap is None:
                raise LriadError("no heat-map can be had of this image; the log says why")
        else:
            local = cast("Policy", policy)
            with local.vision.holding():
                [one] = self._compare(self.memory, local, [part])
            heatmap = one.whole.map_HW
        return Explanation(heatmap, self._boxes(heatmap, part.size))

    def _relevance(self, prompts: Sequence[Any]) -> list[Relevance | None]:
        """A heat-map of each prompt's image from the policy itself; None where there can be none: a verdict stands."""
        from torch import OutOfMemoryError

        from lriad.explain.relevance import relevance

        try:
            return [*relevance(cast("Policy", self.policy), prompts)]
        except (OutOfMemoryError, LriadError) as error:
            if len(prompts) > 1:
                return [one for prompt in prompts for one in self._relevance([prompt])]
            _log.warning("no heat-map of an image: %s", str(error).split("\n", 1)[0])
            return [None]

    def _boxes(self, heatmap_HW: Any, size: tuple[int, int]) -> tuple[Box, ...]:
        from lriad.explain import peak_boxes

        return peak_boxes(heatmap_HW, size, _FLOOR_POLICY if self.memory is None else _FLOOR_MEMORY)

    def _complete(self, policy: Policy | RemotePolicy, prompts: list[Any]) -> list[Completion]:
        if len(prompts) > MAX_BATCH:  # tiles
            return self._complete(policy, prompts[:MAX_BATCH]) + self._complete(policy, prompts[MAX_BATCH:])
        if self.mode == "reason":
            return policy.reason(prompts, max_new_tokens=self.max_new_tokens)
        return policy.fast(prompts)

    def _compare(self, memory: Memory, policy: Policy, parts: Sequence[Part]) -> list[_Compared]:
        """Images against the memory, and their prompts with what comes of it."""
        import numpy as np
        import torch

        from lriad.memory.patches import image_deviation
        from lriad.memory.seen import rounded

        depths = policy.see([prompt for part in parts for prompt in part.prompts])
        views = [(part, index) for part in parts for index in range(len(part.prompts))]

        def against_memory(one: list[tuple[tuple[Part, int], list[Any]]]) -> tuple[Any, Any, Any]:
            [((part, index), maps)] = one
            seen = rounded(maps)  # as the memory's own images were seen
            unusual = memory.unusual(seen, index, part.group)
            told = replace(self.context, evidence=memory.judge(unusual, part.group).evidence)
            return seen, unusual, self._encoded(part.crops[index], part.object_name, told)

        with torch.inference_mode():  # without which the cores would not share the views
            waiting = iter(policy.in_parts(against_memory, [*zip(views, depths, strict=True)], 1))
        outcomes = []
        for part in parts:
            seen, unusual, prompts = zip(*islice(waiting, len(part.prompts)), strict=True)
            deviation = image_deviation(np.concatenate([one.ravel() for one in unusual]))
            whole = memory.judge(stitch(unusual, part.boxes, part.size), part.group, deviation)
            outcomes.append(_Compared(whole, [*prompts], [*seen]))
        return outcomes

    def _verdict(
        self,
        policy: Policy | RemotePolicy,
        part: Part,
        completions: list[Completion],
        compared: _Compared | None,
    ) -> Verdict:
        # Of several views the one speaks that is most likely defective.
        spoken = max(range(len(completions)), key=lambda view: self._suspicion(completions[view]))
        completion = completions[spoken]
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
        box = part.boxes[spoken]
        verdict = Verdict(
            label=label,
            p_defect=p_defect,
            decision=decide(label, p_defect, threshold),
            reasoning=parse_reasoning(text),
            text=text,
            follows_format=follows_format(text),
            answer_forced=completion.forced,
            mode=self.mode,
            seconds=0.0,
            image_sha256=part.sha256,
            policy_sha256=policy.policy_sha256,
            adapter_sha256=policy.adapter_sha256,
            prompt_version=self.prompt_version,
            threshold=threshold,
            decided_by="label" if threshold is None else "p_defect",
            limit=threshold,
            p_missing=completion.p_missing,
            setting=self.setting,
            note=self.context.note or None,
            view=None if box == (0, 0, *part.size) else box,
        )
        if compared is not None:
            verdict = self._remembered(verdict, compared, part.group)
        return verdict if self.calibration is None else self._calibrated(self.calibration, verdict)

    def _suspicion(self, completion: Completion) -> float:
        """What the views of an image are ordered by: p_defect; what cannot be parsed stands between the two answers."""
        label = parse_label(completion.text) if self.mode == "reason" else None
        if label == "unparsable":
            return 0.5
        if completion.p_defect is None:
            return 1.0 if label == "defect" else 0.0
        return completion.p_defect

    def _remembered(self, verdict: Verdict, compared: _Compared, group: str | None) -> Verdict:
        """The verdict with what the memory adds, by which it is decided unless a threshold was given."""
        memory, whole = self.memory, compared.whole
        assert memory is not None
        assert verdict.p_defect is not None
        # A note changes what the policy says; the good images were judged without one.
        said = verdict.p_defect if not self.context.note else None
        rank = memory.rank(said, whole.z, self.mode, group)
        score, limit = rank.score, max(memory.promised_rate, rank.lowest)
        decided_by: DecidedBy = "alarm_rate"
        unusual = rank.alarm_rate <= limit
        if memory.rule is not None and said is not None:
            from lriad.memory.rule import features_of

            score = memory.rule.probability(features_of(compared.depths), verdict.p_defect, whole.z, self.mode)
            decided_by, limit, unusual = "score", 0.5, score >= 0.5
        seen = replace(
            verdict,
            memory=memory.sha256,
            score=score,
            alarm_rate=rank.alarm_rate,
            deviation=whole.z,
            unusual_place=whole.place,
        )
        if self.threshold is not None:
            return seen
        decision: Decision = "defect" if unusual else "normal"
        return replace(
            seen, decided_by=decided_by, limit=limit, decision="review" if seen.label == "unparsable" else decision
        )

    def _calibrated(self, calibration: Calibration, verdict: Verdict) -> Verdict:
        """The verdict as the calibration decides."""
        value = verdict.p_defect if calibration.quantity == "p_defect" else verdict.score
        return replace(
            verdict,
            decision=calibration.decide(verdict.label, value),
            calibration=calibration.sha256,
            decided_by=calibration.quantity,
            limit=calibration.defect_from,
            normal_below=calibration.normal_below,
            probability=calibration.probability(value),
        )


def _heatmap(relevances: Sequence[Relevance | None], part: Part) -> Any:
    """Those of a part's views as one map; None where one is missing."""
    maps = [one.heatmap for one in relevances if one is not None]
    return stitch(maps, part.boxes, part.size) if len(maps) == len(part.boxes) else None


def _named(image: str | Path, error: LriadError) -> LriadError:
    """The error, with the image that it is about."""
    return LriadError(f"{show(image)}: {error}")


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
