"""The page in a real browser, over a real station with the embedded policy."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from station_server import serving

from lriad.data import load_dataset
from lriad.data.synthetic import make_dataset
from lriad.serving.api import Settings
from lriad.serving.station import Station
from lriad.serving.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from lriad.policy import Policy

TOKEN = "a-token-of-the-tests"
VIEWS = ("inspect", "review", "history", "statistics", "export")
FILES = "input[type=file]:not([webkitdirectory])"
FOLDER = "input[webkitdirectory]"
HOSTILE = "<img src=x onerror=document.title='pwned'> & quoted.jpg"


@contextlib.contextmanager
def station_at(folder: Path, policy: Policy, **settings: Any) -> Iterator[str]:
    """Address of a station of its own; it works while the block lasts."""
    store = Store(folder)
    try:
        with serving(Station(store, policy, mode="fast"), Settings(**settings)) as served:
            yield served.address
    finally:
        store.close()


@pytest.fixture(scope="module")
def address(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with station_at(tmp_path_factory.mktemp("station") / "store", policy) as address:
        yield address


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight, half of them defective; the names do not say which."""
    made = make_dataset(
        "textures", tmp_path_factory.mktemp("made") / "set", images=8, defect_ratio=0.5, categories=["leather"]
    )
    folder = tmp_path_factory.mktemp("pictures")
    found = []
    for number, path in enumerate(sorted((made / "images").rglob("*.jpg"))):
        found.append(folder / f"part_{number}.jpg")
        found[-1].write_bytes(path.read_bytes())
    return found


def send(address: str, files: list[Path], product: str, names: list[str] | None = None) -> list[dict[str, Any]]:
    """Inspect files without the page."""
    named = zip(names or [file.name for file in files], files, strict=True)
    answer = requests.post(
        f"{address}/api/inspections",
        data={"object_name": product},
        files=[("files", (name, file.read_bytes())) for name, file in named],
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["inspections"]


def truth(address: str, id_: int) -> str | None:
    return requests.get(f"{address}/api/inspections/{id_}", timeout=60).json()["truth"]


def inspections(address: str, **filters: Any) -> list[dict[str, Any]]:
    answer = requests.get(f"{address}/api/inspections", params={"limit": 200, **filters}, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["inspections"]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages of which no script fails, nothing is written to the console and no request goes elsewhere."""
    contexts: list[Any] = []
    problems: list[str] = []

    def open_page(address: str, view: str = "inspect", *, tolerated: str = "", **context: Any) -> Page:
        contexts.append(chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **context}))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "console",
            lambda message: None if tolerated and tolerated in message.text else problems.append(message.text),
        )
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((f"{address}/", "blob:")) else problems.append(asked.url),
        )
        page.goto(f"{address}/#/{view}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def shown_picture(page: Page, selector: str) -> None:
    """Wait until a picture is really there."""
    page.wait_for_function(
        "s => { const i = document.querySelector(s); return i && !i.hidden && i.complete && i.naturalWidth > 0; }",
        arg=selector,
    )


def test_chosen_pictures_become_cards_with_verdict_p_and_threshold(address, open_page, pictures, tmp_path):
    page = open_page(address, tolerated="422")
    page.fill("[name=product]", "leather")
    note, broken = tmp_path / "notes.txt", tmp_path / "broken.jpg"
    note.write_text("no picture")
    broken.write_bytes(b"no picture either")
    page.set_input_files(FILES, [*pictures, note, broken])
    page.wait_for_selector("text=/^8 pictures inspected\\. 1 could not be/")
    assert "1 file left out, not pictures: notes.txt" in page.inner_text(".progress-text")

    judged = {row["name"]: row for row in inspections(address, object="leather")}
    assert set(judged) == {picture.name for picture in pictures}
    assert len({row["decision"] for row in judged.values()}) > 1
    # In the order in which they were chosen, whichever came back first.
    assert page.locator(".card-name a").all_inner_texts() == [picture.name for picture in pictures]
    for row in judged.values():
        card = page.locator(f".card[data-id='{row['id']}']")
        card.scroll_into_view_if_needed()
        text = " ".join(card.inner_text().split())
        assert row["decision"].capitalize() in text
        assert "p of a defect" in text
        assert f"threshold {row['threshold']:.2f}"[:-1] in text  # more digits where the two would look alike
        assert f"doubt {row['doubt']:.2f}" in text
        # The needle stands right of the limit where the part is a defect, and only there.
        needle, limit = (card.locator(f".gauge-{what}").bounding_box() for what in ("needle", "limit"))
        is_right = needle["x"] + needle["width"] / 2 >= limit["x"] + limit["width"] / 2 - 0.5
        assert is_right == (row["decision"] == "defect")
    failed = page.locator(".card[data-decision=failed]")
    assert "broken.jpg" in failed.inner_text()
    assert "not an image" in failed.inner_text()

    page.click(".chips [data-decision=defect]")
    visible = [card for card in page.locator(".card").all() if card.is_visible()]
    assert len(visible) == sum(row["decision"] == "defect" for row in judged.values())


def test_a_folder_is_sent_whole_and_a_busy_station_is_asked_again(address, open_page, pictures):
    page = open_page(address, tolerated="429")
    page.fill("[name=product]", "leather of a folder")
    refused: list[str] = []

    def busy_once(route: Any) -> None:
        if route.request.method == "POST" and not refused:
            refused.append(route.request.url)
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "too many wait"})
        else:
            route.continue_()

    page.route("**/api/inspections", busy_once)
    page.set_input_files(FOLDER, pictures[0].parent)
    page.wait_for_selector("text=The station is busy: trying again in 1 second.")
    page.wait_for_selector("text=/^8 pictures inspected\\./")
    assert len(inspections(address, object="leather of a folder")) == len(pictures)


def test_the_only_product_is_filled_in_but_not_where_somebody_is_about_to_type(address, open_page):
    page = open_page(address)
    told = """async () => {
        const detail = await (await fetch("api/station")).json();
        detail.products = [{ ...detail.products[0], object_name: "gear" }];
        document.dispatchEvent(new CustomEvent("station", { detail }));
    }"""
    page.evaluate("document.querySelector('[name=product]').value = ''")
    page.focus("[name=product]")
    page.evaluate(told)
    assert page.input_value("[name=product]") == ""
    page.evaluate("document.activeElement.blur()")
    page.evaluate(told)
    assert page.input_value("[name=product]") == "gear"


def test_a_verdict_that_takes_longer_than_the_station_waits_is_asked_for_again(policy, open_page, pictures, tmp_path):
    with station_at(tmp_path / "store", policy, timeout=0.001) as address:
        page = open_page(address)
        page.fill("[name=product]", "slow leather")
        with page.expect_response(lambda answer: answer.request.method == "POST") as answer:
            page.set_input_files(FILES, pictures[:3])
        assert answer.value.status == 202
        page.wait_for_selector("text=/^3 pictures inspected\\./")
        assert len(inspections(address, object="slow leather", truth="none")) == 3


def test_what_is_dropped_is_inspected(address, open_page, pictures):
    page = open_page(address)
    page.fill("[name=product]", "dropped leather")
    # What a drag from the desktop ends with.
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
            return transfer;
        }""",
        list(pictures[0].read_bytes()),
    )
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("text=/^1 picture inspected\\./")
    assert [row["name"] for row in inspections(address, object="dropped leather")] == ["dropped.jpg"]


def test_nothing_is_sent_without_a_product(address, open_page, pictures):
    page = open_page(address)
    before = len(inspections(address))
    page.set_input_files(FILES, pictures[:1])
    assert page.evaluate("document.activeElement.name") == "product"
    page.wait_for_selector("text=1 file waits until the product is named.")
    assert len(inspections(address)) == before
    page.set_input_files(FILES, pictures[1:2])
    page.wait_for_selector("text=2 files wait until the product is named.")
    page.keyboard.type("leather with a name")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=/^2 pictures inspected\\./")
    assert len(inspections(address)) == before + 2
    assert len(inspections(address, object="leather with a name")) == 2


def test_what_waits_is_sent_by_the_button_of_a_known_product(address, open_page, pictures):
    send(address, pictures[:1], "known leather")
    send(address, pictures[:1], "other leather")
    page = open_page(address)
    page.set_input_files(FILES, pictures[1:3])
    page.get_by_role("button", name="known leather", exact=True).click()
    page.wait_for_selector("text=/^2 pictures inspected\\./")
    assert len(inspections(address, object="known leather")) == 3
    assert page.locator("button", has_text="Inspect as typed").is_hidden()


def test_the_heat_map_is_laid_over_the_picture_and_taken_off(address, open_page, pictures):
    [row] = send(address, pictures[:1], "leather to mark")
    page = open_page(address, f"inspection/{row['id']}")
    shown_picture(page, ".photo")
    assert page.locator(".heat").is_hidden()
    page.keyboard.press("h")
    shown_picture(page, ".heat")
    assert page.locator(".heat-button").get_attribute("aria-pressed") == "true"
    # The same size, other pixels.
    same_size, differ = page.evaluate(
        """() => {
            const drawn = [".photo", ".heat"].map((selector) => {
                const image = document.querySelector(selector);
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
                canvas.getContext("2d").drawImage(image, 0, 0);
                return canvas;
            });
            return [drawn[0].width === drawn[1].width, drawn[0].toDataURL() !== drawn[1].toDataURL()];
        }"""
    )
    assert same_size
    assert differ
    page.keyboard.press("h")
    page.wait_for_selector(".heat", state="hidden")


def test_zooming_in_goes_where_one_points_and_arrows_scroll(address, open_page, pictures):
    rows = send(address, pictures[:2], "leather to look into")
    page = open_page(address, f"inspection/{rows[0]['id']}")
    shown_picture(page, ".photo")
    box = page.locator(".frame").bounding_box()
    scrolled = "[document.querySelector('.frame').scrollLeft, document.querySelector('.frame').scrollTop]"
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.8 * box["height"])
    page.wait_for_selector(".frame.zoomed")
    left, top = page.evaluate(scrolled)
    # The place that was clicked on, of a picture three times as large, stands in the middle.
    assert left == pytest.approx((3 * 0.3 - 0.5) * box["width"], abs=2)
    assert top == pytest.approx((3 * 0.8 - 0.5) * box["height"], abs=2)
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("left => document.querySelector('.frame').scrollLeft < left", arg=left)
    assert page.locator(".sheet .name").inner_text() == rows[0]["name"]  # and leafs nowhere
    page.keyboard.press("z")
    page.wait_for_selector(".frame:not(.zoomed)")


def test_a_review_by_keyboard_alone(address, open_page, pictures):
    product = "leather to review"
    send(address, pictures[:5], product)
    queue = inspections(address, object=product, truth="none", order="doubt")
    ids = [row["id"] for row in queue]
    page = open_page(address, f"review?object={product}")

    def at(position: int) -> None:
        page.wait_for_function(
            "n => document.querySelector('.sheet .name')?.textContent === n", arg=queue[position]["name"]
        )

    def progress(text: str) -> None:
        page.wait_for_selector(f".panel-head >> text={text}")

    at(0)
    progress("0 labelled, 5 left")
    page.keyboard.press("Enter")
    at(1)
    assert truth(address, ids[0]) == queue[0]["decision"]
    page.keyboard.press("d")
    at(2)
    assert truth(address, ids[1]) == "defect"
    page.keyboard.press("n")
    at(3)
    assert truth(address, ids[2]) == "normal"
    progress("3 labelled, 2 left")
    page.keyboard.press("u")
    at(2)
    assert truth(address, ids[2]) is None
    page.keyboard.press("ArrowRight")
    at(3)
    page.keyboard.press("ArrowLeft")
    at(2)
    page.keyboard.press("s")
    at(3)
    page.keyboard.press("u")  # takes back the skip it was, and no label
    at(2)
    progress("2 labelled, 3 left")
    assert truth(address, ids[1]) == "defect"
    page.keyboard.press("s")
    at(3)
    page.keyboard.press("t")
    page.keyboard.type("deep scratch")  # whose letters are no commands
    page.keyboard.press("Enter")
    at(4)
    typed = inspections(address, object=product, truth="defect", q=queue[3]["name"])
    assert [row["defect_type"] for row in typed] == ["deep scratch"]
    page.keyboard.press("a")
    page.wait_for_selector("text=You are through the queue.")
    page.keyboard.press("Enter")  # go through the skipped one again
    at(2)
    progress("4 labelled, 1 left")
    page.keyboard.press("n" if queue[2]["decision"] == "defect" else "d")
    page.wait_for_selector("text=Everything is labelled.")
    corrected = inspections(address, object=product, q=queue[2]["name"])
    assert [row["corrected"] for row in corrected] == [True]
    assert inspections(address, object=product, truth="none") == []


@pytest.fixture
def reviewed(address, pictures):
    """A product of its own with five pictures to review, and the names in their order; two come at a time."""
    product = f"leather of queue {len(requests.get(f'{address}/api/statistics', timeout=60).json()['products'])}"
    send(address, pictures[:5], product)
    return product, [row["name"] for row in inspections(address, object=product, truth="none", order="doubt")]


def by_twos(route: Any) -> None:
    route.continue_(url=route.request.url.replace("limit=30", "limit=2"))


def test_a_queue_goes_on_where_it_was_when_its_next_page_does_not_come(address, open_page, reviewed):
    product, names = reviewed
    page = open_page(address, "statistics", tolerated="503")
    broken = [True]

    def listing(route: Any) -> None:
        if broken and "cursor=" in route.request.url:
            route.fulfill(status=503, json={"error": "the store cannot be used now"})
        else:
            by_twos(route)

    page.route("**/api/inspections?*", listing)
    page.goto(f"{address}/#/review?object={product}")
    page.wait_for_selector(f".sheet .name >> text={names[0]}")
    page.keyboard.press("s")
    page.wait_for_selector(f".sheet .name >> text={names[1]}")
    page.keyboard.press("d")
    page.wait_for_selector("[role=alert] >> text=the store cannot be used now")
    page.wait_for_selector("text=1 labelled, 4 left, 1 skipped")
    assert page.inner_text(".sheet .name") == names[1]
    broken.clear()
    for name in names[2:]:
        page.keyboard.press("s")
        page.wait_for_selector(f".sheet .name >> text={name}")
    page.keyboard.press("s")
    page.wait_for_selector("text=You are through the queue.")


def test_a_queue_that_comes_late_is_not_shown_as_that_of_another_product(address, open_page, reviewed, pictures):
    product, names = reviewed
    send(address, pictures[5:6], "leather that is late")
    page = open_page(address, "statistics")
    late: list[Any] = []
    page.route("**/api/inspections?*late*", lambda route: late.append(route))
    with page.expect_request("**/api/inspections?*late*"):
        page.goto(f"{address}/#/review?object=leather+that+is+late")
    page.goto(f"{address}/#/review?object={product}")
    page.wait_for_selector(f".sheet .name >> text={names[0]}")
    with page.expect_response("**/api/inspections?*late*"):
        late[0].continue_()
    for name in names[1:]:
        page.keyboard.press("s")
        page.wait_for_selector(f".sheet .name >> text={name}")
    page.wait_for_selector("text=0 labelled, 5 left, 4 skipped")
    page.keyboard.press("s")
    page.wait_for_selector("text=You are through the queue.")


def test_a_label_that_comes_late_is_that_of_its_part(address, open_page, reviewed):
    product, names = reviewed
    page = open_page(address, f"review?object={product}")
    page.wait_for_selector(f".sheet .name >> text={names[0]}")
    page.wait_for_load_state("networkidle")
    late: list[Any] = []
    page.route("**/label", lambda route: late.append(route))
    with page.expect_request("**/label"):
        page.keyboard.press("d")
    page.get_by_role("button", name="Skip").click()
    page.wait_for_selector(f".sheet .name >> text={names[1]}")
    late[0].continue_()
    page.wait_for_selector("text=1 labelled, 4 left")
    assert page.inner_text(".sheet .name") == names[1]
    assert "not labelled" in page.inner_text(".truth-now")
    page.unroute("**/label")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(f".sheet .name >> text={names[0]}")
    assert page.inner_text(".truth-now").endswith("defect")


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        # Parts of one group, or a note, put the limit elsewhere than the setting's words say.
        (
            {"decided_by": "alarm_rate", "limit": 0.2, "alarm_rate": 0.12, "score": 2.5, "setting": "30 good"},
            ["alarm rate 12 %", "limit 20 %", "of which 12 % would be as unusual"],
        ),
        (
            {"decided_by": "alarm_rate", "limit": 0.2, "alarm_rate": 0.5, "score": 0.5, "note": "a note",
             "setting": "30 good + 25 labelled defects"},
            ["alarm rate 50 %", "limit 20 %"],
        ),
        (
            {"decided_by": "alarm_rate", "limit": 0.05, "alarm_rate": 1 / 21, "score": 15.0, "setting": "20 good"},
            ["as unusual as none of the good parts", "alarm rate 4.8 %, limit 5.0 %", "lowest rate"],
        ),
        (
            {"decided_by": "score", "limit": 0.5, "score": 0.7, "alarm_rate": 0.5, "setting": "30 good, 2 x 2 tiles"},
            ["score 0.70", "threshold 0.50", "comparison with labelled parts"],
        ),
        (
            {"decided_by": "score", "limit": 4.5, "normal_below": 2.25, "score": 3.0, "calibration": "foreign"},
            ["score 3.00", "normal below 2.25, defect from 4.50", "Decided by a calibration"],
        ),
        (
            {"decided_by": "p_defect", "limit": 0.75, "normal_below": 0.25, "score": 3.0, "calibration": "foreign"},
            ["p of a defect 0.60", "normal below 0.25, defect from 0.75", "Decided by a calibration"],
        ),
        ({"decided_by": "label", "limit": None}, ["p of a defect 0.60", "no threshold", "the policy's own word"]),
        ({"decided_by": None, "limit": None}, ["p of a defect 0.60", "What decided was not kept"]),
    ],
)  # fmt: skip
def test_what_decided_is_what_the_station_says(address, open_page, pictures, said, texts):
    [row] = send(address, pictures[:1], "leather to read")
    answer = {**row, "p_defect": 0.6, "threshold": None, **said}
    page = open_page(address, "statistics")
    page.route(f"**/api/inspections/{row['id']}", lambda route: route.fulfill(json=answer))
    page.goto(f"{address}/#/inspection/{row['id']}")
    page.wait_for_selector(".gauge")
    shown = " ".join(page.inner_text(".facts").split())
    for text in texts:
        assert text in shown


def test_the_needle_goes_on_where_the_rate_cannot_fall(address, open_page, pictures):
    [row] = send(address, pictures[:1], "leather to read")
    rare = {**row, "decided_by": "alarm_rate", "limit": 0.05, "alarm_rate": 1 / 21, "setting": "20 good"}
    page = open_page(address, "statistics")
    page.route(f"**/api/inspections/{row['id']}", lambda route: route.fulfill(json=rare))
    page.goto(f"{address}/#/inspection/{row['id']}")
    places = []
    for score in (1.0, 4.0, 15.0):
        rare["score"] = score
        page.reload()
        scale = page.wait_for_selector(".gauge-scale").evaluate(
            "scale => ['--defect-from', '--value'].map(name => parseFloat(scale.style.getPropertyValue(name)))"
        )
        places.append(scale)
    assert len({limit for limit, _ in places}) == 1
    limit, values = places[0][0], [value for _, value in places]
    assert limit + 8 < values[0] < values[1] < values[2] < 100


def test_cards_are_labelled_by_keys_and_buttons(address, open_page, pictures):
    page = open_page(address)
    page.fill("[name=product]", "leather on cards")
    page.set_input_files(FILES, pictures[:1])
    page.wait_for_selector("text=/^1 picture inspected\\./")
    [row] = inspections(address, object="leather on cards")
    page.focus(".card")
    page.keyboard.press("d")
    page.wait_for_selector(".card [data-truth=defect][aria-pressed=true]")
    assert truth(address, row["id"]) == "defect"
    page.click(".card [data-truth=normal]")
    page.wait_for_selector(".card [data-truth=normal][aria-pressed=true]")
    assert truth(address, row["id"]) == "normal"
    page.click(".card [data-truth=normal]")  # once more takes it back
    page.wait_for_selector(".card [data-truth=normal][aria-pressed=false]")
    assert truth(address, row["id"]) is None


def test_history_is_searched_filtered_and_leafed_through(address, open_page, pictures):
    product = "leather of old"
    rows = send(address, pictures, product)
    page = open_page(address, "history")
    page.wait_for_selector(".row-item")
    page.select_option(".filters select >> nth=0", product)
    page.wait_for_selector("text=/^8 inspections$/")
    page.fill("[type=search]", "part_3")
    page.wait_for_selector("text=/^1 inspection$/")
    assert page.locator(".row-name b").all_inner_texts() == ["part_3.jpg"]
    page.reload()  # the address says it all
    page.wait_for_selector("text=/^1 inspection$/")
    page.fill("[type=search]", "")
    page.select_option(".filters select >> nth=1", "defect")
    defects = [row["name"] for row in reversed(rows) if row["decision"] == "defect"]
    page.wait_for_selector(f"text=/^{len(defects)} inspections$/")
    assert page.locator(".row-name b").all_inner_texts() == defects

    page.click(".row-item a >> nth=0")
    page.wait_for_selector(f".sheet .name >> text={defects[0]}")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(f".sheet .name >> text={defects[1]}")
    page.keyboard.press("n")
    page.wait_for_selector("text=corrected: it is normal")
    page.go_back()
    page.go_back()
    page.wait_for_selector(".row-item")
    assert "corrected: it is normal" in page.locator(".row-item >> nth=1").inner_text()


def test_statistics_count_what_was_labelled(address, open_page, pictures):
    product = "leather to count"
    rows = send(address, pictures[:4], product)
    for row in rows:
        requests.put(f"{address}/api/inspections/{row['id']}/label", json={"label": "normal"}, timeout=60)
    wrong = sum(row["decision"] == "defect" for row in rows)
    page = open_page(address, "statistics")
    panel = page.locator(".product-panel", has=page.get_by_role("heading", name=product, exact=True))
    panel.wait_for()
    text = " ".join(panel.inner_text().split())
    assert "4 inspected" in text
    assert f"agreed {4 - wrong} of 4" in text
    assert f"false alarms: a normal part called defect {wrong}" in text
    assert panel.locator(".days rect").count() > 0


def test_the_export_is_a_data_set(address, open_page, pictures, tmp_path):
    product = "leather to take along"
    send(address, pictures[:1], "test")  # a word of the loaders': the folder has another name
    [reserved] = inspections(address, object="test")
    requests.put(f"{address}/api/inspections/{reserved['id']}/label", json={"label": "normal"}, timeout=60)
    said = {}
    for number, row in enumerate(send(address, pictures[:4], product)):
        label = {"label": "normal"} if number else {"label": "defect", "defect_type": "scratch"}
        requests.put(f"{address}/api/inspections/{row['id']}/label", json=label, timeout=60)
        said[row["image_sha256"][:16]] = label["label"]
    page = open_page(address, "export")
    panel = page.locator(".product-panel", has=page.get_by_role("heading", name=product, exact=True))
    panel.wait_for()
    assert "4 labels: 3 normal, 1 defect" in panel.inner_text()
    with page.expect_download() as download:
        panel.get_by_role("button", name="Download leather_to_take_along.zip").click()
    assert download.value.suggested_filename == "leather_to_take_along.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path / "labelled")
    samples = load_dataset(f"folder:{tmp_path / 'labelled'}")
    assert {Path(sample.image).stem: sample.label for sample in samples} == said
    # The lines to run name the folders that are there.
    lines = panel.locator("pre").all_inner_texts()
    assert "labelled/part_test/good" in page.inner_text(".products")
    [category] = {sample.category for sample in samples}
    cut = "pres => pres.filter(pre => pre.scrollWidth > pre.clientWidth).length"
    assert page.locator("pre").evaluate_all(cut) == 0
    assert any(f"labelled/{category}/good" in line and "--object 'leather to take along'" in line for line in lines)


def test_a_station_with_a_token_asks_for_it_once(policy, open_page, pictures, tmp_path):
    with station_at(tmp_path / "store", policy, token=TOKEN) as address:
        page = open_page(address, "history", tolerated="401")
        page.fill("dialog [name=token]", "wrong-token-of-nobody")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=That token was not accepted.")
        page.fill("dialog [name=token]", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=Nothing found.")
        page.click("nav >> text=Inspect")
        page.fill("[name=product]", "leather")
        page.set_input_files(FILES, pictures[:1])
        page.wait_for_selector("text=/^1 picture inspected\\./")
        shown_picture(page, ".card .photo")
        assert page.locator("dialog").count() == 0
        page.reload()
        page.click("nav >> text=History")
        page.wait_for_selector("text=/^1 inspection$/")
        page.focus(".row-item a")
        page.keyboard.press("Enter")
        page.wait_for_selector(".sheet .name")
        page.keyboard.press("d")
        page.wait_for_selector(".judge-buttons [aria-pressed=true]")
        page.click("nav >> text=Export")
        with page.expect_download() as download:
            page.get_by_role("button", name="Download").click()
        assert zipfile.is_zipfile(download.value.path())


def test_names_are_text_whatever_they_hold(address, open_page, pictures):
    send(address, pictures[:1], "hostile leather", [HOSTILE])
    page = open_page(address, "history?object=hostile+leather")
    page.wait_for_selector("text=/^1 inspection$/")
    assert page.locator(".row-name b").all_inner_texts() == [HOSTILE]
    page.click(".row-item a")
    page.wait_for_selector(".sheet .name")
    assert page.inner_text(".sheet .name") == HOSTILE
    assert page.locator("img[src=x]").count() == 0
    assert "pwned" not in page.title()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_every_view_fits_and_its_words_stand_out(address, open_page, pictures, width, scheme):
    rows = send(
        address, pictures[:2], "leather of a view", ["a-name-without-any-place-to-break-" * 5 + ".jpg", HOSTILE]
    )
    requests.put(f"{address}/api/inspections/{rows[0]['id']}/label", json={"label": "defect"}, timeout=60)
    page = open_page(address, color_scheme=scheme, viewport={"width": width, "height": 740})
    page.fill("[name=product]", "leather of a view")
    page.set_input_files(FILES, pictures[:1])
    page.wait_for_selector("text=/^1 picture inspected\\./")
    for view in (*VIEWS, f"inspection/{rows[0]['id']}"):
        page.goto(f"{address}/#/{view}")
        page.wait_for_selector(
            {"inspect": ".card", "history": ".row-item", "review": ".sheet, .empty"}.get(view, "h1, h2")
        )
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), view
        assert page.evaluate(FAINT) == [], view
        assert page.evaluate(NAMELESS) == [], view


FAINT = """() => {
    const probe = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        probe.clearRect(0, 0, 1, 1);
        probe.fillStyle = colour;
        probe.fillRect(0, 0, 1, 1);
        return [...probe.getImageData(0, 0, 1, 1).data];
    };
    const luminance = (rgb) => {
        const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = (node) => {
        for (; node; node = node.parentElement) {
            const [r, g, b, a] = rgba(getComputedStyle(node).backgroundColor);
            if (a === 255) return [r, g, b];
        }
        return [255, 255, 255];
    };
    return [...document.body.querySelectorAll("*")].filter((node) => {
        const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
        if (!hasText || !node.checkVisibility()) return false;
        if (node.closest(":disabled, .visually-hidden, .skip-link")) return false;
        const [ink, back] = [rgba(getComputedStyle(node).color).slice(0, 3), ground(node)].map(luminance);
        return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05) < 4.5;
    }).map((node) => `${node.className} ${node.textContent.slice(0, 40)}`);
}"""
"""Texts whose contrast is below 4.5 to 1 (WCAG 2.2, AA)."""

NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, img")].filter((node) =>
    node.checkVisibility() && !(node.textContent.trim() || node.getAttribute("aria-label") || node.labels?.length
        || node.hasAttribute("alt"))
).map((node) => node.outerHTML)"""
"""Controls without a name, pictures without an alternative."""


def test_the_views_are_reached_by_keys_and_the_focus_is_seen(address, open_page):
    page = open_page(address)
    for number, view in enumerate(VIEWS, 1):
        page.keyboard.press(str(number))
        page.wait_for_selector(f"main[data-view={view}] h1")
        assert page.locator("nav [aria-current=page]").inner_text().lower() == view
    page.keyboard.press("?")
    page.wait_for_selector("dialog >> text=accept the verdict")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_station_that_goes_away_is_said_and_missed_no_longer_than_it_is_gone(address, open_page):
    page = open_page(address, "statistics", tolerated="ERR_INTERNET_DISCONNECTED")
    page.wait_for_selector("h1 >> text=Statistics")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.keyboard.press("3")
    page.wait_for_selector("[role=alert] >> text=The station does not answer")
    page.context.set_offline(False)
    page.keyboard.press("4")
    page.wait_for_selector("[role=alert]", state="hidden")
