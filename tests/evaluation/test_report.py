import base64
import hashlib
import io
import json
import os
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lriad.evaluation import evaluate_predictions
from lriad.evaluation.report import KINDS, MAX_BYTES, write_report
from lriad.evaluation.tables import evaluation_tables
from lriad.evaluation.thumbnails import SMALLEST, Wanted, make_thumbnail, share_out

VOID = {"meta", "link", "input", "img", "br"}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\u2028{{ 7*7 }}\udcff"


class Page(HTMLParser):
    """A page's elements, with the texts of its cells, and whether every element is closed where it has to be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts, self.blocks = [], [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in VOID:
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] in ("script", "style"):
            tag, attributes = self.open[-1]
            self.blocks[attributes.get("id", tag)] = data
        elif data.strip():
            self.texts.append(data)

    @property
    def cards(self):
        return json.loads(self.blocks["data"])


def read(file):
    return Page(file.read_text(encoding="utf-8"))


def prediction(id_, truth, p, **fields):
    """A row as inspection writes it, decided at 0.5."""
    said = "defect" if p >= 0.5 else "normal"
    return {
        "id": id_,
        "truth": truth,
        "category": "nut",
        "label": said,
        "p_defect": p,
        "decision": said,
        "threshold": 0.5,
        **fields,
    }


def four_kinds(**fields):
    cases = (("defect", 0.1), ("defect", 0.9), ("normal", 0.8), ("normal", 0.2))
    return [prediction(f"{truth}-{p}", truth, p, **fields) for truth, p in cases]


def written(rows, folder, **settings):
    return write_report(evaluate_predictions(rows, resamples=0), rows, folder, **settings)


@pytest.fixture
def photograph(tmp_path):
    rng = np.random.default_rng(0)
    file = tmp_path / "part.png"
    Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).resize((300, 200)).save(file)
    return str(file)


def test_the_page_has_the_tables_of_the_evaluation(tmp_path):
    rows = [*four_kinds(), *four_kinds()]
    rows = [{**row, "id": f"{i}", "category": "pin" if i > 3 else "nut"} for i, row in enumerate(rows)]
    rows.append({"id": "broken.png", "truth": "normal", "error": "broken.png: damaged"})
    evaluation = evaluate_predictions(rows, resamples=50)
    page = read(write_report(evaluation, rows, tmp_path, title="Nuts & pins"))
    assert page.texts.count("Nuts & pins") == 2
    assert evaluation.summary() in page.texts
    for table in evaluation_tables(evaluation):
        assert table.title in page.texts
        cells = [cell for row in table.rows for cell in row if cell]
        start = page.texts.index(table.title)
        after = page.texts[start + 1 + len(table.columns) :]
        assert after[: len(cells)] == cells
    assert "broken.png: damaged" in page.texts
    assert page.tags.count("figure") == 5
    assert len(page.cards) == 8


def test_the_head_says_what_was_judged_by_what(tmp_path):
    rows = four_kinds(object_name="metal nut", policy_sha256="c0ffee" * 10)
    [head] = [text for text in read(written(rows, tmp_path)).texts if text.startswith("metal nut")]
    assert re.fullmatch(r"metal nut · policy c0ffeec0ffee · reported \d{4}-\d\d-\d\d", head)


def test_the_key_figures_are_those_of_what_was_decided(tmp_path):
    rows = [prediction(f"{i}", "defect", 0.9, label="normal") for i in range(3)]
    rows += [prediction("missed", "defect", 0.2, label="defect"), prediction("good", "normal", 0.1)]
    texts = read(written(rows, tmp_path)).texts
    found = ["Defects found", "75.0%", "3 of 4", "95%: 19.4 to 99.4%", "1 missed"]
    assert texts[texts.index(found[0]) :][:5] == found
    alarms = ["False alarms", "0.0%", "0 of 1 good", "95%: 0.0 to 97.5%"]
    assert texts[texts.index(alarms[0]) :][:4] == alarms


def test_wrong_images_come_first_and_the_most_wrong_of_them(tmp_path):
    rows = [
        prediction("passed", "normal", 0.1),
        prediction("found", "defect", 0.9),
        prediction("nearly found", "defect", 0.49),
        prediction("quite missed", "defect", 0.01),
        prediction("alarm", "normal", 0.9),
        prediction("doubtful", "normal", 0.5, decision="review"),
        prediction("babble", "defect", 0.5, label="unparsable", decision="review", text="so <answer>C</answer>"),
        prediction("who knows", "unknown", 0.7),
    ]
    cards = read(written(rows, tmp_path)).cards
    assert [card["id"] for card in cards[:3]] == ["quite missed", "alarm", "nearly found"]
    assert {card["id"] for card in cards[6:]} == {"passed", "found"}
    kind_of = {card["id"]: card["kind"] for card in cards}
    assert kind_of == {
        "passed": "passed",
        "found": "found",
        "nearly found": "missed",
        "quite missed": "missed",
        "alarm": "false-alarm",
        "doubtful": "review",
        "babble": "unparsable",
        "who knows": "unknown",
    }
    assert set(kind_of.values()) <= set(KINDS)
    assert next(card for card in cards if card["id"] == "babble")["reasoning"] == "so <answer>C</answer>"


def test_a_memory_ranks_by_its_score(tmp_path):
    given = {"memory": "a" * 64, "threshold": None}
    rows = [
        prediction("usual", "normal", 0.9, score=-1.5, decision="normal", **given),
        prediction("odd", "normal", 0.1, score=40.0, decision="defect", **given),
        prediction("missed", "defect", 0.9, score=-2.0, decision="normal", **given),
        prediction("found", "defect", 0.1, score=30.0, decision="defect", **given),
    ]
    page = read(written(rows, tmp_path))
    assert {card["id"]: card["value"] for card in page.cards} == {row["id"]: row["score"] for row in rows}
    assert [card["kind"] for card in page.cards[:2]] == ["missed", "false-alarm"]
    assert not any("Reliability" in text for text in page.texts)


def banded(id_, truth, p, **fields):
    """A row as a calibration decides, at 0.2 and 0.6."""
    decision = "normal" if p < 0.2 else "defect" if p >= 0.6 else "review"
    given = {"threshold": 0.6, "normal_below": 0.2, "calibration": "c" * 64}
    return prediction(id_, truth, p, **{**given, "decision": decision, **fields})


def test_both_limits_of_a_calibration_are_shown_and_say_what_is_how_wrong(tmp_path):
    rows = [
        banded("barely passed", "defect", 0.19),
        banded("barely called", "normal", 0.61),
        banded("quite called", "normal", 0.9),
        banded("open", "normal", 0.4),
        banded("found", "defect", 0.9),
        banded("passed", "normal", 0.1),
    ]
    file = written(rows, tmp_path)
    page = read(file)
    assert [card["id"] for card in page.cards[:3]] == ["quite called", "barely passed", "barely called"]
    assert {(card["normal_below"], card["threshold"]) for card in page.cards} == {(0.2, 0.6)}
    limits = "normal below 0.2, defect from 0.6"
    assert page.texts[page.texts.index("Decided by p_defect") + 1] == limits
    assert any(text.endswith(f"Dashed: {limits}.") for text in page.texts)
    lines = re.findall(r'<line class="threshold" x1="([\d.]+)"', file.read_text(encoding="utf-8"))
    assert len(set(lines)) == 2
    assert len(lines) == 4  # of good and of defective images


def test_the_lower_limit_on_a_score_is_drawn_there(tmp_path):
    given = {"memory": "a" * 64, "threshold": None, "normal_below": 2.5}
    rows = [banded(f"{i}", "defect" if i % 2 else "normal", 0.5, score=float(i), **given) for i in range(8)]
    file = written(rows, tmp_path)
    page = read(file)
    assert page.texts[page.texts.index("Decided by score") + 1] == "normal below 2.5"
    assert file.read_text(encoding="utf-8").count('<line class="threshold"') == 2


def test_other_systems_need_not_say_more_than_a_score_or_a_label(tmp_path):
    scores = [{"id": f"{i}", "truth": "defect" if i % 2 else "normal", "score": i * 1e4} for i in range(6)]
    page = read(written(scores, tmp_path))
    assert {card["kind"] for card in page.cards} == {"undecided"}
    assert "Defects found" not in page.texts
    labels = [{"id": f"{i}", "truth": "normal", "label": "B"} for i in range(3)]
    page = read(written(labels, tmp_path))
    assert {card["kind"] for card in page.cards} == {"passed"}
    assert "svg" not in page.tags


names = st.text(st.characters(codec=None), min_size=1, max_size=30) | st.just(HOSTILE)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(category=names, text=names, title=names)
def test_no_string_becomes_markup(tmp_path, category, text, title):
    def rows(category, text):
        fields = {"category": category, "reasoning": text, "defect_type": text, "note": text, "unusual_place": text}
        both = [*four_kinds(**fields), *four_kinds(category="other")]
        made = [{**row, "id": f"{i}{text}"} for i, row in enumerate(both)]
        return [*made, {"id": text + "!", "truth": "normal", "category": category, "error": "x" + text}]

    plain = read(written(rows("nut", "plain"), tmp_path / "plain"))
    page = read(written(rows(category, text), tmp_path / "hostile", title=title))
    assert page.tags == plain.tags
    assert [name[:2] for name in page.attributes] == [name[:2] for name in plain.attributes]
    assert {card["id"] for card in page.cards} == {f"{i}{text}" for i in range(8)}
    assert page.blocks["script"] == plain.blocks["script"]


def test_the_policy_of_the_page_names_its_own_script_and_style_and_nothing_else(tmp_path):
    text = written(four_kinds(), tmp_path).read_text(encoding="utf-8")
    page = Page(text)
    [policy] = [value for tag, name, value in page.attributes if tag == "meta" and (value or "").startswith("default-")]
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.blocks[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    # Such attributes would be blocked, and nothing may point elsewhere.
    assert not {name for _, name, _ in page.attributes if name == "style" or name.startswith("on")}
    links = [value for _, name, value in page.attributes if name in ("src", "href", "action")]
    assert all(link.startswith(("#", "data:")) for link in links)
    assert "http" not in text.replace('http-equiv="', "")


def luminance(colour):
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


def test_text_stands_out_in_light_and_dark(tmp_path):
    style = read(written(four_kinds(), tmp_path)).blocks["style"]
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block)) for block in re.findall(r":root \{(.*?)\}", style, re.S)
    ]
    assert len(themes) == 3
    pairs = [(text, ground) for text in ("ink", "muted", "accent", "right") for ground in ("page", "surface")]
    pairs += [("on-wrong", "wrong"), ("on-alarm", "alarm"), ("on-open", "open"), ("muted", "backdrop")]
    for theme in themes:
        for text, ground in pairs:
            low, high = sorted(luminance(theme[name]) for name in (text, ground))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_a_picture_that_is_not_there_is_said(tmp_path, photograph):
    rows = four_kinds()
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    os.mkfifo(tmp_path / "pipe.png")
    images = (photograph, str(tmp_path / "torn.jpg"), str(tmp_path / "pipe.png"), "nowhere/\x00.png")
    rows = [{**row, "image": image} for row, image in zip(rows, images, strict=True)]
    page = read(written(rows, tmp_path / "run"))
    shown = {card["id"]: card for card in page.cards}
    assert [shown[row["id"]].get("missing") for row in rows] == [None, "file", "file", "file"]
    assert any("cannot be read: 3." in text for text in page.texts)
    picture = Image.open(io.BytesIO(base64.b64decode(shown["defect-0.1"]["picture"])))
    assert (picture.format, shown["defect-0.1"]["size"]) == ("JPEG", [300, 200])


def test_without_a_data_set_no_picture_is_looked_for(tmp_path):
    page = read(written([{**row, "image": None} for row in four_kinds()], tmp_path))
    assert {card["missing"] for card in page.cards} == {"path"}
    assert any("no data set was named to find it in: 4." in text for text in page.texts)


def test_heat_maps_lie_over_the_pictures_they_belong_to(tmp_path, photograph):
    hashes = [f"{i}" * 64 for i in range(3)] + ["../" * 5 + "0" * 49]
    rows = [
        {**row, "image": photograph, "image_sha256": sha256, "boxes": [[1, 2, 30, 40]]}
        for row, sha256 in zip(four_kinds(), hashes, strict=True)
    ]
    maps = tmp_path / "maps"
    maps.mkdir()
    values = np.full((20, 30), np.nan, np.float16)
    values[:10] = 0.05
    values[5, 7] = 1.0
    np.save(maps / f"{hashes[0][:16]}.npy", values)
    np.save(maps / f"{hashes[1][:16]}.npy", np.array([{"no": "numbers"}]), allow_pickle=True)
    (maps / f"{hashes[2][:16]}.npy").write_bytes(b"PK\x03\x04")
    cards = {card["id"]: card for card in read(written(rows, tmp_path / "run", maps=maps)).cards}
    assert [row["id"] for row in rows if "heatmap" in cards[row["id"]]] == [rows[0]["id"]]
    assert cards[rows[3]["id"]]["boxes"] == [[1, 2, 30, 40]]
    heatmap = Image.open(io.BytesIO(base64.b64decode(cards[rows[0]["id"]]["heatmap"])))
    alpha_HW = np.asarray(heatmap.convert("RGBA"))[..., 3]
    assert alpha_HW.shape == (20, 30)
    assert np.argwhere(alpha_HW).tolist() == [[5, 7]]


def test_no_field_of_a_row_breaks_the_page(tmp_path):
    strange = {"boxes": [[1, 2, 3], "box", [1, 2, "x", 4], [float("nan")] * 4], "probability": "often", "text": 7}
    cards = read(written(four_kinds(**strange, reasoning=None), tmp_path)).cards
    assert not any("boxes" in card or "probability" in card for card in cards)


@given(st.lists(st.sampled_from([1.0, 2.0, 4.0]), max_size=300), st.integers(-10, 10**6))
def test_shares_fit_into_the_room_and_the_first_have_theirs(weights, room):
    bytes_N = share_out(np.array(weights), room)
    assert bytes_N.sum() <= max(0, room)
    given = bytes_N > 0
    assert (bytes_N[given] >= SMALLEST).all()
    assert given.tolist() == sorted(given.tolist(), reverse=True)
    assert given.sum() == min(len(weights), max(0, room) // SMALLEST)


@pytest.mark.parametrize("room", [800, 2000, 8000, 60000])
def test_a_thumbnail_fits_and_is_upright(tmp_path, room):
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 255, (800, 1200, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "turned.jpg", exif=exif)
    thumbnail = make_thumbnail(Wanted(str(tmp_path / "turned.jpg"), room))
    assert thumbnail.size == (800, 1200)
    assert 0 < len(thumbnail.picture) <= room
    width, height = Image.open(io.BytesIO(thumbnail.picture)).size
    assert width / height == pytest.approx(2 / 3, abs=0.03)
    assert max(width, height) <= 320


def test_ten_thousand_images_stay_below_the_limit_and_wrong_ones_are_all_shown(tmp_path):
    # Noise is what JPEG takes most bytes for, and control characters are what JSON does.
    rng = np.random.default_rng(0)
    file = tmp_path / "noise.png"
    Image.fromarray(rng.integers(0, 255, (48, 48, 3), np.uint8)).save(file)
    p_N = rng.uniform(0, 1, 10_000)
    rows = [
        prediction(
            f"{i}", "defect" if i % 10 == 0 else "normal", p, image=str(file), reasoning="A dent \x01 here. " * 60
        )
        for i, p in enumerate(p_N.tolist())
    ]
    report = written(rows, tmp_path / "run")
    assert 15_000_000 < report.stat().st_size < MAX_BYTES
    page = read(report)
    assert len(page.cards) == 10_000
    assert all("picture" in card for card in page.cards if card["kind"] in ("missed", "false-alarm"))
    assert any("Reasoning is cut off after" in text for text in page.texts)


def test_what_does_not_fit_is_said(tmp_path, photograph, monkeypatch):
    monkeypatch.setattr("lriad.evaluation.report.MAX_BYTES", 2_040_000)
    rows = [prediction(f"{i}", "normal", i / 100, image=photograph) for i in range(100)]
    rows.append(prediction("missed", "defect", 0.2, image=photograph))
    page = read(written(rows, tmp_path / "run"))
    without = [card for card in page.cards if card.get("missing") == "room"]
    assert 0 < len(without) < 100
    assert "picture" in page.cards[0]
    assert any(f"stays below 2 MB: {len(without)};" in text for text in page.texts)


def test_a_gallery_of_too_many_images_says_how_many_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("lriad.evaluation.report._MOST_CARDS", 3)
    page = read(written(four_kinds(), tmp_path))
    assert [card["kind"] for card in page.cards[:2]] == ["missed", "false-alarm"]
    assert len(page.cards) == 3
    assert any("Only the first 3 of 4 images" in text for text in page.texts)


@pytest.fixture
def opened(chromium, tmp_path, photograph):
    """Opens a report of 60 images in a browser, and hears what it says and asks for."""
    maps = tmp_path / "maps"
    maps.mkdir()
    np.save(maps / ("a" * 16 + ".npy"), np.eye(20, dtype=np.float16))
    rows = [
        prediction(
            f"{i:02}",
            "defect" if i % 2 else "normal",
            (i * 7 % 60) / 60,
            category="nut" if i % 3 else HOSTILE,
            image=photograph if i % 5 else "nowhere.png",
            image_sha256="a" * 64,
            reasoning=f"Number {i} has a {'scratch' if i % 4 else 'dent'}. {HOSTILE}" + " More of it." * (i % 40),
        )
        for i in range(60)
    ]
    file = write_report(evaluate_predictions(rows, resamples=50), rows, tmp_path / "run", maps=maps)
    heard = []
    pages = []

    def open_page(width=1280, scheme="light"):
        page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        pages.append(page)
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: (heard.append("dialog"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or heard.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page, rows
    for page in pages:
        page.close()
    assert heard == []


def test_the_gallery_filters(opened):
    open_page, rows = opened
    page = open_page()
    cards, count = page.locator("#cards > li"), page.locator("#count")
    assert cards.count() == 24
    assert count.inner_text() == "1 to 24 of 60 images"
    assert cards.first.locator(".badge").inner_text() in ("Missed", "False alarm")

    page.get_by_label("Text").fill("dent number")
    dents = [row for i, row in enumerate(rows) if i % 4 == 0]
    assert count.inner_text() == f"1 to {len(dents)} of {len(dents)} images"
    category = page.get_by_role("combobox", name="Category")
    for index, name in enumerate(("all", HOSTILE, "nut")):
        category.select_option(index=index)
        fitting = [row for row in dents if name in ("all", row["category"])]
        assert count.inner_text() == f"1 to {len(fitting)} of {len(fitting)} images"
    page.get_by_role("button", name="All images").click()
    assert count.inner_text() == "1 to 24 of 60 images"

    page.get_by_label("p_defect, from").fill("0.5")
    page.get_by_label("p_defect, to").fill("0.7")
    between = [row for row in rows if 0.5 <= row["p_defect"] <= 0.7]
    assert count.inner_text() == f"1 to {len(between)} of {len(between)} images"
    alarms = [row for row in between if row["truth"] == "normal"]
    page.get_by_role("checkbox", name="False alarm").check()
    assert cards.count() == len(alarms)
    assert set(cards.locator(".badge").all_inner_texts()) == {"False alarm"}
    page.get_by_label("Text").fill("no such words")
    assert count.inner_text() == "No image fits these filters."

    missed = [row for row in rows if row["truth"] == "defect" and row["p_defect"] < 0.5]
    page.get_by_role("link", name=f"{len(missed)} missed").click()
    assert count.inner_text() == f"1 to {len(missed)} of {len(missed)} images"
    assert page.get_by_role("checkbox", name="Missed").is_checked()


def test_the_gallery_is_paged_by_keyboard_and_shows_heat_maps(opened):
    page = opened[0]()
    next_page = page.get_by_role("button", name="Next")
    next_page.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.locator("#count").inner_text() == "49 to 60 of 60 images"
    assert next_page.is_disabled()
    page.get_by_role("button", name="Previous").press("Enter")

    heat_maps = page.locator(".heatmap")
    assert not heat_maps.first.is_visible()
    page.get_by_role("button", name="Heat-map").first.press("Enter")
    assert heat_maps.first.is_visible()
    assert not heat_maps.nth(1).is_visible()
    page.get_by_role("checkbox", name="Heat-maps").check()
    assert heat_maps.nth(1).is_visible()
    sizes = "images => images.map(image => [image.naturalWidth, image.alt])"
    pictures = page.locator(".frame img").evaluate_all(sizes)
    assert pictures
    assert all(width > 0 and alt for width, alt in pictures)
    assert page.get_by_text("No picture: the file cannot be read").count() == 24 - heat_maps.count()

    more = page.locator("button.more").first
    paragraph = more.locator("xpath=preceding-sibling::p[1]")
    height = paragraph.bounding_box()["height"]
    more.press("Enter")
    assert paragraph.bounding_box()["height"] > height


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_nothing_is_wider_than_the_window(opened, width, scheme):
    page = opened[0](width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (grounds == "rgb(18, 23, 26)") == (scheme == "dark")


def test_the_page_reads_without_javascript(chromium, tmp_path):
    file = written(four_kinds(), tmp_path)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.get_by_text("shown by JavaScript, which is off here").is_visible()
    assert page.get_by_role("table").first.is_visible()
    assert not page.locator("#filters").is_visible()
    context.close()


def test_a_card_marks_both_limits(chromium, tmp_path):
    rows = [banded("open", "normal", 0.4), banded("found", "defect", 0.9)]
    page = chromium.new_page()
    page.goto(written(rows, tmp_path).as_uri())
    card = page.locator("#cards > li").first
    assert card.locator(".bar b").evaluate_all("marks => marks.map(mark => mark.style.left)") == ["20%", "60%"]
    facts = card.locator(".facts").inner_text().split("\n")
    assert facts[facts.index("Normal below") + 1] == "0.2"
    assert facts[facts.index("Defect from") + 1] == "0.6"
    page.close()
    page = chromium.new_page()
    page.goto(written(four_kinds(memory="a" * 64, score=1.5, threshold=None), tmp_path).as_uri())
    assert page.locator("#cards > li").count() == 4
    assert page.locator(".bar").count() == 0  # p_defect, which decides nothing there
    page.close()
    page = chromium.new_page()
    page.goto(written(four_kinds(), tmp_path).as_uri())
    assert page.locator("#cards > li").first.locator(".bar b").count() == 1
    assert "Threshold" in page.locator("#cards > li").first.locator(".facts").inner_text()
    page.close()
