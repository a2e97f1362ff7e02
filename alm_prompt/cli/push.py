"""`alm-prompt push`: an adapter goes to the Hub."""

from __future__ import annotations

from .parser import CommandParser
from .writing_options import PushOptions

DESCRIPTION = "Upload an adapter to the Hub: its config, weights, results and model card, and nothing else."


def run(argv: list[str]) -> None:
    """Upload an adapter and say where it lies.

    Raises:
        AlmPromptError: the folder holds no whole adapter, a name cannot be used, or the Hub refuses.
    """
    parser = CommandParser("push", DESCRIPTION, [PushOptions])
    parser.add_argument("adapter", help="folder of the adapter")
    parser.add_argument("repo_id", help="where to: user/name")
    options, request = parser.parse(argv)
    from .. import methods  # noqa: F401 (registers the methods that an adapter may be of)
    from ..hub import push_adapter

    address = push_adapter(
        request.adapter,
        request.repo_id,
        private=options.private or None,
        token=options.token,
        revision=options.revision,
        base_model=options.base_model,
        license=options.license,
        datasets=options.datasets or (),
    )
    print(f"{request.adapter} is at {address}")
    print(f"load it with alm_prompt.load_adapter({request.repo_id!r})")
