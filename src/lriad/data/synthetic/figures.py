"""The `parts` family's figures: free castings, long screws, closures, rotors and bearings, each of many builds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lriad.data.synthetic.canvas import (
    Canvas,
    Component,
    Floats,
    Region,
    Rng,
    Stamp,
    any_colour,
    circle,
    coloured,
    grid,
    hsv,
    polar,
    rounded_box,
    spoke,
    turned,
)
from lriad.data.synthetic.goods import darker, depth_within, unlike_bore
from lriad.data.synthetic.materials import against, backdrop, finish, grainy, lathe
from lriad.data.synthetic.mixtures import any_word, makers_mark, on_part, writing_at

_PRINT = [*"ABCDEFGHKLMNOPRSTUVXYZ0123456789-"]


def _round(
    canvas: Canvas, outer: float, inner: float, colour: ArrayLike | None, lift: float, bevel: float, gloss: float = 0.0
) -> None:
    """Put a ring around the middle there (a disc where `inner` is 0), or only its relief where it has no colour.

    A large bevel of a polygon shows its corners; this one is truly round.
    """
    distance, _ = polar(canvas.size, 160, 160)
    depth = np.minimum(outer - distance, distance - inner) if inner > 0 else outer - distance
    whole = Region(slice(0, canvas.size), slice(0, canvas.size), np.clip(depth * np.float32(canvas.unit) + 0.5, 0, 1))
    if colour is not None:
        canvas.place(whole, colour, lift=0, gloss=gloss)
    canvas.height += np.sin(np.clip(depth / bevel, 0, 1) * np.float32(np.pi / 2)) * np.float32(lift * canvas.unit)


def _everywhere(c: Canvas, region: Region) -> Floats:
    """The region's coverage of the whole canvas."""
    whole = np.zeros((c.size, c.size), np.float32)
    whole[region.rows, region.cols] = region.alpha
    return whole


# Figures


def _union(canvas: Canvas, pieces: Sequence[Region], fillet: float = 0.0) -> Region:
    """All pieces as one, with the corners between them rounded out by about `fillet` units."""
    whole = np.zeros((canvas.size, canvas.size), np.float32)
    for piece in pieces:
        view = whole[piece.rows, piece.cols]
        np.maximum(view, piece.alpha, out=view)
    room = int(2 * fillet * canvas.unit) + 2
    low = [max(0, min(s.start for s in side) - room) for side in zip(*(p[:2] for p in pieces), strict=True)]
    high = [max(s.stop for s in side) + room for side in zip(*(p[:2] for p in pieces), strict=True)]
    rows, cols = (slice(a, min(b, canvas.size)) for a, b in zip(low, high, strict=True))
    alpha: Floats = whole[rows, cols]
    if fillet > 0:
        soft = fillet * canvas.unit
        alpha = np.clip((cv2.GaussianBlur(alpha, (0, 0), soft) - 0.45) * np.float32(2.5 * soft) + 0.5, 0, 1)
    return Region(rows, cols, alpha.astype(np.float32))


def _swell(canvas: Canvas, region: Region, colour: ArrayLike, high: float, bevel: float, gloss: float) -> None:
    """Put a rounded piece there that runs into what is there already, as in one casting."""
    round_off = np.sin(np.minimum(depth_within(canvas, region) / np.float32(bevel), 1) * np.float32(np.pi / 2))
    canvas.paint(region, colour)
    canvas.polish(region, gloss)
    height, part = (plane[region.rows, region.cols] for plane in (canvas.height, canvas.part))
    np.maximum(height, round_off * np.float32(high * canvas.unit), out=height)
    np.maximum(part, region.alpha, out=part)


def _limb(rng: Rng, long: float, thick: float, colour: ArrayLike, tip: ArrayLike, gloss: float) -> tuple[Stamp, float]:
    """A limb along x with its root at -half, bent anywhere, with a hand, a hoof or a point; and half its length."""
    n, half, mirror = 7, long / 2, float(rng.choice([-1, 1]))
    at = np.linspace(0, 1, n)
    bend = rng.choice([0, 0.15, 0.4]) * rng.uniform(0.5, 1.2) * mirror
    knee = np.sin(np.pi * at) if rng.random() < 0.5 else np.maximum(at - rng.uniform(0.3, 0.6), 0) * 1.5
    path = np.stack([(at - 0.5) * long * (1 - 0.3 * abs(bend)), knee * long * bend], 1)
    widths = thick * np.interp(at, [0, 0.5, 1], [1, *rng.uniform(0.5, 1.1, 2)])
    foot, end = float(rng.choice([0, 0.6, 0.75])) * thick, (float(path[-1, 0]), float(path[-1, 1]))
    toes, painted, fillet = int(rng.choice([0, 0, 3])), rng.random() < 0.35, rng.uniform(0.6, 1.6)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        line = turned(path, angle, x, y)
        pieces = [canvas.disc(px, py, w / 2) for (px, py), w in zip(line.tolist(), widths, strict=True)]
        for i in range(n - 1):
            dx, dy = (line[i + 1] - line[i]) / np.hypot(*(line[i + 1] - line[i])) / 2
            side = np.array([[-dy, dx]])
            corners = [line[i] + side * widths[i], line[i + 1] + side * widths[i + 1]]
            corners += [line[i + 1] - side * widths[i + 1], line[i] - side * widths[i]]
            pieces.append(canvas.polygon(np.concatenate(corners)))
        dots = [(*end, foot), *((*spoke(foot, 55 * (k - 1), *end), foot * 0.4) for k in range(toes))]
        spots = turned([dot[:2] for dot in dots], angle, x, y).tolist()
        over = [canvas.disc(px, py, dot[2]) for (px, py), dot in zip(spots, dots, strict=True)] if foot else []
        whole = _union(canvas, pieces + over, fillet)
        _swell(canvas, whole, colour, thick * 0.42, thick * 0.5, gloss)
        if painted:
            end_piece = _union(canvas, over or [pieces[n - 1], pieces[-1]])
            on = canvas.part[end_piece.rows, end_piece.cols]
            canvas.paint(end_piece._replace(alpha=end_piece.alpha * on), tip)

    return draw, half


def _feature(rng: Rng, r: float, kind: int, colour: ArrayLike, ink: ArrayLike) -> Stamp:
    """An eye, a button or a nose."""
    gloss, inner, look = rng.uniform(0, 0.8), rng.uniform(0.4, 0.65), spoke(r * 0.25, rng.uniform(0, 360), 0, 0)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, r), colour, lift=r * 0.4, bevel=r * 0.8, gloss=gloss)
        if kind == 0:
            canvas.paint(canvas.disc(x + look[0], y + look[1], r * inner), ink)
        elif kind == 1:
            for turn in (0, 180):
                canvas.paint(canvas.disc(*spoke(r * 0.4, angle + turn, x, y), max(1.2, r * 0.18)), ink)
        elif kind == 2:
            canvas.paint(canvas.disc(x, y, r * 0.8, r * inner), ink)

    return draw


def _paint_figure(
    c: Canvas,
    rng: Rng,
    at: Callable[[float, float], tuple[float, float]],
    tilt: float,
    ink: ArrayLike,
    paint: int,
    patch: tuple[float, float, float, float],
) -> None:
    """Stripes, spots, a bib or trousers, or none of them, and the seam of the mould."""
    if paint == 0:  # Stripes.
        turn, step = tilt + float(rng.choice([0, 90, 30])), rng.uniform(16, 30)
        bands = [turned([[k, -200], [k, 200]], turn, 160, 160) for k in np.arange(-140, 141, step)]
        c.paint(on_part(c, c.stroke(bands, step * rng.uniform(0.25, 0.5))), ink, 0.95)
    elif paint == 1:  # Spots.
        step, dot = rng.uniform(18, 30), rng.uniform(0.18, 0.32)
        for row in range(-8, 9):
            for col in range(-8, 9):
                spot = at((col + 0.5 * (row % 2)) * step, row * step * 0.87)
                if min(spot) > 20 and max(spot) < 300:
                    c.paint(on_part(c, c.disc(*spot, dot * step)), ink, 0.95)
    elif paint == 2:
        bib = on_part(c, c.ellipse(*at(*patch[:2]), *patch[2:], tilt))
        c.paint(bib, ink)
        c.lift(bib, 1, 3)
    elif paint == 3:  # Clothes up to a line.
        level = rng.uniform(-10, 40)
        c.paint(on_part(c, c.polygon([at(-200, level), at(200, level), at(200, 200), at(-200, 200)])), ink, 0.97)
    if rng.random() < 0.25:  # The seam of the mould.
        seam = on_part(c, c.stroke([at(0, -150), at(0, 150)], 3))
        c.lift(seam, 1, 1.5)
        c.tint(seam, 0.95)


def cast_figure(rng: Rng, size: int) -> Canvas:
    """A toy, a doll, an animal, a sweet or a trophy: one rounded free shape with limbs, a face and paint."""
    c = Canvas.blank(backdrop(rng, size))
    skin, gloss, tilt = against(rng, c.background), rng.uniform(0, 0.7), float(rng.choice([0, 0, rng.uniform(0, 360)]))
    second = against(rng, c.background) if rng.random() < 0.4 else skin
    coat = coloured(skin, grainy(rng, size, rng.choice([0, 0.01, 0.03])))
    plan, fillet, high = int(rng.integers(4)), rng.uniform(2, 6), rng.uniform(8, 18)

    def at(x: float, y: float) -> tuple[float, float]:
        px, py = turned([[x, y]], tilt, 160, 160)[0]
        return float(px), float(py)

    def bulb(x: float, y: float, a: float, b: float, angle: float = 0.0) -> Region:
        power = rng.uniform(0.75, 1)
        line = circle(0, 0, 1)
        return c.polygon(turned(np.sign(line) * np.abs(line) ** power * (a, b), angle + tilt, *at(x, y)))

    roots: list[tuple[float, float, float, float, float]] = []  # Where a limb starts, its direction, length, width.
    a, b, r = rng.uniform(30, 50), rng.uniform(42, 60), rng.uniform(25, 40)
    head, belly = (0.0, -58.0), (0.0, 18.0)
    if plan == 0:  # Upright.
        head = (rng.uniform(-10, 10), 14 - b - r * 0.7)
        pieces = [bulb(0, 18, a, b), bulb(*head, r * rng.uniform(0.9, 1.3), r)]
        lean, arm, leg, thick = rng.uniform(-60, 50, 2), rng.uniform(50, 84), rng.uniform(48, 70), rng.uniform(14, 27)
        for k, side in enumerate((1, -1)):
            turn = lean[0] if rng.random() < 0.6 else lean[1]
            roots.append((side * a * 0.7, 18 - b * 0.5, 90 - side * (90 - turn), arm, thick))
            roots.append(
                (side * a * 0.55, 18 + b * 0.78, 90 - side * rng.uniform(-8, 35), leg, thick * (1.1 + 0.01 * k))
            )
    elif plan == 1:  # On all fours, seen from the side.
        head, belly = (-rng.uniform(56, 80), -rng.uniform(20, 56)), (0.0, 0.0)
        trunk = bulb(0, 0, b * 1.35, a, rng.uniform(-12, 12))
        pieces = [trunk, bulb(*head, r, r * rng.uniform(0.7, 1))]
        pieces.append(c.stroke([at(-b * 0.8, -6), at(*head)], rng.uniform(20, 36)))
        pieces.append(bulb(head[0] - r * 0.8, head[1] + r * 0.3, r * rng.uniform(0.4, 0.8), r * 0.4))
        thick, leg = rng.uniform(14, 27), rng.uniform(50, 84)
        for share in (-0.95, -0.5, 0.55, 1):
            roots.append((share * b, a * 0.6, 90 + rng.uniform(-28, 28), leg, thick))
        roots.append((b * 1.2, -6, rng.uniform(-70, 50), rng.uniform(34, 70), thick * rng.uniform(0.4, 1)))
    elif plan == 2:  # Arms all around.
        head, n, r = (0.0, 0.0), int(rng.integers(3, 9)), rng.uniform(38, 56)
        belly, thick = (0.0, 0.0), rng.uniform(0.5, 0.85) * min(2 * np.pi * r / n, 34)
        pieces = [bulb(0, 0, r * rng.uniform(0.9, 1.15), r)]
        for k in range(n):
            angle = 360 * k / n + rng.normal(0, 8)
            roots.append((*spoke(r * 0.85, angle, 0, 0), angle, rng.uniform(46, 84), thick * rng.uniform(0.8, 1.1)))
    else:  # Turned, as a chess man or a cup, or a creature without feet.
        levels = np.linspace(-70, 105, 9)
        widths = rng.uniform(10, 34, 9) * np.linspace(0.9, 1.2, 9)
        widths[-2:] = rng.uniform(38, 60)
        fine = np.linspace(-70, 105, 60)
        flank = np.interp(fine, levels, widths)
        head, r = (0.0, -82.0), rng.uniform(22, 36)
        line = np.concatenate([np.stack([flank, fine], 1), np.stack([-flank, fine], 1)[::-1]])
        pieces = [c.polygon(turned(line, tilt, 160, 160)), bulb(*head, r * rng.uniform(0.8, 1.4), r)]
        for hand in (1, -1):
            waist = float(np.interp(-10, fine, flank))
            roots.append(
                (hand * waist * 0.7, -10, 90 - hand * rng.uniform(20, 150), rng.uniform(36, 62), rng.uniform(11, 18))
            )
    body = _union(c, pieces, fillet)
    _swell(c, body, coat, high, high * rng.uniform(1.2, 2.4), gloss)
    plain = rng.random() < 0.25
    ink = skin * 0.82 if plain else against(rng, skin)
    paint = int(rng.integers(6)) if not plain else 5
    _paint_figure(c, rng, at, tilt, ink, paint, (*belly, a * 0.62, b * 0.6))
    same = rng.random() < 0.6
    long, wide = r * rng.uniform(0.7, 1.7), r * rng.uniform(0.35, 0.8)
    for side in (-1, 1) if plan != 2 and rng.random() < 0.8 else ():  # Ears, horns or antennae.
        turn = -90 + side * rng.uniform(20, 62)
        roots.append((*spoke(r * 0.85, turn, *head), turn, long, wide))
    for x, y, turn, reach, thick in roots:
        # Nothing may leave the picture.
        reach = min(reach, max(26.0, 132 - float(np.hypot(x, y))))
        colour = skin if same else second
        limb, half = _limb(rng, reach, thick, coloured(colour, np.ones((size, size))), ink, gloss)
        joint = on_part(c, c.disc(*at(x, y), thick * 0.42))  # A socket, where it is missing.
        c.paint(joint, darker(skin))
        px, py = at(*spoke(half - 1, turn, x, y))
        c.components.append(Component(limb, px, py, half, turn + tilt))
    eye, kind = min(r * rng.uniform(0.16, 0.28), 9), int(rng.integers(4))
    white = unlike_bore(rng, skin if plain else against(rng, skin), skin)
    stamp = _feature(rng, eye, kind, white, against(rng, white))
    apart = r * rng.uniform(0.3, 0.5)
    places = [(head[0] + s * apart, head[1] - r * 0.15) for s in (-1, 1)]
    places += [(0, belly[1] + k * 17 - 12) for k in range(int(rng.integers(0, 4)))] if plan != 2 else []
    for spot in places:
        c.paint(c.disc(*at(*spot), eye * 0.8), darker(skin))
        c.components.append(Component(stamp, *at(*spot), eye, tilt))
    mouth = [
        at(head[0] + r * v, head[1] + r * (0.5 - rng.choice([0.9, 0.9]) * v * v)) for v in np.linspace(-0.4, 0.4, 9)
    ]
    c.paint(on_part(c, c.stroke(mouth, rng.uniform(2, 4))), ink, 0.95)
    return c


# Screws


def _screw_head(rng: Rng, head: int, half: NDArray, t: NDArray, big: float, shank: float) -> NDArray:
    """Half the width along a screw, with its head where `t` is below 1."""
    top = t < 1
    if head == 0:  # Countersunk.
        half = np.where(top, np.maximum(shank, big + (shank - big) * np.clip(t * 1.2 - 0.2, 0, 1)), half)
    elif head == 1:  # Domed.
        half = np.where(top, big * np.sqrt(np.clip(1 - (1 - np.minimum(t * 1.3, 1)) ** 2, 0.02, 1)), half)
    elif head in (2, 3):  # Hexagonal or cylindrical, with a flange now and then.
        half = np.where(top, big * (1 - 0.1 * np.clip(1 - t * 5, 0, 1)), half)
        if rng.random() < 0.4:
            half = np.where((t > 0.6) & top, big * rng.uniform(1.1, 1.25), half)
    return half


def long_screw(rng: Rng, size: int) -> Canvas:
    """A screw, a drill, an auger, a nail, a hook or a dowel from the side."""
    c = Canvas.blank(backdrop(rng, size))
    metal = hsv(rng.choice([0.1, 0.14, 0.6, 0.08]), rng.choice([0.05, 0.1, 0.5]), rng.choice([0.25, 0.6, 0.8, 0.9]))
    for _ in range(20):
        if abs(float(metal.mean() - c.background.mean())) > 40:
            break
        metal = against(rng, c.background)
    tilt, kind, total = rng.uniform(0, 360), int(rng.integers(6)), rng.uniform(190, 266)
    gx, gy = grid(size)
    co, si = np.float32(np.cos(np.radians(tilt))), np.float32(np.sin(np.radians(tilt)))
    along, across = (gx - 160) * co + (gy - 160) * si, (gy - 160) * co - (gx - 160) * si
    left, right = -total / 2, total / 2
    core = rng.uniform(9, 24)
    pitch, deep, sharp, starts = (
        rng.uniform(7, 15),
        rng.uniform(2, 5.5),
        rng.uniform(0.5, 3),
        int(rng.choice([1, 1, 2])),
    )
    first, last, lean, taper = left + total * rng.uniform(0.14, 0.5), right, 1.0, rng.uniform(14, 46)
    if kind == 1:  # A drill or an end mill: long flutes, no crest beyond the shank.
        pitch, deep, sharp, taper = rng.uniform(34, 70), -rng.uniform(2.5, 6), rng.uniform(0.6, 1.2), rng.uniform(5, 18)
        first = left + total * rng.uniform(0.25, 0.5)
    elif kind == 2:  # An auger: high thin flights on a slim core.
        core, pitch, deep, sharp = rng.uniform(6, 12), rng.uniform(17, 34), rng.uniform(9, 19), rng.uniform(2, 6)
        first = left + total * rng.uniform(0.1, 0.35)
    elif kind == 4:  # A nail: rings or nothing.
        core, lean, pitch, deep = rng.uniform(7, 12), 0.0, rng.uniform(6, 9), rng.choice([0, rng.uniform(1, 2.5)])
        taper = rng.uniform(14, 30)
    elif kind == 5:  # A dowel or a stud.
        core, first, taper, deep = (
            rng.uniform(14, 30),
            left + rng.choice([8, 60]),
            rng.uniform(4, 9),
            rng.choice([1, -2]),
        )
    if rng.random() < 0.25 and kind != 1:
        last = right - rng.uniform(20, 50)
    s = np.linspace(left - 2, right + 2, 800)
    # The core: a shank, then the thread's root, then the point.
    shank = core + max(0.0, deep) * rng.uniform(0.2, 1) if rng.random() < 0.7 else core
    half = np.where(s < first - 2, shank, core)
    blunt = rng.uniform(0, 0.55) if kind not in (2, 4) else 0.0
    half = half * (1 - (1 - blunt) * np.clip((s - right + taper) / taper, 0, 1) ** rng.uniform(0.9, 2))
    if kind == 5:
        half = half * (1 - 0.4 * np.clip((left + taper - s) / taper, 0, 1) ** 2)
    head, wide = int(rng.integers(5)) if kind in (0, 2, 3, 4) else 5 + int(rng.integers(2)), core + max(deep, 3)
    long, big = wide * rng.uniform(0.7, 1.3), wide * rng.uniform(1.5, 2.2)
    if kind == 4:
        head, long, big = int(rng.integers(3)), rng.uniform(6, 12), wide * rng.uniform(1.3, 2.2)
    half = _screw_head(rng, head, half, np.clip((s - left) / long, 0, 1), big, shank)
    bar = float(np.clip(shank, 8, 15))
    ring = bar * rng.uniform(1.6, 2.4)
    low = left + 2 * ring - bar / 2 if head == 4 else left
    if head == 4:
        half = half * (0.65 + 0.35 * np.clip((s - low) / 16, 0, 1))
    half = np.where((s < low) | (s > right), -3.0, half)
    half = np.convolve(np.pad(half, 3, "edge"), np.ones(7) / 7, "valid").astype(np.float32)
    index = np.clip((along - s[0]) / np.float32(s[1] - s[0]), 0, 799).astype(np.int32)
    at = half[index]
    # The thread: it swells in and runs out towards the point.
    fade = np.clip((s - max(first, low + 8)) / (pitch * 0.8), 0, 1) * np.clip((last - s) / (taper * 0.8), 0, 1)
    fade = (fade * (half > 0)).astype(np.float32)[index]
    ratio = np.clip(across / np.maximum(at + np.float32(min(deep, 0)), 1), -1, 1)
    turn = along / np.float32(pitch) - np.float32(lean * starts / (2 * np.pi)) * np.arcsin(ratio)
    if kind == 1:
        turn = along / np.float32(pitch) - np.arcsin(ratio) / np.float32(np.pi)
    crest = (0.5 + 0.5 * np.cos(2 * np.pi * turn)) ** np.float32(sharp)
    radius = at + np.float32(deep) * fade * crest
    # By how much nearer the edge is than straight across.
    steep = np.sqrt(1 + np.gradient(half, s) ** 2).astype(np.float32)[index]
    alpha = np.clip((radius - np.abs(across)) / steep * np.float32(c.unit) + 0.5, 0, 1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 0.5 * c.unit)
    whole = Region(slice(0, size), slice(0, size), alpha)
    away = np.minimum(np.abs(across) / np.maximum(radius, 1), 1)
    shine, spot = rng.uniform(0, 0.45), rng.uniform(-0.5, 0.5)
    shade = (
        1.06 - rng.uniform(0.3, 0.6) * away**2 + shine * np.exp(-(((across / np.maximum(radius, 1) - spot) / 0.2) ** 2))
    )
    if head == 2:  # The flats of the hexagon.
        flat = np.where(np.abs(across) < big * 0.5, 1.08, np.where(across < 0, 0.86, 0.66))
        shade = np.where((along < left + long * 0.6) & (along > left), flat, shade)
    strength = rng.uniform(0.2, 0.5) * (1 if abs(deep) > 1.2 else 0.5)
    shade = shade * (1 + strength * fade * (crest - 0.6)) * grainy(rng, size, rng.choice([0, 0.01, 0.02]))
    gloss = rng.uniform(0, 0.7)
    c.place(whole, coloured(metal, shade.astype(np.float32)), lift=0, gloss=gloss)
    relief = np.sqrt(np.maximum(1 - away**2, 0)) * np.minimum(radius, 22) * np.float32(rng.uniform(0.1, 0.3))
    relief += np.float32(0.25 * min(abs(deep), 8) * rng.uniform(0.6, 1.2)) * np.sign(deep) * fade * crest
    c.height += alpha * relief.astype(np.float32) * np.float32(c.unit)
    if head == 4:  # An eye or a hook instead of a head.
        arc = np.arange(0, float(rng.choice([360, 250])) + 1, 6) * float(rng.choice([-1, 1]))
        x, y = turned([[left + ring, 0]], tilt, 160, 160)[0]
        line = [spoke(ring, v + tilt, x, y) for v in arc]
        _swell(c, c.stroke(line, bar * 1.3), metal, bar * 0.4, bar * 0.6, gloss)
    if rng.random() < 0.3 and kind != 4:  # A coat, or a ring of another colour.
        low = left + rng.uniform(0.2, 0.45) * total
        tone = any_colour(rng, (0.4, 1)) / 255 + 0.3
        band = (
            alpha * np.clip((along - low) * c.unit, 0, 1) * np.clip((low + rng.uniform(10, 140) - along) * c.unit, 0, 1)
        )
        c.tint(whole._replace(alpha=band.astype(np.float32)), np.clip(tone, 0.3, 1.15))
    return c


# Closures


def _ring_of_text(c: Canvas, words: str, radius: float, height: float, start: float, ink: ArrayLike) -> None:
    """Letters around the middle that stand with their feet towards it."""
    for k, letter in enumerate(words):
        angle = start + np.degrees(k * height * 1.15 / radius)
        c.paint(writing_at(c, letter, *spoke(radius, angle), height, max(1.1, height * 0.14), angle + 90), ink, 0.95)


def _marks_around(c: Canvas, rng: Rng, inner: float, turn: float, ink: ArrayLike) -> float:
    """A ring of text, stars or arrows on a face; how far the face is free within it."""
    height, what = rng.uniform(8, min(17, inner * 0.22)), int(rng.integers(3))
    track = inner - height * 0.8
    fits = int(2 * np.pi * track / (height * 1.15))
    if what == 0:
        _ring_of_text(c, any_word(rng, fits // 3, fits - 1, [*_PRINT, " "]), track, height, turn, ink)
    else:
        count = int(rng.integers(3, 13))
        tip = circle(0, 0, height * 0.65)[::4] * np.where(np.arange(10) % 2, 0.45, 1)[:, None]
        arrow = np.array([[-0.5, -0.7], [0.1, -0.7], [0.6, 0], [0.1, 0.7], [-0.5, 0.7], [0, 0]]) * height * 0.85
        for k in range(count):
            at = turn + 360 * k / count
            mark = turned(tip if what == 1 else arrow, at + 90, *spoke(track, at))
            c.paint(c.polygon(mark), ink, 0.95)
    return track - height


def _written(words: str, height: float, ink: ArrayLike) -> Stamp:
    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.paint(writing_at(canvas, words, x, y, height, max(1.6, height * 0.12), angle), ink, 0.95)

    return draw


def closure_top(rng: Rng, size: int) -> Canvas:
    """A cap or a closure from above or below: a ribbed, crimped or scalloped skirt, rings, a face with print."""
    c = Canvas.blank(backdrop(rng, size))
    colour, gloss = against(rng, c.background), rng.uniform(0, 0.8)
    reach, start, style = rng.uniform(96, 132), rng.uniform(0, 360), int(rng.integers(5))
    n = int((rng.integers(17, 30), rng.integers(50, 110), rng.integers(24, 60), rng.integers(5, 14), 1)[style])
    deep = (rng.uniform(4, 9), rng.uniform(1.5, 3), rng.uniform(2, 5), rng.uniform(4, 10), 0.0)[style]
    groups = int(rng.choice([0, 0, 3, 4, 6])) if style == 2 else 0

    def wave(angle: NDArray) -> NDArray:
        turn = np.cos(n * angle)
        if style == 2:
            turn = np.tanh(3 * turn)
        elif style == 3:
            turn = 2 * np.abs(np.cos(n * angle / 2)) ** 0.7 - 1
        return turn if not groups else np.where(np.cos(groups * angle) > -0.4, turn, -1)

    angle = np.linspace(0, 2 * np.pi, 1440, endpoint=False)
    line = np.stack([np.cos(angle), np.sin(angle)], 1) * (reach - deep + deep * wave(angle))[:, None]
    skirt = rng.uniform(0.74, 0.93) if style < 4 else rng.uniform(0.9, 0.96)
    face, domed = reach * skirt - deep, rng.random() < 0.35
    texture = finish(rng, size) if rng.random() < 0.5 else lathe(rng, size, 160, 160, rng.uniform(0.02, 0.1))
    if style in (1, 2, 4) and rng.random() < 0.45:  # A band that is torn off, held by bridges.
        band, wide = any_colour(rng) if rng.random() < 0.4 else colour, rng.uniform(6, 10)
        _round(c, reach + 3, 0, band * 0.85, 3, 3, gloss)
        reach -= wide
        line, face = line * (reach / (reach + wide)), face * reach / (reach + wide)
        c.paint(c.disc(160, 160, reach + 3.5), darker(band))
        count = int(rng.integers(8, 20))
        bridges = [
            [spoke(reach - 4, start + 360 * i / count), spoke(reach + 5, start + 360 * i / count)] for i in range(count)
        ]
        c.paint(c.stroke(bridges, 5), band * 0.9)
    outer = c.polygon(turned(line, start, 160, 160))
    _swell(c, outer, coloured(colour, texture), rng.uniform(6, 11), rng.uniform(4, 12), gloss)
    if style < 4:  # The ribs run up the skirt to the face.
        distance, around = polar(size, 160, 160)
        ribs = wave(around - np.radians(start)) * np.clip((distance - face) / 3, 0, 1)
        c.tint(outer, (1 + rng.uniform(0.08, 0.22) * ribs).astype(np.float32))
        c.height += _everywhere(c, outer) * (ribs * min(deep, 3) * 0.35 * c.unit).astype(np.float32)
    _round(c, face, 0, None, rng.uniform(3, 7), face * 0.9 if domed else rng.uniform(3, 8))
    ground, inner, below = colour, face * rng.uniform(0.86, 0.97), rng.random() < 0.25
    for _ in range(int(rng.integers(0, 4))):
        wide = rng.uniform(2, 7)
        ring_colour = coloured(any_colour(rng), texture) if rng.random() < 0.35 else None
        _round(c, inner, inner - wide, ring_colour, rng.uniform(-4, 4), wide / 2, gloss)
        inner -= wide + rng.uniform(1, 7)
    if below:  # From below: a deep inside with a thread and a liner.
        _round(c, face, 0, None, -14, 6)
        c.paint(c.disc(160, 160, face), coloured(colour * 0.75, grainy(rng, size, 0.01)))
        for k in range(int(rng.integers(2, 7)) * 2):
            lug = [spoke(face - 5, start + 30 * k + v) for v in range(0, 17, 2)]
            c.place(c.stroke(lug, 4), colour, lift=2, bevel=2, gloss=gloss)
        inner, ground = min(inner, face - 11), any_colour(rng)
        _round(c, inner, 0, coloured(ground, grainy(rng, size, 0.02)), 2, 3, gloss * 0.5)
        inner -= 4
        for _ in range(int(rng.integers(0, 3))):
            _round(c, inner, inner - 4, None, rng.uniform(-2, 3), 2)
            inner -= rng.uniform(7, 16)
    elif rng.random() < 0.55:
        ground = any_colour(rng)
        c.paint(c.disc(160, 160, inner), coloured(ground, grainy(rng, size, 0.01)), rng.uniform(0.9, 1))
    ink, second = against(rng, ground), against(rng, ground)
    if not below and rng.random() < 0.3:
        c.paint(c.disc(160, 160, inner * 0.97, inner * rng.uniform(0.88, 0.94)), second)
        inner *= 0.88
    turn = float(rng.choice([0, 90, 180, rng.uniform(0, 360)]))
    if rng.random() < 0.5 and inner > 40:  # A ring of text, stars or arrows.
        inner = _marks_around(c, rng, inner, turn, ink)
    marks, room = int(rng.choice([1, 1, 2, 3])), inner * 1.3
    levels = np.linspace(-0.5, 0.5, marks) * room * 0.62 if marks > 1 else np.zeros(1)
    field = ground * rng.uniform(0.8, 0.88) if ground.mean() > 90 else ground + rng.uniform(20, 30)
    share = rng.uniform(0.6, 0.94)
    for level in levels:
        chord = 2 * float(np.sqrt(max(inner**2 - (abs(level) + room * 0.12) ** 2, 100)))
        words = any_word(rng, 2, 7, _PRINT)
        height = float(np.clip(chord * 0.9 * share / (0.95 * len(words)), 7, room * 0.85 / (marks + 1)))
        x, y = spoke(float(level), turn + 90)
        # An empty field lacks its print.
        c.paint(c.box(x, y, chord * share, room / (marks + 1) * 1.1, turn, 5), field, 0.85)
        shape = min(room / (marks + 0.6) * 0.4, 46)
        draw = makers_mark(rng, shape, second) if rng.random() < 0.4 else _written(words, height, ink)
        c.prints.append(Component(draw, x, y, max(height, 14), turn))
    if below:
        for line_of_print in c.prints[1:]:
            line_of_print.draw(c, line_of_print.x, line_of_print.y, line_of_print.angle)
        c.prints = c.prints[:1]
    return c


# Rotors


def _blade(rng: Rng, long: float, root: float, tip: float, face: ArrayLike, gloss: float, high: float = 5) -> Stamp:
    """A blade along x around its middle: straight, swept or curved, and pitched, so that one half is darker."""
    t = np.linspace(0, 1, 18)
    sweep, bow, full = rng.uniform(-0.45, 0.45), rng.uniform(-0.3, 0.3), rng.uniform(0, 0.5)
    wide = (root + (tip - root) * t) * (1 + full * np.sin(np.pi * t))
    if rng.random() < 0.7:
        wide = wide * np.sqrt(np.clip((1.03 - t) / rng.uniform(0.1, 0.35), 0.05, 1))
    mid = long * (sweep * (t - 0.5) * t + bow * (np.sin(np.pi * t) - 0.5) * t)
    mid = mid if rng.random() < 0.75 else mid * 0
    upper, lower = (np.stack([(t - 0.5) * long, mid + side * wide / 2], 1) for side in (-1, 1))
    split = np.stack([(t - 0.5) * long, mid + rng.uniform(-0.2, 0.2) * wide], 1)
    outline, dark = np.concatenate([upper, lower[::-1]]), np.concatenate([split, lower[::-1]])
    shade, bevel = rng.uniform(0.72, 1), rng.uniform(2, 8)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        _swell(canvas, canvas.polygon(turned(outline, angle, x, y)), face, high, bevel, gloss)
        canvas.tint(canvas.polygon(turned(dark, angle, x, y)), shade)

    return draw


def _tooth(rng: Rng, high: float, wide: float, face: ArrayLike, gloss: float) -> Stamp:
    """A tooth along x around its middle: of a sprocket, a ratchet or a pulley."""
    style, tip = int(rng.integers(4)), rng.uniform(0.25, 0.8)
    bow = np.radians(np.linspace(-90, 90, 13))
    top = (
        [[0.5, -tip / 2], [0.5, tip / 2]],
        np.stack([-0.1 + 0.6 * np.cos(bow), 0.5 * np.sin(bow)], 1),
        [[0.5, 0.5], [0.38, 0.5]] if tip < 0.5 else [[0.38, -0.5], [0.5, -0.5]],
        [[0.1, -0.45], [0.5, -tip * 0.3], [0.5, tip * 0.3], [0.1, 0.45]],
    )[style]
    outline = np.concatenate([[[-0.75, -0.5], [-0.5, -0.5]], top, [[-0.5, 0.5], [-0.75, 0.5]]]) * (high, wide)

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        _swell(canvas, canvas.polygon(turned(outline, angle, x, y)), face, 5, 2.5, gloss)

    return draw


def _web(c: Canvas, rng: Rng, inner: float, hub: float, start: float, turning: Floats, colour: Floats) -> None:
    """What lies between a toothed rim and its hub: a step, paint, and holes or a word."""
    web = inner * rng.uniform(0.78, 0.9)
    if rng.random() < 0.6:
        _round(c, web, hub, None, rng.uniform(-5, -2), 4)
    if rng.random() < 0.3:
        c.paint(c.disc(160, 160, web, hub), coloured(any_colour(rng), turning))
    holes, ring = int(rng.choice([0, 3, 4, 5, 6, 8])), (web + hub) / 2
    hole = min((web - hub) * rng.uniform(0.2, 0.38), np.pi * ring / max(holes, 1) * 0.55)
    small = rng.choice([0, 0.45])
    for k in range(holes):
        c.cut(c.disc(*spoke(ring, start + 360 * k / holes), hole))
        if small:
            c.cut(c.disc(*spoke(ring, start + 360 * (k + 0.5) / holes), hole * small))
    if not holes:
        word, spot = any_word(rng, 2, 5, _PRINT), spoke(ring, start + 90)
        c.paint(writing_at(c, word, *spot, (web - hub) * 0.2, 1.6, start + 180), darker(colour, 0.5), 0.85)


def rotor_blades(rng: Rng, size: int) -> Canvas:
    """A fan, an impeller, a propeller, a spoked wheel, a sprocket or a ratchet wheel."""
    c = Canvas.blank(backdrop(rng, size))
    colour, gloss = against(rng, c.background), rng.uniform(0, 0.7)
    turning = lathe(rng, size, 160, 160, rng.uniform(0.02, 0.1)) * grainy(rng, size, rng.choice([0, 0.015]))
    face = coloured(colour, turning)
    start, kind, reach = rng.uniform(0, 360), int(rng.integers(5)), rng.uniform(104, 130)
    hub, bore = reach * rng.uniform(0.2, 0.36), 0.0
    lean = rng.uniform(-50, 50) * float(rng.choice([0, 1]))
    if kind in (0, 2):  # A fan, in a ring now and then, or a propeller.
        n = int(rng.integers(3, 12)) if kind == 0 else int(rng.integers(2, 5))
        shroud = rng.random() < 0.35
        end = reach - (8 if shroud else 0)
        middle, wide = (end + hub) / 2, 2 * np.pi * hub / n
        root, tip = min(wide * rng.uniform(0.5, 0.78), 44), min(wide * rng.uniform(0.8, 2.4), 66)
        if kind == 2:
            root, tip = rng.uniform(18, 32), rng.uniform(16, 46)
        leaf = colour if rng.random() < 0.7 else against(rng, c.background)
        stamp, long, inner = _blade(rng, end - hub + 9, root, tip, leaf, gloss), end - hub, hub
        lean *= 0.12
        if shroud:
            _round(c, reach + 4, reach - 7, face, 6, 3, gloss)
    elif kind == 1:  # An impeller: vanes on a plate.
        n, inner = int(rng.integers(5, 15)), hub * rng.uniform(1.2, 1.6)
        long, middle = (reach - inner) * rng.uniform(0.8, 0.95), 0.0
        middle = inner + long / 2 + 1
        plate = colour if rng.random() < 0.5 else against(rng, c.background)
        _round(c, reach, 0, coloured(plate, turning), 4, 3, gloss)
        vane = against(rng, plate) if rng.random() < 0.4 else plate * 1.2 + 16 if plate.mean() < 150 else plate * 0.72
        thick = min(rng.uniform(7, 16), 2 * np.pi * inner / n * 0.6)
        stamp = _blade(rng, long, thick, thick * rng.uniform(0.5, 1.3), vane, gloss, 9)
    elif kind == 3:  # A wheel with spokes.
        n, rim = int(rng.integers(3, 9)), reach * rng.uniform(0.72, 0.86)
        _round(c, reach, rim, face, 6, rng.uniform(2, 6), gloss)
        for _ in range(int(rng.integers(0, 3))):  # Grooves for a belt.
            at = rng.uniform(rim + 6, reach - 4)
            _round(c, at, at - 4, None, -3, 2)
        long, middle, inner = rim - hub, (rim + hub) / 2, hub
        thick = min(rng.uniform(12, 30), 2 * np.pi * hub / n * 0.8)
        stamp = _blade(rng, long + 13, thick, thick * rng.uniform(0.7, 1.2), colour, gloss, 6)
        lean *= 0.12
    else:  # Teeth.
        n, high = int(rng.integers(9, 30)), rng.uniform(13, 24)
        inner = reach - high
        wide = 2 * np.pi * inner / n
        long, middle = high, inner + high / 2
        stamp = _tooth(rng, high, min(wide * rng.uniform(0.5, 0.85), 30), face, gloss)
        _round(c, inner, 0, face, 5, rng.uniform(2, 4), gloss)
        lean = 0.0
        _web(c, rng, inner, hub, start, turning, colour)
    # The hub, with all that may be in it.
    boss = face if rng.random() < 0.6 else coloured(against(rng, c.background), turning)
    _round(c, hub, 0, boss, 7, rng.uniform(2, hub * 0.7), gloss)
    bore, bolts = hub * rng.uniform(0.25, 0.55), int(rng.choice([0, 0, 3, 4, 6]))
    shaft = int(rng.integers(4))
    if shaft < 3:
        c.cut(c.disc(160, 160, bore))
        if shaft == 1:
            c.cut(c.box(*spoke(bore, start), bore * 0.7, bore * 0.6, start))
        elif shaft == 2:
            flat = [spoke(bore, start + v) for v in range(-50, 51, 10)]
            c.place(c.polygon(flat), boss, lift=5, bevel=2, gloss=gloss)
    else:
        _round(c, bore, 0, against(rng, colour), 4, bore * 0.7, gloss)
    for k in range(bolts):
        c.paint(c.disc(*spoke((hub + bore) / 2, start + 360 * k / bolts), (hub - bore) * 0.2), darker(colour, 0.3))
    if rng.random() < 0.4:  # One odd mark.
        c.paint(c.disc(*spoke((hub + bore) / 2, start + 33), (hub - bore) * 0.14), against(rng, colour))
    for k in range(n):
        angle = start + 360 * k / n
        x, y = spoke(middle, angle)
        if kind == 1:  # Where a vane is missing its bed shows.
            c.tint(c.box(x, y, long * 0.8, 5, angle + lean), 0.5)
        elif kind != 4:
            c.paint(on_part(c, c.box(*spoke(inner - 1, angle), 7, 9, angle)), darker(colour))
        c.components.append(Component(stamp, x, y, max(10.0, long * 0.45), angle + lean))
    return c


# Bearings


def _roller(kind: int, r: float, long: float, metal: Floats, gloss: float) -> Stamp:
    """A ball, or a roller that points along x."""

    def draw(canvas: Canvas, x: float, y: float, angle: float) -> None:
        if kind == 0:
            _swell(canvas, canvas.disc(x, y, r), metal, max(5.0, r * 0.7), r, gloss)
            canvas.tint(canvas.disc(x, y, r, r * 0.86), 0.8)
            return
        shape = rounded_box(long, 2 * r, min(r * 0.4, 3))
        if kind == 2:
            shape = shape * np.stack([np.ones(len(shape)), 1 + 0.25 * shape[:, 0] / long], 1)
        _swell(canvas, canvas.polygon(turned(shape, angle, x, y)), metal, max(5.0, r * 0.7), r, gloss)
        canvas.tint(canvas.box(x, y, long * 0.9, r * 0.5, angle), 1.15 if metal.mean() < 200 else 0.9)

    return draw


def _open_race(c: Canvas, rng: Rng, kind: int, outer: float, inner: float, start: float, gloss: float) -> None:
    """Balls, rollers, tapered rollers or needles between two races, in any cage or in none."""
    track, gap = (outer + inner) / 2, outer - inner
    r = gap * (rng.uniform(0.36, 0.48) if kind == 0 else 0.0) or rng.uniform(5, 13)
    r = max(5.0, min(r, track * 0.42) if kind < 3 else rng.uniform(4.5, 6.5))
    long = gap * rng.uniform(0.75, 0.95)
    tight = rng.uniform(1.05, 1.5) if kind != 0 else rng.uniform(1.08, 1.6)
    n = max(5, int(2 * np.pi * (track if kind == 0 else inner + gap * 0.35) / (2 * r * tight)))
    ball = (
        hsv(0.6, rng.uniform(0, 0.1), rng.uniform(0.65, 0.95)) if rng.random() < 0.8 else any_colour(rng, (0.5, 0.95))
    )
    stamp, cage, build = _roller(kind, r, long, ball, gloss), against(rng, np.full(3, 40.0)), int(rng.integers(4))
    if build == 0:  # A ribbon around each ball.
        wave = np.linspace(0, 2 * np.pi, 361)
        swell = np.abs(np.cos(n * wave / 2)) * min(r * 0.9, gap * 0.42)
        for side in (1, -1):
            ring = [
                spoke(track + side * float(s), start + float(np.degrees(w))) for w, s in zip(wave, swell, strict=True)
            ]
            c.place(c.stroke(ring, 4), cage, lift=2, bevel=2, gloss=gloss)
    elif build < 3:  # A solid or pressed cage with pockets.
        edge = gap * rng.uniform(0.25, 0.42)
        _round(c, track + edge, track - edge, cage, 3, 2, gloss * 0.6)
    for k in range(n):
        angle = start + 360 * k / n
        x, y = spoke(track, angle)
        pocket = c.disc(x, y, r * 0.9) if kind == 0 else c.box(x, y, long * 0.85, 1.7 * r, angle)
        c.paint(pocket, np.full(3, 15.0))
        if build == 2:
            c.place(c.disc(*spoke(track, angle + 180 / n), 2.5), cage * 0.7, lift=1, bevel=2, gloss=gloss)
        c.components.append(Component(stamp, x, y, max(r, 8.0), angle))


def bearing_seat(rng: Rng, size: int) -> Canvas:
    """A ball, roller or needle bearing, a bearing with a shield or a seal in its flange, or a bush, from above."""
    c = Canvas.blank(backdrop(rng, size))
    steel = hsv(rng.uniform(0.05, 0.65), rng.uniform(0, 0.15), rng.uniform(0.4, 0.9))
    if abs(float(steel.mean() - c.background.mean())) < 40:
        steel = against(rng, c.background)
    turning = lathe(rng, size, 160, 160, rng.uniform(0.02, 0.12))
    face, gloss, start, kind = (
        coloured(steel, turning),
        rng.uniform(0.1, 0.9),
        rng.uniform(0, 360),
        int(rng.integers(6)),
    )
    reach = rng.uniform(100, 134)
    flange = (kind == 4 and rng.random() < 0.5) or rng.random() < 0.25
    shell = against(rng, c.background) if rng.random() < 0.5 else steel
    bolts: list[tuple[float, float]] = []
    if flange:  # A housing with bolts.
        n, corner = int(rng.integers(3, 9)), reach * 1.02
        bolts = [spoke(corner * (0.86 if n > 4 else 0.9), start + 360 * k / n) for k in range(n)]
        if n > 4 or rng.random() < 0.3:
            plate = c.polygon(circle(160, 160, corner))
        elif n == 4:
            plate = c.box(160, 160, 1.56 * corner, 1.56 * corner, start + 45, rng.uniform(12, 30))
        else:
            plate = _union(c, [*(c.disc(*p, 22) for p in bolts), c.disc(160, 160, corner * 0.82)], 5)
        _swell(c, plate, coloured(shell, finish(rng, size)), 5, 3, gloss * 0.5)
        reach *= 0.68 if n > 4 else 0.72
    bore = reach * (rng.uniform(0.28, 0.58) if kind != 4 else rng.uniform(0.2, 0.4))
    wide = (reach - bore) * rng.uniform(0.16, 0.3)
    outer, inner = reach - wide, bore + wide * rng.uniform(0.8, 1.2)
    _round(c, reach, outer, face, 7, rng.uniform(1.5, 4), gloss)
    _round(c, inner, bore, face, 7, rng.uniform(1.5, 4), gloss)
    track, gap = (outer + inner) / 2, outer - inner
    _round(c, outer + 1, inner - 1, np.full(3, rng.uniform(12, 60)), 0, 1)
    for edge in (outer, inner):
        if kind != 5 and rng.random() < 0.5:
            c.tint(c.disc(160, 160, edge + 2, edge - 2), 0.55)
    if kind < 4:  # Open: balls, rollers, tapered rollers or needles.
        _open_race(c, rng, kind, outer, inner, start, gloss)
    elif kind == 4:  # A shield or a seal.
        seal = any_colour(rng) if rng.random() < 0.6 else steel
        _round(c, outer - 1, inner + rng.uniform(1, 3), coloured(seal, turning), 5, 3, gloss * 0.6)
        edge = outer - 4
        for _ in range(int(rng.integers(1, 3))):
            step = rng.uniform(3, 6)
            tone = any_colour(rng) if rng.random() < 0.4 else None
            _round(c, edge, edge - step, tone, rng.uniform(-3, 3), 2, gloss * 0.6)
            edge -= step + rng.uniform(1, 4)
        if edge - inner > 9:
            height = min(12.0, (edge - inner) * 0.6)
            words = any_word(rng, 8, 26, [*_PRINT, " "])
            fits = int(2 * np.pi * (edge + inner) / 2 / (height * 1.15)) - 2
            _ring_of_text(c, words[:fits], (edge + inner) / 2, height, start, against(rng, seal))
        if not flange:  # Held by rivets.
            shell, count, bed = seal, int(rng.integers(4, 13)), max(inner + 7, edge - 5)
            if edge - inner > 9:
                bed = (reach + outer) / 2
                shell = steel
            bolts = [spoke(bed, start + 360 * k / count) for k in range(count)]
    else:  # A bush: no track, plugs of lubricant instead.
        _round(c, outer + 1, inner - 1, coloured(steel, turning), 7, 1, gloss)
        if rng.random() < 0.5:
            _round(c, track + 3, track - 3, None, -3, 2)
        n, r = int(rng.integers(5, 15)), min(gap * 0.3, 10)
        plug = _roller(0, max(r, 5.5), 0, unlike_bore(rng, against(rng, steel), steel), 0.2)
        for k in range(n):
            x, y = spoke(track, start + 360 * k / n)
            c.paint(c.disc(x, y, max(r, 5.5) * 0.85), darker(steel, 0.3))
            c.components.append(Component(plug, x, y, max(r, 8.0)))
    if rng.random() < 0.3:  # A filling slot, or a snap ring's gap.
        c.paint(c.box(*spoke((reach + outer) / 2, start + 17), wide * 0.5, 7, start + 17, 2), darker(steel))
    if wide > 13 and rng.random() < 0.5:
        _ring_of_text(
            c, any_word(rng, 4, 14, _PRINT), (reach + outer) / 2, wide * 0.42, start + 60, darker(steel, 0.55)
        )
    head, corners = unlike_bore(rng, against(rng, shell), shell), int(rng.choice([4, 5, 40]))
    r = rng.uniform(8, 11) if flange else min(7.0, max(5.0, wide * 0.4))

    def bolt(canvas: Canvas, x: float, y: float, angle: float) -> None:
        canvas.place(canvas.disc(x, y, r), head, lift=3, bevel=r * 0.5, gloss=gloss)
        canvas.paint(canvas.polygon(turned(circle(0, 0, r * 0.5)[:: 40 // min(corners, 8)], angle, x, y)), darker(head))

    for x, y in bolts:
        c.paint(c.disc(x, y, r * 0.8), darker(shell, 0.3))
        c.components.append(Component(bolt, x, y, max(r, 8.0), rng.uniform(0, 90)))
    return c
