"""Several photos at once: a grid of maps, in a real browser."""

import csv
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, Request, Route, expect

import gradcam_core
from demo.page import address_of
from tests.support.axe import serious
from tests.support.page import shows

MOST = 24
FORMULA = "=1+1.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, cat_file: Path) -> list[Path]:
    """Odd ones: large, tiny and transparent, very wide, damaged, with a formula as its name."""
    folder = tmp_path_factory.mktemp("photos")
    cat = Image.open(cat_file).convert("RGB")
    cat.save(folder / "cat.png")
    cat.resize((4510, 3000)).save(folder / "large.jpg", quality=95)
    cat.crop((0, 0, 451, 60)).save(folder / "wide.webp")
    Image.new("RGBA", (20, 20), (255, 0, 0, 90)).save(folder / FORMULA)
    (folder / "broken.jpg").write_bytes((folder / "large.jpg").read_bytes()[:500])
    return [folder / name for name in ("cat.png", "broken.jpg", "large.jpg", "wide.webp", FORMULA)]


def packed(folder: Path, photos: list[Path], name: str = "photos.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
        for photo in photos:
            file.write(photo, f"trip/{photo.name}")
    return folder / name


def choose(page: Page, files: list[Path]) -> None:
    page.locator("input[type=file]").set_input_files(files)


def done(page: Page, count: int, **more: str) -> None:
    expected = {"done": str(count), "count": str(count), **more}
    for name, value in expected.items():
        expect(page.locator(".several")).to_have_attribute(f"data-{name}", value)


def tile(page: Page, name: str) -> Locator:
    return page.locator(f".tile[data-photo='{name}']")


def names(page: Page) -> list[str]:
    return [each.get_attribute("data-photo") or "" for each in page.locator(".tile").all()]


def table(page: Page) -> dict[str, dict[str, str]]:
    with page.expect_download() as download:
        page.locator(".save-table").click()
    with download.value.path().open(encoding="utf-8", newline="") as file:
        return {row["photo"]: row for row in csv.DictReader(file)}


def test_a_grid_of_odd_photos(visit: Callable[..., Page], photos: list[Path]) -> None:
    page = visit()
    choose(page, photos)
    done(page, 5, failures="1")
    assert names(page) == [photo.name for photo in photos]
    failed = tile(page, "broken.jpg")
    expect(failed).to_have_attribute("data-state", "failed")
    assert failed.locator(".tile-text").text_content()
    for photo in photos:
        if photo.name == "broken.jpg":
            continue
        first = gradcam_core.explain(photo)
        button = tile(page, photo.name).locator(".open")
        assert button.get_attribute("data-target") == first.target
        assert (button.get_attribute("data-guess") is not None) == first.unsure
        sides = button.locator("canvas").evaluate("canvas => [canvas.width, canvas.height]")
        assert max(sides) <= 320  # thumbnails, not photos
    assert page.locator(".mean").get_attribute("data-count") == "4"

    # Sorted and filtered.
    page.locator(".several-sort").select_option("unlikely")
    rows = table(page)
    likely = [float(row["probability"]) for row in rows.values() if row["probability"]]
    assert likely == sorted(likely)
    assert set(rows) == {"'" + FORMULA if each.name == FORMULA else each.name for each in photos}
    assert rows["broken.jpg"]["error"]
    assert rows["cat.png"]["first_choice"] == rows["cat.png"]["target"] == "Egyptian cat"
    page.locator(".several-only").select_option("=Egyptian cat")
    assert sorted(names(page)) == ["cat.png", "large.jpg"]
    assert page.locator(".mean").get_attribute("data-count") == "2"


def test_one_class_in_all_and_back(
    visit: Callable[..., Page], browser: Browser, photos: list[Path], tmp_path: Path
) -> None:
    page = visit()
    choose(page, photos)
    done(page, 5, failures="1")
    tile(page, "cat.png").locator(".in-all").click()
    done(page, 5, target="Egyptian cat")
    assert {each.get_attribute("data-target") for each in page.locator(".open").all()} == {
        "Egyptian cat"
    }
    page.locator("#gc-several-target").fill("no such thing")
    page.locator("#gc-several-target").press("Enter")
    expect(page.locator(".several .problem")).to_have_attribute("data-code", "server")
    done(page, 5, target="")
    page.locator("#gc-several-target").fill("tabby")
    page.locator("#gc-several-target").press("Enter")
    done(page, 5, target="tabby")
    expected = gradcam_core.explain(photos[0], target="tabby")
    row = table(page)["cat.png"]
    assert float(row["probability"]) == pytest.approx(expected.probability, abs=1e-3)
    assert (row["target"], row["first_choice"]) == ("tabby", "Egyptian cat")

    # A photo opens in the usual view, at once; and one can come back.
    tile(page, "cat.png").locator(".open").press("Enter")
    shows(page, "tabby")
    expect(page.locator(".several")).to_be_hidden()
    expect(page.locator(".result-heading")).to_be_focused()
    page.locator("#gc-target").fill("no such thing")
    page.locator("#gc-target").press("Enter")
    expect(page.locator(".result .problem")).to_be_visible()  # here, not in the grid
    page.locator(".back-to-several").press("Enter")
    done(page, 5, target="tabby")
    expect(page.locator(".work")).to_be_hidden()
    expect(tile(page, "cat.png").locator(".open")).to_be_focused()

    # To take along.
    with page.expect_download() as download:
        page.locator(".save-several").click()
    file = tmp_path / "photos.html"
    download.value.save_as(file)
    alone = browser.new_context(offline=True)
    mine = alone.new_page()
    mine.goto(file.as_uri())
    expect(mine.locator(".lists button")).to_have_count(4)
    expect(mine.locator(".result-heading")).to_have_attribute("data-target", "tabby")
    alone.close()

    # The browser's back button comes back to the grid, too.
    tile(page, "wide.webp").locator(".open").click()
    shows(page, "tabby", "faint")
    page.go_back()
    done(page, 5, target="tabby")
    expect(page.locator(".work")).to_be_hidden()

    # An example takes the place of the grid.
    page.locator(".examples [data-name=cat]").click()
    expect(page.locator(".result-heading")).to_have_attribute("data-heading", "why")
    expect(page.locator(".several")).to_be_hidden()


def test_captions_and_answers_of_a_zip_file_on_a_phone(
    visit: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    page = visit(390)
    choose(page, [packed(tmp_path, photos)])
    done(page, 5, failures="1")
    page.get_by_role("tab", name="Captioning").click()
    done(page, 5, task="captioning")
    caption = gradcam_core.explain(photos[0], "captioning").target
    expect(tile(page, "cat.png").locator(".open")).to_have_attribute("data-target", caption)
    page.get_by_role("tab", name="VQA").click()
    done(page, 5, task="vqa")
    page.locator("#gc-several-question").fill("What color is the cat?")
    page.locator("#gc-several-question").press("Enter")
    answer = gradcam_core.explain(photos[0], "vqa", question="What color is the cat?").target
    expect(tile(page, "cat.png").locator(".open")).to_have_attribute("data-target", answer)
    done(page, 5, task="vqa")
    assert {row["question"] for row in table(page).values()} == {"What color is the cat?"}
    width = page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= 390
    for theme in ("light", "dark"):
        assert serious(page, theme) == []


def test_one_request_at_a_time_that_can_be_stopped_and_continued(
    visit: Callable[..., Page], photos: list[Path], tmp_path: Path
) -> None:
    page = visit()
    moved = tmp_path / "moved.png"
    moved.write_bytes(photos[0].read_bytes())
    held: list[Route] = []

    def explains(request: Request) -> bool:
        return "new_picture" in (request.post_data or "")

    def hold(route: Route) -> None:
        if explains(route.request):
            held.append(route)
        else:
            route.continue_()

    page.route(re.compile("queue/join"), hold)
    with page.expect_request(explains):
        choose(page, [photos[0], moved, photos[3]])
    expect(page.locator(".tile[data-state=working]")).to_have_count(1)
    expect(page.locator(".tile[data-state=waiting]")).to_have_count(2)
    page.locator(".halt").click()
    held[0].continue_()
    expect(page.locator(".tile[data-state=working]")).to_have_count(0)
    assert len(held) == 1
    page.unroute(re.compile("queue/join"))
    moved.unlink()  # a file that cannot be read stops no other
    page.locator(".halt").click()
    done(page, 3, failures="1")
    expect(tile(page, "moved.png")).to_have_attribute("data-code", "damaged")


DROP = """([names, type]) => {
    const dropped = new DataTransfer();
    const draw = (name) => new Promise((done) => {
        const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
        canvas.getContext('2d').fillRect(8, 8, 20, 20);
        canvas.toBlob((blob) => done(new File([blob], name, { type: blob.type })));
    });
    return Promise.all(names.map(draw)).then((files) => {
        for (const file of files) dropped.items.add(file);
        const data = { bubbles: true, dataTransfer: dropped, clipboardData: dropped };
        const Kind = type === 'drop' ? DragEvent : ClipboardEvent;
        document.body.dispatchEvent(new Kind(type, data));
    });
}"""


def test_photos_are_dropped_pasted_and_added(visit: Callable[..., Page]) -> None:
    page = visit()
    page.evaluate(DROP, [["a.png", "b.png"], "drop"])
    done(page, 2)
    page.evaluate(DROP, [["c.png"], "paste"])  # one more, since the grid is open
    done(page, 3)
    assert names(page) == ["a.png", "b.png", "c.png"]
    page.locator(".several .close").click()
    shows(page, "moped")
    page.evaluate(DROP, [["d.png", "e.png"], "paste"])
    done(page, 2)
    assert names(page) == ["d.png", "e.png"]


@pytest.mark.slow
def test_limits(
    visit: Callable[..., Page], photos: list[Path], tmp_path: Path, cat_file: Path
) -> None:
    page = visit()
    bomb = tmp_path / "bomb.jpg"
    bomb.write_bytes(bytes(40_000_000))
    archive = packed(tmp_path, [photos[0], bomb])
    choose(page, [archive])
    done(page, 2, failures="1")
    expect(tile(page, "bomb.jpg")).to_have_attribute("data-code", "too_large")
    # What is added to an open grid stays within the limit, too.
    small = tmp_path / "small"
    small.mkdir()
    cat = Image.open(cat_file).convert("RGB").resize((64, 64))
    many = [small / f"{i}.jpg" for i in range(MOST)]
    for each in many:
        cat.save(each)
    choose(page, many)
    done(page, MOST)
    expect(page.locator(".left-out")).to_have_attribute("data-code", "too_many")
    for name, code in (("none.zip", "zip_empty"), ("torn.zip", "zip_unreadable")):
        file = packed(tmp_path, [], name)
        if code == "zip_unreadable":
            file.write_bytes(b"no ZIP file")
        page.locator(".several .close").click()
        choose(page, [file])
        expect(page.locator(".left-out")).to_have_attribute("data-code", code)


def test_opening_the_page_fetches_none_of_it(visit: Callable[..., Page]) -> None:
    page = visit()
    links = page.locator("link[rel=modulepreload]").evaluate_all("all => all.map(({href}) => href)")
    own = address_of("demo/browser/several/")
    assert links and not any(own in link for link in links)
