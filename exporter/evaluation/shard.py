"""Shards: several exporters divide the checks of one configuration without communicating.

This is rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998). For each
check, every shard has a hash of the two names, and the shard with the largest hash runs the check. So an additional
shard takes about the same share from each of the others, and moves no check between them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from exporter.model import Spec
from exporter.probe.check import Check


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` exporters that share a configuration. Its number is `index`, counted from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, name: str, count: int) -> "Shard":
        """Return the shard with this number, or of this pod of a StatefulSet, whose name ends in its ordinal.

        Raises ValueError if the name has no number, or the number is not below `count`.
        """
        ordinal = re.fullmatch(r"(?:.*-)?([0-9]{1,9})", name)
        if not ordinal:
            raise ValueError(f"{name!r} is neither a number nor a pod's name that ends in one, as in exporter-0")
        index = int(ordinal[1])
        if index >= count:
            raise ValueError(f"{name!r} is shard {index}, counted from 0, and there are {count}: raise --shards")
        return cls(index, count)

    def share(self, checks: Iterable[Check]) -> tuple[Check, ...]:
        """Return the checks that this shard runs, in their order. Checks connected by `dependsOn` stay together."""
        checks = tuple(checks)
        if self.count == 1:
            return checks
        heads = _find_heads([check.spec for check in checks])
        return tuple(check for check in checks if self._find_owner(heads[check.spec.name]) == self.index)

    def _find_owner(self, name: str) -> int:
        return max(range(self.count), key=lambda index: _hash(index, name))


def _hash(index: int, name: str) -> bytes:
    """Return a hash that, unlike hash(), is the same in every process and version."""
    return blake2b(f"{index}/{name}".encode(), digest_size=8).digest()


def _find_heads(specs: Iterable[Spec]) -> dict[str, str]:
    """Return, for each check, the alphabetically first name among all checks that `dependsOn` connects it with."""
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
