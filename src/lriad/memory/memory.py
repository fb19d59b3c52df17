"""A memory of good parts: what their places look like, and how far good parts stray from one another."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from lriad.data._files import show
from lriad.data.place import PLACES
from lriad.data.sample import object_name_of
from lriad.data.views import Views
from lriad.errors import LriadError
from lriad.memory.patches import FIELDS, beyond_usual, image_deviation, nearest, patches
from lriad.memory.rule import Rule, log_odds
from lriad.prompt import evidence_line
from lriad.verdict import Mode

FORMAT = "lriad-memory-3"
_MIN_SPREAD = 0.1
"""Of the good samples' deviations, as a share of their mean: a few that agree by chance must not make all else odd."""
_ALARM_RATE = 0.05
_SHAPE_TOLERANCE = 1.1
_POLICY_WEIGHT = 0.5
"""The most that costs neither toy alien nor magnetic tile more than half a point of AUROC: docs/results.md."""
_MIN_ODDS_SPREAD = 0.5
"""Of the good samples' log-odds, for the same reason."""


@dataclass(frozen=True)
class Comparison:
    """One image against the good samples.

    Attributes:
        map_HW: Deviation of each place, on the scale of `z`.
        deviation: The image's: the mean of its few farthest places, as a distance between features.
        z: The deviation in standard deviations of the good samples' own around their mean.
        place: Where it is largest, in words.
        as_high: Good samples that deviate as much.
        samples: Good samples that it was compared with.
    """

    map_HW: NDArray[np.float32]
    deviation: float
    z: float
    place: str
    as_high: int
    samples: int

    @property
    def evidence(self) -> str:
        """What the prompt says of it."""
        return evidence_line(self.samples, self.place, self.z, self.as_high)


@dataclass(frozen=True)
class Look:
    """What all good images have in common, whatever they show.

    Attributes:
        grey: True where a grey camera took all of them, False where one with colours did, None where there are both.
        narrowest, widest: Least and largest width divided by height.
        layout: Columns and rows of their tiles.
        has_whole: Whether the whole is looked at beside these.
    """

    grey: bool | None
    narrowest: float
    widest: float
    layout: tuple[int, int] = (1, 1)
    has_whole: bool = False

    @property
    def scales(self) -> list[range]:
        """Which of an image's views are of one scale: the whole, then the tiles."""
        columns, rows = self.layout
        tiles = columns * rows
        return [range(1), range(1, 1 + tiles)] if self.has_whole else [range(tiles)]

    @classmethod
    def of(cls, image: Image.Image, views: Views) -> Look:
        """Of one image in RGB."""
        shape = image.width / image.height
        return cls(is_grey(image), shape, shape, views.layout(image.size), views.has_whole(image.size))

    @classmethod
    def union(cls, looks: Sequence[Look]) -> Look:
        """Of all of them.

        Raises:
            LriadError: They have views in different places.
        """
        for look in looks:
            looks[0]._check_layout(look)
        greys = {look.grey for look in looks}
        narrowest, widest = min(look.narrowest for look in looks), max(look.widest for look in looks)
        grey = greys.pop() if len(greys) == 1 else None
        return cls(grey, narrowest, widest, looks[0].layout, looks[0].has_whole)

    def _check_layout(self, other: Look) -> None:
        if (other.layout, other.has_whole) != (self.layout, self.has_whole):
            cut, kept = (
                " x ".join(map(str, look.layout)) + " tiles" + " and the whole" * look.has_whole
                for look in (other, self)
            )
            raise LriadError(
                f"this image is seen in {cut}, those in memory in {kept}, which cannot be compared: crop all images to "
                "one shape, or do without --tiles"
            )

    def check(self, other: Look) -> None:
        """Raise LriadError where images that look so cannot be of the same camera.

        Where good images are of many shapes, any is right.
        """
        self._check_layout(other)
        of_one_shape = self.widest <= self.narrowest * _SHAPE_TOLERANCE
        low, high = self.narrowest / _SHAPE_TOLERANCE, self.widest * _SHAPE_TOLERANCE
        if of_one_shape and (other.narrowest < low or other.widest > high):
            raise LriadError(
                f"this image is of another shape (width / height {other.narrowest:.2f}) than those in memory "
                f"({self.narrowest:.2f}): crop it alike"
            )
        if self.grey is not None and other.grey is not None and other.grey != self.grey:
            kinds = ("in colour", "grey") if self.grey else ("grey", "in colour")
            raise LriadError(f"this image is {kinds[0]}, those in memory are {kinds[1]}: take both in one way")


def is_grey(image: Image.Image) -> bool:
    """Whether an RGB image comes from a grey camera: its channels are the same to the last bit.

    A colour camera's photograph of grey metal is not: what is grey and what has a rust spot must pass for one product.
    """
    small = np.asarray(image.resize((64, 64)), np.int16)
    return bool((small.max(2) == small.min(2)).all())


@dataclass(frozen=True)
class GoodImage:
    """One of the images in memory.

    Attributes:
        sha256: Hash of its file.
        pixels: Hash of its pixels, by which it is known again.
        group: Images of one group (one part, one series) are not compared with one another.
        deviation: From the images of other groups.
        p: The policy's p_defect by mode, having read its deviation from the images of other groups; none where the
            policy was not asked.
    """

    sha256: str
    pixels: str
    group: str
    deviation: float
    p: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Bank:
    """Remembered places, which views of one scale are compared with.

    Attributes:
        places_KC: Vectors of places, see `patches`, float32.
        owner_K: Index of the good image that each is of.
    """

    places_KC: Tensor
    owner_K: Tensor

    @cached_property
    def half_norms_K(self) -> Tensor:
        """Half of each place's squared norm."""
        return self.places_KC.square().sum(1) / 2


def banks_of_views(banks: Sequence[Bank], look: Look) -> list[Bank]:
    """The bank that each of an image's views is compared with."""
    return [bank for bank, views in zip(banks, look.scales, strict=True) for _ in views]


@dataclass(frozen=True)
class Memory:
    """What is known of one product's good parts. Made by `remember`, read from a file by `load_memory`.

    Attributes:
        object_name: The product in words.
        policy_sha256: Of the policy whose eyes it was made with; another one's images cannot be compared.
        adapter_sha256: Of the adapter that the good images' p was read with; None without one.
        banks: The remembered places: of each scale of views one.
        scales: Of the depths, see `patches`.
        usual_NVFF: How far each good image strays from those of other groups: the mean distance in fields of each view.
        others_NV2FF: Of each good image the mean and the spread over those of other groups, were its own not there.
        good: The images.
        look: What they have in common.
        views: Which parts of an image are looked at.
        versions: Of lriad and of the packages behind it.
        rule: What was learned from labelled images; None without any.
        defects: Pixel hashes of the labelled defects.
    """

    object_name: str
    policy_sha256: str
    adapter_sha256: str | None
    banks: tuple[Bank, ...]
    scales: tuple[float, ...]
    usual_NVFF: Tensor
    others_NV2FF: Tensor
    good: tuple[GoodImage, ...]
    look: Look
    views: Views
    versions: Mapping[str, str] = field(default_factory=dict)
    rule: Rule | None = None
    defects: tuple[str, ...] = ()

    @cached_property
    def _bank_of_view(self) -> list[Bank]:
        return banks_of_views(self.banks, self.look)

    @cached_property
    def _usual_V2FF(self) -> Tensor:
        return torch.stack([self.usual_NVFF.mean(0), self.usual_NVFF.std(0)], 1)

    @cached_property
    def sha256(self) -> str:
        """Its identity: a hash of what it holds."""
        digest = hashlib.sha256(json.dumps(self._header(), sort_keys=True).encode())
        for tensor in self._tensors().values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def setting(self) -> str:
        """What it knows, as tables name it: numbers of different settings must not stand in one row."""
        labelled = f" + {len(self.defects)} labelled defects" if self.defects else ""
        return f"{len(self.good)} good{labelled}"

    def group_of(self, pixels: str, group: str | None = None) -> str | None:
        """The group in memory that an image must not be compared with; None where it has none there.

        Args:
            pixels: Hash of the image's pixels.
            group: Its sample's group.
        """
        return next((image.group for image in self.good if pixels == image.pixels or group == image.group), None)

    def others(self, group: str | None) -> list[GoodImage]:
        """The good images that are not of a group."""
        return [image for image in self.good if image.group != group or group is None]

    def unusual(self, depths: Sequence[Tensor], view: int, group: str | None = None) -> NDArray[np.float32]:
        """How far each place of an image, or of a view of one, is from the good samples, beyond what is usual there.

        Args:
            depths: Its maps (`Policy.see`).
            view: Which of the image's views it is, see `Views.boxes`.
            group: A group of the memory that does not count: the image's own.

        Returns:
            Shape (H, W).
        """
        usual_V2FF = self._usual_V2FF if group is None else self.others_NV2FF[self._in_group(group)][0]
        return beyond_usual(self.distances(depths, view, group), *usual_V2FF[view])

    def _in_group(self, group: str | None) -> Tensor:
        return torch.tensor([group is not None and image.group == group for image in self.good])

    def distances(self, depths: Sequence[Tensor], view: int, group: str | None = None) -> NDArray[np.float32]:
        """Distance of each place of an image, or of a view of one, from the good samples.

        Args, Returns: As for `unusual`.

        Raises:
            LriadError: The maps have other channels than what is remembered.
        """
        vectors, bank = patches(depths, self.scales), self._bank_of_view[view]
        if vectors.shape[2] != bank.places_KC.shape[1]:
            raise LriadError(
                f"memory: of {bank.places_KC.shape[1]} channels, the policy's eyes have {vectors.shape[2]}"
            )
        barred = None if group is None else self._in_group(group)[bank.owner_K]
        found = nearest(vectors.flatten(0, 1), bank.places_KC, bank.half_norms_K, barred)
        return found.unflatten(0, vectors.shape[:2]).numpy()

    def judge(
        self, unusual_HW: NDArray[np.float32], group: str | None = None, deviation: float | None = None
    ) -> Comparison:
        """What it means that places are unusual.

        Args:
            unusual_HW: Of an image, or of a view of one; NaN where nothing was looked at.
            group: As for `unusual`.
            deviation: Of an image of several views: that of all their places, as the good images' was taken; None
                takes it from `unusual_HW`.
        """
        usual_N = np.array([image.deviation for image in self.others(group)])
        mean, spread = centre_and_spread(usual_N, _MIN_SPREAD * abs(float(usual_N.mean())))
        deviation = image_deviation(unusual_HW) if deviation is None else deviation
        row, column = np.unravel_index(np.nanargmax(unusual_HW), unusual_HW.shape)
        height, width = unusual_HW.shape
        return Comparison(
            map_HW=(unusual_HW - mean) / spread,
            deviation=deviation,
            z=(deviation - mean) / spread,
            place=PLACES[3 * (3 * int(row) // height) + 3 * int(column) // width],
            as_high=int((usual_N >= deviation).sum()),
            samples=len(usual_N),
        )

    @property
    def promised_rate(self) -> float:
        """The alarm rate up to which an image is decided defective: 5 %, or what so few good parts can promise."""
        return max(_ALARM_RATE, 1 / (1 + len({image.group for image in self.good})))

    def check_policy(self, policy: Any) -> None:
        """Raise LriadError where images seen by this policy cannot be compared with those in memory."""
        if policy.policy_sha256 != self.policy_sha256:
            raise LriadError(
                f"this memory was made with another policy ({self.policy_sha256[:12]}, not "
                f"{str(policy.policy_sha256)[:12]}): run lriad remember with the policy that inspects"
            )

    def check_adapter(self, policy: Any) -> None:
        """Raise LriadError where what this policy says of an image cannot be ranked among what it said of good ones."""
        self.check_policy(policy)
        if policy.adapter_sha256 != self.adapter_sha256:
            raise LriadError(
                "this memory was made with another adapter on the same policy: run lriad remember again with the "
                "trained policy, so that it knows what that says of good parts"
            )

    def check_name(self, object_name: str) -> None:
        """Raise LriadError where the memory is of another product."""
        if object_name_of(object_name).casefold() != object_name_of(self.object_name).casefold():
            raise LriadError(f"this memory is of a {self.object_name!r}, not of a {object_name.strip()!r}")

    def rank(self, p_defect: float | None, z: float, mode: str, group: str | None = None) -> Rank:
        """How unusual an image is among good ones, by what the policy and the memory say together.

        Each is taken in standard deviations of the good images' own, and the two are added, the policy's for a
        half: a policy that calls good samples of this product defective counts for little, and so does a memory of
        samples that are all unlike.

        Args:
            p_defect: Of the policy, having read the evidence; None where what it says is not to count.
            z: Of the image's comparison.
            mode: In which the policy was asked.
            group: As for `unusual`.
        """
        others = self.others(group)
        usual_N = np.array([image.deviation for image in others])
        mean, spread = centre_and_spread(usual_N, _MIN_SPREAD * abs(float(usual_N.mean())))
        asked = [image for image in others if mode in image.p]
        if p_defect is None or len(asked) < 2:
            return _ranked(z, np.append((usual_N - mean) / spread, z))
        odds_N = np.array([log_odds(image.p[mode]) for image in asked])
        odds_mean, odds_spread = centre_and_spread(odds_N, _MIN_ODDS_SPREAD)
        own = log_odds(p_defect)
        # For the rank, the image itself is among those that the scales are taken from: only so are all of them alike in
        # how their sums are made, and the rank of a good one is any with the same probability.
        deviation_M = np.array([*(image.deviation for image in asked), mean + z * spread])
        sum_M = _standard(deviation_M, _MIN_SPREAD * abs(float(deviation_M.mean())))
        sum_M += _POLICY_WEIGHT * _standard(np.append(odds_N, own), _MIN_ODDS_SPREAD)
        return _ranked(z + _POLICY_WEIGHT * (own - odds_mean) / odds_spread, sum_M)

    def save(self, file: str | Path) -> None:
        """Write it as safetensors, whole or not at all.

        Raises:
            LriadError: It cannot be written; a memory that was there stays.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save

        file = Path(file)
        partial = file.with_name(f".{file.name}.{os.getpid()}.part")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            # Written by Python: the library's own files only their owner may read.
            partial.write_bytes(save(self._tensors(), {"format": FORMAT, "memory": json.dumps(self._header())}))
            partial.replace(file)
        except (OSError, SafetensorError) as error:
            raise LriadError(f"{show(file)}: cannot be written ({_line(error)}); name another --output") from error
        finally:
            partial.unlink(missing_ok=True)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"bank.{scale}": bank.places_KC.half() for scale, bank in enumerate(self.banks)}
        tensors |= {f"owner.{scale}": bank.owner_K.int() for scale, bank in enumerate(self.banks)}
        tensors |= {"usual": self.usual_NVFF.half(), "others": self.others_NV2FF.half()}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        if self.rule is not None:
            tensors |= {f"rule.{name}": torch.from_numpy(value) for name, value in _arrays(self.rule).items()}
        return tensors

    def _header(self) -> dict[str, Any]:
        own = ("object_name", "policy_sha256", "adapter_sha256", "scales", "versions", "defects")
        header = {name: getattr(self, name) for name in own}
        header |= {"look": dataclasses.asdict(self.look), "views": dataclasses.asdict(self.views)}
        header["good"] = [dataclasses.asdict(image) for image in self.good]
        if self.rule is not None:
            arrays = _arrays(self.rule)
            header["rule"] = {name: value for name, value in vars(self.rule).items() if name not in arrays}
        return header


@dataclass(frozen=True)
class Rank:
    """How unusual an image is.

    Attributes:
        score: The higher the more unusual; 0 for a usual good image.
        alarm_rate: How often a good part would be as unusual. As unusual as the k-th of n good samples is k / (1 + n),
            which exchangeable images keep exactly (a conformal p-value); in between it is interpolated, which they keep
            up to terms of order 1 / n^2 where the numbers are spread smoothly (Beran and Hall, J. R. Statist. Soc. B,
            55:643, 1993), and never by more than 1 / (1 + n).
        lowest: The lowest that so few samples can promise: 1 / (1 + good samples).
    """

    score: float
    alarm_rate: float
    lowest: float


def _ranked(score: float, sum_M: NDArray[np.floating]) -> Rank:
    """The rank of the last of some numbers among the others, from which it takes no share."""
    lowest, own, others = 1 / len(sum_M), sum_M[-1], np.sort(sum_M[:-1])[::-1]
    above = int((others >= own).sum())
    if above == 0:
        rate = lowest
    elif above == len(others):
        rate = lowest * above if own == others[-1] else 1.0
    else:
        upper, lower = others[above - 1 : above + 1]
        rate = lowest * (above + float((upper - own) / (upper - lower)))
    return Rank(float(score), rate, lowest)


def _standard(values_N: NDArray[np.floating], smallest: float) -> NDArray[np.floating]:
    mean, spread = centre_and_spread(values_N, smallest)
    return (values_N - mean) / spread


def centre_and_spread(values_N: NDArray[np.floating], smallest: float) -> tuple[float, float]:
    """Mean and standard deviation, the latter at least `smallest`."""
    spread = float(values_N.std(ddof=1)) if len(values_N) > 1 else 0.0
    return float(values_N.mean()), max(spread, smallest, 1e-6)


def load_memory(file: str | Path) -> Memory:
    """Read a memory.

    Raises:
        LriadError: The file is missing, damaged, or no memory.
    """
    from safetensors import SafetensorError, safe_open

    name = show(file)
    if Path(file).is_dir():
        raise LriadError(f"{name}: a folder, not a memory; name the file that lriad remember has made")
    try:
        with safe_open(file, "pt") as opened:
            metadata = opened.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise LriadError(f"{name}: is no memory of this version of lriad; make one with lriad remember")
            header = json.loads(metadata["memory"])
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (it is no dict)
        look = Look(**header["look"] | {"layout": tuple(header["look"]["layout"])})
        banks = [
            Bank(tensors[f"bank.{scale}"].float(), tensors[f"owner.{scale}"].long())
            for scale, _ in enumerate(look.scales)
        ]
        memory = Memory(
            **header
            | {
                "banks": tuple(banks),
                "usual_NVFF": tensors["usual"].float(),
                "others_NV2FF": tensors["others"].float(),
                "scales": tuple(header["scales"]),
                "defects": tuple(header["defects"]),
                "look": look,
                "views": Views(header["views"]["roi"] and tuple(header["views"]["roi"]), header["views"]["tiles"]),
                "good": tuple(GoodImage(**image) for image in header["good"]),
                "rule": _rule(header["rule"], tensors) if "rule" in header else None,
            }
        )
        _check(memory)
    except FileNotFoundError as error:
        raise LriadError(f"{name}: no such memory; make one with lriad remember") from error
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OSError) as error:
        raise LriadError(f"{name}: damaged, truncated or no memory ({_line(error)}); make it anew") from error
    return memory


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def _check(memory: Memory) -> None:
    """Raise ValueError where its parts do not fit together, or a number is none."""
    images, rule = len(memory.good), memory.rule
    numbers = [*(bank.places_KC for bank in memory.banks), memory.usual_NVFF, memory.others_NV2FF]
    numbers.append(torch.tensor(memory.scales))
    numbers.append(torch.tensor([value for image in memory.good for value in (image.deviation, *image.p.values())]))
    views = memory.look.scales[-1].stop
    fits = (
        all(
            bank.places_KC.dim() == 2
            and bank.owner_K.shape == bank.places_KC.shape[:1]
            and len(bank.owner_K) > 0
            and 0 <= int(bank.owner_K.min()) <= int(bank.owner_K.max()) < images
            for bank in memory.banks
        )
        and len({bank.places_KC.shape[1] for bank in memory.banks}) == 1
        and memory.usual_NVFF.shape == (images, views, FIELDS, FIELDS)
        and memory.others_NV2FF.shape == (images, views, 2, FIELDS, FIELDS)
        and float(memory.usual_NVFF.min()) >= 0
        and float(memory.others_NV2FF.min()) >= 0
        and min(memory.scales) > 0
        and len({image.group for image in memory.good}) > 1
    )
    if rule is not None:
        numbers += [torch.from_numpy(array) for array in _arrays(rule).values()]
        numbers.append(torch.tensor([rule.gamma, rule.bias, *(one for own in rule.stacks.values() for one in own)]))
        features = rule.centre_F.shape
        fits = (
            fits
            and rule.scale_F.shape == features
            and rule.supports_SF.shape == (*rule.dual_S.shape, *features)
            and float(rule.scale_F.min()) > 0
            and rule.stacks.keys() == {*get_args(Mode)}
            and {len(own) for own in rule.stacks.values()} == {4}
        )
    if not fits or not all(bool(part.isfinite().all()) for part in numbers):
        raise ValueError("its parts do not fit together")


def _arrays(rule: Rule) -> dict[str, NDArray[np.float32]]:
    return {name: value for name, value in vars(rule).items() if isinstance(value, np.ndarray)}


def _rule(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Rule:
    kept: dict[str, Any] = {
        name.removeprefix("rule."): tensor.numpy() for name, tensor in tensors.items() if name.startswith("rule.")
    }
    rule = Rule(**header, **kept)
    return replace(rule, stacks={mode: tuple(stack) for mode, stack in rule.stacks.items()})
