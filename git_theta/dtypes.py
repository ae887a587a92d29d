"""One table of all data types: git-theta's name, width, kind, and what other libraries call them.

The names are those of safetensors. NumPy is not imported here: `storage` is the name of the unsigned
integer type that holds the bits of one item, which is how git-theta computes on every dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from git_theta.errors import ThetaError

Kind = Literal["float", "int", "uint", "bool", "complex", "raw"]


@dataclass(frozen=True)
class DType:
    """A data type.

    Attributes:
        name: name in safetensors and in manifests.
        bits: bits of one element; for types narrower than a byte, several elements share an item.
        kind: how the bits read. `raw` is for bits that no arithmetic is done on.
        numpy: NumPy's name, or "" where NumPy has no such type.
        torch: the attribute of the torch module, or "".
        exponent, mantissa: bits of a float's exponent and explicit mantissa.
    """

    name: str
    bits: int
    kind: Kind
    numpy: str = ""
    torch: str = ""
    exponent: int = 0
    mantissa: int = 0

    @property
    def itemsize(self) -> int:
        """Bytes of one stored item (complex numbers are stored as two items, see `components`)."""
        return max(1, self.bits // 8 // self.components)

    @property
    def components(self) -> int:
        """Stored items of one element: 2 for complex numbers, otherwise 1."""
        return 2 if self.kind == "complex" else 1

    @property
    def storage(self) -> str:
        """NumPy's name of the little-endian unsigned integer that is as wide as one item."""
        return f"<u{self.itemsize}"

    def nbytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a packed tensor of this dtype and shape."""
        count = 1
        for length in shape:
            count *= length
        return (count * self.bits + 7) // 8


_ALL = (
    DType("BOOL", 8, "bool", "bool", "bool"),
    DType("U8", 8, "uint", "uint8", "uint8"),
    DType("I8", 8, "int", "int8", "int8"),
    DType("U16", 16, "uint", "uint16", "uint16"),
    DType("I16", 16, "int", "int16", "int16"),
    DType("U32", 32, "uint", "uint32", "uint32"),
    DType("I32", 32, "int", "int32", "int32"),
    DType("U64", 64, "uint", "uint64", "uint64"),
    DType("I64", 64, "int", "int64", "int64"),
    DType("F16", 16, "float", "float16", "float16", 5, 10),
    DType("BF16", 16, "float", "", "bfloat16", 8, 7),
    DType("F32", 32, "float", "float32", "float32", 8, 23),
    DType("F64", 64, "float", "float64", "float64", 11, 52),
    DType("F8_E4M3", 8, "float", "", "float8_e4m3fn", 4, 3),
    DType("F8_E4M3FNUZ", 8, "float", "", "float8_e4m3fnuz", 4, 3),
    DType("F8_E5M2", 8, "float", "", "float8_e5m2", 5, 2),
    DType("F8_E5M2FNUZ", 8, "float", "", "float8_e5m2fnuz", 5, 2),
    DType("F8_E8M0", 8, "raw", "", "float8_e8m0fnu"),
    DType("C32", 32, "complex", "", "complex32", 5, 10),
    DType("C64", 64, "complex", "complex64", "complex64", 8, 23),
    DType("C128", 128, "complex", "complex128", "complex128", 11, 52),
    DType("F4", 4, "raw", "", "float4_e2m1fn_x2"),
    DType("F6_E2M3", 6, "raw"),
    DType("F6_E3M2", 6, "raw"),
)
_BY_NAME = {dtype.name: dtype for dtype in _ALL}
_BY_TORCH = {dtype.torch: dtype for dtype in _ALL if dtype.torch}
_BY_NUMPY = {dtype.numpy: dtype for dtype in _ALL if dtype.numpy}

BYTES = _BY_NAME["U8"]
"""What opaque data is stored as: skeletons, files of unknown formats."""


def dtype(name: str) -> DType:
    """The dtype of that name. Raises ThetaError for a name that no table knows."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise ThetaError(f"unknown dtype {name!r}", f"known: {', '.join(_BY_NAME)}") from None


def from_torch(name: str) -> DType | None:
    """The dtype that torch calls by this name (without 'torch.'), or None."""
    return _BY_TORCH.get(name)


def from_numpy(name: str) -> DType | None:
    """The dtype that NumPy calls by this name, or None."""
    return _BY_NUMPY.get(name)
