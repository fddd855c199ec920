"""The page in headless Chromium: it loads from the disk alone, sorts, and reads on every screen and on paper."""

import pytest

from tests.report.chromium import Chromium, program
from tests.report.toy import toy
from xlmr_flax.report.write import write_report
from xlmr_flax.tasks.layouts import codes

pytestmark = pytest.mark.browser
LANGS = codes("en ar bg de el es fr hi ru sw th tr ur vi zh")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    where = toy(tmp_path_factory.mktemp("page"), langs=LANGS)
    write_report([where], where / "report", draws=100)
    return where / "report" / "index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if program() is None:
        pytest.skip("there is no chromium; apt-get install chromium")
    with Chromium(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


VIEWS = {
    "light": {"prefers_color_scheme": "light"},
    "dark": {"prefers_color_scheme": "dark"},
    "phone": {"wide": 390, "high": 844, "prefers_color_scheme": "light"},
    "print": {"media": "print", "prefers_color_scheme": "dark"},
}


@pytest.mark.parametrize("name", VIEWS)
def test_the_page_loads_without_an_error_and_without_a_request(browser, page, name, tmp_path):
    browser.open(page, **VIEWS[name])
    assert browser.said("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled") == []
    asked = {one["request"]["url"] for one in browser.said("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {page.resolve().as_uri()}
    browser.picture(tmp_path / f"{name}.png")
    print(f"\n{tmp_path / name}.png")


def test_a_click_sorts_by_value_and_the_next_turns_it(browser, page):
    browser.open(page)
    column = """[...document.querySelectorAll('#table-differences ~ .scroll tbody tr')].map(
        row => row.cells[3].dataset.value === undefined ? null : Number(row.cells[3].dataset.value))"""
    click = "document.querySelectorAll('#table-differences ~ .scroll thead button')[3].click()"
    before = browser.value(column)
    browser.value(click)
    assert browser.value(column) == sorted(before) != before
    assert browser.value("document.querySelector('[aria-sort]').ariaSort") == "ascending"
    browser.value(click)
    assert browser.value(column) == sorted(before, reverse=True)
    words = (
        "[...document.querySelectorAll('#table-differences ~ .scroll tbody tr')].map(row => row.cells[1].textContent)"
    )
    browser.value("document.querySelectorAll('#table-differences ~ .scroll thead button')[1].click()")
    assert browser.value(words) == sorted(browser.value(words), key=str.casefold)
    assert browser.value("document.querySelectorAll('#table-differences ~ .scroll [aria-sort]').length") == 1


def test_every_picture_has_words_and_every_id_is_one(browser, page):
    browser.open(page)
    assert browser.value("document.querySelectorAll('figure').length") > 2
    told = browser.value("[...document.querySelectorAll('.picture')].map(one => one.ariaLabel)")
    assert all(len(text) > 30 for text in told)
    ids = browser.value("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", ["light", "phone"])
def test_nothing_is_wider_than_the_screen(browser, page, name):
    browser.open(page, **VIEWS[name])
    assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.value("document.documentElement.scrollHeight > window.innerHeight")


CONTRAST = """(() => {
    const light = text => {
        const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => text.startsWith('color') ? v : v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ground = one => {
        for (; one; one = one.parentElement) {
            const colour = getComputedStyle(one).backgroundColor;
            if (colour !== 'rgba(0, 0, 0, 0)') return colour;
        }
    };
    return Math.min(...[...document.querySelectorAll('p, td, th, h1, h2, h3, a, figcaption')].map(one => {
        const both = [light(getComputedStyle(one).color), light(ground(one))];
        return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
    }));
})()"""


@pytest.mark.parametrize("name", ["light", "dark"])
def test_words_stand_out_from_what_is_behind_them(browser, page, name):
    """4.5 is what WCAG 2 asks of text at level AA."""
    browser.open(page, **VIEWS[name])
    assert browser.value(CONTRAST) >= 4.5


def test_light_and_dark_follow_the_reader_and_paper_is_white(browser, page):
    grounds = {}
    for name in ("light", "dark", "print"):
        browser.open(page, **VIEWS[name])
        grounds[name] = browser.value("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)", "print": "rgb(255, 255, 255)"}


def test_on_paper_no_table_scrolls_and_the_contents_are_left_out(browser, page):
    browser.open(page, **VIEWS["print"])
    assert browser.value("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
