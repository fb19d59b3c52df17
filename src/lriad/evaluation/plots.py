"""The plots of a report as inline SVG.

Written out by hand: matplotlib's SVG carries style attributes, which the report's content security policy forbids, and
colours of its own, where these take the page's, light or dark. Text stays text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from lriad.evaluation.metrics import DEFECT, NORMAL

if TYPE_CHECKING:
    from lriad.calibration.reliability import Reliability
    from lriad.evaluation.evaluate import Block

WIDTH, HEIGHT = 360, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 12, 40
_BINS = 30
_MOST_POINTS = 400  # of a curve
_MOST_CATEGORIES = 40
_LABEL_WIDTH = 112
_ROW_HEIGHT = 26


@dataclass(frozen=True)
class Plot:
    """A picture of an evaluation.

    Attributes:
        title: Its heading.
        svg: The drawing.
        caption: What it shows, in a sentence or two, numbers included.
        tall: Whether it is higher than the others.
    """

    title: str
    svg: Markup
    caption: str
    tall: bool = False


@dataclass(frozen=True)
class _Panel:
    """A rectangle with a scale in each direction; y points up."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    top: float = _TOP
    bottom: float = HEIGHT - _BOTTOM
    left: float = _LEFT
    right: float = WIDTH - _RIGHT

    def x(self, value: float) -> float:
        low, high = self.x_range
        return round(self.left + (self.right - self.left) * (value - low) / (high - low), 1)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return round(self.bottom - (self.bottom - self.top) * (value - low) / (high - low), 1)

    def axes(
        self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_name: str, y_name: str
    ) -> Markup:
        parts = [_line("grid", self.left, self.y(at), self.right, self.y(at)) for at, _ in y_ticks]
        parts += [_text("tick end", self.left - 6, self.y(at) + 3.5, text) for at, text in y_ticks]
        parts += [_line("tick-mark", self.x(at), self.bottom, self.x(at), self.bottom + 4) for at, _ in x_ticks]
        parts += [_text("tick middle", self.x(at), self.bottom + 16, text) for at, text in x_ticks]
        parts.append(_line("axis", self.left, self.bottom, self.right, self.bottom))
        parts.append(_text("name middle", (self.left + self.right) / 2, self.bottom + 34, x_name))
        middle = (self.top + self.bottom) / 2
        turned = Markup('<text class="name middle" transform="translate(11 {}) rotate(-90)">{}</text>')
        parts.append(turned.format(round(middle, 1), y_name))
        return Markup("").join(parts)

    def curve(self, kind: str, x_M: NDArray[np.floating], y_M: NDArray[np.floating]) -> Markup:
        """A line through M points, drawn with as many of them as can be told apart."""
        points = dict.fromkeys((self.x(x), self.y(y)) for x, y in zip(x_M.tolist(), y_M.tolist(), strict=True))
        kept = list(points)
        if len(kept) > _MOST_POINTS:
            step = math.ceil(len(kept) / _MOST_POINTS)
            kept = [*kept[::step], kept[-1]]
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in kept)
        return Markup('<path class="{}" d="{}"/>').format(kind, path)


def roc(
    truth_N: NDArray[np.integer], score_N: NDArray[np.floating], point: tuple[float, float] | None, caption: str
) -> Plot:
    """Recall of defects over the false-positive rate, both in [0, 1].

    Args:
        truth_N: NORMAL or DEFECT; both occur.
        score_N: The higher, the more likely a defect.
        point: False-positive rate and recall of what was decided; None where nothing was.
        caption: Of the plot.
    """
    from sklearn.metrics import roc_curve

    false_positive_rate_T, recall_T, _ = roc_curve(truth_N, score_N)
    panel = _Panel((0, 1), (0, 1))
    drawn = [
        panel.axes(_PERCENTS, _PERCENTS, "false alarms, % of good images", "defects found, %"),
        _line("chance", panel.x(0), panel.y(0), panel.x(1), panel.y(1)),
        panel.curve("curve", false_positive_rate_T, recall_T),
    ]
    if point:
        drawn.append(_point(panel, *point))
    return Plot("Defects found against false alarms", _svg(drawn, "ROC curve. " + caption), caption)


def precision_recall(
    truth_N: NDArray[np.integer], score_N: NDArray[np.floating], point: tuple[float, float] | None, caption: str
) -> Plot:
    """Precision over recall, both in [0, 1]; arguments as of `roc`, the point being recall and precision."""
    from sklearn.metrics import precision_recall_curve

    precision_T, recall_T, _ = precision_recall_curve(truth_N, score_N, drop_intermediate=True)
    panel = _Panel((0, 1), (0, 1))
    share = float(truth_N.mean())
    drawn = [
        panel.axes(_PERCENTS, _PERCENTS, "defects found, %", "of the alarms, defects, %"),
        _line("chance", panel.x(0), panel.y(share), panel.x(1), panel.y(share)),
        panel.curve("curve", recall_T[-2::-1], precision_T[-2::-1]),  # the last point, precision 1, is of no image
    ]
    if point:
        drawn.append(_point(panel, *point))
    return Plot("Precision against recall", _svg(drawn, "Precision-recall curve. " + caption), caption)


def histogram(
    truth_N: NDArray[np.integer],
    score_N: NDArray[np.floating],
    limits: Sequence[float],
    decided: str,
    name: str,
    is_probability: bool,
) -> Plot:
    """How the scores of good and of defective images are spread, one above the other on the same scale.

    Args:
        truth_N: NORMAL or DEFECT.
        score_N: Finite.
        limits: Values that decide, drawn as lines.
        decided: What they are, in words.
        name: Of the score.
        is_probability: Whether the scale is [0, 1].
    """
    low, high = (0.0, 1.0) if is_probability else (float(score_N.min()), float(score_N.max()))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    middle = (_TOP + HEIGHT - _BOTTOM) / 2
    drawn = []
    for truth, kind, word, top, bottom in (
        (NORMAL, "good", "good", _TOP, middle - 9),
        (DEFECT, "bad", "defect", middle + 9, HEIGHT - _BOTTOM),
    ):
        count_B, _ = np.histogram(score_N[truth_N == truth], edges)
        most = max(1, int(count_B.max()))
        panel = _Panel((low, high), (0, most * 1.05), top, bottom)
        ticks = [(0.0, "0"), (float(most), str(most))]
        x_ticks = _ticks(low, high) if truth == DEFECT else []
        drawn.append(panel.axes(x_ticks, ticks, name if truth == DEFECT else "", f"{word} images"))
        for count, left, right in zip(count_B.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if count:
                said = f"{count} {word}, {left:.3g} to {right:.3g}"
                box = (panel.x(left) + 0.5, panel.y(count), panel.x(right) - 0.5, panel.bottom)
                drawn.append(_bar(kind, *box, said))
        drawn += [_line("threshold", panel.x(at), top, panel.x(at), bottom) for at in limits if low <= at <= high]
    caption = f"{name}: of the good images above, of the defective ones below; each on a scale of its own."
    if limits:
        caption += f" Dashed: {decided}."
    return Plot("Scores of good and defective images", _svg(drawn, caption), caption)


def reliability_diagram(found: Reliability) -> Plot:
    """The share of defects among images of about the same p_defect, with its interval, against that p_defect."""
    panel = _Panel((0, 1), (0, 1))
    drawn = [
        panel.axes(_PERCENTS, _PERCENTS, "p_defect, mean of the bin, %", "of the images, defects, %"),
        _line("chance", panel.x(0), panel.y(0), panel.x(1), panel.y(1)),
    ]
    images = sum(one.images for one in found.bins)
    for one in found.bins:
        x, (low, high) = panel.x(one.mean_p), one.interval
        drawn.append(_line("whisker", x, panel.y(low), x, panel.y(high)))
        said = f"{one.images} images, p_defect {one.mean_p:.3f}: {one.share:.1%} defects"
        drawn.append(_dot("dot", x, panel.y(one.share), said, 2.5 + 4 * math.sqrt(one.images / images)))
    caption = (
        f"Is p_defect what it says? On the line: yes. Expected calibration error {found.ece:.3f}, Brier score "
        f"{found.brier:.3f}. Larger dots: more images; the lines are 95% intervals."
    )
    return Plot("Reliability of p_defect", _svg(drawn, "Reliability diagram. " + caption), caption)


def categories(by_score: Block, decided: Block, names: Iterable[str]) -> Plot | None:
    """AUROC and balanced accuracy of each category, with their intervals, the least accurate first.

    Args:
        by_score: Has the AUROC.
        decided: Has the balanced accuracy of what was decided.
        names: Of the categories.

    Returns:
        None where no category defines either.
    """
    lines = []
    for name in names:
        auroc, accuracy = by_score.per_category[name], decided.per_category[name]
        pairs = [
            (scores.values[metric], scores.intervals.get(metric))
            for scores, metric in ((accuracy, "balanced_accuracy"), (auroc, "auroc"))
        ]
        known = [value for value, _ in pairs if value is not None]
        if known:
            lines.append((known[0], name, pairs))
    if not lines:
        return None
    lines.sort(key=lambda line: line[:2])
    shown = lines[:_MOST_CATEGORIES]
    bottom = _TOP + _ROW_HEIGHT * len(shown)
    panel = _Panel((0, 1), (0, 1), _TOP, bottom, left=_LABEL_WIDTH)
    drawn = [_line("grid", panel.x(at), _TOP, panel.x(at), bottom) for at, _ in _PERCENTS]
    drawn += [_text("tick middle", panel.x(at), bottom + 14, text) for at, text in _PERCENTS]
    drawn.append(_line("chance", panel.x(0.5), _TOP, panel.x(0.5), bottom))
    for row, (_, name, pairs) in enumerate(shown):
        top = _TOP + row * _ROW_HEIGHT
        short = name if len(name) <= 17 else name[:16] + "…"
        drawn.append(_text("label end", _LABEL_WIDTH - 8, top + 17, short))
        for kind, word, offset, (value, interval) in zip(
            ("accuracy", "auroc"), ("balanced accuracy", "AUROC"), (4, 14), pairs, strict=True
        ):
            if value is None:
                continue
            y, said = top + offset, f"{name}: {word} {value:.1%}"
            drawn.append(_bar(kind, panel.x(0), y, panel.x(value), y + 8, said))
            if interval:
                drawn.append(_line("whisker", panel.x(interval[0]), y + 4, panel.x(interval[1]), y + 4))
    y = bottom + 34
    for kind, left, word in (("accuracy", _LABEL_WIDTH, "balanced accuracy, %"), ("auroc", 270, "AUROC, %")):
        drawn += [_bar(kind, left, y - 8, left + 10, y, word), _text("tick", left + 15, y, word)]
    caption = "The least accurate first. Dashed: what chance gives. "
    if by_score.pooled.intervals:
        caption += "The lines are 95% intervals."
    if len(shown) < len(lines):
        caption += f" Shown: {len(shown)} of {len(lines)} categories; the tables have all."
    svg = _svg(drawn, "Bars of balanced accuracy and AUROC by category. " + caption, height=bottom + 44)
    return Plot("By category", svg, caption.strip(), tall=len(shown) > 8)


_PERCENTS = [(at / 100, str(at)) for at in (0, 25, 50, 75, 100)]


def _ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Four to eight round numbers of a range."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [(i * step, f"{i * step:.6g}") for i in range(first, last + 1)]


def _svg(drawn: Sequence[Markup], label: str, height: float = HEIGHT) -> Markup:
    start = Markup('<svg viewBox="0 0 {} {:g}" role="img" aria-label="{}">').format(WIDTH, height, label)
    return start + Markup("").join(drawn) + Markup("</svg>")


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:g}" y1="{:g}" x2="{:g}" y2="{:g}"/>').format(kind, x1, y1, x2, y2)


def _text(kind: str, x: float, y: float, text: str) -> Markup:
    return Markup('<text class="{}" x="{:g}" y="{:g}">{}</text>').format(kind, x, y, text)


def _bar(kind: str, left: float, top: float, right: float, bottom: float, said: str) -> Markup:
    box = Markup('<rect class="{}" x="{:g}" y="{:g}" width="{:g}" height="{:g}"><title>{}</title></rect>')
    return box.format(kind, left, top, max(0.0, right - left), max(0.0, bottom - top), said)


def _dot(kind: str, x: float, y: float, said: str, radius: float = 3.5) -> Markup:
    disc = Markup('<circle class="{}" cx="{:g}" cy="{:g}" r="{:.1f}"><title>{}</title></circle>')
    return disc.format(kind, x, y, radius, said)


def _point(panel: _Panel, x: float, y: float) -> Markup:
    return _dot("decided", panel.x(x), panel.y(y), f"as decided: {x:.1%}, {y:.1%}")
