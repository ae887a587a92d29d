"""What each kind of update predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from format_reader.dtypes import PARTS, RAW, is_float, need, width_of
from format_reader.values import rounded, settled, values


def signed(stored: np.ndarray) -> np.ndarray:
    wide = stored.astype(np.int64)
    return wide >> 1 ^ -(wide & 1)


def predict(
    member: Mapping[str, Any], arrays: Mapping[str, np.ndarray], bases: list[bytes], bits: str
) -> np.ndarray:
    """The prediction of a member; `bits` is the type of its items."""
    dtype, shape, given = member["dtype"], member["shape"], member.get("values", {})
    if (kind := member["update"]) == "cast":
        source = given["from"]
        need(source != dtype and not {source, dtype} & RAW and (source in PARTS) == (dtype in PARTS), kind)
        old = values(np.frombuffer(bases[0], f"<u{width_of(source)}"), source)
        return rounded(old, dtype, given.get("overflow", "nan"))
    read = [np.frombuffer(base, bits) for base in bases]
    if kind == "delta":
        return read[0]
    if kind == "rows":
        table = read[0].reshape(given["rows"], -1)
        ranges = given.get("ranges") or list(
            zip(arrays["counts"].view("<i8").tolist(), arrays["starts"].view("<i8").tolist(), strict=True)
        )
        need(sum(count for count, _ in ranges) == shape[0], kind)
        zeros = np.zeros((shape[0], table.shape[1]), bits)
        parts = [zeros[:n] if start == -1 else table[start : start + n] for n, start in ranges]
        need(all(len(part) == n for part, (n, _) in zip(parts, ranges, strict=True)), kind)
        return np.concatenate(parts).ravel()
    need(is_float(dtype), kind)
    old = values(read[0], dtype)
    if kind == "scale":
        axis, vector = given["axis"], arrays["vector"].view(f"<f{old.itemsize}")
        need(vector.size == shape[axis], kind)
        inner = int(np.prod(shape[axis + 1 :]))
        return settled(old * vector[np.arange(old.size) // inner % shape[axis]], read[0], dtype)
    if kind == "low-rank":
        rank, rows = given["rank"], shape[0]
        precise = 2 * given["bits"] + (rank - 1).bit_length()
        need(precise <= 50 and given["bits"] <= 22, kind)
        factors = []
        for name in ("left", "right"):
            integers = signed(arrays[name]).reshape(-1, rank)
            need(np.abs(integers).max() <= 1 << given["bits"], kind)
            factors.append(np.ldexp(integers.astype(float), arrays[f"{name}_scale"].view("<i1")[:, None]))
        type_ = np.float32 if precise <= 24 and width_of(dtype) == 2 else np.float64
        product = np.einsum("ik,jk->ij", *factors).astype(type_)
        return settled((old.reshape(rows, -1).astype(type_) + product).ravel(), read[0], dtype)
    need(kind == "combine", f"an unknown kind {kind}")
    arithmetic, coefficients = given["arithmetic"], given["coefficients"]
    type_ = np.dtype(np.float64 if arithmetic in ("f64", "f64c32") else old.dtype).type
    total: Any = None
    for coefficient, base in zip(coefficients, read, strict=True):
        factor = type_(np.float32(coefficient) if arithmetic == "f64c32" else coefficient)
        product = values(base, dtype).astype(type_) * factor
        if arithmetic == "step":
            product = values(rounded(product, dtype), dtype)
        total = product if total is None else total + product
        if arithmetic == "step":
            total = values(rounded(total, dtype), dtype)
    return settled(total, read[0], dtype)
