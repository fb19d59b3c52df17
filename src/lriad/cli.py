"""The command line: thin commands over the API. Heavy imports stand inside the commands."""

from __future__ import annotations

import errno
import glob
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lriad._version import __version__
from lriad.errors import LriadError
from lriad.verdict import Mode

if TYPE_CHECKING:
    from lriad.data import Sample, SampleTable
    from lriad.data.views import Views
    from lriad.evaluation import Evaluation
    from lriad.policy import Policy

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Industrial anomaly detection with a reasoning vision-language model, learned from yes/no labels.",
)
data_app = typer.Typer(no_args_is_help=True, help="Look at, make and download data sets.")
app.add_typer(data_app, name="data")

_TABLE_LIMIT = 200
"""Images up to which a terminal shows a table; a longer list is read in the output file, or line by line."""
_MANY, _MOST = 5, 0.75
"""Images, and the share of defective ones, from which on it is asked whether a memory is of these parts at all."""


Split = Literal["all", "train", "test"]

_POLICY = "embedded, a run folder, a model folder, a hub id, or a server: http://HOST:PORT/v1#MODEL."

PolicyOption = Annotated[str, typer.Option("--policy", help=_POLICY)]
ModeOption = Annotated[Mode, typer.Option("--mode", help="reason: the whole chain of thought; fast: one forward pass.")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        help="Decide 'defect' where p_defect reaches it.",
        show_default="the policy's own, or its answer",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch-size", help="Images that go through the policy together.", show_default="as many as memory allows"
    ),
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", help="Worker processes, on one GPU each where there are GPUs.")
]
TokensOption = Annotated[int, typer.Option("--max-new-tokens", help="Where a completion is cut off.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="Such as cpu or cuda:1.", show_default="the best there is")
]
RetryOption = Annotated[
    bool, typer.Option("--retry-errors", help="Inspect images again that could not be inspected before.")
]
SplitOption = Annotated[Split, typer.Option("--split", help="The official side of the data set.")]
CategoriesOption = Annotated[
    str | None, typer.Option("--categories", help="Only these, separated by commas.", show_default="all")
]
ObjectOption = Annotated[str | None, typer.Option("--object", help="The part in words: 'magnetic tile'.")]
MemoryOption = Annotated[
    Path | None, typer.Option("--memory", help="Good parts to compare with, as lriad remember has made them.")
]
GoodOption = Annotated[
    int | None,
    typer.Option(
        "--good",
        help="Good images of each category to compare with, drawn and not tested.",
        show_default="none: zero-shot",
    ),
]
ReferenceOption = Annotated[
    list[Path] | None,
    typer.Option("--reference", help="An image of a good part, shown to large policies; may be given several times."),
]
NoteOption = Annotated[
    str | None, typer.Option("--note", help="What the prompt says of the part: 'scratches under 2 mm are fine'.")
]
RoiOption = Annotated[
    str | None,
    typer.Option(
        "--roi", metavar="LEFT,TOP,WIDTH,HEIGHT", help="Look only there, in pixels.", show_default="all of it"
    ),
]
TilesOption = Annotated[
    int | None,
    typer.Option("--tiles", help="Look at large images also in so many tiles along the longer side.", show_default="1"),
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option("--calibration", help="Thresholds that keep a promise, as lriad calibrate has made them."),
]
OverridesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Settings in place of the recipe's.")
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lriad {__version__}")
        raise typer.Exit()


@app.callback()
def _globals(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks. Works behind any command.")] = False,
) -> None:
    pass


# --- data ---------------------------------------------------------------------------------------------------


@data_app.command("stats")
def data_stats(
    spec: Annotated[str, typer.Argument(help="Such as folder:PATH, mvtec:PATH, visa:PATH or synthetic:objects.")],
    split: SplitOption = "all",
    categories: CategoriesOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object in place of a table.")] = False,
) -> None:
    """Count images per category: good, defect and the ratio (the paper's Table I)."""
    from lriad.data import check_official, dataset_stats, load_dataset

    stats = dataset_stats(load_dataset(spec, split=split, categories=_names(categories)))
    checks = check_official(stats) if split == "all" and categories is None else []
    if as_json:
        import json

        official = [{"name": check.name, "differences": check.differences} for check in checks]
        typer.echo(json.dumps({"rows": stats.to_rows(), "warnings": stats.warnings(), "official": official}, indent=2))
        return
    typer.echo(stats.to_markdown())
    for line in (*stats.warnings(), *map(str, checks)):
        typer.echo(line, err=True)


@data_app.command("make")
def data_make(
    family: Annotated[str, typer.Argument(help="parts, objects or textures.")],
    directory: Annotated[Path, typer.Argument(help="The folder to make.")],
    images: Annotated[int, typer.Option(help="Images a category.")] = 100,
    defect_ratio: Annotated[
        float | None, typer.Option(help="Share of defective images.", show_default="the family's own")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed draws other parts.")] = 0,
    size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 320,
) -> None:
    """Draw a procedural data set with labels, masks and reasons."""
    from lriad.data.synthetic import make_dataset

    made = make_dataset(
        family, directory, images=images, defect_ratio=defect_ratio, seed=seed, size=size, progress=True
    )
    typer.echo(f"jsonl:{made / 'samples.jsonl'}")


@data_app.command("download")
def data_download(
    name: Annotated[str, typer.Argument(help="mvtec, visa, loco, btad or kolektorsdd.")],
    directory: Annotated[Path, typer.Argument(help="Where to; the data set gets a folder of its own in it.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You have read the licence.")] = False,
) -> None:
    """Download a public data set: licence first, resumable, checked against its SHA-256."""
    from lriad.data.download import download, find_archive

    archive = find_archive(name)
    typer.echo(archive.notice(), err=True)
    if not accept_licence and sys.stdin.isatty():
        accept_licence = typer.confirm("Do you accept this licence?", err=True)
    typer.echo(archive.spec(download(name, directory, accept_licence=accept_licence)))


# --- training -----------------------------------------------------------------------------------------------


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped recipe: embedded-cpu.")],
    overrides: OverridesArgument = None,
) -> None:
    """Train a policy by GRPO. The same command goes on with a run that was stopped."""
    from lriad.training import load_recipe, train

    typer.echo(train(load_recipe(recipe, overrides or [])))


@app.command()
def pretrain(
    output: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/pretrain"),
    images: Annotated[int | None, typer.Option(help="Images a category.", show_default="as shipped")] = None,
    grpo_steps: Annotated[
        int | None, typer.Option(help="Updates of GRPO behind the supervised stages.", show_default="as shipped: none")
    ] = None,
    products: Annotated[
        int | None,
        typer.Option(help="Products a category, to teach what a memory says; 0: none.", show_default="as shipped"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of images, batches and weights.")] = 0,
) -> None:
    """Make the embedded policy's weights from ImageNet eyes and procedural images: eyes, words, GRPO."""
    from lriad.training.pretraining import PretrainConfig, pretrain

    given: dict[str, Any] = {"images": images, "grpo_steps": grpo_steps, "products": products, "seed": seed}
    config = PretrainConfig(**{name: value for name, value in given.items() if value is not None})
    typer.echo(pretrain(output, config))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
) -> None:
    """The main job on a CPU, offline: inspect, train on other categories, inspect again, compare."""
    from lriad.demo import run_demo

    run_demo(output)


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="A run folder, or any policy.")],
    directory: Annotated[Path, typer.Argument(help="A new folder.")],
) -> None:
    """Merge an adapter into plain safetensors that Transformers and vLLM load."""
    from lriad.policy import export_policy

    typer.echo(export_policy(run, directory))


# --- inspection ---------------------------------------------------------------------------------------------


@app.command()
def inspect(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Images, folders or quoted globs.")],
    object_name: ObjectOption = None,
    policy: PolicyOption = "embedded",
    mode: ModeOption = "reason",
    threshold: ThresholdOption = None,
    memory: MemoryOption = None,
    reference: ReferenceOption = None,
    note: NoteOption = None,
    roi: RoiOption = None,
    tiles: TilesOption = None,
    calibration: CalibrationOption = None,
    explain: Annotated[
        Path | None,
        typer.Option(
            "--explain",
            metavar="FOLDER",
            help="A folder for pictures of where each image looks defective, with verdict and reason.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="A .jsonl or .csv file. Images that are in it are not inspected again."),
    ] = None,
    batch_size: BatchOption = None,
    processes: ProcessesOption = 1,
    max_new_tokens: TokensOption = 512,
    device: DeviceOption = None,
    retry_errors: RetryOption = False,
) -> None:
    """Inspect photographs.

    Exit code: 0 all normal, 1 a defect or a review, 3 an image could not be inspected, 2 nothing was done.
    """
    from lriad.inspection.run import inspect_rows, inspect_to_file, outcome_of, summarise

    if object_name is None and memory is not None:
        from lriad.memory import load_memory

        object_name = load_memory(memory).object_name
    if object_name is None:
        raise LriadError("which part is it? Name it in words, such as --object 'magnetic tile'")
    samples = photographs(paths, object_name)
    settings: dict[str, Any] = {
        **_context(memory, reference, note, roi, tiles),
        "overlays": explain,
        "calibration": calibration,
        "policy": policy,
        "processes": processes,
        "mode": mode,
        "threshold": threshold,
        "batch_size": batch_size,
        "max_new_tokens": max_new_tokens,
        "device": device,
    }
    if output is not None:
        summary = inspect_to_file(samples, output, retry_errors=retry_errors, renew=True, progress=True, **settings)
        if explain is not None and summary.resumed:
            typer.echo(f"no pictures of the {summary.resumed} images that were in {output} already", err=True)
        if sys.stdout.isatty() and len(samples) <= _TABLE_LIMIT:
            from lriad.evaluation import read_predictions

            asked = {sample.id for sample in samples}
            _print_table([row for row in read_predictions(output) if row["id"] in asked])
    else:
        rows: Iterable[dict[str, Any]] = inspect_rows(samples, **settings)
        counts: Counter[str] = Counter()
        if sys.stdout.isatty() and len(samples) <= _TABLE_LIMIT:
            from tqdm import tqdm

            rows = list(tqdm(rows, "inspecting", len(samples), unit="image", leave=False, disable=None))
            _print_table(rows)
            counts.update(map(outcome_of, rows))
        else:
            for row in rows:
                typer.echo("\t".join(_cells(row)))
                counts[outcome_of(row)] += 1
        summary = summarise(counts)
    where = f" in {output}" if output else ""
    typer.echo(
        f"{summary.images} image{'s' * (summary.images != 1)}: {summary.normal} normal, {summary.defect} defect, "
        f"{summary.review} review, {summary.errors} not inspected{where}",
        err=True,
    )
    judged = summary.images - summary.errors
    by_memory = memory is not None and threshold is None and calibration is None
    if by_memory and judged >= _MANY and summary.defect >= _MOST * judged:
        typer.echo(
            f"warning: {summary.defect} of {judged} images are decided defective by this memory: if most of these "
            "parts are good, they differ more than those remembered, or light, camera or product have changed; look at "
            "a few, and remember good ones of all kinds (lriad remember --add-to)",
            err=True,
        )
    if summary.first_error:
        typer.echo(f"not inspected, the first: {_plain(summary.first_error)} (--retry-errors tries again)", err=True)
    raise typer.Exit(3 if summary.errors else 1 if summary.defect or summary.review else 0)


@app.command()
def remember(
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="Good images: files, folders or quoted globs.")],
    output: Annotated[Path, typer.Option("--output", help="The file of the memory.")],
    object_name: ObjectOption = None,
    policy: PolicyOption = "embedded",
    defects: Annotated[
        list[str] | None,
        typer.Option("--defects", metavar="PATH", help="Labelled defects, where there are any; several times."),
    ] = None,
    add_to: Annotated[
        Path | None, typer.Option("--add-to", help="A memory that these images are added to; it stays as it is.")
    ] = None,
    roi: RoiOption = None,
    tiles: Annotated[
        str | None,
        typer.Option(
            "--tiles",
            metavar="INTEGER|auto",
            help="Look at large images also in so many tiles along the longer side; auto: as the policy's eyes need.",
            show_default="1",
        ),
    ] = None,
    device: DeviceOption = None,
) -> None:
    """Remember good parts, so that inspection compares with them: lriad inspect --memory FILE.

    Ten images are a start, thirty are better. Nothing is trained.
    """
    from lriad.memory import load_memory
    from lriad.memory import remember as make
    from lriad.memory.making import explained_views, with_eyes

    before = load_memory(add_to) if add_to is not None else None
    fitting = tiles == "auto" and before is None
    count = _number_of_tiles(tiles)
    if tiles == "auto" and before is not None and roi is not None:
        count = before.views.tiles
    views = _views(roi, count)
    if object_name is None and before is not None:
        object_name = before.object_name
    if object_name is None:
        raise LriadError("which part is it? Name it in words, such as --object 'magnetic tile'")
    for path in (*paths, *(defects or [])):
        if not os.path.lexists(os.path.expanduser(path)) and glob.escape(path) == path:
            raise LriadError(f"{path}: no such file or folder")
    good, bad = photographs(paths, object_name), photographs(defects or [], object_name)
    seeing: str | Policy = policy
    if fitting:
        seeing = with_eyes(policy, device)
        views, why = explained_views([*good, *bad], seeing, views.roi if views else None)
        typer.echo(_looks_at(views, why), err=True)
    made = make(
        good,
        output,
        policy=seeing,
        defects=bad,
        add_to=add_to,
        views=views,
        device=device,
        progress=True,
    )
    for line in made.warnings:
        typer.echo(f"warning: {_plain(line)}", err=True)
    memory = made.memory
    decides = "the labels' rule decides" if memory.rule else f"false alarms: about {memory.promised_rate:.1%}"
    typer.echo(f"{output}: {memory.setting} of a {memory.object_name}; {decides}", err=True)


def _number_of_tiles(text: str | None) -> int | None:
    """What `--tiles` says where it may say auto; None for that, too."""
    from lriad.data.views import MAX_TILES

    if text is None or text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise LriadError(f"tiles {text!r}: expected auto, or 1 to {MAX_TILES} along the longer side") from None


def _looks_at(views: Views, why: str) -> str:
    """What `--tiles auto` has chosen, in a line."""
    what = "region" if views.roi else "image"
    if views.tiles == 1:
        return f"looks at whole {what}s: {why}"
    return (
        f"looks at each {what} in {views.tiles} tiles along its longer side{f' ({why})' if why else ''}, and whole "
        "unless it is very long; each look takes about as long"
    )


def _views(roi: str | None, tiles: int | None) -> Any:
    """The views that were asked for, None where none were."""
    from lriad.data.views import Views, parse_roi

    return (
        None
        if roi is None and tiles is None
        else Views(parse_roi(roi) if roi is not None else None, 1 if tiles is None else tiles)
    )


def _context(
    memory: Path | None, reference: list[Path] | None, note: str | None, roi: str | None, tiles: int | None
) -> dict[str, Any]:
    """What the policy is given besides the image, as `Inspector` takes it."""
    return {"memory": memory, "references": tuple(reference or ()), "note": note, "views": _views(roi, tiles)}


def photographs(paths: Sequence[str], object_name: str) -> SampleTable:
    """The images that a user names, each once, as samples of unknown label whose id is the path.

    A folder stands for all images below it; a pattern is expanded where no file is called so. A file that is
    named is taken whatever it is: one that is no image becomes an error row.

    Raises:
        LriadError: A folder or a pattern stands for nothing, or the object's name cannot be used.
    """
    from lriad.data import Sample, SampleTable
    from lriad.prompt import build_prompt

    build_prompt(object_name)
    samples = SampleTable()
    for path in paths:
        for file in _files_of(os.path.expanduser(path)):
            id_ = Path(file).as_posix()
            if samples.ids().position_of(id_) is None:
                samples.append(Sample(id_, file, "unknown", object_name, object_name))
    return samples


def _files_of(path: str) -> Iterator[str]:
    from lriad.data._files import walk_images

    if os.path.isdir(path):
        found = (os.path.normpath(os.path.join(path, name)) for name in walk_images(path, "."))
        first = next(found, None)
        if first is None:
            raise LriadError(f"{path}: no images in this folder")
        yield first
        yield from found
    elif not os.path.lexists(path) and glob.escape(path) != path:
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise LriadError(f"{path}: no file matches this pattern")
        for match in matches:
            yield from _files_of(match) if os.path.isdir(match) else [match]
    else:
        yield path


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Image, decision, what decided and the reason of a row, each on one line."""
    if row.get("error"):
        return _plain(row["image"]), "error", "", _plain(row["error"])
    from lriad.verdict import what_decided

    # What a memory found stands first: the policy's words may be of something else.
    found = "" if row.get("deviation") is None else f"deviates {row['deviation']:+.1f} at the {row['unusual_place']}"
    reason = "; ".join(part for part in (found, row["reasoning"] or row["text"]) if part)
    return _plain(row["image"]), row["decision"], what_decided(row), _plain(reason)


def _plain(text: str) -> str:
    """One line without what a terminal would obey: file names and completions are not ours."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))


def _print_table(rows: Iterable[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colours = {"defect": "bold red", "review": "yellow", "normal": "green", "error": "bold magenta"}
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("image", overflow="fold")
    table.add_column("decision")
    table.add_column("decided by", justify="right")
    table.add_column("reason", overflow="fold")
    for row in rows:
        image, decision, measure, reason = _cells(row)
        table.add_row(Text(image), Text(decision, colours[decision]), measure, Text(reason))
    Console().print(table)


# --- evaluation ---------------------------------------------------------------------------------------------


@app.command()
def evaluate(
    data: Annotated[str | None, typer.Option("--data", help="The data set, such as folder:PATH.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help=_POLICY)] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Score this .jsonl or .csv of any system instead.")
    ] = None,
    split: SplitOption = "all",
    categories: CategoriesOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", help="Images a category, evenly spread over it.", show_default="all"),
    ] = None,
    mode: ModeOption = "reason",
    threshold: ThresholdOption = None,
    memory: MemoryOption = None,
    good: GoodOption = None,
    defects: Annotated[
        int | None,
        typer.Option("--defects", help="With --good: labelled defects of each category besides.", show_default="none"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="With --good: another one draws other images.", show_default="0")
    ] = None,
    reference: ReferenceOption = None,
    note: NoteOption = None,
    roi: RoiOption = None,
    tiles: TilesOption = None,
    calibration: CalibrationOption = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Keep heat-maps: shown in the report, and compared with masks."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="The run folder.", show_default="named after policy and data, in runs/"),
    ] = None,
    batch_size: BatchOption = None,
    processes: ProcessesOption = 1,
    max_new_tokens: TokensOption = 512,
    device: DeviceOption = None,
    retry_errors: RetryOption = False,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="With --predictions: count images that have none, not refuse."),
    ] = False,
) -> None:
    """Judge a policy on a data set, or the predictions of any system.

    The same command goes on with an evaluation that was stopped. With --good (and --defects) some images of each
    category are drawn; the others are compared with a memory of them. Exit code: 3 where an image could not be
    inspected.
    """
    if (policy is None) == (predictions is None):
        raise LriadError("give either --policy and --data, or --predictions FILE")
    if predictions is None and data is None:
        raise LriadError("give the data set to evaluate on: --data SPEC, such as folder:PATH")
    if good is None and (defects is not None or seed is not None):
        raise LriadError("--defects and --seed are for --good: say how many good images of each category there are")
    for option, other in (
        ("--predictions", predictions),
        ("--memory", memory),
        ("--reference", reference),
        ("--calibration", calibration),
    ):
        if good is not None and other:
            raise LriadError(f"--good makes a memory of each category: leave {option} out, or --good")
    from lriad.data import load_dataset

    samples, shots = None, None
    if data is not None:
        samples = load_dataset(data, split=split, categories=_names(categories))
        if good is not None:
            from lriad.inspection.few_shot import divide

            # What is drawn may be of the other side, as MVTec-AD's good images are.
            pool = load_dataset(data, categories=_names(categories))
            _, shots, samples = divide(samples, pool, good, defects, seed or 0)
        samples = spread(samples, limit)
    if predictions is not None:
        from lriad.evaluation import evaluate_predictions, read_predictions
        from lriad.inspection import save_report

        rows = read_predictions(predictions, samples, allow_missing=allow_missing)
        evaluation = evaluate_predictions(rows)
        if output is not None:
            # Without a data set, nobody but the file of predictions vouches for the pictures it names.
            save_report(evaluation, rows if samples is not None else [{**row, "image": None} for row in rows], output)
    else:
        from lriad.inspection import evaluate_policy

        assert policy is not None
        assert data is not None
        assert samples is not None
        config = {
            "command": "evaluate",
            "policy": policy,
            "data": data,
            "split": split,
            "categories": _names(categories),
            "limit": limit,
            "mode": mode,
            "threshold": threshold,
            "max_new_tokens": max_new_tokens,
            "memory": memory and str(memory),
            "good": good,
            "defects": defects,
            "seed": None if good is None else seed or 0,
            "references": [str(path) for path in reference or ()],
            "note": note,
            "roi": roi,
            "tiles": tiles,
            "calibration": calibration and str(calibration),
            "explain": explain,
        }
        setting = [memory.stem] if memory else ["references"] if reference else []
        if good is not None:
            setting = [f"{good}-good", *([f"{defects}-defects"] if defects else []), f"seed-{seed or 0}"]
        setting += [calibration.stem] if calibration else []
        output = output or Path("runs") / _run_name(policy, data, split, mode, *setting)
        _claim(output, config)
        evaluation = evaluate_policy(
            samples,
            output,
            shots=shots,
            policy=policy,
            mode=mode,
            threshold=threshold,
            batch_size=batch_size,
            processes=processes,
            max_new_tokens=max_new_tokens,
            device=device,
            retry_errors=retry_errors,
            progress=True,
            calibration=calibration,
            explain=explain,
            **_context(memory, reference, note, roi, tiles),
        )
    _print_evaluation(evaluation)
    if output is not None:
        typer.echo(f"report: {output / 'report.html'}", err=True)
    for row in evaluation.errors:
        typer.echo(f"not inspected: {_plain(row['error'])}", err=True)
    raise typer.Exit(3 if evaluation.errors else 0)


@app.command()
def calibrate(
    output: Annotated[Path, typer.Option("--output", help="The file of the calibration.")],
    data: Annotated[str | None, typer.Option("--data", help="The labelled images, such as folder:PATH.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help=_POLICY)] = None,
    predictions: Annotated[
        Path | None, typer.Option("--predictions", help="Calibrate on this .jsonl or .csv of any system instead.")
    ] = None,
    max_miss_rate: Annotated[
        float | None, typer.Option("--max-miss-rate", help="Of all defective parts at most this share is passed.")
    ] = None,
    max_false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            "--max-false-alarm-rate",
            "--max-false-alarm",
            help="Of all good parts at most this share is called defective.",
        ),
    ] = None,
    confidence: Annotated[float, typer.Option("--confidence", help="That all promises are kept.")] = 0.95,
    guarantee: Annotated[
        Literal["probability", "mean"],
        typer.Option("--guarantee", help="probability: with that confidence; mean: in the mean over calibrations."),
    ] = "probability",
    cost_escape: Annotated[float | None, typer.Option("--cost-escape", help="Of a missed defect.")] = None,
    cost_overkill: Annotated[float | None, typer.Option("--cost-overkill", help="Of a false alarm.")] = None,
    defect_rate: Annotated[
        float | None,
        typer.Option("--defect-rate", help="Share of defects on the line.", show_default="that of the labelled parts"),
    ] = None,
    recalibrate: Annotated[
        Literal["temperature", "isotonic"] | None,
        typer.Option("--recalibrate", help="Learn a probability, too.", show_default="none"),
    ] = None,
    split: SplitOption = "all",
    categories: CategoriesOption = None,
    mode: ModeOption = "reason",
    memory: MemoryOption = None,
    reference: ReferenceOption = None,
    note: NoteOption = None,
    roi: RoiOption = None,
    tiles: TilesOption = None,
    batch_size: BatchOption = None,
    processes: ProcessesOption = 1,
    max_new_tokens: TokensOption = 512,
    device: DeviceOption = None,
    retry_errors: RetryOption = False,
) -> None:
    """Set thresholds that keep a promise, from labelled images: lriad inspect --calibration FILE.

    With --policy the images are inspected into a file beside the output; the same command goes on where it was stopped.
    """
    if (policy is None) == (predictions is None):
        raise LriadError("give either --policy and --data, or --predictions FILE")
    if predictions is None and data is None:
        raise LriadError("give the labelled images to calibrate on: --data SPEC, such as folder:PATH")
    from lriad.calibration.fit import calibrate as fit
    from lriad.calibration.fit import check_settings
    from lriad.data import load_dataset

    settings: dict[str, Any] = {
        "max_miss_rate": max_miss_rate,
        "max_false_alarm_rate": max_false_alarm_rate,
        "confidence": confidence,
        "guarantee": guarantee,
        "cost_escape": cost_escape,
        "cost_overkill": cost_overkill,
        "defect_rate": defect_rate,
        "recalibrate": recalibrate,
    }
    samples = None if data is None else load_dataset(data, split=split, categories=_names(categories))
    remembered = 0
    if predictions is not None:
        from lriad.evaluation import read_predictions

        rows = read_predictions(predictions, samples)
    else:
        from lriad.inspection.evaluate import predict

        assert samples is not None
        check_settings(samples, **settings)
        rows, remembered = predict(
            samples,
            output.with_suffix(".predictions.jsonl"),
            policy=policy,
            mode=mode,
            batch_size=batch_size,
            processes=processes,
            max_new_tokens=max_new_tokens,
            device=device,
            retry_errors=retry_errors,
            progress=True,
            **_context(memory, reference, note, roi, tiles),
        )
    found = fit(rows, **settings)
    found.save(output)
    typer.echo(found.summary())
    if remembered:
        typer.echo(f"note: {remembered} images are in the memory, or its rule's: they are left out")
    typer.echo(f"{output}: {found.sha256[:12]}", err=True)


@app.command()
def drift(
    predictions: Annotated[Path, typer.Argument(help="A .jsonl or .csv file of lriad inspect, in its order.")],
    calibration: Annotated[Path, typer.Option("--calibration", help="As lriad calibrate has made it.")],
    batch: Annotated[
        int | None, typer.Option("--batch", help="Images that are compared together.", show_default="all")
    ] = None,
) -> None:
    """Compare a line's images with the good ones of a calibration.

    Exit code: 1 where a batch has drifted.
    """
    from lriad.calibration import load_calibration
    from lriad.calibration.drift import LEVEL, drift
    from lriad.evaluation import read_predictions

    batches = drift(load_calibration(calibration), read_predictions(predictions), batch)
    for one in batches:
        typer.echo(f"{_plain(one.first)} to {_plain(one.last)}: {one}")
    drifted, compared = sum(one.drifted for one in batches), sum(one.statistic is not None for one in batches)
    typer.echo(
        f"drifted: {drifted} of {compared} batches; {LEVEL * compared:.2g} are to be expected by chance", err=True
    )
    raise typer.Exit(1 if drifted else 0)


@app.command()
def protocol(
    first: Annotated[str, typer.Argument(metavar="A", help="A data set, such as visa:PATH.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another, such as mvtec:PATH.")],
    overrides: OverridesArgument = None,
    recipe: Annotated[str, typer.Option(help="A YAML file, or the name of a shipped recipe.")] = "embedded-cpu",
    split: SplitOption = "all",
    good: GoodOption = None,
    output: Annotated[Path, typer.Option(help="The folder of both runs.")] = Path("runs/protocol"),
) -> None:
    """The paper's cross-dataset protocol, both ways: train on A, test on B, and the reverse (Table II).

    With --good it is tested a second time, in tables of their own: with good images of each category at hand.
    """
    from lriad.protocol import run_protocol

    run_protocol(first, second, recipe, overrides or [], split, output, good)


def spread(samples: Sequence[Sample], per_category: int | None) -> Sequence[Sample]:
    """At most so many samples a category, evenly spaced in their order: labels keep about their shares."""
    if per_category is None:
        return samples
    if per_category < 1:
        raise LriadError(f"limit {per_category}: expected 1 or more images a category")
    by_category: dict[tuple[str, str], list[int]] = {}
    for index, sample in enumerate(samples):
        by_category.setdefault((sample.dataset, sample.category), []).append(index)
    kept = []
    for indices in by_category.values():
        count = min(per_category, len(indices))
        kept += [indices[(2 * i + 1) * len(indices) // (2 * count)] for i in range(count)]
    return [samples[index] for index in sorted(kept)]


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _run_name(policy: str, data: str, *rest: str) -> str:
    """A folder name that says what was evaluated on what."""
    kind, _, path = data.partition(":")
    parts = ("evaluate", Path(policy).name, kind, Path(path).name, *rest)
    return re.sub(r"[^\w.]+", "-", "-".join(parts))[:120]


def _claim(folder: Path, config: dict[str, Any]) -> None:
    """Make the run folder with its `config.yaml`, unless it is the folder of something else."""
    import yaml

    path = folder / "config.yaml"
    if path.exists():
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        own = ("command", "data", "good", "defects", "seed")
        if not isinstance(found, dict) or any(found.get(name) != config[name] for name in own):
            raise LriadError(f"{folder}: is the folder of another run; give another --output")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _print_evaluation(evaluation: Evaluation) -> None:
    if not sys.stdout.isatty():
        typer.echo(evaluation.to_markdown())
        return
    from rich.console import Console

    Console().print(evaluation.to_rich())


# --- the station --------------------------------------------------------------------------------------------


StoreOption = Annotated[
    Path, typer.Option("--store", help="The folder of pictures, verdicts and labels; made if missing.")
]


DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", help="Where to keep the records.", show_default="SQLite in the store"),
]


@app.command("serve")
def serve_station(
    store: StoreOption = Path("station"),
    database: DatabaseOption = None,
    policy: PolicyOption = "embedded",
    mode: ModeOption = "reason",
    threshold: ThresholdOption = None,
    memory: Annotated[
        list[Path] | None,
        typer.Option("--memory", help="Good parts of a product, as lriad remember has made them; once a product."),
    ] = None,
    calibration: Annotated[
        list[Path] | None,
        typer.Option("--calibration", help="Thresholds of a product, as lriad calibrate has made them; several times."),
    ] = None,
    note: NoteOption = None,
    host: Annotated[str, typer.Option("--host", help="Where to listen; beyond this machine with LRIAD_TOKEN only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8000,
    queue: Annotated[int, typer.Option("--queue", help="Pictures that may wait; more are turned away.")] = 128,
    max_new_tokens: TokensOption = 512,
    device: DeviceOption = None,
) -> None:
    """Open a station: a page and an API where pictures are inspected, reviewed and labelled.

    Where the environment variable LRIAD_TOKEN is set, every request must bring it. What was accepted is judged, also
    after a kill: the same command goes on.
    """
    from lriad.serving.api import Settings
    from lriad.serving.serve import serve
    from lriad.serving.store import Store

    serve(
        Store(store, database),
        Settings(token=os.environ.get("LRIAD_TOKEN") or None),
        host=host,
        port=port,
        policy=policy,
        mode=mode,
        threshold=threshold,
        memories=memory or (),
        calibrations=calibration or (),
        note=note,
        max_new_tokens=max_new_tokens,
        device=device,
        queue=queue,
    )


@app.command("watch")
def watch_folder(
    folder: Annotated[Path, typer.Argument(help="Where pictures arrive, with the folders in it.")],
    object_name: ObjectOption = None,
    store: StoreOption = Path("station"),
    database: DatabaseOption = None,
    move_to: Annotated[
        Path | None,
        typer.Option("--move-to", help="Move pictures into defect/, normal/ and review/ there; none is overwritten."),
    ] = None,
    tag: Annotated[bool, typer.Option("--tag", help="Write the verdict beside each, as NAME.lriad.json.")] = False,
    webhook: Annotated[
        str | None, typer.Option("--webhook", help="An http(s) address that each verdict is posted to as JSON.")
    ] = None,
    every: Annotated[float, typer.Option("--every", help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="End when all that is there is handled.")] = False,
    policy: PolicyOption = "embedded",
    mode: ModeOption = "reason",
    threshold: ThresholdOption = None,
    memory: MemoryOption = None,
    calibration: Annotated[
        Path | None, typer.Option("--calibration", help="Thresholds, as lriad calibrate has made them.")
    ] = None,
    note: NoteOption = None,
    roi: RoiOption = None,
    tiles: TilesOption = None,
    max_new_tokens: TokensOption = 512,
    device: DeviceOption = None,
) -> None:
    """Inspect pictures as they arrive in a folder; one line each. A station may use the same store.

    The same command goes on where it was stopped or killed. What cannot be inspected stays where it is. With --once
    the exit code is that of lriad inspect, of what was handled this time.
    """
    import signal

    from lriad.inspection import Inspector
    from lriad.serving.store import Store
    from lriad.serving.watch import Handled, watch

    if object_name is None and memory is not None:
        from lriad.memory import load_memory

        object_name = load_memory(memory).object_name
    if object_name is None:
        raise LriadError("which part is it? Name it in words, such as --object 'magnetic tile'")
    inspector = Inspector(
        policy,
        mode=mode,
        threshold=threshold,
        calibration=calibration,
        max_new_tokens=max_new_tokens,
        device=device,
        **_context(memory, None, note, roi, tiles),
    )
    inspector.loaded()

    # Told to end, as by systemd, it ends as at Ctrl-C: what is under way is taken back, and not held for a crash.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def report(handled: Handled) -> None:
        typer.echo("\t".join(map(_plain, (str(handled.place), handled.decision, handled.error or ""))))

    counts = watch(
        folder,
        Store(store, database),
        inspector,
        object_name=object_name,
        move_to=move_to,
        tag=tag,
        webhook=webhook,
        every=every,
        once=once,
        report=report,
    )
    typer.echo(", ".join(f"{number} {name}" for name, number in counts.items()) or "nothing new", err=True)
    raise typer.Exit(3 if counts["failed"] else 1 if counts["defect"] or counts["review"] else 0)


@app.command()
def labels(
    output: Annotated[Path, typer.Argument(help="A new folder.")],
    object_name: ObjectOption = None,
    store: StoreOption = Path("station"),
    database: DatabaseOption = None,
) -> None:
    """Write what people have said of a station's pictures as a data set: folder:OUTPUT."""
    from lriad.serving.export import export_labels
    from lriad.serving.store import DATABASE, Store

    if not (store / DATABASE if database is None else store).exists():
        raise LriadError(f"{store}: no store of a station; name its --store, and its --database if it has another")
    count = export_labels(Store(store, database), output, object_name)
    typer.echo(f"folder:{output}")
    typer.echo(f"{count} labelled pictures", err=True)


# --- the way in ---------------------------------------------------------------------------------------------


def main() -> None:
    """Run the command line. An error is one line and exit code 2; its traceback is shown with `--debug`."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    if arguments == sys.argv[1:]:
        # What libraries will remove one day is our business, not the user's.
        warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        app(arguments, prog_name="lriad")
    except SystemExit as stop:
        if stop.code == 130:
            print("interrupted: what is written is kept; the same command goes on from there", file=sys.stderr)
        raise
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        print(f"error: {_in_one_line(error)}", file=sys.stderr)
        sys.exit(2)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, LriadError):
        text = str(error)
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text += "; make room and run the same command again, what is written is kept"
    else:
        text = f"{type(error).__name__}: {error} (unexpected: --debug shows where)"
    return " ".join(text.split())


if __name__ == "__main__":
    main()
