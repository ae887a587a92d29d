"""The members of an object: whose data lies in which part of its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from git_theta import untrusted
from git_theta.dtypes import DType
from git_theta.errors import DamagedObject, ThetaError
from git_theta.objects.arrays import residual_array
from git_theta.tensors import CHUNK_BYTES


@dataclass(frozen=True)
class Slice:
    """Items [start, start + items) of the data array whose items are `itemsize` bytes."""

    itemsize: int
    start: int
    items: int


@dataclass(frozen=True)
class Member:
    """One tensor in an object.

    Attributes:
        dtype, shape: as the tensor was when it was stored; other tensors can have the same bytes.
        update: name of the update kind.
        bases: digests, in the order that the update wants them.
        values: the update's small parameters.
        arrays: where its large parameters lie; a dense tensor's data is its array "values".
        residual: first row of its residual, or None where the prediction is exact.
    """

    digest: str
    dtype: DType
    shape: tuple[int, ...]
    update: str
    bases: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Slice] = field(default_factory=dict)
    residual: int | None = None

    @property
    def nbytes(self) -> int:
        return self.dtype.nbytes(self.shape)

    @property
    def items(self) -> int:
        return self.nbytes // self.dtype.itemsize

    @property
    def chunks(self) -> int:
        """Rows that a residual of this tensor has."""
        return -(-self.nbytes // CHUNK_BYTES)

    @property
    def residual_array(self) -> tuple[str, int]:
        """Name and row width of the array that holds this member's residual."""
        return residual_array(min(CHUNK_BYTES, self.nbytes))

    @property
    def most_parameters(self) -> int:
        """Bytes that the large parameters of an update of this tensor may have."""
        return 16 * self.nbytes + (1 << 20)

    def record(self) -> dict[str, Any]:
        """What stands in the object's metadata."""
        row: dict[str, Any] = {"digest": self.digest, "dtype": self.dtype.name, "shape": list(self.shape)}
        row["update"] = self.update
        if self.bases:
            row["bases"] = list(self.bases)
        if self.values:
            row["values"] = dict(self.values)
        if self.arrays:
            row["arrays"] = {name: [s.itemsize, s.start, s.items] for name, s in self.arrays.items()}
        if self.residual is not None:
            row["residual"] = self.residual
        return row

    @staticmethod
    def read(row: Any) -> Member:
        """Undo `record`. Raises DamagedObject where the row is not what git-theta writes."""
        try:
            residual = row.get("residual")
            return Member(
                untrusted.digest(row["digest"]),
                *untrusted.dtype_and_shape(row["dtype"], row["shape"]),
                untrusted.text(row["update"]),
                tuple(map(untrusted.digest, row.get("bases", ()))),
                dict(row.get("values", {})),
                {name: Slice(*map(untrusted.number, s)) for name, s in row.get("arrays", {}).items()},
                None if residual is None else untrusted.number(residual),
            )
        except (KeyError, TypeError, ValueError, AttributeError, ThetaError) as error:
            raise DamagedObject(f"the description of a member is damaged ({error})") from None
