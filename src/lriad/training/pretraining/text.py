"""The second stage, words: the completion that names object, place, kind and evidence, from what the eyes hand on."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from lriad.data.place import PLACES
from lriad.data.synthetic.narration import KINDS, narrate, telling_phrases
from lriad.policy import architecture
from lriad.policy.answer import FAST_PREFIX
from lriad.policy.eyes import GRID
from lriad.prompt import (
    ANSWERS,
    PLAIN,
    UNUSUAL,
    Context,
    build_completion,
    build_messages,
    build_prompt,
    how_unusual,
)
from lriad.training.pretraining.evidence import Evidence
from lriad.training.pretraining.loop import DEVICE, Schedule, fit

NAMES = """
anchor arm axle badge bag ball bar bead bearing belt blade block board bolt bottle bowl box bracket brick bush
button cable can cap capsule card cartridge case casting cell chain chip circuit clamp clip coil coin connector
container cookie cork crystal cube cup cylinder diode disc door drum engine fabric fan felt fibre film filter
fitting flange foam foil frame fuse gasket gear glass grid grille handle hinge hook hose housing insert jar joint
key knob label lamp leather lens lever lid link lock magnet mat mesh module motor nail needle nozzle nut panel paper
part pen phone piece pill pin pipe plate plug pole ring rivet rod roller rope rotor rubber screw seal sensor shaft
sheet shell shoe slab socket spoon spring sponge stamp strap surface switch tablet tank tape tile tin tooth
toothbrush toy tray tube turbine valve veneer vial wafer wall washer wheel wire wood yarn zipper
""".split()
ADJECTIVES = """
black blue brass ceramic coated copper cut fine flat glass gold green grey hex hollow knitted large long magnetic
metal mould moulded oval painted perforated plastic polished printed red ribbed rolled round rubber short silver
small soft solar square steel striped thick thin threaded white wooden woven yellow
""".split()

_FAST_SHARE = 0.4
"""Share of the examples that answer without reasoning, as `fast` mode makes them."""
_NAME_SHARE = 0.6
"""Share of the examples whose object goes by another name: the verdict must not hang on it."""
_SENSELESS_SHARE = 0.15
"""Share of the examples whose object is called by letters without sense, which can only be copied."""
_HEAD_WEIGHT = 0.5
"""Weight of each loss at the end of the prompt: 'defect', its place, its kind, and how unusual the prompt says it is,
through a head that is dropped. What is gathered there stands where the completion can read it."""
_EVIDENCE_SHARE = 0.7
"""Share of the examples with evidence whose prompt has it: without it the policy must see for itself."""
_NOTE_SHARE = 0.1
"""Share of the examples whose prompt has a note. It has no bearing on the verdict: what is learned is to stay calm."""
NOTES = (
    "scratches under 2 mm are fine",
    "the colour varies from batch to batch",
    "the label may sit up to 3 mm off the centre",
    "dust is no defect",
    "look closely at the edges",
    "the print must be complete",
    "all screws must be there",
    "photographed from above, 0.1 mm a pixel",
)
_TELLING = 4.0
"""Weight of the words that tell object, place, evidence and kind, and of those that turn the reasoning one way or
another, the first three behind the opening ('The surface is', 'The surface shows'); the rest is soon learned."""
_ANSWER = 16.0
"""Weight of the answer's letter where there is no reasoning: it is all the lesson then. Where there is one the letter
follows from it; weighed as much there, p was near 0 or 1 whatever the picture. Where the prompt has evidence, weight of
what decides: how the reasoning turns, and the letter where it leaves the verdict open."""

_FIRST_WORDS = re.compile(r"<think>.*\. (\S+ \S+ \S+)[^.]*\.</think>")
"""Of the second sentence."""


@dataclass(frozen=True)
class Lesson:
    """What is to be said of one drawing.

    Attributes:
        row: Its line of `samples.jsonl`.
        suspicion: Kind and place of what is to be called doubtful, true ones for a defect; None where all is clear.
        beside: The same where the prompt has the evidence.
        evidence: What a memory of good samples says of it; None where it was not compared.
        bare: Whether the words learn the paper's prompt alone, without evidence and notes.
    """

    row: dict[str, Any]
    suspicion: tuple[str, str] | None = None
    beside: tuple[str, str] | None = None
    evidence: Evidence | None = None
    bare: bool = True

    @property
    def kind(self) -> str | None:
        """The kind of defect that is named."""
        return self.suspicion[0] if self.suspicion else self.row["defect_type"]

    @property
    def place(self) -> str | None:
        """The place that is named."""
        return self.suspicion[1] if self.suspicion else self.row["place"]

    def completion(self, name: str, rng: np.random.Generator, *, fast: bool) -> str:
        """A completion for it, in which the object is called `name`."""
        if fast:
            return f"{FAST_PREFIX}<answer>{ANSWERS[self.row['label']]}</answer>"
        seed = int(rng.integers(1 << 31))
        reasoning = narrate(name, self.kind, self.place, seed, doubtful=self.suspicion is not None)
        return build_completion(reasoning, self.row["label"])


def lessons_from(
    rows: Sequence[dict[str, Any]],
    here_NT: torch.Tensor,
    kind_NTK: torch.Tensor,
    somewhere_N: torch.Tensor,
    doubtful_share: float,
    evidence: Sequence[Evidence | None],
) -> list[Lesson]:
    """Call the drawings doubtful that the eyes are least sure of, and beside evidence those that both are.

    Of the defects and of the sound parts alike, so that doubt tells nothing of the verdict by itself.

    Args:
        rows: N lines of `samples.jsonl`.
        here_NT, kind_NTK, somewhere_N: The eyes' logits.
        doubtful_share: Share of each of the two, in [0, 1].
        evidence: What memories say of each.
    """
    score_N = suspicion_of(here_NT, somewhere_N)
    truth_N = np.array([row["label"] == "defect" for row in rows], bool)
    doubtful_N = least_sure(score_N, truth_N, doubtful_share)
    beside_N = doubtful_N.copy()
    if compared := [i for i, each in enumerate(evidence) if each]:
        both = _combined(score_N[compared], [each.z for each in evidence if each], truth_N[compared])
        beside_N[compared] = least_sure(both, truth_N[compared], doubtful_share)
    strongest = here_NT.argmax(1)
    kinds = kind_NTK[torch.arange(len(rows)), strongest].argmax(1)
    lessons = []
    for i, row in enumerate(rows):
        looks_like = (
            row["defect_type"] or KINDS[int(kinds[i])],
            row["place"] or _place_of_token(int(strongest[i])),
        )
        suspicion, beside = (looks_like if doubtful[i] else None for doubtful in (doubtful_N, beside_N))
        lessons.append(Lesson(row, suspicion, beside, evidence[i]))
    return lessons


def suspicion_of(here_NT: torch.Tensor, somewhere_N: torch.Tensor) -> NDArray[np.floating]:
    """How much the eyes take each drawing for defective, by their logits."""
    return (somewhere_N + here_NT.amax(1)).numpy()


def least_sure(score_N: NDArray[np.floating], truth_N: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """That share of the defects whose scores are lowest, and of the others whose scores are highest."""
    least_N = np.zeros(len(score_N), dtype=bool)
    for side, order in ((truth_N, score_N), (~truth_N, -score_N)):
        least = np.flatnonzero(side)[np.argsort(order[side], kind="stable")]
        least_N[least[: round(share * len(least))]] = True
    return least_N


def _combined(score_N: NDArray[np.floating], z: Sequence[float], truth_N: NDArray[np.bool_]) -> NDArray[np.floating]:
    """What the eyes and a memory say together, weighed by what each is worth."""
    from sklearn.linear_model import LogisticRegression

    features = np.column_stack([score_N, z])
    return LogisticRegression().fit(features, truth_N).decision_function(features)


def _place_of_token(index: int) -> str:
    row, column = divmod(index, GRID)
    return PLACES[3 * (3 * row // GRID) + 3 * column // GRID]


def corpus(lessons: Sequence[Lesson]) -> Iterator[str]:
    """What the tokenizer is trained on: prompts with many names, and completions."""
    rng = np.random.default_rng(0)
    for name in [*NAMES, *ADJECTIVES]:
        yield f" {name} {name}s"
    for lesson in lessons:
        yield build_prompt(_name(lesson.row, rng), _context(lesson, _evidence(lesson, rng), rng))
        yield lesson.completion(lesson.row["object_name"], rng, fast=False)


def _name(row: dict[str, Any], rng: np.random.Generator) -> str:
    """The object's name, or another one: a plausible name, or letters without sense."""
    draw = rng.random()
    if draw >= _NAME_SHARE:
        return row["object_name"]
    if draw < _SENSELESS_SHARE:
        return "".join(rng.choice(list(string.ascii_lowercase), rng.integers(3, 10)))
    noun = str(rng.choice(NAMES))
    return f"{rng.choice(ADJECTIVES)} {noun}" if rng.random() < 0.5 else noun


def _evidence(lesson: Lesson, rng: np.random.Generator) -> Evidence | None:
    """What the prompt says of a comparison."""
    return lesson.evidence if lesson.evidence and not lesson.bare and rng.random() < _EVIDENCE_SHARE else None


def _context(lesson: Lesson, evidence: Evidence | None, rng: np.random.Generator) -> Context:
    """What the prompt says besides."""
    if lesson.bare:
        return PLAIN
    note = str(rng.choice(NOTES)) if rng.random() < _NOTE_SHARE else ""
    return Context(evidence.line if evidence else "", note)


@dataclass
class _Batch:
    ids: torch.Tensor  # (N, L), padded on the right: a causal model never looks there
    labels: torch.Tensor  # (N, L), -100 outside what is learned of the completion
    weights: torch.Tensor  # (N, L), of the labels
    prompt_end: torch.Tensor  # (N,), index of the prompt's last token
    is_defect: torch.Tensor  # (N,), float
    place: torch.Tensor  # (N,), index into PLACES, -100 where none is named
    kind: torch.Tensor  # (N,), index into KINDS, -100 where none is named
    unusual: torch.Tensor  # (N,), index into UNUSUAL, -100 where the prompt does not say

    def to(self, device: torch.device) -> _Batch:
        return _Batch(**{name: tensor.to(device) for name, tensor in vars(self).items()})


def _collate(processor: Any, lessons: Sequence[Lesson], rng: np.random.Generator) -> _Batch:
    tokenizer, image = processor.tokenizer, processor.image_token
    sequences, starts, weighted, skipped, unusual = [], [], [], [], []
    for lesson in lessons:
        name, evidence = _name(lesson.row, rng), _evidence(lesson, rng)
        if evidence:
            lesson = replace(lesson, suspicion=lesson.beside)
        unusual.append(how_unusual(evidence.z) if evidence else -100)
        messages = build_messages(name, _context(lesson, evidence, rng))
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        prompt = prompt.replace(image, image * architecture.IMAGE_TOKENS)
        fast = rng.random() < _FAST_SHARE
        completion = lesson.completion(name, rng, fast=fast)
        prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        encoded = tokenizer(completion, add_special_tokens=False, return_offsets_mapping=True)
        phrases = (name, *telling_phrases(lesson.kind), *([lesson.place] if lesson.place else []))
        sequences.append(prompt_ids + encoded["input_ids"] + [tokenizer.eos_token_id])
        starts.append(len(prompt_ids))
        letter_decides = fast or (evidence is not None and lesson.suspicion is not None)
        turn, letter = _ANSWER if evidence else _TELLING, _ANSWER if letter_decides else 1.0
        weighted.append(_weights(encoded["offset_mapping"], _heavy(completion, phrases, turn, letter)))
        # Where there is no reasoning only the answer is learned: left to itself, the policy must not choose to skip it.
        asked_for = _letter(completion) if fast else 0
        skipped.append(sum(end <= asked_for for _, end in encoded["offset_mapping"]))
    width = max(map(len, sequences))
    ids = torch.full((len(lessons), width), tokenizer.pad_token_id)
    labels = torch.full((len(lessons), width), -100)
    weights = torch.ones(len(lessons), width)
    for i, (sequence, start, own, skip) in enumerate(zip(sequences, starts, weighted, skipped, strict=True)):
        ids[i, : len(sequence)] = torch.tensor(sequence)
        labels[i, start + skip : len(sequence)] = ids[i, start + skip : len(sequence)]
        weights[i, start : start + len(own)] = torch.tensor(own)
    return _Batch(
        ids,
        labels,
        weights,
        torch.tensor(starts) - 1,
        torch.tensor([float(lesson.row["label"] == "defect") for lesson in lessons]),
        torch.tensor([PLACES.index(lesson.place) if lesson.place else -100 for lesson in lessons]),
        torch.tensor([KINDS.index(lesson.kind) if lesson.kind else -100 for lesson in lessons]),
        torch.tensor(unusual),
    )


def _where_named(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over what is named; 0 where nothing is."""
    return F.cross_entropy(logits, classes, reduction="sum") / max(1, int((classes >= 0).sum()))


def _letter(completion: str) -> int:
    """Where the answer's letter stands."""
    return completion.index("<answer>") + len("<answer>")


def _heavy(completion: str, phrases: Sequence[str], turn: float, letter: float) -> list[tuple[int, int, float]]:
    """What weighs more than the rest of a completion: start, end, and weight."""
    spans = [(*found.span(), _TELLING) for phrase in phrases for found in re.finditer(re.escape(phrase), completion)]
    if first_words := _FIRST_WORDS.search(completion):
        spans.append((*first_words.span(1), turn))
    start = _letter(completion)
    return [*spans, (start, start + 1, letter)]


def _weights(offsets: Sequence[tuple[int, int]], heavy: Sequence[tuple[int, int, float]]) -> list[float]:
    """Of each token, of which `offsets` has the ends in the text: the largest of the spans that it is part of, or 1."""
    return [
        max([1.0, *(weight for low, high, weight in heavy if low < end and start < high)]) for start, end in offsets
    ]


def equally_of(parts: Sequence[NDArray[np.intp]], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """So many indices, equally many of each part (the first ones have one more where that does not come out even)."""
    shares = [len(share) for share in np.array_split(np.arange(count), len(parts))]
    return np.concatenate([rng.choice(part, n, replace=n > len(part)) for part, n in zip(parts, shares, strict=True)])


def teach_text(
    model: Any,
    processor: Any,
    lessons: Sequence[Lesson],
    handed_on: torch.Tensor,
    train: Sequence[NDArray[np.intp]],
    validation: Mapping[str, NDArray[np.intp]],
    schedule: Schedule,
    folder: Path,
    *,
    seed: int,
    progress: bool,
) -> None:
    """Teach projector and language model.

    Args:
        model: The policy's model; its tower is not touched.
        processor: Its processor.
        lessons: What is to be said of each of N drawings.
        handed_on: What the tower hands on of each, (N, 100, C).
        train: Indices of those to learn from, in parts that a batch has equally many of.
        validation: Indices of those of other categories, to look at, by what the metrics call them.
        schedule: Of this stage.
        folder: Gets the checkpoint and the metrics.
        seed: Of batches and wordings.
        progress: Show a progress bar.
    """
    width = model.config.text_config.hidden_size
    told = not all(lesson.bare for lesson in lessons)
    outputs = [1, len(PLACES), len(KINDS), len(UNUSUAL) * told]
    head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(outputs)))
    core = model.model

    def losses(chosen: NDArray[np.intp], rng: np.random.Generator) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        batch = _collate(processor, [lessons[i] for i in chosen], rng).to(DEVICE)
        embeddings = core.get_input_embeddings()(batch.ids)
        projected = core.multi_modal_projector(handed_on[chosen].to(DEVICE).float())
        embeddings = embeddings.masked_scatter((batch.ids == model.config.image_token_id)[..., None], projected)
        hidden = core.language_model(inputs_embeds=embeddings, use_cache=False).last_hidden_state
        scored = batch.labels[:, 1:] != -100
        text = F.cross_entropy(model.lm_head(hidden[:, :-1][scored]), batch.labels[:, 1:][scored], reduction="none")
        weights = batch.weights[:, 1:][scored]
        ends = head(hidden[torch.arange(len(hidden)), batch.prompt_end])
        image, place, kind, unusual = ends.split(outputs, 1)
        parts = {
            "text": (text * weights).sum() / weights.sum(),
            "image": F.binary_cross_entropy_with_logits(image.squeeze(1), batch.is_defect),
            "place": _where_named(place, batch.place),
            "kind": _where_named(kind, batch.kind),
        }
        if told:
            parts["unusual"] = _where_named(unusual, batch.unusual)
        loss = parts["text"] + _HEAD_WEIGHT * sum(part for name, part in parts.items() if name != "text")
        return parts | {"loss": loss}, image.squeeze(1)

    def losses_of(rng: np.random.Generator) -> dict[str, torch.Tensor]:
        return losses(equally_of(train, schedule.batch_size, rng), rng)[0]

    @torch.inference_mode()
    def judge(limit: int = 256) -> dict[str, float]:
        from sklearn.metrics import roc_auc_score

        figures = {}
        for name, indices in validation.items():
            if not len(indices):
                continue
            rng = np.random.default_rng(seed)
            chosen = np.sort(rng.permutation(indices)[:limit])
            size = schedule.batch_size
            parts = [losses(chosen[i : i + size], rng) for i in range(0, len(chosen), size)]
            truth = [lessons[i].row["label"] == "defect" for i in chosen]
            figures[f"{name}_text"] = float(np.mean([part["text"].item() for part, _ in parts]))
            figures[f"{name}_auroc"] = float(
                roc_auc_score(truth, torch.cat([logits for _, logits in parts]).cpu().numpy())
            )
        return figures

    learned = nn.ModuleDict(
        {"projector": core.multi_modal_projector, "language_model": core.language_model, "head": head}
    )
    fit(learned, schedule, losses_of, judge, folder, seed=seed, progress=progress)
