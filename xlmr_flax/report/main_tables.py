"""The tables that answer the question: arms × targets, what the differences are worth, seeds, and languages."""

from collections.abc import Mapping, Sequence
from statistics import median, stdev

from xlmr_flax.report.bootstrap import SEEDS_AND_EXAMPLES
from xlmr_flax.report.cells import Cell, Table, interval, number, percent, points, slug, table, words
from xlmr_flax.report.chance import is_sick
from xlmr_flax.report.compare import ALL, ENGLISH, OTHERS, Compared, chosen_langs
from xlmr_flax.report.evidence import Column, Evidence, Line, column_name
from xlmr_flax.report.notes import (
    SICK_MARK,
    UNSURE,
    Found,
    drawn_note,
    name_under,
    seeds_note,
    selection_note,
    sick_note,
    test_note,
)

_SHORT = {ALL: "all", OTHERS: "not English"}
_DRAWN = {SEEDS_AND_EXAMPLES: "seeds × examples"}


def arms_by_targets(evidence: Evidence, compared: Found, over: str, chosen: str | None) -> Table | None:
    """The baseline's scores, every arm's differences from it, and the best of each column, as the paper has them."""
    columns, loaded = evidence.columns, evidence.loaded
    by_arm, rows = _by_arm(compared, over), []
    averaged = ["average"] if any(None in found for found in by_arm.values()) else []
    for arm in loaded.arms:
        own, found = _own(evidence, arm, over, chosen), by_arm.get(arm, {})
        if arm not in loaded.baselines:
            mine = {name: one for name, one in by_arm.items() if loaded.baselines[name] == arm}
            rows.append([words(arm), *own, *_average_cell(mine, averaged)])
        else:
            cells = [
                _difference(found[column]) if column in found else _alone(cell)
                for column, cell in zip(columns, own, strict=True)
            ]
            rows.append([words(arm), *cells, *([_difference(found.get(None))] if averaged else [])])
    picked = len(by_arm) > 1 and loaded.baseline is not None
    if picked:
        rows.append(_best(by_arm, columns, averaged))
    names = [column_name(column, columns) for column in columns]
    notes = [
        f"Mean over {over}, and over seeds; scores in %"
        + (f", with a sign differences from {loaded.against} in points." if by_arm else "."),
        selection_note(evidence, chosen),
        test_note(compared, over),
        "An average is over the tasks that an arm shares with the baseline." if averaged else "",
        "In brackets the score of an arm where the baseline has none."
        if any(cell.text.startswith("(") for row in rows for cell in row[1:])
        else "",
        "Best per target is picked on the very scores that it shows, and so is optimistic." if picked else "",
        sick_note(evidence, chosen),
    ]
    title = f"{'Arm × target' if by_arm else 'Scores'}, {over}" + (f" ({chosen})" if chosen else "")
    name = name_under(f"targets_{slug(over)}", chosen)
    return table(name, title, ("arm", *names, *averaged), rows, notes)


def medians(evidence: Evidence, chosen: str | None) -> Table | None:
    """The same by medians over seeds, which is how the paper reports its three; only where there are three."""
    lines = {
        (arm, column): evidence.line(arm, column, chosen) for arm in evidence.loaded.arms for column in evidence.columns
    }
    if not evidence.loaded.baselines or max((len(one.seeds) for one in lines.values() if one), default=0) < 3:
        return None
    rows = []
    for arm in evidence.loaded.arms:
        cells = [words(arm)]
        for column in evidence.columns:
            own_base = evidence.loaded.baselines.get(arm)
            mine, base = lines[arm, column], lines.get((own_base, column))
            value = _median(mine) if mine else None
            if own_base is None or value is None:
                cells.append(percent(value, SICK_MARK if mine and mine.degenerate else ""))
            else:
                ahead = None if base is None else value - _median(base)
                sick = mine.degenerate or (base and base.degenerate)
                cells.append(points(ahead, SICK_MARK if sick else ""))
        rows.append(cells)
    names = [column_name(column, evidence.columns) for column in evidence.columns]
    notes = ["Medians over seeds of the mean over all languages; differences of medians, which no test here is of.",
             selection_note(evidence, chosen), sick_note(evidence, chosen)]  # fmt: skip
    return table(name_under("medians", chosen), "Medians over seeds", ("arm", *names), rows, notes)


def transfer(evidence: Evidence, chosen: str | None) -> Table | None:
    """English, the others, the gap between them and the worst language, of each arm and column."""
    rows = []
    for column in evidence.columns:
        for arm in evidence.loaded.arms:
            line = evidence.line(arm, column, chosen)
            if line is None:
                continue
            mean = {lang: float(line.scores(lang).mean()) for lang in line.langs}
            others = [mean[lang] for lang in line.others]
            english = mean.get("en")
            average = sum(others) / len(others) if others else None
            gap = None if english is None or average is None else english - average
            worst = min(line.others, key=mean.__getitem__, default=None)
            mark = SICK_MARK if line.degenerate else ""
            rows.append([
                words(column_name(column, evidence.columns)), words(arm),
                percent(english, mark), percent(average, mark),
                Cell("", None) if gap is None else Cell(f"{100 * gap:.1f}".replace("-", "−"), 100 * gap),
                percent(mean[worst]) if worst else Cell(""), words(worst or ""),
                percent(stdev(others)) if len(others) > 1 else Cell("–"), number(len(line.langs)),
            ])  # fmt: skip
    heads = ("target", "arm", "English", "others", "gap", "worst", "worst language",
             "spread", "languages")  # fmt: skip
    notes = ["In %, means over seeds; the gap is English less the mean of the others, the spread their standard "
             "deviation.",
             selection_note(evidence, chosen), sick_note(evidence, chosen)]  # fmt: skip
    name = name_under("transfer", chosen)
    return table(name, "English and transfer", heads, rows, notes, head=2)


def differences(evidence: Evidence, compared: Found, chosen: str | None = None) -> Table | None:
    """Every comparison with its interval and its p."""
    rows = []
    for one in compared:
        name = "average" if one.column is None else column_name(one.column, evidence.columns)
        found, mark = one.found, SICK_MARK if one.degenerate else ""
        verdict = {None: "not tested", True: "yes", False: f"no {UNSURE}"}
        rows.append([
            words(one.arm), words(name), words(_SHORT.get(one.over, one.over)),
            points(found.value, mark + _unsure(one)),
            Cell(interval(found.low, found.high), None if found.low is None else 100 * found.low),
            _p(found.p), _p(one.p), words(verdict[one.excludes_zero]), number(found.seeds),
            words(_DRAWN.get(found.drawn, found.drawn)),
        ])  # fmt: skip
    heads = ("arm", "target", "over", "difference", "95 % interval", "p", "p, corrected", "zero excluded",
             "seeds", "drawn")  # fmt: skip
    notes = [
        f"Differences from {evidence.loaded.against} in points. One bootstrap draws seeds and, within them, examples "
        f"({evidence.n_draws:,} draws; runs with the same seed and texts in the same language are paired). The "
        "interval is of that difference alone; verdicts follow p after Holm's correction over all comparisons of this "
        "table that are over the same languages.",
        selection_note(evidence, chosen),
        seeds_note(compared),
        drawn_note(compared),
        sick_note(evidence, chosen),
    ]
    name = name_under("differences", chosen)
    return table(name, f"Differences from {evidence.loaded.against}", heads, rows, notes, head=3)


def seeds(evidence: Evidence, chosen: str | None) -> Table | None:
    """What the runs of each arm and column spread, and which of them learnt nothing."""
    rows = []
    for column in evidence.columns:
        for arm in evidence.loaded.arms:
            line = evidence.line(arm, column, chosen)
            if line is None:
                continue
            values = [line.mean(line.langs, seed) for seed in line.runs]
            healthy = [line.mean(line.langs, seed) for seed in line.runs if seed not in line.degenerate]
            sick = ", ".join(str(seed) for seed in line.degenerate if seed in line.runs)
            rows.append([
                words(column_name(column, evidence.columns)), words(arm), number(len(values)),
                percent(sum(values) / len(values), SICK_MARK if line.degenerate else ""), percent(median(values)),
                percent(stdev(values)) if len(values) > 1 else Cell("–"), percent(min(values)), percent(max(values)),
                words(sick or "none"),
                percent(sum(healthy) / len(healthy)) if healthy else Cell("–"),
            ])  # fmt: skip
    heads = ("target", "arm", "seeds", "mean", "median", "standard deviation", "lowest", "highest",
             "degenerate (seeds)", "mean without them")  # fmt: skip
    notes = ["In %, of the mean over all languages. A degenerate run learnt nothing: its loss never fell, or English "
             "(else every language) stayed at chance or got one answer. No mean leaves it out, and each says so. What "
             "no seed changes is one run.",
             selection_note(evidence, chosen)]  # fmt: skip
    return table(name_under("seeds", chosen), "Seeds", heads, rows, notes, head=2)


def by_language(evidence: Evidence, column: Column, compared: Found, chosen: str | None) -> Table | None:
    """One column, language by language: the baseline's scores and the arms' differences, or every arm's scores."""
    lines = [(arm, evidence.line(arm, column, chosen)) for arm in evidence.loaded.arms]
    lines = [(arm, line) for arm, line in lines if line is not None]
    if not lines:
        return None
    langs = sorted(dict.fromkeys(lang for _, line in lines for lang in line.langs), key=lambda lang: lang != "en")
    told = {(one.arm, one.over): one for one in compared if one.column == column}
    rows = []
    for arm, line in lines:
        cells = [words(arm)]
        for lang in langs:
            one = told.get((arm, lang))
            if one is not None:
                cells.append(_difference(one, sick=_sick_there(line, lang)))
            elif lang in line.langs:
                cells.append(percent(float(line.scores(lang).mean()), SICK_MARK if _sick_there(line, lang) else ""))
            else:
                cells.append(Cell(""))
        rows.append(cells)
    counts = {lang: line.rows[line.seeds[0]][lang]["n_scored"] for _, line in lines for lang in line.langs}
    rows.append([words("examples"), *(number(counts[lang]) for lang in langs)])
    name, against = column_name(column, evidence.columns), evidence.loaded.against
    notes = [
        "In %, means over seeds" + (f"; with a sign differences from {against} in points." if told else "."),
        column.setting and f"Setting: {column.setting}.",
        selection_note(evidence, chosen, [line for _, line in lines]),
        test_note(compared, "each language"),
        f"{SICK_MARK} at chance level, or one answer to everything, in some run." if any(
            _sick_there(line, lang) for _, line in lines for lang in line.langs) else "",
    ]  # fmt: skip
    files = name_under(slug(f"languages_{column.task}_{column.asked_phase}_{column.metric}"), chosen)
    return table(files, f"{name} by language", ("arm", *langs), rows, notes, wide=True)


def _own(evidence: Evidence, arm: str, over: str, chosen: str | None) -> list[Cell]:
    cells = []
    for column in evidence.columns:
        line = evidence.line(arm, column, chosen)
        langs = chosen_langs(line, over) if line else []
        value = line.average(langs) if line and langs else None
        cells.append(percent(value, SICK_MARK if line and line.degenerate else ""))
    return cells


def _p(value: float | None) -> Cell:
    if value is None:
        return Cell("")
    return Cell("< 0.0001" if value < 0.0001 else f"{value:.4f}", value)


def _alone(cell: Cell) -> Cell:
    """A score that stands among differences."""
    return cell._replace(text=f"({cell.text})") if cell.text else cell


def _average_cell(by_arm: Mapping, averaged: Sequence[str]) -> list[Cell]:
    if not averaged:
        return []
    found = [arm[None] for arm in by_arm.values() if None in arm]
    if not found:
        return [Cell("")]
    whole = max(found, key=lambda one: len(one.langs))
    return [percent(whole.baseline, told=whole.note)]


def _difference(one: Compared | None, *, sick: bool | None = None) -> Cell:
    if one is None:
        return Cell("")
    starred = one.degenerate if sick is None else sick
    mark = (SICK_MARK if starred else "") + _unsure(one)
    told = f"95 % {interval(one.found.low, one.found.high)}, {one.found.seeds} seeds" if one.found.p is not None else ""
    return points(one.found.value, mark, told)


def _unsure(one: Compared) -> str:
    return UNSURE if one.excludes_zero is False else ""


def _best(by_arm: Mapping, columns: Sequence[Column], averaged: Sequence[str]) -> list[Cell]:
    cells = [words("best per target")]
    for column in (*columns, *([None] if averaged else [])):
        found = [one[column] for one in by_arm.values() if column in one]
        best = max(found, key=lambda one: one.found.value, default=None)
        if best is None:
            cells.append(Cell(""))
        elif best.found.value > 0:
            cell = points(best.found.value)
            cells.append(cell._replace(text=f"{cell.text} ({best.arm})"))
        else:
            cells.append(Cell("0.0 (baseline)", 0.0))
    return cells


def _by_arm(compared: Found, over: str) -> dict[str, dict[Column | None, Compared]]:
    found: dict[str, dict[Column | None, Compared]] = {}
    for one in compared:
        if one.over == over:
            found.setdefault(one.arm, {})[one.column] = one
    return found


def _median(line: Line) -> float:
    return median(line.mean(line.langs, seed) for seed in line.seeds)


def _sick_there(line: Line, lang: str) -> bool:
    return any(is_sick(line.rows[seed][lang]["flags"]) for seed in line.seeds)


OVER = (ALL, OTHERS, ENGLISH)
