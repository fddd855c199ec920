"""A report from run and study folders: a page, Markdown, CSV, LaTeX, figures and results.json."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from xlmr_flax import __version__
from xlmr_flax.report import figures, main_tables, more_tables, provenance, scales, sizes, sweeps
from xlmr_flax.report.bootstrap import DRAWS
from xlmr_flax.report.cells import Table
from xlmr_flax.report.compare import ALL, ENGLISH, OTHERS, Compared, compare
from xlmr_flax.report.evidence import Column, Evidence
from xlmr_flax.report.fresh import NAME
from xlmr_flax.report.headline import headline
from xlmr_flax.report.languages import GROUPINGS
from xlmr_flax.report.load import load
from xlmr_flax.report.page import Picture, Section, page
from xlmr_flax.report.provenance import Phase
from xlmr_flax.report.results_file import results_json
from xlmr_flax.report.texts import csv, latex, markdown
from xlmr_flax.storage.places import write

Families = dict[str, list[Compared]]  # by what they are over


class Written(NamedTuple):
    """What the report says first, and where it is."""

    headline: list[str]
    paths: list[Path]


def write_report(folders: Sequence[Path], out: Path, *, draws: int = DRAWS) -> Written:
    """Writes the report on these folders to `out`: the page, Markdown, results.json; CSV, LaTeX and figures in folders.

    Raises InputError for a folder that is no run, and for runs without scores.
    """
    loaded = load(folders)
    evidence, phases = Evidence(loaded, draws), provenance.phases(loaded)
    first, *others = evidence.protocols
    compared = {chosen: _compared(evidence, chosen) for chosen in evidence.protocols}
    curves = {chosen: sizes.size_curves(evidence, phases, chosen) for chosen in evidence.protocols}
    said = headline(evidence, _widest(compared[first]), first)
    said += [headline(evidence, found, chosen)[0] for chosen in others if (found := _widest(compared[chosen]))]
    by_model = scales.scales(evidence)
    said += scales.scale_headline(by_model, evidence)
    said += [*sizes.size_headline(evidence, curves[first]), *sweeps.robustness_headline(evidence, first)]
    every = _sections(evidence, compared, phases, curves, by_model)
    sections = [section for section in every if section.tables or section.figures]
    title = f"{loaded.name}: report"
    paths = [out / "index.html", out / "report.md", out / NAME]
    told = ", ".join(str(run.folder) for run in loaded.runs)
    for section in sections:
        for table in section.tables:
            write(out / "csv" / f"{table.name}.csv", csv(table))
            write(out / "latex" / f"{table.name}.tex", latex(table))
        for figure in section.figures:
            for suffix, content in figure.files.items():
                write(out / "figures" / f"{figure.name}.{suffix}", content)
    write(paths[0], page(title, said, sections, version=__version__, folders=told))
    write(paths[1], markdown(title, said, [(section.heading, section.tables) for section in sections]))
    found = results_json(  # last: it says that the report is whole
        loaded,
        headline=said,
        compared={chosen: [one for each in found.values() for one in each] for chosen, found in compared.items()},
        tables=[table for section in sections for table in section.tables],
        draws=draws,
        provenance=provenance.as_json(loaded, phases),
        sizes=[one for chosen in evidence.protocols for one in sizes.as_json(curves[chosen], chosen)],
    )
    write(paths[2], found)
    return Written(said, paths)


def _compared(evidence: Evidence, chosen: str | None) -> Families:
    """The comparisons over each set of languages; each set is one family."""
    found = {over: compare(evidence, (over,), chosen=chosen) for over in _over(evidence)}
    return {over: family for over, family in found.items() if family}


def _widest(families: Families) -> list[Compared]:
    """The comparisons over languages other than English; over all, or English, where there are no others."""
    return next((families[over] for over in (OTHERS, ALL, ENGLISH) if over in families), [])


def _over(evidence: Evidence) -> tuple[str, ...]:
    """The sets of languages that tables are over: where English or nothing else was scored, they are one."""
    langs = {lang for line in evidence.lines for lang in line.langs}
    if "en" not in langs:
        return (OTHERS,)
    return (ALL, OTHERS, ENGLISH) if len(langs) > 1 else (ENGLISH,)


def _sections(
    evidence: Evidence,
    compared: dict[str | None, Families],
    phases: Sequence[Phase],
    curves: dict[str | None, Sequence[sizes.Curve]],
    by_model: Sequence[scales.Scale],
) -> Iterable[Section]:
    chosen, loaded = evidence.protocols, evidence.loaded
    groupings = GROUPINGS if provenance.is_xlmr(phases) else GROUPINGS[:2]  # the others are of XLM-R's text
    langs = sorted({lang for line in evidence.lines for lang in line.langs})
    parts = {
        "The answer": [one for each in chosen for one in _answer(evidence, compared[each], each)],
        "Differences": [
            main_tables.differences(evidence, [one for found in compared[each].values() for one in found], each)
            for each in chosen
        ],
        "Models": scales.scale_tables(by_model, evidence),
        "Sizes": [
            one
            for each in chosen
            for one in (sizes.size_table(evidence, curves[each], each), sizes.fit_table(evidence, curves[each], each))
        ],
        "Perturbed texts": [
            one
            for each in chosen
            for one in (sweeps.robustness_table(evidence, each), *sweeps.robustness_languages(evidence, each))
        ],
        "English and the other languages": [main_tables.transfer(evidence, one) for one in chosen],
        "XTREME and XTREME-R": [
            more_tables.benchmark(evidence, version, one) for version in more_tables.VERSIONS for one in chosen
        ],
        "Retrieval by layer and pooling": [sweeps.layer_table(evidence, one) for one in chosen],
        "Seeds": [main_tables.seeds(evidence, one) for one in chosen],
        "Groups of languages": [
            more_tables.by_group(evidence, grouping, one) for grouping in groupings for one in chosen
        ],
        "Language by language": [_by_language(evidence, column, one) for one in chosen for column in evidence.columns],
        "Other metrics, language by language": [
            main_tables.by_language(evidence, column, [], one) for one in chosen for column in evidence.other_columns
        ],
        "Where it comes from": [
            provenance.phase_table(phases),
            provenance.data_table(phases),
            provenance.left_out_table(loaded),
            provenance.version_table(phases),
            provenance.language_table(langs),
        ],
    }
    pictures = _pictures(evidence, compared[chosen[0]], curves[chosen[0]])
    for heading, tables in parts.items():
        name = heading.lower().replace(" ", "-")
        found = tuple(one for one in tables if one is not None)
        yield Section(name, heading, found, tuple(one for one in pictures.get(heading, ()) if one is not None))


def _pictures(evidence: Evidence, compared: Families, curves: Sequence[sizes.Curve]) -> dict[str, list[Picture | None]]:
    """By the heading that they stand under; of several protocols of selection those of the first."""
    over, chosen = next((one for one in (OTHERS, ALL, ENGLISH) if one in compared), ALL), evidence.protocols[0]
    lines = {
        column: [line for arm in evidence.loaded.arms if (line := evidence.line(arm, column, chosen))]
        for column in evidence.columns
    }
    return {
        "The answer": [figures.heat_map(evidence, compared.get(over, []), over)],
        "Differences": [figures.forest(evidence, compared.get(over, []), over)],
        "Sizes": sizes.size_pictures(evidence, curves),
        "Perturbed texts": sweeps.robustness_pictures(evidence, chosen),
        "Retrieval by layer and pooling": sweeps.layer_pictures(evidence, chosen),
        "Language by language": [figures.languages(evidence, mine) for mine in lines.values()],
    }


def _answer(evidence: Evidence, compared: Families, chosen: str | None) -> Iterable[Table | None]:
    for over in _over(evidence)[:2]:
        yield main_tables.arms_by_targets(evidence, compared.get(over, []), over, chosen)
    yield main_tables.medians(evidence, chosen)


def _by_language(evidence: Evidence, column: Column, chosen: str | None) -> Table | None:
    bases = (evidence.line(arm, column, chosen) for arm in dict.fromkeys(evidence.loaded.baselines.values()))
    langs = list(dict.fromkeys(lang for line in bases if line for lang in line.langs))
    found = compare(evidence, langs, chosen=chosen, columns=[column])
    return main_tables.by_language(evidence, column, found, chosen)
