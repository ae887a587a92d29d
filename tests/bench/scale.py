"""What git-theta costs when the work grows: many tensors, long histories, many files.

    python tests/bench/scale.py [NAME ...]

Without a name, all are measured. Seconds are of processor time, of git and of all that it starts. training.py
measures long training runs, roundtrip.py large files against git-lfs.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from roundtrip import fresh
from timing import best, processor
from training import rounded, write

from git_theta import manifest as manifests
from git_theta.dtypes import dtype
from git_theta.git.repository import Repository
from git_theta.manifest import Manifest, StorageLine, TensorLine
from git_theta.manifest.chains import closure
from git_theta.remotes.push_plan import Push, plan

MODEL = "model.safetensors"
MIB = 1 << 20


def many_tensors(folder: Path, count: int = 20_000) -> Iterator[str]:
    """A mixture of experts: so many tensors of 2 KB, all of which change."""
    git = repository(folder)
    random = np.random.default_rng(0)
    names = [f"layers.{n // 200}.experts.{n % 200}.w" for n in range(count)]
    weights = [random.standard_normal((32, 32), np.float32) * np.float32(0.02) for _ in names]
    index = folder / ".git/theta/index.sqlite"
    for step in ("first", "changed"):
        write(folder / MODEL, dict(zip(names, map(rounded, weights), strict=True)))
        before = index.stat().st_size if index.exists() else 0
        seconds = processor(lambda: git("add", MODEL))
        commit = processor(lambda: git("commit", "-q", "-m", "model"))
        blob = output(folder, "cat-file", "-s", f"HEAD:{MODEL}")
        grown = (index.stat().st_size - before) / MIB
        yield (
            f"{count} tensors, {step} version: add {seconds:.1f} s, commit {commit:.1f} s, "
            f"index +{grown:.1f} MiB, manifest {int(blob) / MIB:.1f} MiB"
        )
        weights = [one + random.standard_normal(one.shape, np.float32) * np.float32(3e-4) for one in weights]


def manifest(folder: Path, tensors: int = 300, depth: int = 4) -> Iterator[str]:
    """A manifest whose tensors are all at the end of a chain."""
    history = histories(tensors, tensors, depth)
    text = manifests.write([next(history) for _ in range(depth + 1)][-1])
    whole = best(lambda: manifests.parse(text), 9, time.process_time)
    oids = best(lambda: manifests.find_objects(text), 9, time.process_time)
    yield (
        f"manifest of {tensors} tensors, {depth} updates deep: {len(text) / 1000:.0f} KB, "
        f"parse {1000 * whole:.1f} ms, oids and sizes {1000 * oids:.2f} ms"
    )


def text_commit(folder: Path) -> Iterator[str]:
    """A commit of a text file, with the hooks and without."""
    git = repository(folder)
    write(folder / MODEL, {"w": np.zeros((1024, 1024), "<f4")})
    git("add", MODEL)
    git("commit", "-q", "-m", "model")
    number = iter(range(99))

    def commit(*options: str) -> None:
        (folder / "notes.txt").write_text(str(next(number)))
        git("add", "notes.txt")
        git(*options, "commit", "-q", "-m", "notes")

    hooks = min(processor(commit) for _ in range(9))
    without = min(processor(lambda: commit("-c", "core.hooksPath=/dev/null")) for _ in range(9))
    yield f"add and commit of a text file: {1000 * hooks:.0f} ms, without hooks {1000 * without:.0f} ms"


def push_plan(folder: Path, commits: int = 1000, tensors: int = 300) -> Iterator[str]:
    """What a first push of a long history must bring."""
    repository(folder)
    imported(folder, histories(tensors, tensors // 10, 4), commits)
    push = Push("origin", "nowhere", [output(folder, "rev-parse", "HEAD")])
    for state in ("manifests that nobody has checked", "checked ones"):
        start = time.perf_counter()
        with Repository.elsewhere(folder) as opened:
            objects = plan(opened, push).objects
        seconds = time.perf_counter() - start
        what = f"{commits} commits x {tensors} tensors, {state}"
        yield f"push plan, {what}: {seconds:.1f} s, {len(objects)} objects"


def history(folder: Path, commits: int = 300, tensors: int = 1000, changed: int = 300) -> Iterator[str]:
    """What git keeps of manifests."""
    repository(folder)
    imported(folder, histories(tensors, changed, 4), commits)
    subprocess.run(["git", "gc", "-q"], cwd=folder, check=True)
    packs = sum(path.stat().st_size for path in folder.glob(".git/objects/pack/*"))
    yield (
        f".git after gc, {commits} commits of {changed} changed tensors among {tensors}: "
        f"{packs / commits / 1000:.1f} KB a commit"
    )


def shards(folder: Path, count: int = 60) -> Iterator[str]:
    """A model in many files, added beside others, one of which is as like them as the other."""
    git = repository(folder)
    random = np.random.default_rng(0)
    for half in range(2):
        for number in range(count):
            values = random.standard_normal((40, 16, 16), np.float32)
            names = (f"{half}.{number}.{n}" for n in range(40))
            write(folder / f"{half}-{number}.safetensors", dict(zip(names, values, strict=True)))
        seconds = processor(lambda: git("add", "--all"))
        yield f"{count} files of 40 tensors, {half * count} others tracked: add {seconds:.1f} s"
        git("commit", "-q", "-m", "shards")


def histories(tensors: int, changed: int, depth: int) -> Iterator[Manifest]:
    """Manifests of a checkpoint of which some tensors change at a time, 64 to an object; without data."""
    chosen, numbers = random.Random(0), iter(range(1 << 60))
    kind = dtype("BF16")
    lines = [TensorLine(f"layers.{n:04}.weight", kind, (64, 64), name(next(numbers))) for n in range(tensors)]
    skeleton = name(next(numbers))
    storage: dict[str, StorageLine] = {}
    moved: Iterable[int] = range(tensors)
    while True:
        for place, at in enumerate(moved):
            if place % 64 == 0:
                oid, size = name(next(numbers)), chosen.randrange(1 << 23)
            old = storage.get(lines[at].digest)
            deeper = old is not None and len(closure([old.digest], storage)) <= depth
            digest = name(next(numbers)) if old else lines[at].digest
            if old is not None:
                storage[old.place] = replace(old, digest=old.place, update="")
            bases = (old.place,) if old is not None and deeper else ()
            storage[digest] = StorageLine(digest, oid, size, place % 64, "delta" if bases else "dense", bases)
            lines[at] = replace(lines[at], digest=digest)
        storage.setdefault(skeleton, StorageLine(skeleton, name(0), 100, 0, "dense"))
        identity = Manifest("safetensors", 9999, "", tuple(lines), (), skeleton, 8 + 16 * tensors)
        storage = closure(identity.digests(), storage)
        yield manifests.with_root(identity).with_storage(storage)
        moved = sorted(chosen.sample(range(tensors), changed))


def imported(folder: Path, versions: Iterator[Manifest], commits: int) -> None:
    """Commit these manifests, as fast as git can."""
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=folder, stdin=subprocess.PIPE) as importer:
        assert importer.stdin
        for number in range(commits):
            text = manifests.write(next(versions))
            head = f"commit refs/heads/main\ncommitter bench <bench@example.com> {number} +0000\ndata 1\nx\n"
            importer.stdin.write(f"{head}M 100644 inline {MODEL}\ndata {len(text)}\n".encode() + text + b"\n")
    if importer.returncode:
        raise SystemExit("git fast-import failed")


def name(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def repository(folder: Path) -> Callable[..., float]:
    git = fresh(folder)
    git("checkout", "-q", "--orphan", "main")
    git("theta", "install", "--local")
    git("theta", "track", "*.safetensors")
    git("add", ".gitattributes")
    return git


def output(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


MEASURED = (manifest, text_commit, many_tensors, shards, push_plan, history)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = {one.__name__.replace("_", "-"): one for one in MEASURED}
    parser.add_argument("names", nargs="*", choices=[*known, []], metavar="NAME", help=", ".join(known))
    for chosen in parser.parse_args().names or known:
        with tempfile.TemporaryDirectory() as temporary:
            for line in known[chosen](Path(temporary) / "repository"):
                print(line, flush=True)


if __name__ == "__main__":
    main()
