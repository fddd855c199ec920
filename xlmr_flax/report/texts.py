"""A report's tables as Markdown, CSV and LaTeX."""

from collections.abc import Sequence

from xlmr_flax.report.cells import Table

# What LaTeX has no letter for in its plain fonts.
_LATEX = {"−": "$-$", "±": r"$\pm$", "≥": r"$\geq$", "°": r"$^{\circ}$", "–": "--", "×": r"$\times$", "→": r"$\to$"}


def markdown(title: str, headline: Sequence[str], sections: Sequence[tuple[str, Sequence[Table]]]) -> str:
    """The whole report: what it says first, and then every table with its notes."""
    lines = [f"# {title}", "", *(line for one in headline for line in (one, ""))]
    for heading, tables in sections:
        lines += [f"## {heading}", ""]
        for table in tables:
            lines += [f"### {table.title}", "", *_grid(table), ""]
            lines += [line for note in table.notes for line in (note, "")]
    return "\n".join(lines).rstrip() + "\n"


def csv(table: Table) -> str:
    """One table by its values: scores in percent and differences in points, in all their digits."""
    return _frame(table, [[cell.text if cell.value is None else cell.value for cell in row] for row in table.rows])


def latex(table: Table) -> str:
    """One table for booktabs, with its notes as the caption and the differences coloured (colortbl)."""
    import pandas as pd

    shown = [[_escaped(cell.text) for cell in row] for row in table.rows]
    frame = pd.DataFrame(shown, columns=_headers(table))
    colours = pd.DataFrame([[_colour(cell.shade) for cell in row] for row in table.rows], columns=frame.columns)
    style = frame.style.hide(axis="index").apply(lambda _: colours, axis=None)
    layout = "l" * table.head + "r" * (len(table.columns) - table.head)
    caption = " ".join(_escaped(text) for text in (f"{table.title}.", *table.notes))
    return (
        r"% needs \usepackage{booktabs} and \usepackage[table]{xcolor}" + "\n"
        r"\definecolor{ahead}{HTML}{2166AC}\definecolor{behind}{HTML}{B2182B}" + "\n"
        + style.to_latex(hrules=True, column_format=layout, caption=caption, label=f"tab:{table.name}", position="t")
    )  # fmt: skip


def _frame(table: Table, values: Sequence[Sequence[object]]) -> str:
    import pandas as pd

    return pd.DataFrame(values, columns=list(table.columns)).to_csv(index=False)


def _headers(table: Table) -> list[str]:
    """Escaped, and no two alike, which a frame does not take."""
    found: list[str] = []
    for column in map(_escaped, table.columns):
        found.append(column if column not in found else f"{column} ")
    return found


def _grid(table: Table) -> list[str]:
    """Numbers to the right."""
    rule = ["---" if place < table.head else "---:" for place in range(len(table.columns))]
    rows = [[cell.text for cell in row] for row in table.rows]
    return [f"| {' | '.join(_cell(text) for text in row)} |" for row in ([*table.columns], rule, *rows)]


def _cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """Text that LaTeX shows as it is."""
    for sign in ("\\", "&", "%", "$", "#", "_", "{", "}", "~", "^"):
        if sign == "\\":
            text = text.replace(sign, "\0")
        elif sign in "~^":
            text = text.replace(sign, rf"\text{'asciitilde' if sign == '~' else 'asciicircum'}{{}}")
        else:
            text = text.replace(sign, f"\\{sign}")
    text = text.replace("\0", r"\textbackslash{}").replace("<", r"\textless{}").replace(">", r"\textgreater{}")
    for sign, command in _LATEX.items():
        text = text.replace(sign, command)
    return text


def _colour(shade: float | None) -> str:
    if not shade:
        return ""
    return f"cellcolor:{{{'ahead' if shade > 0 else 'behind'}!{max(5, round(60 * abs(shade)))}}}"
