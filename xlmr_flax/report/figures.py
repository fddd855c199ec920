"""The figures: matplotlib's SVG in the page's own colour, and PNG and SVG files beside it."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xlmr_flax.report.bootstrap import estimate
from xlmr_flax.report.cells import slug
from xlmr_flax.report.compare import Compared
from xlmr_flax.report.evidence import Evidence, Line, column_name
from xlmr_flax.report.page import Picture

INK = "#1b1f24"  # becomes the page's own text colour there
# Okabe and Ito's colours, which also those tell apart who see few of them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8c6d31", "#7f7f7f")
MARKERS = "osD^vPX*"
STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "xlmr_flax", "font.family": "sans-serif", "font.size": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "legend.frameon": False, "axes.spines.top": False, "axes.spines.right": False, "figure.dpi": 100,
    "savefig.dpi": 200,
}  # fmt: skip


@contextmanager
def drawing(wide: float, high: float) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, in inches, in our style and without a display."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(wide, high), layout="constrained")
        figure.patch.set_facecolor("none")
        axes = figure.subplots()
        axes.patch.set_facecolor("none")
        yield figure, axes


def picture(name: str, caption: str, alternative: str, figure: Any) -> Picture:
    """A finished figure in all its forms; it is the same on every machine and day."""
    svg, png = io.StringIO(), io.BytesIO()
    figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    figure.set_layout_engine("none")  # where everything stands is known now, and is most of the work
    figure.savefig(png, format="png", metadata={"Software": None}, facecolor="white")
    head, sign, rest = svg.getvalue().partition("<defs>")
    plain = f'{head}<rect width="100%" height="100%" fill="#ffffff"/>{sign}{rest}'
    files = {"svg": plain.encode(), "png": png.getvalue()}
    return Picture(name, caption, alternative, _inline(svg.getvalue(), name), files)


def heat_map(evidence: Evidence, compared: Sequence[Compared], over: str) -> Picture | None:
    """Arms by targets, coloured by the difference."""
    arms = list(dict.fromkeys(one.arm for one in compared))
    columns = [column for column in evidence.columns if any(one.column == column for one in compared)]
    if len(arms) * len(columns) < 4:
        return None
    found = {(one.arm, one.column): one for one in compared}
    names = [column_name(column, evidence.columns) for column in columns]
    with drawing(1.8 + 0.85 * len(columns), 1.4 + 0.36 * len(arms)) as (figure, axes):
        values = [
            [100 * found[arm, c].found.value if (arm, c) in found else float("nan") for c in columns] for arm in arms
        ]
        most = max(2.0, *(abs(value) for row in values for value in row if value == value))
        axes.imshow(values, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(arms)), arms)
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value == value:
                    strong = abs(value) > 0.6 * most
                    text = f"{value:+.1f}".replace("-", "−")
                    axes.text(x, y, text, ha="center", va="center", color="white" if strong else "black", fontsize=9)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        best = max((one for one in compared if one.column), key=lambda one: one.found.value)
        worst = min((one for one in compared if one.column), key=lambda one: one.found.value)
        told = " and ".join(
            f"{one.arm} on {column_name(one.column, evidence.columns)} ({100 * one.found.value:+.1f})"
            for one in (best, worst)
        ).replace("-", "−")
        caption = f"Differences from the baseline in points, {over}. Blue is ahead of it, red behind."
        alternative = f"Heat map of {len(arms)} arms by {len(columns)} targets. The highest and the lowest: {told}."
        return picture("heat_map", caption, alternative, figure)


def forest(evidence: Evidence, compared: Sequence[Compared], over: str) -> Picture | None:
    """Every difference with its interval."""
    shown = [one for one in compared if one.found.low is not None]
    if not shown:
        return None
    names = [
        f"{one.arm}: {'average' if one.column is None else column_name(one.column, evidence.columns)}" for one in shown
    ]
    with drawing(7, 1.0 + 0.26 * len(shown)) as (figure, axes):
        for y, one in enumerate(shown):
            colour = COLOURS[0] if one.excludes_zero else COLOURS[7]
            axes.plot([100 * one.found.low, 100 * one.found.high], [y, y], color=colour, linewidth=2)
            axes.plot(
                100 * one.found.value,
                y,
                "o",
                color=colour,
                markersize=5,
                fillstyle="full" if one.excludes_zero else "none",
            )
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlabel(f"difference from the baseline in points,\n{over}")
        real = [name for name, one in zip(names, shown, strict=True) if one.excludes_zero]
        tested = any(one.found.tested for one in shown)
        caption = "Differences with 95 % intervals. " + (
            "Filled and blue: zero is excluded after correction for the number of comparisons."
            if tested else "Too few seeds for a test: none is called real."
        )  # fmt: skip
        told = f"told from zero: {', '.join(real)}" if real else "none is told from zero"
        return picture("differences", caption, f"Intervals of {len(shown)} differences; {told}.", figure)


def languages(evidence: Evidence, lines: Sequence[Line]) -> Picture | None:
    """The scores of one column by language, a mark for each arm, with their intervals."""
    langs = list(dict.fromkeys(lang for line in lines for lang in line.langs))
    if len(langs) < 2 or not lines:
        return None
    column = lines[0].column
    base = {lang: lines[0].average([lang]) for lang in lines[0].langs}
    langs.sort(key=lambda lang: (lang != "en", -base.get(lang, 0.0)))
    name = column_name(column, evidence.columns)
    with drawing(max(6.0, 1.6 + 0.42 * len(langs)), 3.6) as (figure, axes):
        for number, line in enumerate(lines[: len(COLOURS)]):
            shift = (number - (min(len(lines), len(COLOURS)) - 1) / 2) * 0.8 / max(len(lines), 4)
            mine = [lang for lang in langs if lang in line.langs]
            found = [estimate(evidence.sample(line, [lang])) for lang in mine]
            x = [langs.index(lang) + shift for lang in mine]
            for place, one in zip(x, found, strict=True):
                if one.low is not None:
                    axes.plot(
                        [place] * 2, [100 * one.low, 100 * one.high], color=COLOURS[number], linewidth=1.2, alpha=0.7
                    )
            y = [100 * one.value for one in found]
            axes.plot(x, y, MARKERS[number], color=COLOURS[number], label=line.arm, markersize=5)
        axes.set_xticks(range(len(langs)), langs)
        axes.set_ylabel(f"{name}, %")
        axes.grid(axis="y", color=INK, alpha=0.15)
        _legend(figure, axes, wide=max(6.0, 1.6 + 0.42 * len(langs)))
        left = len(lines) - len(COLOURS)
        caption = (
            f"{name} by language, English first, the others by the first arm's score; bars are 95 % intervals."
            + (f" {left} more arms are in the table." if left > 0 else "")
        )
        told = "; ".join(f"{line.arm} {100 * line.average(line.others or line.langs):.1f}" for line in lines)
        file = slug(f"languages_{column.task}_{column.asked_phase}_{column.metric}")
        return picture(file, caption, f"{name} in {len(langs)} languages. Means but English: {told}.", figure)


def curves(
    name: str, heading: str, series: Sequence[dict[str, Any]], *, x: str, y: str, alternative: str, log: bool = False
) -> Picture:
    """Lines with marks and bands: each of `series` has name, x, y and, where there are, low and high, and a fit."""
    with drawing(6.6, 3.8) as (figure, axes):
        if log:
            axes.set_xscale("symlog", linthresh=min((v for one in series for v in one["x"] if v > 0), default=1) / 2)
        for number, one in enumerate(series):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            axes.plot(one["x"], one["y"], marker if "fit" in one else f"{marker}-", color=colour, label=one["name"])
            if one.get("low"):
                for place, low, high in zip(one["x"], one["low"], one["high"], strict=True):
                    if low is not None:
                        axes.plot([place] * 2, [low, high], color=colour, alpha=0.7, linewidth=1.2)
            if "fit" in one:
                axes.plot(one["fit"]["x"], one["fit"]["y"], "-", color=colour)
                axes.fill_between(
                    one["fit"]["x"], one["fit"]["low"], one["fit"]["high"], color=colour, alpha=0.15, linewidth=0
                )
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.grid(axis="y", color=INK, alpha=0.15)
        _legend(figure, axes, wide=6.6)
        return picture(name, heading, alternative, figure)


def _legend(figure: Any, axes: Any, *, wide: float) -> None:
    """Above the axes, in as many columns as its longest name leaves room for; none where there is one thing to name."""
    handles, names = axes.get_legend_handles_labels()
    if len(names) > 1:
        longest = 0.5 + 0.08 * max(map(len, names))  # inches, with its mark
        columns = min(4, max(1, int(wide / longest)))
        figure.legend(handles, names, loc="outside upper center", ncols=columns, fontsize=9)


def _inline(svg: str, name: str) -> str:
    """Without the head of a file, with its colours the page's own, and with ids that no other figure of it has."""
    svg = svg[svg.index("<svg") :]
    svg = svg.replace(INK, "currentColor")
    names = set(re.findall(r'\bid="([^"]+)"', svg))

    def own(found: re.Match[str]) -> str:
        return found[0].replace(found["id"], f"{name}-{found['id']}") if found["id"] in names else found[0]

    svg = re.sub(r'\bid="(?P<id>[^"]+)"', own, svg)
    svg = re.sub(r"url\(#(?P<id>[^)]+)\)", own, svg)
    svg = re.sub(r'href="#(?P<id>[^"]+)"', own, svg)
    return svg.replace("<svg", '<svg aria-hidden="true" focusable="false"', 1)
