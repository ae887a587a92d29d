"""The table of dtypes agrees with the libraries that it speaks of."""

from __future__ import annotations

import ast
import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta import dtypes
from git_theta.dtypes import _ALL, dtype, from_numpy, from_torch
from git_theta.errors import ThetaError


def test_each_is_found_by_its_names(subtests: pytest.Subtests) -> None:
    for kind in _ALL:
        with subtests.test(kind=kind.name):
            assert dtype(kind.name) is kind
            if kind.torch:
                assert from_torch(kind.torch) is kind
            if kind.numpy:
                assert from_numpy(kind.numpy) is kind


def test_each_has_the_width_that_numpy_says(subtests: pytest.Subtests) -> None:
    kinds = {"float": "f", "int": "i", "uint": "u", "bool": "b", "complex": "c"}
    for kind in _ALL:
        with subtests.test(kind=kind.name):
            assert np.dtype(kind.storage).itemsize == kind.itemsize
            assert np.dtype(kind.storage).kind == "u"
            if kind.numpy:
                there = np.dtype(kind.numpy)
                assert (there.name, 8 * there.itemsize) == (kind.numpy, kind.bits)
                assert there.itemsize == kind.itemsize * kind.components
                assert there.kind == kinds[kind.kind]


def test_floats_have_their_parts(subtests: pytest.Subtests) -> None:
    for kind in [one for one in _ALL if one.kind in ("float", "complex")]:
        with subtests.test(kind=kind.name):
            assert 1 + kind.exponent + kind.mantissa == kind.bits // kind.components
            if kind.name not in ("F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "BF16", "C32"):
                info = np.finfo(kind.numpy)
                assert (info.nmant, info.iexp) == (kind.mantissa, kind.exponent)


@given(shape=st.lists(st.integers(0, 50), max_size=4).map(tuple))
def test_each_takes_whole_items(shape: tuple[int, ...]) -> None:
    elements = int(np.prod(shape))
    for kind in _ALL:
        nbytes = kind.nbytes(shape)
        assert nbytes * 8 - elements * kind.bits in range(8), kind.name
        assert nbytes % kind.itemsize == 0, kind.name
        assert kind.nbytes(()) == max(1, kind.bits // 8), kind.name


def test_torch_agrees(subtests: pytest.Subtests) -> None:
    torch = pytest.importorskip("torch")
    for kind in [one for one in _ALL if one.torch]:
        with subtests.test(kind=kind.name):
            there = getattr(torch, kind.torch)
            assert there.itemsize * 8 == (kind.bits if kind.bits >= 8 else 2 * kind.bits)
            assert there.is_complex == (kind.kind == "complex")
            if kind.kind != "raw":
                assert there.is_floating_point == (kind.kind == "float")


def test_names_are_those_of_safetensors() -> None:
    """Its reader refuses names that it does not know, with a list of all."""
    safetensors = pytest.importorskip("safetensors")
    header = b'{"a":{"dtype":"?","shape":[],"data_offsets":[0,0]}}'
    with pytest.raises(Exception, match="unknown variant") as caught:
        safetensors.deserialize(len(header).to_bytes(8, "little") + header)
    known = {word.strip("`") for word in str(caught.value).split() if word.startswith("`")}
    theirs = {word.strip("`,") for word in known} - {"?"}
    assert theirs <= {kind.name for kind in _ALL}


def test_names_are_unique_and_unknown_ones_are_refused() -> None:
    for names in ([kind.name for kind in _ALL], [kind.torch for kind in _ALL if kind.torch]):
        assert len(set(names)) == len(names)
    with pytest.raises(ThetaError, match="unknown dtype 'F7'") as caught:
        dtype("F7")
    assert "BF16" in caught.value.remedy
    assert from_torch("float7") is None
    assert from_numpy("object") is None


def test_shapes_beyond_64_bits_are_counted_exactly() -> None:
    assert dtype("F64").nbytes((1 << 62, 1 << 62)) == 8 << 124
    assert dtype("F4").nbytes((3,)) == 2
    assert dtype("F6_E2M3").nbytes((3,)) == 3


def test_the_table_does_not_import_numpy() -> None:
    imported = [
        alias.name
        for node in ast.walk(ast.parse(inspect.getsource(dtypes)))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    ]
    assert "numpy" not in imported
