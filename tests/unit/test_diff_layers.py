"""Names taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.diffs import layers


@pytest.mark.parametrize(
    ("name", "layer", "component"),
    [
        ("h.11.attn.k.weight", "h.11", "attn.k.weight"),
        ("model.layers.3.mlp.experts.17.w1.weight", "model.layers.3", "mlp.experts.17.w1.weight"),
        ("decoder/block/0/wo", "decoder/block/0", "wo"),
        ("layer1.0.conv1.weight", "layer1.0", "conv1.weight"),
        ("0.weight", "0", "weight"),
        ("wte.weight", "", "wte.weight"),
        ("weight", "", "weight"),
        ("h.1", "", "h.1"),
        ("", "", ""),
    ],
)
def test_split(name: str, layer: str, component: str) -> None:
    assert layers.split(name) == (layer, component)


@given(st.text("ab01./", max_size=12))
def test_layer_and_component_make_the_name(name: str) -> None:
    layer, component = layers.split(name)
    assert name == component if not layer else name in (f"{layer}.{component}", f"{layer}/{component}")


def test_natural_order() -> None:
    names = ["h.10.b", "h.2.b", "h.2.a", "a", "h.2.a1", "10", "9"]
    assert sorted(names, key=layers.natural) == ["9", "10", "a", "h.2.a", "h.2.a1", "h.2.b", "h.10.b"]


def test_numbers_of_any_length_can_be_ordered() -> None:
    names = ["h." + "9" * 10_000, "h.1" + "0" * 10_000, "h.01", "h.1"]
    assert sorted(names, key=layers.natural) == ["h.01", "h.1", names[0], names[1]]


@given(st.lists(st.text(max_size=12), max_size=5))
def test_any_names_can_be_ordered(names: list[str]) -> None:
    assert sorted(sorted(names, key=layers.natural)) == sorted(names)


@given(st.text("ab#.1٣", max_size=12))
def test_templates_are_filled_again(name: str) -> None:
    pattern, numbers = layers.template(name)
    if "#" not in name:
        assert layers.fill(pattern, numbers) == name


def test_a_template_needs_as_many_numbers_as_it_has_places() -> None:
    assert layers.fill("h.#.a#", ("1",)) is None
    assert layers.fill("h.#.a#", ("1", "22")) == "h.1.a22"
