"""YAML as its version 1.2 reads it: `1e-3` is a number, and `on`, `off`, `yes` and `no` are words."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_REPLACED = {
    "tag:yaml.org,2002:bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    "tag:yaml.org,2002:float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, form) for tag, form in forms if tag not in _REPLACED]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _tag, (_form, _first) in _REPLACED.items():
    _Loader.add_implicit_resolver(_tag, _form, list(_first))


def read_yaml(text: str) -> Any:
    """Read plain data.

    Args:
        text: one YAML document.

    Raises:
        yaml.YAMLError: it is none, or asks for more than plain data.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
