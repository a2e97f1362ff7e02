"""Prompt methods of other packages that are installed beside this one."""

from __future__ import annotations

import warnings
from importlib.metadata import entry_points

GROUP = "alm_prompt.methods"


def load_installed_methods() -> None:
    """Import every module that an installed package names as an entry point of [`GROUP`]; it registers its methods.

    A module that fails is named in a warning, and the others are imported all the same.
    """
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except Exception as error:
            warnings.warn(
                f"prompt method {entry.name!r} of another package ({entry.value}) is left out, its import ends in "
                f"{type(error).__name__}: {error}; update or uninstall that package",
                stacklevel=2,
            )
