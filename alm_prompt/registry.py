"""Registration of prompt methods with PEFT. The only file that touches PEFT's enum and mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peft import PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

from .errors import AlmPromptError

if TYPE_CHECKING:
    from peft import PeftConfig

# Every learned tensor of every method lies under a container whose name starts with this prefix: PEFT finds
# adapter weights by it, so no other module of a model may carry it in its name.
PARAMETER_PREFIX = "learned_"

METHODS: dict[str, type[PeftConfig]] = {}
"""Config class of each registered method, by its short name (`"coop"`)."""


def register_method(name: str, config_class: type[PeftConfig], tuner_class: type) -> None:
    """Make a prompt method known to PEFT as the type `ALM_<NAME>`, and to the command line as `name`.

    Args:
        name: short lower-case name, such as `"coop"`.
        config_class: the method's config; its `peft_type` becomes the new type.
        tuner_class: the tuner that injects the method into a model.

    Raises:
        AlmPromptError: the name is taken by another config class.
    """
    if METHODS.get(name, config_class) is not config_class:
        raise AlmPromptError(f"prompt method {name!r} is registered already by {METHODS[name].__name__}; rename yours")
    peft_type = peft_type_of(name)
    METHODS[name] = config_class
    # peft.register_peft_method would do this, but from 0.21 on it refuses a prefix that two methods share.
    PEFT_TYPE_TO_CONFIG_MAPPING[peft_type] = config_class
    PEFT_TYPE_TO_TUNER_MAPPING[peft_type] = tuner_class
    PEFT_TYPE_TO_PREFIX_MAPPING[peft_type] = PARAMETER_PREFIX


def method_name(peft_type: str) -> str:
    """Short name of a type: `"coop"` for `"ALM_COOP"`.

    Raises:
        AlmPromptError: no method of this package has that type.
    """
    name = str(getattr(peft_type, "value", peft_type)).removeprefix("ALM_").lower()
    if name not in METHODS or str(getattr(peft_type, "value", peft_type)) != f"ALM_{name.upper()}":
        known = ", ".join(f"ALM_{known.upper()}" for known in METHODS)
        raise AlmPromptError(f"peft_type {peft_type!r} is no prompt method of alm_prompt; known types: {known}")
    return name


def peft_type_of(name: str) -> PeftType:
    """PEFT's enum member `ALM_<NAME>`, added on first use: the enum is closed and has no plug-in entry point."""
    member_name = f"ALM_{name.upper()}"
    if member_name in PeftType.__members__:
        return PeftType[member_name]
    member = str.__new__(PeftType, member_name)
    member._name_ = member_name
    member._value_ = member_name
    member.__objclass__ = PeftType
    # Python 3.12 and later look members up as class attributes; EnumType refuses to set one of its own members.
    type.__setattr__(PeftType, member_name, member)
    PeftType._member_map_[member_name] = member
    PeftType._member_names_.append(member_name)
    PeftType._value2member_map_[member_name] = member
    if hasattr(PeftType, "_hashable_values_"):  # Python 3.13 and later test `in PeftType` with it
        PeftType._hashable_values_.append(member_name)
    return member
