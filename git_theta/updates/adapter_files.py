"""Reads adapters as people have them, and says which tensors of a model they change, and how.

Understood, by the names of an adapter's tensors:

    base_model.model.<module>.lora_A.weight, .lora_B.weight      LoRA, as Hugging Face peft saves it
    base_model.model.<module>.lora_embedding_A, _B               the same for embeddings
    base_model.model.<module>.ia3_l                              (IA)³, as peft saves it
    base_model.model.<module>.lora_B.bias                        a change of the module's bias (lora_bias)
    base_model.model.<module>.lora_magnitude_vector              DoRA's lengths
    base_model.model.<module>[.token_adapter].trainable_tokens_delta    rows of an embedding
    base_model.model.<module>.weight                             modules_to_save: whole tensors
    <tensor>/R, <tensor>/C                                       low-rank factors of the original Git-Theta
    <tensor>/ia3                                                 its (IA)³ vectors
    <tensor>/indices with /data or /values                       sparse changes, indices into the flat tensor

What peft's adapter_config.json adds is in updates.peft_config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from git_theta.errors import ThetaError
from git_theta.tensors import Tensor
from git_theta.updates.adapters import (
    AddedProduct,
    AddedSparsely,
    Guide,
    Redirected,
    Replaced,
    ReplacedRows,
    Scaled,
    Successive,
    floats,
)
from git_theta.updates.peft_config import Config, by_input, check_understood, token_rows

_PEFT = "base_model.model."
# Modules that peft puts around those of the model; their names are in those of tensors that it saves whole.
_WRAPPERS = re.compile(r"\.(base_layer|modules_to_save\.default|modules_to_save)(?=\.)")
_PARTS = (
    (re.compile(r"(.+)\.lora_(A|B)(?:\.[^.]+)?\.weight"), "lora"),
    (re.compile(r"(.+)\.lora_B(?:\.[^.]+)?\.(bias)"), "lora"),
    (re.compile(r"(.+?)(?:\.token_adapter)?\.(trainable_tokens)_delta(?:\.[^.]+)?"), "tokens"),
    (re.compile(r"(.+)\.lora_(embedding_[AB])(?:\.[^.]+)?"), "lora"),
    (re.compile(r"(.+)\.lora_(magnitude)_vector(?:\.[^.]+)?(?:\.weight)?"), "lora"),
    (re.compile(r"(.+)\.(ia3_l)(?:\.[^.]+)?"), "ia3"),
    (re.compile(r"(.+)/(R|C)"), "factors"),
    (re.compile(r"(.+)/(ia3)"), "vector"),
    (re.compile(r"(.+)/(indices|data|values|indptr|shape)"), "sparse"),
)


def guides(
    adapter: Mapping[str, Tensor], config: Mapping[str, Any] | None, model: Mapping[str, tuple[int, ...]]
) -> dict[str, Guide]:
    """What an adapter says about the tensors of a model.

    Args:
        adapter: its tensors by name.
        config: its adapter_config.json, where there is one; without, LoRA's scale is fitted to the
            result, and taken for 1 where there is none yet.
        model: shapes of the model's tensors by name.

    Raises:
        ThetaError: a tensor of the adapter is not understood, or does not fit the model.
    """
    check_understood(config or {})
    found: dict[tuple[str, str], dict[str, Tensor]] = {}
    for name, tensor in adapter.items():
        place, kind, part = _part(name)
        parts = found.setdefault((place, kind), {})
        if part in parts:
            raise _twice(place)
        parts[part] = tensor
    result: dict[str, Guide] = {}
    for (place, kind), parts in found.items():
        for name, guide in _guides(place, kind, parts, config, model).items():
            result[name] = _joined(name, result[name], guide) if name in result else guide
    return result


def _joined(name: str, one: Guide, other: Guide) -> Guide:
    """Two parts of an adapter for one tensor: the one whole, the other its change."""
    whole, change = (one, other) if isinstance(one, Replaced) else (other, one)
    if isinstance(whole, Replaced) and not isinstance(change, Replaced):
        return Successive(whole, change)
    raise _twice(name)


def _twice(name: str) -> ThetaError:
    return ThetaError(
        f"the adapter changes {name!r} in two ways", "check that the adapter was made for this model"
    )


def _part(name: str) -> tuple[str, str, str]:
    """The module or tensor that an adapter's tensor is for, what it belongs to, and which part it is."""
    bare = name.removeprefix(_PEFT)
    for pattern, kind in _PARTS:
        match = pattern.fullmatch(bare)
        if match:
            return match[1], kind, match[2]
    if name.startswith(_PEFT):
        return _WRAPPERS.sub("", bare), "whole", ""
    raise ThetaError(
        f"the adapter's tensor {name!r} has no name that is understood",
        "save the adapter with peft, or name its tensors TENSOR/R and /C, /ia3, or /indices and /data",
    )


def _guides(
    place: str,
    kind: str,
    parts: Mapping[str, Tensor],
    config: Mapping[str, Any] | None,
    model: Mapping[str, tuple[int, ...]],
) -> dict[str, Guide]:
    name = _find(place, model)
    shape = model[name]
    try:
        if kind == "lora":
            return _lora(parts, Config.of(config, place), name, model)
        if kind == "tokens":
            return {name: _tokens(parts["trainable_tokens"], token_rows(config, place), shape)}
        if kind == "factors":
            return {name: _product(floats(parts["R"]), floats(parts["C"]), shape, scaled=True)}
        if kind == "ia3":
            return _ia3(floats(parts["ia3_l"]), config, place, name, model)
        if kind == "vector":
            return {name: _scale(floats(parts["ia3"]), shape)}
        if kind == "sparse":
            if "indptr" in parts and parts["indptr"].items != 2:
                raise ValueError("its indices are of rows, and not of the flat tensor as a single row")
            return {name: _sparse(parts["indices"], parts["data" if "data" in parts else "values"], shape)}
        (tensor,) = parts.values()
        if tensor.shape != shape:
            raise ValueError(f"it is {list(tensor.shape)}")
        return {name: Replaced(tensor)}
    except KeyError as error:
        raise ThetaError(
            f"the adapter has no part {error} for {place!r}", "get the whole adapter file"
        ) from None
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise ThetaError(
            f"the adapter's part for {place!r} does not fit {name!r}, which is {list(shape)}: {error}",
            "check that the adapter was made for this model",
        ) from None


def _find(place: str, model: Mapping[str, tuple[int, ...]]) -> str:
    """The model's tensor for a module or tensor; outer modules may be missing from one of the names."""
    wanted = [place, f"{place}.weight"]
    exact = [name for name in wanted if name in model]
    if exact:
        return exact[0]
    close = [
        name
        for name in model
        for one in wanted
        if name.endswith(f".{one}") or (name.endswith(".weight") and one.endswith(f".{name}"))
    ]
    if len(close) == 1:
        return close[0]
    count = "several tensors" if close else "no tensor"
    raise ThetaError(
        f"the adapter changes {place!r}, which names {count} of the model",
        "check that the adapter was made for this model",
    )


def _lora(
    parts: Mapping[str, Tensor], config: Config, name: str, model: Mapping[str, tuple[int, ...]]
) -> dict[str, Guide]:
    found = {name: _product_of(parts, config, model[name])}
    if "bias" in parts:
        bias, change = f"{name.removesuffix('.weight')}.bias", floats(parts["bias"]).ravel()
        if model.get(bias) != change.shape or not np.isfinite(change).all():
            raise ValueError(
                f"it changes {bias!r}, which the model has not like this, or holds NaN or infinities"
            )
        if config.alpha is None:
            raise ValueError(f"it changes {bias!r}, and no adapter_config.json says how much")
        found[bias] = AddedSparsely(np.arange(change.size), change * config.scale(parts["A"].shape[0]))
    return found


def _product_of(parts: Mapping[str, Tensor], config: Config, shape: tuple[int, ...]) -> Guide:
    embedding = "embedding_A" in parts
    a, b = (parts["embedding_A"], parts["embedding_B"]) if embedding else (parts["A"], parts["B"])
    right, left = floats(a), floats(b)
    if not (right.ndim and left.ndim and right.size and left.size and shape):
        raise ValueError(f"its factors are {list(left.shape)} and {list(right.shape)}")
    rank = len(right)
    if config.rank is not None and config.rank != rank:
        raise ValueError(f"its rank is {rank}, and adapter_config.json says {config.rank}")
    right, left = right.reshape(rank, -1), left.reshape(left.shape[0], rank)
    left = left * config.scale(rank)
    turned = embedding or config.transposed
    if turned:
        left, right = right.T, left.T
    product = _product(left, right, shape, config.alpha is not None)
    if not config.directed and "magnitude" not in parts:
        return product
    axis, magnitudes = int(turned), floats(parts["magnitude"]).ravel()
    if magnitudes.size != shape[axis] or not np.isfinite(magnitudes).all():
        raise ValueError(f"it has {magnitudes.size} magnitudes, or holds NaN or infinities")
    return Redirected(product, magnitudes, axis)


def _product(
    left: NDArray[np.float64], right: NDArray[np.float64], shape: tuple[int, ...], scaled: bool
) -> AddedProduct:
    if not shape:
        raise ValueError("a product has rows and columns")
    rows, columns = shape[0], prod(shape[1:])
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ValueError(f"its factors are {list(left.shape)} and {list(right.shape)}")
    if (len(left), right.shape[1]) != (rows, columns):
        raise ValueError(f"its product is {[len(left), right.shape[1]]}")
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise ValueError("it holds NaN or infinities")
    return AddedProduct(left, right, scaled)


def _ia3(
    vector: NDArray[np.float64],
    config: Mapping[str, Any] | None,
    module: str,
    name: str,
    model: Mapping[str, tuple[int, ...]],
) -> dict[str, Guide]:
    """Of peft: a factor for each input, or for each output and its bias."""
    if not vector.ndim or not np.isfinite(vector).all():
        raise ValueError("it is a single number, or holds NaN or infinities")
    feedforward = by_input(config, module)
    if feedforward is None:
        feedforward = vector.shape[-1] != 1 or vector.ndim > 2
    axis = int(feedforward != Config.of(config, module).transposed)
    shape = model[name]
    if vector.size != max(vector.shape) or len(shape) <= axis or vector.size != shape[axis]:
        raise ValueError(f"it varies along more than one dimension, or is {list(vector.shape)}")
    found: dict[str, Guide] = {name: Scaled(axis, vector.ravel())}
    bias = f"{name.removesuffix('.weight')}.bias"
    if not feedforward and model.get(bias) == (vector.size,):
        found[bias] = Scaled(0, vector.ravel())
    return found


def _tokens(tensor: Tensor, rows: list[int], shape: tuple[int, ...]) -> ReplacedRows:
    if len(shape) != 2 or tensor.shape != (len(rows), shape[1]):
        raise ValueError(f"it has rows {list(tensor.shape)}, and adapter_config.json names {len(rows)}")
    if len(set(rows)) != len(rows) or not all(0 <= row < shape[0] for row in rows):
        raise ValueError("a row is named twice, or lies past its end")
    return ReplacedRows(tuple(rows), tensor)


def _scale(vector: NDArray[np.float64], shape: tuple[int, ...]) -> Scaled:
    full = np.broadcast_to(vector, shape)  # raises ValueError where it cannot
    for axis in range(len(shape)):
        # The values along the axis, at the first place of all others.
        along = full[tuple(slice(None) if other == axis else slice(0, 1) for other in range(len(shape)))]
        if np.array_equal(np.broadcast_to(along, shape), full):
            return Scaled(axis, along.ravel().copy())
    raise ValueError("it varies along more than one dimension")


def _sparse(indices: Tensor, values: Tensor, shape: tuple[int, ...]) -> AddedSparsely:
    if indices.dtype.kind not in ("int", "uint"):
        raise ValueError(f"its indices are {indices.dtype.name}")
    places = indices.read(0, indices.items).view(f"<{indices.dtype.kind[0]}{indices.dtype.itemsize}")
    numbers = floats(values).ravel()
    if places.size != numbers.size or np.unique(places).size != places.size:
        raise ValueError(f"it has {places.size} indices for {numbers.size} values, or one twice")
    if places.size and (int(places.min()) < 0 or int(places.max()) >= prod(shape)):
        raise ValueError("an index lies past its end")
    return AddedSparsely(places.astype(np.int64), numbers)
