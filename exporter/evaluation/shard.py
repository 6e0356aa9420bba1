"""A share of the checks: several exporters divide one configuration among themselves without a word.

Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): for each check
every shard draws a number from the two names, and the largest wins. So a further shard takes about its share from each
of the others, and moves nothing between them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from exporter.model import Spec
from exporter.probe.check import Check


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` exporters that share a configuration: number `index`, counted from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def named(cls, name: str, count: int) -> "Shard":
        """The shard that a number names, or the name of a StatefulSet's pod, which ends in its ordinal.

        Raises ValueError for a name without a number, and for a number that is not below `count`.
        """
        ordinal = re.fullmatch(r"(?:.*-)?([0-9]{1,9})", name)
        if not ordinal:
            raise ValueError(f"{name!r} is neither a number nor a pod's name that ends in one, as in exporter-0")
        index = int(ordinal[1])
        if index >= count:
            raise ValueError(f"{name!r} is shard {index}, counted from 0, and there are {count}: raise --shards")
        return cls(index, count)

    def share(self, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Those of the checks that are this shard's. Checks tied by `dependsOn` stay together."""
        checks = tuple(checks)
        if self.count == 1:
            return checks
        heads = _heads([check.spec for check in checks])
        return tuple(check for check in checks if self._owner(heads[check.spec.name]) == self.index)

    def _owner(self, name: str) -> int:
        return max(range(self.count), key=lambda index: _draw(index, name))


def _draw(index: int, name: str) -> bytes:
    """The same in every process and version, unlike hash()."""
    return blake2b(f"{index}/{name}".encode(), digest_size=8).digest()


def _heads(specs: Iterable[Spec]) -> dict[str, str]:
    """For each check the first name, by the alphabet, among all that `dependsOn` ties it to."""
    heads: dict[str, str] = {}

    def head(name: str) -> str:
        while heads.setdefault(name, name) != name:
            name = heads[name]
        return name

    for spec in specs:
        for parent in spec.depends_on:
            first, second = sorted((head(spec.name), head(parent)))
            heads[second] = first
        head(spec.name)
    return {name: head(name) for name in heads}
