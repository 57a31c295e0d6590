"""Registry of features: small functions with a name and their inputs.

The docstring of a registered function documents the column: its first line defines the quantity as a noun phrase, and
the lines Formula, Unit, Null and Source are required.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar, cast

V = TypeVar("V")  # input of the function: a view without anything from after the decision time
R = TypeVar("R")  # result
F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Feature(Generic[V, R]):
    """One column of a feature table."""

    name: str
    family: str
    needs: frozenset[str]  # required inputs; without one of them the column is null
    compute: Callable[[V], R]
    text: str  # the function's docstring

    @property
    def formula(self) -> str:
        """Return how the feature is computed."""
        return self._section("Formula")

    @property
    def unit(self) -> str:
        """Return the unit of its values."""
        return self._section("Unit")

    @property
    def null_when(self) -> str:
        """Return when it is null."""
        return self._section("Null")

    @property
    def source(self) -> str:
        """Return the paper or input it is based on."""
        return self._section("Source")

    def _section(self, word: str) -> str:
        found = re.search(rf"^{word}: (.+?)(?=^\w+: |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return " ".join(found.group(1).split()) if found else ""


class Registry(Generic[V, R]):
    """Features by name, in the order of their definition."""

    def __init__(self) -> None:
        self._features: dict[str, Feature[V, R]] = {}

    def add(self, name: str, family: str, needs: Iterable[str], **choices: Iterable[int | str]) -> Callable[[F], F]:
        """Register a function; `add("ret_{k}", ..., k=(1, 5))` registers ret_1 and ret_5, which are called with k."""

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
                raise ValueError(f"the docstring of feature {feature.name} does not state its {word}")
        self._features[feature.name] = feature

    def __getitem__(self, name: str) -> Feature[V, R]:
        return self._features[name]

    def __contains__(self, name: str) -> bool:
        return name in self._features

    def __iter__(self) -> Iterator[Feature[V, R]]:
        return iter(self._features.values())

    def __len__(self) -> int:
        return len(self._features)
