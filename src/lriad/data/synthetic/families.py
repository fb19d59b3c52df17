"""Which categories there are, in which family, and what can go wrong with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from lriad.data.synthetic import assemblies, boards, figures, goods, keyed, mixtures, objects, parts, textures
from lriad.data.synthetic.canvas import Canvas, Rng
from lriad.data.synthetic.defects import LOGICAL

Draw = Callable[[Rng, int], Canvas]


@dataclass(frozen=True)
class Category:
    """One kind of part.

    Attributes:
        name: In snake_case, unique among all families.
        draw: Draws a sound one: `draw(rng, size) -> Canvas`.
        components: Whether something on it can be missing, misplaced, turned and so on.
        kinds: The kinds of defect that it can have.
        varied: Whether its cameras vary too: colour or grey, turned, zoomed in.
    """

    name: str
    draw: Draw
    components: bool
    kinds: tuple[str, ...]
    varied: bool


@dataclass(frozen=True)
class Family:
    """Categories that are used together.

    Attributes:
        name: `parts`, `objects` or `textures`.
        categories: By name.
        defect_ratio: Share of defective images where none is asked for.
    """

    name: str
    categories: dict[str, Category]
    defect_ratio: float


_LOGICAL = "missing extra misplaced"
_RIGID = "scratch crack stain dent contamination discolouration abrasion"
_SURFACE = "scratch stain discolouration hole contamination"


def _family(modules: tuple[ModuleType, ...], defect_ratio: float, kinds: dict[str, str]) -> Family:
    """The family that is called as its first module, which draws its categories together with the others."""
    draws = {name: draw for module in modules for name, draw in vars(module).items()}
    categories = {}
    for name, words in kinds.items():
        own = tuple(words.split())
        categories[name] = Category(name, draws[name], not LOGICAL.keys().isdisjoint(own), own, parts in modules)
    return Family(modules[0].__name__.rsplit(".", 1)[-1], categories, defect_ratio)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        _family(
            (parts, assemblies, mixtures, goods, boards, keyed, figures),
            0.5,
            # A kind that a sound part of the same category may seem to have (a hole in a plate with holes) is left out.
            {
                "machined_plate": f"{_RIGID} chip bent {_LOGICAL}",
                "moulded_part": f"{_RIGID} chip cut burn",
                "component_grid": f"scratch stain contamination burn discolouration {_LOGICAL} miscount",
                "periodic_pattern": f"{_SURFACE} cut thread burn abrasion",
                "noise_surface": f"{_SURFACE} crack dent burn cut abrasion",
                "pipe_flange": f"{_RIGID} chip {_LOGICAL}",
                "keypad": f"scratch stain contamination burn {_LOGICAL} miscount misprint",
                "cable_section": f"cut bent contamination discolouration stain {_LOGICAL}",
                "pressed_tablet": "crack chip stain contamination hole discolouration misprint",
                "jar_mouth": "chip crack contamination stain scratch bent",
                "bristle_brush": f"bent contamination stain discolouration {_LOGICAL} miscount",
                "cell_panel": "crack scratch burn stain discolouration contamination hole",
                "led_strip": f"scratch burn contamination stain {_LOGICAL} miscount",
                "zip_fastener": f"cut hole stain thread bent {_LOGICAL} miscount",
                "gel_capsule": "dent crack scratch stain hole contamination bent misprint",
                "nut_kernel": "crack hole cut stain chip burn contamination scratch",
                "threaded_shaft": "scratch dent stain contamination abrasion hole discolouration",
                "etched_foil": f"chip hole contamination scratch stain burn {_LOGICAL}",
                "printed_label": "misprint cut stain scratch hole contamination bent abrasion",
                "ribbed_rubber": f"{_SURFACE} cut abrasion burn",
                "cast_concrete": f"{_SURFACE} crack burn",
                "painted_sheet": f"{_SURFACE} crack dent abrasion burn",
                "marble_slab": f"{_SURFACE} crack burn abrasion",
                "mosaic_wall": f"{_SURFACE} crack burn bent",
                "wire_screen": "cut bent contamination stain hole discolouration thread",
                "fuse_row": f"scratch stain contamination burn crack {_LOGICAL} turned swapped miscount",
                "arrow_tray": f"scratch stain contamination discolouration {_LOGICAL} turned miscount",
                "roller_cage": f"scratch dent chip contamination stain {_LOGICAL} miscount",
                "toothed_disc": f"{_RIGID} chip bent missing misplaced miscount",
                "punched_sheet": f"scratch stain contamination discolouration dent cut bent {_LOGICAL}",
                "speckled_stone": "crack hole stain scratch contamination abrasion burn discolouration",
                "packed_box": f"stain cut contamination burn {_LOGICAL} turned swapped miscount",
                "coil_spring": "bent chip scratch stain contamination discolouration missing misplaced",
                "bead_chain": f"contamination {_LOGICAL} swapped miscount",
                "control_unit": "scratch burn contamination stain crack missing misplaced",
                "tool_case": "contamination scratch stain cut missing misplaced",
                "dial_plate": "misprint scratch stain crack contamination bent missing",
                "baked_snack": "chip crack burn contamination stain",
                "printed_lid": "misprint scratch dent stain bent chip contamination",
                "side_fastener": "bent chip scratch stain contamination discolouration crack",
                "cog_set": "chip crack bent contamination scratch missing misplaced",
                "device_front": "scratch burn contamination stain crack missing misplaced misprint",
                "folding_carton": "misprint cut stain hole contamination bent abrasion",
                "stitched_patch": "cut hole stain thread contamination discolouration missing misplaced",
                "wood_joinery": "scratch crack stain burn dent contamination missing",
                "syringe_tray": "contamination stain scratch missing misplaced turned",
                "moulded_cap_set": "scratch crack chip stain burn dent contamination missing",
                "module_board": f"scratch burn contamination stain crack {_LOGICAL}",
                "plug_face": f"scratch crack burn contamination chip {_LOGICAL} miscount",
                "chip_package": "scratch crack chip contamination stain burn bent missing misplaced misprint",
                "terminal_block": "scratch crack burn contamination chip missing misplaced",
                "stamped_bracket": "scratch crack chip stain contamination abrasion",
                "edge_card": "scratch crack stain contamination burn chip missing misplaced",
                "gasket_sheet": "crack cut chip stain contamination discolouration",
                "key_blank": "scratch crack chip stain contamination abrasion bent",
                "moulded_housing": "scratch crack chip stain burn contamination missing misplaced",
                "cast_figure": "scratch crack stain burn hole contamination chip missing",
                "long_screw": "scratch bent chip stain contamination discolouration",
                "closure_top": "scratch dent crack stain contamination chip bent misprint",
                "rotor_blades": "scratch crack chip bent stain contamination discolouration missing misplaced miscount",
                "bearing_seat": f"scratch crack dent chip contamination stain {_LOGICAL} miscount",
            },
        ),
        _family(
            (objects,),
            0.111,
            {
                "hex_nut": "scratch crack chip stain dent contamination discolouration",
                "gear": "scratch chip crack stain contamination missing misplaced miscount",
                "bottle_cap": "scratch dent bent stain contamination chip misprint",
                "circuit_board": f"scratch burn contamination stain {_LOGICAL}",
                "blister_pack": f"hole cut contamination scratch {_LOGICAL} miscount",
                "pin_connector": f"crack scratch burn contamination {_LOGICAL} miscount",
                "ball_bearing": f"scratch dent chip contamination stain {_LOGICAL} miscount",
                "shirt_button": "scratch crack chip stain hole contamination burn",
                "wood_screw": "scratch bent chip stain contamination discolouration",
                "cookie": "chip crack burn hole contamination stain",
            },
        ),
        _family(
            (textures,),
            0.235,
            {
                "woven_fabric": "hole cut thread stain discolouration contamination",
                "brushed_metal": "scratch dent stain abrasion hole discolouration contamination",
                "wood_board": "scratch crack hole stain burn dent contamination",
                "leather": "cut hole scratch stain dent discolouration abrasion",
                "ceramic_tile": "crack chip scratch stain contamination",
                "carpet": "hole cut thread stain burn discolouration contamination",
                "perforated_mesh": "bent cut scratch stain contamination discolouration",
                "terrazzo": "crack hole stain scratch contamination abrasion",
                "knitted_wool": "hole cut thread stain discolouration contamination",
                "kraft_paper": "cut hole stain burn scratch contamination",
            },
        ),
    )
}

CATEGORIES: dict[str, Category] = {
    name: category for family in FAMILIES.values() for name, category in family.categories.items()
}
