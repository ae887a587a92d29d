"""What torch.save writes, and merging it; for tests that have asked for torch."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
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


def without_torch(folder: Path) -> dict[str, str]:
    """An environment in which torch cannot be imported."""
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError('not installed')\n")
    return {"PYTHONPATH": str(folder)}


def archive(pickled: bytes, *more: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """What torch.save writes, around any pickle."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as written:
        for name, data in (("archive/data.pkl", pickled), ("archive/version", b"3\n"), *more):
            written.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    return target.getvalue()
