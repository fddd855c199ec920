"""The page: one file with everything in it, that opens from a disk without a network."""

from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

from xlmr_flax.report.cells import Table


class Picture(NamedTuple):
    """A figure: the name of its files, what it shows in words, for those who do not see it, and its caption."""

    name: str
    caption: str
    alternative: str
    svg: str  # for the page, in the colour of its text
    files: dict[str, bytes]  # by their suffix


class Section(NamedTuple):
    """A part of the report."""

    name: str
    heading: str
    tables: tuple[Table, ...] = ()
    figures: tuple[Picture, ...] = ()


def page(title: str, headline: Sequence[str], sections: Sequence[Section], *, version: str, folders: str) -> str:
    """The whole page as text."""
    from jinja2 import Environment, StrictUndefined

    templates = files("xlmr_flax.report") / "templates"
    texts = {name: (templates / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.from_string(texts["html"]).render(
        title=title,
        headline=headline,
        sections=sections,
        style=texts["css"],
        script=texts["js"],
        version=version,
        folders=folders,
    )
