"""YAML as its version 1.2 has it: `1e-3` is a number, `010` is ten, `no`, `1:30` and `2024-01-01` are words.

A key is there once.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_INT = "tag:yaml.org,2002:int"
_REPLACED = {
    "tag:yaml.org,2002:bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    # Before the numbers with a point or an exponent, whose form takes whole ones as well.
    _INT: (re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    "tag:yaml.org,2002:float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
}
_DROPPED = (*_REPLACED, "tag:yaml.org,2002:timestamp")


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, form) for tag, form in forms if tag not in _DROPPED]
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


def _read_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


_Loader.add_constructor(_INT, _read_int)
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
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # Text that does not fit its tag, a number of thousands of digits, brackets in brackets in brackets.
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error
    finally:
        loader.dispose()
