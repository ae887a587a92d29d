"""Tensors with another name than before."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from diff_examples import Content, changed, fine_tuned, random_model, tensor, version

from git_theta.diffs import renames
from git_theta.diffs.entries import Entry, entries
from git_theta.diffs.similarity import SimilarValues


def found(old: Mapping[str, Content], new: Mapping[str, Content], by_values: bool = False) -> dict[str, str]:
    """Renames among the tensors that only one side has."""
    before, after = version(old), version(new)
    assert before.manifest is not None
    assert after.manifest is not None
    gone = [entry for name, entry in entries(before.manifest).items() if name not in new]
    come = [entry for name, entry in entries(after.manifest).items() if name not in old]
    return renames.find(gone, come, SimilarValues(before.open, after.open) if by_values else None)


def prefixed(model: Mapping[str, Content], prefix: str) -> dict[str, Content]:
    return {prefix + name: content for name, content in model.items()}


def test_a_prefix_on_everything() -> None:
    model = random_model()
    assert found(model, prefixed(model, "model.")) == {name: f"model.{name}" for name in model}
    assert found(prefixed(model, "model."), model) == {f"model.{name}": name for name in model}


def test_equal_data_follow_the_pattern_of_the_others() -> None:
    model = random_model(12)

    def renamed(name: str) -> str:
        return name.replace("h.", "layers.").replace("attn", "self").replace("ln.bias", "norm.shift")

    new = {renamed(name): content for name, content in model.items()}
    expected = {name: renamed(name) for name in model if renamed(name) != name}
    zero = {name for name in model if name.endswith("bias")}
    result = found(model, new)
    assert {name: result[name] for name in expected if name not in zero} == {
        name: new for name, new in expected.items() if name not in zero
    }
    assert {name: result[name] for name in zero} == {name: expected[name] for name in zero}


def test_a_renamed_tensor_that_changed_follows_the_others() -> None:
    model = random_model()
    new = prefixed(model, "model.")
    new["model.wte.weight"] = changed(model["wte.weight"], 0.001)
    assert found(model, new)["wte.weight"] == "model.wte.weight"


def test_a_prefix_while_everything_changed_is_believed_by_values_only() -> None:
    model = random_model()
    new = prefixed(fine_tuned(model), "model.")
    assert found(model, new) == {}
    assert found(model, new, by_values=True) == {name: f"model.{name}" for name in model}
    other = found(model, prefixed(random_model(seed=9), "model."), by_values=True)
    assert all(name.endswith("ln.bias") for name in other), "only zeros are the same in another model"


def test_the_only_tensor_of_its_kind() -> None:
    weights = np.random.default_rng(0).standard_normal((7, 5))
    old = {"head.weight": tensor("F32", weights)}
    assert found(old, {"classifier": tensor("F32", 1.1 * weights)}, by_values=True) == {
        "head.weight": "classifier"
    }
    assert found(old, {"classifier": tensor("F32", -weights)}, by_values=True) == {}
    assert found(old, {"classifier": tensor("BF16", weights)}, by_values=True) == {}


def test_a_swap_of_names_is_no_rename() -> None:
    model = random_model(1)
    one, two = "h.0.attn.q.weight", "h.0.attn.k.weight"
    assert found(model, {**model, one: model[two], two: model[one]}) == {}


def test_more_equal_tensors_than_before() -> None:
    zero = tensor("F32", np.zeros(4))
    assert found({"a.1": zero, "a.2": zero}, {"b.1": zero, "b.2": zero, "b.3": zero}) == {
        "a.1": "b.1",
        "a.2": "b.2",
    }


def test_no_name_is_used_twice() -> None:
    model = random_model(3)
    new = {f"x.{number}": content for number, content in enumerate(model.values())}
    result = found(model, new)
    assert len(set(result.values())) == len(result) == len(model)


def test_what_cannot_be_read_is_not_similar() -> None:
    weights = tensor("F32", np.ones((3, 3)))
    before = version({"a": weights}, missing=["a"])
    after = version({"b": tensor("F32", np.full((3, 3), 2.0))})
    pairs: list[Entry] = []
    for side in (before, after):
        assert side.manifest is not None
        pairs += entries(side.manifest).values()
    assert not SimilarValues(before.open, after.open)(*pairs)


@pytest.mark.slow
def test_many_experts() -> None:
    expert = np.random.default_rng(0).standard_normal((3000, 2))
    old = {f"h.{n % 30}.experts.{n // 30}.w.weight": tensor("F32", expert[n]) for n in range(3000)}
    new = prefixed({name: changed(content, 0.01) for name, content in old.items()}, "model.")
    assert len(found(old, new, by_values=True)) == 3000


def test_rule_text() -> None:
    assert renames.rule_text([("h.0.w", "model.h.0.w"), ("a", "model.a")]) == ("", "model.")
    assert renames.rule_text([("x.h.0.w", "y.h.0.w"), ("x.b", "y.b")]) == ("x.", "y.")
    assert renames.rule_text([("a.w", "b.w"), ("c.w", "d.w")]) is None
