"""Prompt methods, one folder each. Importing this package registers them, and those of other packages, with PEFT."""

import pkgutil
from importlib import import_module

from .base import PromptInputs, PromptMethod, WrapperMethod
from .config import PromptConfig, WrapperPromptConfig
from .expression import parse_method
from .installed import load_installed_methods
from .pushing import own_push_to_hub

__all__ = ["PromptConfig", "PromptInputs", "PromptMethod", "WrapperMethod", "WrapperPromptConfig", "parse_method"]

for _module in pkgutil.iter_modules(__path__):
    if _module.ispkg:
        _method = import_module(f".{_module.name}", __name__)
        globals().update({name: getattr(_method, name) for name in _method.__all__})
        __all__ += _method.__all__

own_push_to_hub()
# Last: they import from here.
load_installed_methods()
