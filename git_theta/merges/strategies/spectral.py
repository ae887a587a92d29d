"""Strategies on singular values: Iso-C and TSV-Merge.

Only matrices have singular values; tensors of any other number of dimensions take the mean of the changes,
as in both papers.

Singular vectors come from the eigenvectors of MᵀM, with M's shorter side last, in float64, summed over
blocks of rows. That needs a fraction of the memory and time of a singular value decomposition, and is
accurate to about 1e-16 (σ₁/σ)² for a singular value σ. Directions with σ below 1e-6 σ₁ are left out: they
carry nothing of the matrix, and the definitions leave open which they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from git_theta.merges.interface import Block, Strategy, Unit
from git_theta.merges.options import option
from git_theta.merges.strategies.consensus import onto_base

if TYPE_CHECKING:
    import torch

_NOTHING = 1e-6  # singular values below this share of the largest one are zero
_ROWS = 1 << 19  # entries that are converted to float64 at once


@dataclass(frozen=True)
class SpectralOptions:
    lambda_: float = option(1.0, "factor on the merged task vector")


class SpectralStrategy(Strategy[SpectralOptions]):
    """Merges task matrices by their singular values and vectors."""

    options = SpectralOptions
    base = "required"
    least = 1

    def merged(self, matrices: Iterator[torch.Tensor], count: int) -> torch.Tensor:
        """The merged task matrix of `count` matrices, with at least as many rows as columns."""
        raise NotImplementedError

    def unit(self, options: SpectralOptions) -> Unit:
        return "tensor"

    def combine(self, block: Block, options: SpectralOptions, state: Any) -> torch.Tensor:
        vectors, count = _changes(block), len(block.models)
        assert block.base is not None
        if block.base.ndim != 2:
            return onto_base(block, _sum(vectors).div_(count), options.lambda_)
        rows, columns = block.base.shape
        if rows >= columns:
            return onto_base(block, self.merged(vectors, count), options.lambda_)
        change = self.merged((vector.T.contiguous() for vector in vectors), count)
        return onto_base(block, change.T.contiguous(), options.lambda_)


class Isotropic(SpectralStrategy):
    name = "isotropic"
    summary = "Add up all changes, then give all singular values of the sum their mean (Iso-C)."
    formula = "Σ τᵢ = U S Vᵀ; θ = base + λ · mean(S) · U Vᵀ"
    reference = "No Task Left Behind: Isotropic Model Merging, 2025, arXiv:2502.04959"
    use = "Several tasks, some of which would drown in the sum of all changes."

    def merged(self, matrices: Iterator[torch.Tensor], count: int) -> torch.Tensor:
        matrix = _sum(matrices)
        values, right = _right_singular(matrix)
        if not values.numel():
            return matrix
        return _times(matrix, (right * (values.mean() / values)) @ right.T)


class Tsv(SpectralStrategy):
    name = "tsv"
    summary = (
        "Add up each model's first singular directions, made orthogonal to those of the others (TSV-Merge)."
    )
    formula = (
        "the first 1/n of each Uᵢ, Sᵢ, Vᵢ of τᵢ, side by side: U, S, V; U⊥ and V⊥ the nearest matrices with "
        "orthogonal columns; θ = base + λ U⊥ S V⊥ᵀ"
    )
    reference = "Task Singular Vectors, 2024, arXiv:2412.00081"
    use = "Several tasks whose changes get in each other's way."

    def merged(self, matrices: Iterator[torch.Tensor], count: int) -> torch.Tensor:
        room: list[torch.Tensor] = []
        filled = 0
        for matrix in matrices:
            rows, columns = matrix.shape
            share = max(1, columns // count)
            values, vectors = _right_singular(matrix)
            if not room:
                room = [
                    matrix.new_zeros(rows, share * count),
                    vectors.new_zeros(columns, share * count),
                    values.new_zeros(share * count),
                ]
            left, right, sizes = room
            values = values[:share]
            found = slice(filled, filled + values.numel())
            right[:, found] = vectors[:, :share]  # a slice would keep all directions in memory
            sizes[found] = values
            _times(matrix, right[:, found] / values, left[:, found])
            filled = found.stop
            del matrix, values, vectors  # before the next one is read
        left, right, sizes = (one[..., :filled] for one in room)
        core = _whitening(left) * sizes @ (right @ _whitening(right)).T
        return _times(left, core)


def _changes(block: Block) -> Iterator[torch.Tensor]:
    """The task vectors, made in the models' memory: a whole tensor is large."""
    for place in range(len(block.models)):
        yield block.models[place].sub_(block.base)


def _sum(vectors: Iterator[torch.Tensor]) -> torch.Tensor:
    total = next(vectors)
    for vector in vectors:
        total += vector
        del vector  # before the next one is read
    return total


def _right_singular(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Singular values that are not zero, largest first, and their right singular vectors as columns."""
    values, vectors = _eigen(matrix)
    values = values.sqrt()
    kept = int((values > _NOTHING * values[0]).sum()) if values.numel() else 0
    return values[:kept], vectors[:, :kept]


def _whitening(matrix: torch.Tensor) -> torch.Tensor:
    """W for which matrix @ W has orthonormal columns and is as near to the matrix as such a matrix can be.

    That is (MᵀM)^(-1/2); where columns depend on each other, its pseudo-inverse.
    """
    values, vectors = _right_singular(matrix)
    return (vectors / values) @ vectors.T


def _eigen(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The eigenvalues of MᵀM, largest first, and its eigenvectors as columns, in float64."""
    import torch

    columns = matrix.shape[1]
    gram = torch.zeros(columns, columns, dtype=torch.float64, device=_linalg_device(matrix))
    for part in _parts(matrix):
        gram += part.T @ part
    values, vectors = torch.linalg.eigh(gram)
    return values.flip(0).clamp_(min=0), vectors.flip(1)


def _times(matrix: torch.Tensor, right: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """matrix @ right in float64, rounded to the matrix' type, in `out` or anew."""
    result = matrix.new_empty(matrix.shape[0], right.shape[1]) if out is None else out
    start = 0
    for part in _parts(matrix):
        result[start : start + part.shape[0]] = part @ right
        start += part.shape[0]
    return result


def _parts(matrix: torch.Tensor) -> Iterator[torch.Tensor]:
    """Blocks of rows in float64."""
    step = max(1, _ROWS // max(1, matrix.shape[1]))
    for start in range(0, matrix.shape[0], step):
        yield matrix[start : start + step].to(_linalg_device(matrix)).double()


def _linalg_device(matrix: torch.Tensor) -> Any:
    # Metal has neither float64 nor eigenvectors.
    return "cpu" if matrix.device.type == "mps" else matrix.device
