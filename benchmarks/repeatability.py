"""How often the same part, photographed again, keeps its verdict.

    python benchmarks/repeatability.py [--policy embedded] [--mode fast] [--parts 10] [--shots 4]

Procedural parts of the families 'objects' and 'textures', each photographed several times: other light, small shift and
rotation, other noise. Half of the parts are defective.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from PIL import Image

from lriad import Inspector
from lriad.data.sample import object_name_of
from lriad.data.synthetic import FAMILIES, defect_kinds, render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="embedded")
    parser.add_argument("--mode", default="reason", choices=["reason", "fast"])
    parser.add_argument("--parts", type=int, default=10, help="parts a category")
    parser.add_argument("--shots", type=int, default=4, help="photographs a part")
    arguments = parser.parse_args()
    inspector = Inspector(arguments.policy, mode=arguments.mode)
    same_as_first, all_same, spread = [], [], []
    for family in ("objects", "textures"):
        for category in FAMILIES[family].categories:
            kinds = defect_kinds(category)
            for part in range(arguments.parts):
                defect = kinds[part // 2 % len(kinds)] if part % 2 else None
                verdicts = [
                    inspector.inspect(
                        Image.fromarray(render(category, 5000 + part, shot, defect).image), object_name_of(category)
                    )
                    for shot in range(arguments.shots)
                ]
                labels = [verdict.label for verdict in verdicts]
                same_as_first += [label == labels[0] for label in labels[1:]]
                all_same.append(len(Counter(labels)) == 1)
                spread.append(np.ptp([verdict.p_defect for verdict in verdicts]))
    print(f"mode {arguments.mode}: {len(all_same)} parts, {arguments.shots} photographs each")
    print(f"a second photograph keeps the first one's verdict: {100 * np.mean(same_as_first):.1f} %")
    print(f"all {arguments.shots} verdicts of a part agree: {100 * np.mean(all_same):.1f} % of the parts")
    print(
        f"spread of p_defect over a part's photographs: median {np.median(spread):.3f}, 90th percentile "
        f"{np.percentile(spread, 90):.3f}"
    )


if __name__ == "__main__":
    main()
