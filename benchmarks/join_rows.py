"""One table from benchmark runs that were made in several folders, such as one per method.

    python benchmarks/join_rows.py benchmarks/results/methods/esc10/runs/* --seeds 0 1 2 \
        --output benchmarks/results/methods/esc10/three-seeds

Rows must come from the same splits; each keeps its own label.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from alm_prompt.evaluation.benchmark import BenchmarkResult
from alm_prompt.evaluation.rows import read_rows


def main() -> None:
    """Join the rows of the folders and write rows, summaries and table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="folders with rows.jsonl, in the order of the table")
    parser.add_argument("--title", default="Base to novel")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these; folders that lack runs are left out")
    parser.add_argument("--output", type=Path, required=True, help="folder for results.json and table.md")
    args = parser.parse_args()
    runs = [read_rows(folder / "rows.jsonl") for folder in args.folders]
    if args.seeds is not None:
        runs = [[row for row in rows if row["seed"] in args.seeds] for rows in runs]
        parts = [{(row["seed"], row["fold"]) for row in rows} for rows in runs]
        whole = set().union(*parts)
        runs = [rows for rows, part in zip(runs, parts, strict=True) if part == whole]
    rows = [row for run in runs for row in run]
    result = BenchmarkResult(rows)
    result.save(args.output, args.title)
    print(result.markdown(args.title))


if __name__ == "__main__":
    main()
