"""`alm-prompt report`: the tables of one or several results folders, with published figures beside ours."""

# No postponed annotations here: `HfArgumentParser` reads the types of the options.
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AlmPromptError
from ..files import write_whole
from .parser import CommandParser

DESCRIPTION = (
    "Make a report of results folders: mean and deviation, intervals, differences to a reference method with their "
    "test, published figures of the same track, and what failed."
)
FORMATS = ("md", "tex", "csv", "html")


@dataclass
class ReportOptions:
    """What the report looks like and where it goes."""

    format: str | None = field(
        default=None, metadata={"help": "md, tex, csv or html; that of the name of --output if unset, else md"}
    )
    output: str | None = field(default=None, metadata={"help": "file to write; printed if unset"})
    overwrite: bool = field(default=False, metadata={"help": "replace the file in --output"})
    reference: str | None = field(
        default=None,
        metadata={
            "help": "method that all others are compared with; if unset zero-shot, or the first where there is none"
        },
    )
    title: str = field(default="Benchmark results", metadata={"help": "heading of the page"})

    def __post_init__(self) -> None:
        if self.format is None:
            suffix = "" if self.output is None else Path(self.output).suffix.lower().removeprefix(".")
            if suffix not in ("", *FORMATS):
                raise AlmPromptError(f"--output {self.output}: name a {', '.join(FORMATS)} file, or add --format")
            self.format = suffix or "md"
        if self.format not in FORMATS:
            raise AlmPromptError(f"--format {self.format!r}: choose one of {', '.join(FORMATS)}")


def run(argv: list[str]) -> None:
    """Read the results, write or print the report.

    Raises:
        AlmPromptError: a folder without readable rows, an unknown reference method, two tracks in one difference, or
            a file that is there already.
    """
    parser = CommandParser("report", DESCRIPTION, [ReportOptions])
    parser.add_argument("results", nargs="+", help="folders that a benchmark has written")
    options, request = parser.parse(argv)
    from ..evaluation.report import WRITERS, build_report, read_results
    from .run_folder import check_output_file

    output = None
    if options.output is not None:
        output = check_output_file(options.output, "report.md", overwrite=options.overwrite)
    text = WRITERS[options.format](build_report(read_results(request.results), options.title, options.reference))
    if output is None:
        print(text, end="")
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, text)
    print(f"written to {output}")
