"""Entry point of the command line. Heavy imports happen inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from ..errors import AlmPromptError
from .disk import disk_refusal
from .environment import check_torchaudio

COMMANDS = {
    "quickstart": "run the main job offline on the bundled tiny model and its world of sounds",
    "train": "learn prompts for your classes from a few clips of each and save the adapter",
    "evaluate": "measure accuracy of an adapter or of zero-shot; --base-to-novel runs the benchmark",
    "benchmark": "run a published protocol on your data sets, or on the bundled sounds; `benchmark list` names them",
    "predict": "classify audio files",
    "neighbors": "make acoustic neighbours for your classes with a chat model, and measure them",
    "report": "tables of benchmark results, with published figures beside them: Markdown, LaTeX, CSV, HTML",
    "plot": "draw neighbours, benchmark rows, predictions or a training run",
    "push": "upload an adapter to the Hub, with its card",
    "convert": "turn an official checkpoint (Pengi, MS-CLAP, LAION CLAP, ReCLAP) into a folder that --model opens",
    "export": "write an adapter's class embeddings, and its audio tower as ONNX, for use without this package",
    "cache": "say what the cache of features and margins holds, or delete it",
    "env": "print the versions and settings that a bug report needs",
}

# How to go on with a command that was interrupted, where there is a way.
GOES_ON = {
    "train": ["the same command with --resume goes on"],
    "evaluate": ["the same command with --resume goes on"],
    "benchmark": ["the same command goes on"],
    "neighbors": ["the same command goes on"],
}

UNFORESEEN_ERROR = 1
USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: command line without the program's name; `None` takes it from the process.

    Returns:
        Exit code: 0, 2 after bad input, 1 after an error that nobody has foreseen, both named in one line on standard
        error, or 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in given
    arguments = [argument for argument in given if argument != "--debug"]
    try:
        return _run(arguments)
    except Exception as error:
        if debug:
            raise
        reason, code = _line_of(error)
        line = f"error: {' '.join(reason.split())}"
    except KeyboardInterrupt:
        line, code = "; ".join(["interrupted", *GOES_ON.get(arguments[0], ())]), INTERRUPTED
    # Progress bars end with what they belonged to; the line stands below them.
    gc.collect()
    print(line, file=sys.stderr)
    return code


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        from .. import __version__

        print(__version__)
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        nearest = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0)[0]
        raise AlmPromptError(f"no command {name!r}; did you mean {nearest!r}? Commands: {', '.join(COMMANDS)}")
    if name != "env" or "--explain" in rest:
        check_torchaudio()
        # Notes of the libraries to their own callers; a user can do nothing about them.
        warnings.filterwarnings("ignore", category=FutureWarning)
        # A request that fails comes back as an error, which is answered in one line; no other before it.
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    importlib.import_module(f"{__package__}.{name}").run(rest)
    return 0


def _line_of(error: Exception) -> tuple[str, int]:
    """What to say about an error, and the exit code."""
    if isinstance(error, AlmPromptError):
        return str(error), USAGE_ERROR
    refusal = disk_refusal(error)
    if refusal is not None:
        return refusal, USAGE_ERROR
    reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
    return (
        f"{type(error).__name__}: {reason}; not foreseen: --debug shows where it comes from, and a report of it needs "
        "that and the output of `alm-prompt env`",
        UNFORESEEN_ERROR,
    )


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    parser = argparse.ArgumentParser(
        prog="alm-prompt",
        usage="alm-prompt [--version] [--debug] COMMAND ...",
        description="Prompt learning for audio-language models.",
        epilog="commands:\n"
        + "\n".join(f"  {name:<{width}}{help_text}" for name, help_text in COMMANDS.items())
        + "\n\n`alm-prompt COMMAND --help` lists a command's flags; --config FILE sets their defaults from YAML.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser.format_help().rstrip()
