"""The mapping of States: a change leaves the earlier mapping as it was, and copies only its own chunk."""

from dataclasses import replace

import pytest

from exporter.evaluation.states import CHUNK, States
from exporter.model import Spec, State


def _make(count: int) -> dict[str, State]:
    return {f"check-{number}": State(Spec(f"check-{number}", "httpGet")) for number in range(count)}


@pytest.mark.parametrize("count", [1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_put_changes_one_state_and_leaves_the_earlier_mapping(count: int) -> None:
    plain = _make(count)
    states = States.of(plain.values())
    for name in plain:
        state = replace(plain[name], runs=1)
        changed = states.put(name, state)
        assert changed[name] is state
        assert states[name] is plain[name]
    assert list(changed.items()) == list({**plain, name: state}.items())
    assert states == plain
    assert list(states.values()) == list(plain.values())
    assert len(changed) == count


def test_put_shares_the_other_chunks() -> None:
    states = States.of(_make(3 * CHUNK).values())
    changed = states.put("check-0", states["check-1"])
    assert changed._index is states._index
    assert [new is old for new, old in zip(changed._chunks, states._chunks, strict=True)] == [False, True, True]


def test_a_name_that_is_missing_raises_key_error() -> None:
    states = States.of(())
    assert "a" not in states
    assert states.get("a") is None
    with pytest.raises(KeyError):
        states.put("a", State(Spec("a", "httpGet")))
