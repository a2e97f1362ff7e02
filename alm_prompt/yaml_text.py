"""YAML as its version 1.2 has it: `1e-3` is a number, `on`, `off`, `yes` and `no` are words, a key is there once."""

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

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        # Not where values are made: by then, the keys that `<<` takes over stand beside those of the mapping itself.
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line, same = key.start_mark.line + 1, (key.tag, key.value)
                if same in lines:
                    raise yaml.YAMLError(
                        f"line {line}: key {key.value!r} is in line {lines[same]} already; name it once"
                    )
                lines[same] = line
        return node


for _tag, (_form, _first) in _REPLACED.items():
    _Loader.add_implicit_resolver(_tag, _form, list(_first))


def read_yaml(text: str) -> Any:
    """Read plain data.

    Args:
        text: one YAML document.

    Raises:
        yaml.YAMLError: it is none, asks for more than plain data, or has a key twice.
    """
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
