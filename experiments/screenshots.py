"""Make the pictures of the station's page in docs/images: a real station, drawn parts, a headless Chromium.

    python experiments/screenshots.py

Two products: one with a memory of thirty good parts and a calibration, one that the policy judges alone. What the
pictures show is how the page looks; the numbers in them prove nothing. Two minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import requests
import uvicorn
from PIL import Image

from lriad import Inspector, load_dataset, remember
from lriad.calibration import calibrate
from lriad.data import Sample
from lriad.data.synthetic.dataset import make_line
from lriad.errors import LriadError
from lriad.serving.api import create_app
from lriad.serving.station import Station
from lriad.serving.store import Store
from lriad.verdict import Mode

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"": {"width": 1280, "height": 800}, "-phone": {"width": 375, "height": 740}}
KNOWN, PLAIN = "toothed disc", "jar mouth"
MODE: Mode = "reason"
COLOURS = 256
MAX_BYTES = 300_000


def line(product: str, folder: Path, good: int, defects: int) -> tuple[list[Sample], list[Sample]]:
    """Drawn shots of one part, good and defective."""
    made = make_line(product.replace(" ", "_"), folder, part=3, good=good, defects=defects)
    samples = list(load_dataset(f"jsonl:{made / 'samples.jsonl'}"))
    return [one for one in samples if one.label == "normal"], [one for one in samples if one.label == "defect"]


def send(address: str, product: str, samples: Sequence[Sample], label: int) -> None:
    """Inspect pictures in turn and say what the first ones are."""
    for number, sample in enumerate(samples):
        files = {"files": (f"{product.replace(' ', '-')}-{number:03}.jpg", Path(sample.image).read_bytes())}
        answer = requests.post(f"{address}/api/inspections", data={"object_name": product}, files=files, timeout=120)
        answer.raise_for_status()
        if number < label:
            [inspection] = answer.json()["inspections"]
            said = {"label": sample.label, "defect_type": sample.defect_type}
            path = f"{address}/api/inspections/{inspection['id']}/label"
            requests.put(path, json=said, timeout=60).raise_for_status()


def mixed(good: Sequence[Sample], defects: Sequence[Sample]) -> list[Sample]:
    """The defects spread among the good ones."""
    every = max(1, len(good) // max(1, len(defects)))
    found = list(good)
    for number, defect in enumerate(defects):
        found.insert(number * (every + 1), defect)
    return found


def save(page: Page, file: Path) -> None:
    """The window as a PNG with a palette."""
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(file, optimize=True)
    if file.stat().st_size > MAX_BYTES:
        raise LriadError(f"{file}: {file.stat().st_size} bytes; take fewer colours")
    print(f"{file}: {file.stat().st_size // 1000} kB")


def photograph(browser: Browser, address: str, pictures: Sequence[Path], output: Path) -> None:
    """All views, on a desk and on a phone."""
    for suffix, size in SIZES.items():
        page = browser.new_page(viewport=size, color_scheme="light")
        page.goto(f"{address}/#/inspect")
        page.fill("[name=product]", KNOWN)
        page.set_input_files("input[type=file]:not([webkitdirectory])", pictures)
        page.wait_for_selector(f"text=/^{len(pictures)} pictures inspected/")
        page.locator(".card[data-decision=defect] .heat-button").first.click()
        page.locator(".heat:not([hidden])").first.wait_for()
        page.evaluate("document.querySelector('.progress').scrollIntoView()")
        save(page, output / f"station-inspect{suffix}.png")
        page.goto(f"{address}/#/review?object={KNOWN}")
        page.wait_for_selector(".sheet .photo:not(.waiting)")
        while page.locator(".verdict [data-decision=defect]").count() == 0:
            page.keyboard.press("s")
        page.keyboard.press("h")
        page.wait_for_selector(".heat:not([hidden])")
        save(page, output / f"station-review{suffix}.png")
        page.goto(f"{address}/#/history?order=suspicion")
        page.wait_for_selector(".row-item img:not(.waiting)")
        page.evaluate("scrollTo(0, 0)")
        save(page, output / f"station-history{suffix}.png")
        page.goto(f"{address}/#/statistics")
        page.wait_for_selector(".product-panel")
        save(page, output / f"station-statistics{suffix}.png")
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise SystemExit(f"error: no browser: none of {', '.join(BROWSERS)} is on PATH")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as scratch, socket.socket() as listener:
        folder = Path(scratch)
        good, defects = line(KNOWN, folder / "known", good=130, defects=60)
        memory = folder / "known.memory"
        remember(good[:30], memory)
        judged = Inspector(memory=memory, mode=MODE).inspect_samples([*good[30:90], *defects[:40]])
        calibration = calibrate(list(judged), max_miss_rate=0.1, max_false_alarm_rate=0.1)
        calibration.save(folder / "known.calibration.json")
        store = Store(folder / "store")
        station = Station(store, mode=MODE, memories=[memory], calibrations=[folder / "known.calibration.json"])
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(station), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            listener.listen()  # until the server takes them, requests wait
            send(address, KNOWN, mixed(good[90:120], defects[40:50]), label=20)
            send(address, PLAIN, mixed(*line(PLAIN, folder / "plain", good=12, defects=4)), label=8)
            pictures = [Path(sample.image) for sample in mixed(good[120:], defects[50:52])]
            arguments.output.mkdir(parents=True, exist_ok=True)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
                photograph(browser, address, pictures, arguments.output)
                browser.close()
        finally:
            server.should_exit = True
            thread.join()
            store.close()


if __name__ == "__main__":
    main()
