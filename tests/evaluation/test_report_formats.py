"""One report in four formats: all say the same, and none breaks on what names may hold."""

from __future__ import annotations

import csv
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from alm_prompt.evaluation.report import WRITERS, Report, build_report

Rows = list[dict[str, Any]]
# Every sign that means something to one of the formats.
HOSTILE = 'a|b_{50%} & "c" <script>alert(1)</script> $x^2~#\\'


@pytest.fixture(scope="module")
def report(base_to_novel_rows: Rows) -> Report:
    return build_report(base_to_novel_rows, "ESC-50 & more")


@pytest.fixture(scope="module")
def hostile(base_to_novel_rows: Rows) -> Report:
    rows = [row | {"method": HOSTILE} if row["method"] == "coop" else row for row in base_to_novel_rows]
    failed = {key: rows[0][key] for key in ("protocol", "dataset", "shots", "seed", "fold")}
    return build_report([*rows, failed | {"method": HOSTILE, "error": HOSTILE}], HOSTILE)


class Page(HTMLParser):
    """Collects what a browser would show, and what it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.lines: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.lines[-1][-1] += data


def test_html_is_one_file_of_balanced_tags_with_every_cell(report: Report) -> None:
    text = WRITERS["html"](report)
    page = Page(text)
    assert page.open == []
    assert page.fetched == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "http" not in text and "@import" not in text and "url(" not in text
    assert 'name="viewport"' in text
    for table in report.sections[0].tables:
        for row in table.rows:
            assert [cell.text for cell in row[1 if table.long else 0 :]] in page.lines
    assert "mean of H" in [line[0] for line in page.lines]


def test_html_marks_losses_without_colour(report: Report) -> None:
    text = WRITERS["html"](report)
    assert '<td class="worse">▼ \N{MINUS SIGN}10.0 worse</td>' in text
    assert '<td class="better">▲ +15.0 better</td>' in text
    assert not re.search(r"#[0-9a-f]{6}|rgb|(?<!-)\b(red|green)\b", text)


def test_hostile_names_are_shown_as_they_are(hostile: Report) -> None:
    page = Page(WRITERS["html"](hostile))
    assert "script" not in page.tags
    assert sum(HOSTILE in cell for line in page.lines for cell in line) > 2
    assert page.open == []


def test_markdown_keeps_its_columns(hostile: Report) -> None:
    text = WRITERS["md"](hostile)
    grids = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(grids) == 3
    for grid in grids:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in grid.splitlines()}) == 1
    assert not re.search(r"(?<!\\)<script>", text)


def test_csv_holds_numbers_and_settings(report: Report, hostile: Report) -> None:
    lines = list(csv.DictReader(io.StringIO(WRITERS["csv"](report))))
    [novel] = [line for line in lines if (line["figure"], line["method"]) == ("novel", "coop")]
    assert float(novel["mean"]) == pytest.approx(0.5)
    assert float(novel["difference"]) == pytest.approx(-0.1)
    assert novel["outcome"] == "worse"
    assert float(novel["low"]) <= 0.5 <= float(novel["high"])
    assert (novel["track"], novel["data"], novel["shot_rule"]) == ("sept", "ESC50", "hashed")
    read = list(csv.DictReader(io.StringIO(WRITERS["csv"](hostile))))
    assert HOSTILE in {line["method"] for line in read}
    assert read[-1]["error"] == HOSTILE


def test_latex_is_balanced_booktabs(hostile: Report) -> None:
    text = WRITERS["tex"](hostile)
    begun, ended = (re.findall(rf"\\{word}{{(\w+)}}", text) for word in ("begin", "end"))
    assert sorted(begun) == sorted(ended)
    for rule in ("toprule", "midrule", "bottomrule"):
        assert f"\\{rule}" in text
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    # Outside of what the writer puts there, no sign is left that LaTeX would obey.
    assert "a\\textbar{}b\\_\\{50\\%\\} \\& " in text
    assert "\\textless{}script\\textgreater{}" in text
    assert "\\$x\\textasciicircum{}2\\textasciitilde{}\\#\\textbackslash{}" in text
    for table, block in zip(
        hostile.sections[0].tables, re.findall(r"\\begin{(?:long)?tab.*?\\end", text, re.S), strict=False
    ):
        for line in (line for line in block.splitlines() if line.endswith(r" \\") and "caption" not in line):
            assert len(re.findall(r"(?<!\\)&", line)) == len(table.columns) - (2 if table.long else 1)


def test_latex_tables_over_pages_fold_what_is_wide(report: Report, base_to_novel_rows: Rows) -> None:
    text = WRITERS["tex"](report)
    assert r"& \shortstack[r]{against\\zero-shot} &" in text
    assert r"\shortstack[r]{published\\difference} \\" in text
    assert r"\begin{longtable}{lrrrrrrr}" in text
    long = [row | {"method": f"[a] long name of {row['method']}"} for row in base_to_novel_rows]
    text = WRITERS["tex"](build_report(long, "page", reference="[a] long name of zero-shot"))
    assert r"\begin{longtable}{>{\raggedright\arraybackslash}p{.2\linewidth}r" in text
    # After the end of a line, a bracket would be read as the space to leave below it.
    assert "\n[" not in text
    assert "{[}a] long name" in text


def test_every_format_has_every_difference(report: Report) -> None:
    told = [row[3].text for row in report.sections[0].tables[1].rows]
    assert len({text for text in told if "better" in text or "worse" in text}) > 4
    for text in told:
        assert text in WRITERS["md"](report)
        assert text in WRITERS["html"](report)
