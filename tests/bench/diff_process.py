"""Time `git diff` and `git theta diff --stat` as whole processes, over a history of checkpoints.

    python tests/bench/diff_process.py FOLDER [--repeat 5]

FOLDER has safetensors files; each is committed as the next version of one model. For each pair of neighbours,
prints the kind of change, then seconds of time and of processor time (the best of the repetitions).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from itertools import pairwise
from pathlib import Path

MODEL = "model.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (%(default)s)")
    arguments = parser.parse_args()
    versions = sorted(arguments.folder.glob("*.safetensors"))
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        prepare(repository)
        commits = [commit(repository, version) for version in versions]
        for (before, after), version in zip(pairwise(commits), versions[1:], strict=True):
            print(f"{version.stem}: {kind(repository, before, after)}")
            for command in (["git", "diff"], ["git", "theta", "diff", "--stat"]):
                seconds, processor = best(repository, [*command, before, after], arguments.repeat)
                print(f"  {' '.join(command):22} {seconds:6.2f} s, {processor:6.2f} s of processors")


def prepare(repository: Path) -> None:
    """Make the folder a repository that tracks the model."""
    for command in (
        "git init -q",
        "git config user.name Bench",
        "git config user.email bench@example.invalid",
        "git theta install --local",
        f"git theta track {MODEL}",
    ):
        run(repository, command.split())


def commit(repository: Path, version: Path) -> str:
    shutil.copyfile(version, repository / MODEL)
    run(repository, ["git", "add", ".gitattributes", MODEL])
    run(repository, ["git", "commit", "-q", "-m", version.stem])
    return run(repository, ["git", "rev-parse", "HEAD"]).strip()


def kind(repository: Path, before: str, after: str) -> str:
    """What git-theta takes the change for."""
    lines = run(repository, ["git", "diff", before, after, "--", MODEL]).splitlines()
    return lines[1].strip() if len(lines) > 1 else "no difference"


def best(repository: Path, command: list[str], repeat: int) -> tuple[float, float]:
    """Seconds, and seconds of all processors, of a command and of what it starts."""
    found = []
    for _ in range(repeat):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run(repository, command)
        seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(
            (seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime),
        )
    return min(one for one, _ in found), min(other for _, other in found)


def run(repository: Path, command: list[str]) -> str:
    environment = {**os.environ, "GIT_PAGER": "cat"}
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
