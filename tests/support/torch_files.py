"""What torch.save writes, and merging it; for tests that have asked for torch."""

from __future__ import annotations

import io
from typing import Any

from git_repo import GitRepo
from merge_cases import diverge

NAME = "model.pt"


def saved(value: object, **options: Any) -> bytes:
    """What torch.save makes of a value."""
    import torch

    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def sides(repo: GitRepo, base: object, ours: object, theirs: object) -> None:
    """Branches like merge_cases.diverge, of values."""
    diverge(repo, saved(base), saved(ours), saved(theirs), NAME)


def loaded(repo: GitRepo) -> Any:
    """The value in the work tree."""
    import torch

    return torch.load(repo.path / NAME, weights_only=False)
