"""Random versions of small models, merged both ways, applied and reverted: what must hold whatever they are.

The oracle here is a few lines in float64 that know nothing of the code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from filter_examples import Workshop
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from git_theta import manifest as manifests
from git_theta.manifest import Manifest
from git_theta.merges.apply import Means, apply
from git_theta.merges.decisions import Plan
from git_theta.merges.plan import plan
from git_theta.merges.rule_sources import applying, command_line, resolve
from git_theta.merges.rules import Rules
from git_theta.merges.sides import Sides
from git_theta.settings import Settings

Model = dict[str, np.ndarray]
APPLY = resolve([applying("", "apply")])
TAKING = ["-", "average", "task-arithmetic"]

values = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, -2.5, 1e-3, 3e4]), min_size=2, max_size=2).map(
        lambda given: np.array(given, np.float32)
    ),
    st.integers(0, 2).map(lambda given: np.array([given], np.int64)),
    st.sampled_from([0.5, 7.0]).map(lambda given: np.array([given] * 3, np.float32)),
)
models = st.dictionaries(st.sampled_from("abcde"), values, max_size=5).map(
    lambda given: {name: apart(name, one) for name, one in given.items()}
)


def apart(name: str, value: np.ndarray) -> np.ndarray:
    """A value with some zeros behind it, as many as no other name has: equal tensors would be one tensor."""
    return np.concatenate([value, np.zeros("abcde".index(name), value.dtype)])


@st.composite
def histories(draw: st.DrawFn) -> tuple[Model, Model, Model]:
    """Base, and two models that have kept, changed, removed and added tensors."""
    base = draw(models)
    sides = []
    for _ in range(2):
        kept = {name: one for name, one in base.items() if draw(st.integers(0, 4))}
        sides.append(kept | {name: one for name, one in draw(models).items() if draw(st.booleans())})
    return base, sides[0], sides[1]


class Merged:
    """A merge of three models in a store, carried out."""

    def __init__(self, folder: Path, base: Model, ours: Model, theirs: Model, rules: Rules) -> None:
        workshop = Workshop(folder, Settings())
        found: list[Manifest] = [manifests.parse(workshop.clean(save(one))) for one in (base, ours, theirs)]
        self.plan: Plan = plan(found[0], found[1:], rules)
        sides = Sides(found, workshop.objects)
        stock = workshop.stock(sides.known)
        applied = apply(
            self.plan, sides, Means(workshop.objects, stock, Settings(), device="cpu"), "m.safetensors"
        )
        data = workshop.smudge(applied.text)
        self.model: Model = dict(load(data))
        self.open = {one.name for one in self.plan.conflicts()}
        workshop.index.close()


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def expected(b: np.ndarray | None, o: np.ndarray | None, t: np.ndarray | None, how: str) -> np.ndarray | None:
    """What the table of docs/merging.md says about one tensor. Raises ValueError for a conflict."""
    if same(o, b) or same(o, t):
        return t
    if same(t, b):
        return o
    if b is None or o is None or t is None or how == "-":
        raise ValueError
    if o.dtype != np.float32 or t.dtype != np.float32 or o.shape != t.shape:
        raise ValueError
    if b.dtype == np.float32 and len(b) < len(o):  # both added rows
        raise ValueError
    if how != "average" and (b.dtype, b.shape) != (o.dtype, o.shape):  # it needs the base
        raise ValueError
    wide = [one.astype(np.float64) for one in (b, o, t)]
    total = wide[1] + wide[2]
    if how == "average":
        return (total / 2).astype(np.float32)
    single = np.where(o == b, t, o)
    return np.where((o == b) | (t == b), single, total - wide[0]).astype(np.float32)


def rules_of(how: str) -> Rules:
    if how == "apply":
        return APPLY
    return resolve([command_line(None if how == "-" else how, ["one-sided=take"] if how != "-" else [])])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["apply", *TAKING])
@settings(max_examples=20, deadline=None)
@given(history=histories())
def test_merges_are_what_the_table_says_both_ways(
    how: str, history: tuple[Model, Model, Model], tmp_path_factory: pytest.TempPathFactory
) -> None:
    base, ours, theirs = history
    one = Merged(tmp_path_factory.mktemp("one"), base, ours, theirs, rules_of(how))
    other = Merged(tmp_path_factory.mktemp("other"), base, theirs, ours, rules_of(how))
    assert one.open == other.open  # taking part is symmetric
    for name in {*base, *ours, *theirs}:
        try:
            wanted = expected(base.get(name), ours.get(name), theirs.get(name), how)
        except ValueError:
            assert name in one.open
            assert same(one.model.get(name), ours.get(name))
            assert same(other.model.get(name), theirs.get(name))
            continue
        assert name not in one.open
        for merged in (one, other):
            found = merged.model.get(name)
            if wanted is None or found is None:
                assert wanted is found
            else:
                assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
                np.testing.assert_array_equal(found, wanted)
    # Nothing disappears but what a side has removed, or somebody has to decide on.
    gone = {*ours, *theirs} - one.model.keys() - one.open
    assert all(name in base and not (name in ours and name in theirs) for name in gone)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(history=histories())
def test_a_change_that_is_applied_and_reverted(
    history: tuple[Model, Model, Model], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is not in conflict comes back as it was, but for rounding once each way."""
    base, ours, theirs = history
    there = Merged(tmp_path_factory.mktemp("there"), base, ours, theirs, APPLY)
    back = Merged(tmp_path_factory.mktemp("back"), theirs, there.model, base, APPLY)
    for name in {*ours, *there.model, *back.model} - there.open - back.open:
        before, after = ours.get(name), back.model.get(name)
        if same(ours.get(name), theirs.get(name)) and not same(ours.get(name), base.get(name)):
            assert same(after, base.get(name))  # both had made that change, and now it is taken back
        elif before is None or after is None:
            assert before is after
        else:
            np.testing.assert_allclose(after, before, rtol=0, atol=np.spacing(np.float32(6e4)))
