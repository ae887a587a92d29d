"""A clone of a repository in which the objects of one file are lost."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from git_repo import GitRepo, digest, safetensors_bytes, version, weights

from git_theta import manifest

MODEL, LOST, OTHER = "model.safetensors", "a.safetensors", "b.safetensors"
LOST_FILE, OTHER_FILE = (safetensors_bytes(weights(seed, shape=(96, 200))) for seed in (7, 8))


@dataclass
class Broken:
    """A clone and its origin, in which objects of one file of the branch `other` are lost.

    `other` has, beside what main has: new files a.safetensors (the lost one), b.safetensors, new.txt, z.txt;
    another model, other notes. main has a commit of its own.
    """

    repo: GitRepo
    origin: GitRepo
    lost: Path

    def mend(self) -> None:
        """Someone pushes the objects again."""
        shutil.copytree(self.lost, self.origin.path / "theta" / "objects", dirs_exist_ok=True)


def build(folder: Path, history: Path) -> None:
    """`origin`, a `clone`, and what is `lost`, in a folder."""
    source = GitRepo(shutil.copytree(history, folder / "source"))
    source.git("switch", "-q", "-c", "other", "v0")
    for name, data in ((LOST, LOST_FILE), (OTHER, OTHER_FILE), (MODEL, version(1))):
        source.write(name, data)
    for name in ("new.txt", "z.txt", "notes.txt"):
        source.write(name, "of the other branch\n")
    source.commit("other")
    source.git("switch", "-q", "-c", "early", "v0")
    source.git("switch", "-q", "-C", "main", "v0")
    source.write("main.txt", "of main\n")
    source.commit("on main")
    origin = source.add_remote("origin")
    source.git("push", "-q", "origin", "main", "early", "other")
    clone = origin.clone("clone")
    needed = {name: set(clone_oids(source, name)) for name in (LOST, OTHER, MODEL)}
    for oid in needed[LOST] - needed[OTHER] - needed[MODEL]:
        place = Path(oid[:2], oid[2:4], oid)
        (folder / "lost" / place).parent.mkdir(parents=True, exist_ok=True)
        (origin.path / "theta" / "objects" / place).rename(folder / "lost" / place)
        (clone.path / ".git" / "theta" / "objects" / place).unlink(missing_ok=True)


def clone_oids(repo: GitRepo, name: str) -> list[str]:
    return list(manifest.parse(repo.blob(f"other:{name}")).oids())


def check_done(repo: GitRepo) -> None:
    """The clone is on `other` with all of its files, and what was not added is still there."""
    assert repo.status() == ["?? mine.txt"]
    assert repo.digest(LOST) == digest(LOST_FILE)
    assert repo.digest(OTHER) == digest(OTHER_FILE)
    assert repo.digest(MODEL) == digest(version(1))
    assert (repo.path / "notes.txt").read_text() == "of the other branch\n"
