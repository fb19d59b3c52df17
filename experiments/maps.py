"""Pictures of heat-maps, with and without good parts in memory, from procedural parts.

    python experiments/maps.py

Writes `docs/images/maps.jpg`: a row each for some defective parts that the embedded policy has never seen: the part,
where the policy's own answer comes from, and how it deviates from 20 good ones.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lriad import Inspector, load_dataset, remember
from lriad.data.image import open_image
from lriad.data.synthetic import make_dataset
from lriad.explain import marked, scale_of
from lriad.policy import load_policy

FILE = Path(__file__).parents[1] / "docs" / "images" / "maps.jpg"
PARTS = (("objects", "gear"), ("objects", "wood_screw"), ("textures", "woven_fabric"), ("textures", "terrazzo"))
SIDE, MARGIN, SEED, GOOD = 240, 8, 3, 20


def main() -> None:
    policy = load_policy("embedded")
    titles = ("the part", "the policy's answer", f"unlike {GOOD} good parts")
    width, height = len(titles) * (SIDE + MARGIN) - MARGIN, 24 + len(PARTS) * (SIDE + 20 + MARGIN)
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, title in enumerate(titles):
        pen.text((column * (SIDE + MARGIN), 4), title, fill="black", font=font)
    with tempfile.TemporaryDirectory() as folder:
        for row, (family, category) in enumerate(PARTS):
            made = make_dataset(
                family, Path(folder) / category, images=2 * GOOD, defect_ratio=0.4, seed=SEED, categories=[category]
            )
            samples = list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))
            good = [sample for sample in samples if sample.label == "normal"][:GOOD]
            part = next(sample for sample in samples if sample.label == "defect")
            memory = remember(good, Path(folder) / f"{category}.memory", policy=policy).memory
            image, name = open_image(part.image), part.object_name
            own = Inspector(policy, mode="fast", heatmap=True).inspect(image, name)
            compared = Inspector(policy, mode="fast", memory=memory).inspect(image, name)
            shown = [image, *(marked(image, one.heatmap, one.boxes, scale_of(one.memory)) for one in (own, compared))]
            top = 24 + row * (SIDE + 20 + MARGIN)
            for column, picture in enumerate(shown):
                sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (column * (SIDE + MARGIN), top))
            numbers = (name, f"p {own.p_defect:.2f}", f"deviation {compared.deviation:+.1f}")
            for column, text in enumerate(numbers):
                pen.text((column * (SIDE + MARGIN), top + SIDE + 2), text, fill="black", font=font)
    sheet.save(FILE, quality=85, optimize=True)
    print(FILE)


if __name__ == "__main__":
    main()
