"""A feature: a small function with a name, what it needs, and a docstring that says formula, unit and source."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

V = TypeVar("V")  # what the function reads: a view that holds nothing from after the decision time
R = TypeVar("R")  # what it gives
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Feature(Generic[V, R]):
    """One column of a feature table."""

    name: str
    family: str
    needs: frozenset[str]  # inputs that must be there; without one of them the column is null
    compute: Callable[[V], R]
    text: str  # the function's docstring

    @property
    def formula(self) -> str:
        """How it is computed."""
        return self._said("Formula")

    @property
    def unit(self) -> str:
        """Unit of its values."""
        return self._said("Unit")

    @property
    def null_when(self) -> str:
        """When it is unknown."""
        return self._said("Null")

    @property
    def source(self) -> str:
        """Paper or input it comes from."""
        return self._said("Source")

    def _said(self, word: str) -> str:
        found = re.search(rf"^{word}: (.+?)(?=^\w+: |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return " ".join(found.group(1).split()) if found else ""


class Registry(Generic[V, R]):
    """Features by name, in the order of their definition."""

    def __init__(self) -> None:
        self._features: dict[str, Feature[V, R]] = {}

    def add(self, name: str, family: str, needs: Iterable[str], **choices: Iterable[int | str]) -> Callable[[F], F]:
        """Register a function; `add("ret_{k}", ..., k=(1, 5))` makes ret_1 and ret_5 of it, called with k."""

        def register(function: F) -> F:
            text = inspect.getdoc(function) or ""
            if not choices:
                self._put(Feature(name, family, frozenset(needs), cast(Callable[[V], R], function), text))
            for word, values in choices.items():
                for value in values:
                    bound = cast(Callable[[V], R], partial(function, **{word: value}))
                    self._put(Feature(name.format(**{word: value}), family, frozenset(needs), bound, text))
            return function

        return register

    def _put(self, feature: Feature[V, R]) -> None:
        if feature.name in self._features:
            raise ValueError(f"feature {feature.name} is defined twice")
        for word in ("formula", "unit", "null_when", "source"):
            if not getattr(feature, word):
                raise ValueError(f"feature {feature.name} does not say its {word} in its docstring")
        self._features[feature.name] = feature

    def __getitem__(self, name: str) -> Feature[V, R]:
        return self._features[name]

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def __iter__(self) -> Iterator[Feature[V, R]]:
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)
