"""Hash the definition of a feature: the hash changes with the computation, not with comments, docstrings or layout.

The hash covers the feature's function, the arguments it was registered with, and every function, constant and method
of `analysis` that it reaches. A model stores the hashes of its features and refuses features with other hashes.
"""

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, lru_cache, partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from analysis.features.registry import Feature

_PACKAGE = "analysis"


def definitions(features: Iterable[Feature[Any, Any]]) -> Mapping[str, str]:
    """Return name -> hash of each feature's definition, 64 hexadecimal digits."""
    return {feature.name: definition_hash(feature.compute, feature.name) for feature in features}


def definition_hash(function: Callable[..., object], name: str = "") -> str:
    """Return the SHA-256 of a function and of everything in `analysis` that it reaches.

    Args:
        function: A function, or a `partial` of one, whose bound arguments are part of the hash.
        name: Name of the feature.

    Raises:
        TypeError: The source of the function cannot be read.
    """
    bound: Mapping[str, object] = {}
    if isinstance(function, partial):
        bound, function = function.keywords, function.func
    if not isinstance(function, FunctionType):
        raise TypeError(f"{function!r} is not a plain function, so its definition cannot be read")
    parts = sorted(set(_reached(function)))
    text = "\n".join([name, repr(sorted(bound.items())), *parts])
    return hashlib.sha256(text.encode()).hexdigest()


def _reached(function: FunctionType) -> Iterator[str]:
    """Yield the source of a function and of everything it reaches."""
    open_, seen = [function], set[FunctionType]()
    while open_:
        current = open_.pop()
        if current in seen:
            continue
        seen.add(current)
        yield _source(current)
        for value in _mentioned(current):
            inner = _plain(value)
            if inner is not None:
                if (inner.__module__ or "").split(".")[0] == _PACKAGE:
                    open_.append(inner)
            elif isinstance(value, int | float | str | tuple | frozenset):
                yield repr(sorted(value, key=repr) if isinstance(value, frozenset) else value)


def _mentioned(function: FunctionType) -> Iterator[object]:
    """Yield the values a function names: globals, attributes of our modules, members of its argument classes."""
    names = set(_names(function.__code__))
    spaces: list[object] = [value for value in _globals(function, names) if isinstance(value, ModuleType | type)]
    yield from _globals(function, names)
    spaces += [
        value
        for hint in function.__annotations__.values()
        for value in _globals(function, [hint] if isinstance(hint, str) else [getattr(hint, "__name__", "")])
        if isinstance(value, type)
    ]
    owner = function.__globals__.get(function.__qualname__.partition(".")[0])
    if isinstance(owner, type):
        spaces.append(owner)  # a method may call other methods of its class
    for space in spaces:
        module = space.__name__ if isinstance(space, ModuleType) else getattr(space, "__module__", "")
        if module.split(".")[0] == _PACKAGE:
            yield from (inspect.getattr_static(space, name) for name in names if _has(space, name))


def _has(space: object, name: str) -> bool:
    try:
        inspect.getattr_static(space, name)
    except AttributeError:
        return False
    return True


def _globals(function: FunctionType, names: Iterable[str]) -> Iterator[object]:
    return (function.__globals__[name] for name in names if name in function.__globals__)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _plain(value: object) -> FunctionType | None:
    """Return the function behind a property, a method or a decorator."""
    match value:
        case property():
            value = value.fget
        case cached_property():
            value = value.func
        case classmethod() | staticmethod() | MethodType():
            value = value.__func__
    value = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
    return value if isinstance(value, FunctionType) else None


@lru_cache(maxsize=4096)
def _source(function: FunctionType) -> str:
    """Return the text of a function without comments, docstring, layout and decorators."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = []
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
