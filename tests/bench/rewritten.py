"""Time `git add` of a model that was trained anew, against adding the same file where nothing is like it.

    python tests/bench/rewritten.py [--megabytes 400] [--repeat 3]

Names, dtypes and shapes are those of the version before, so git-theta looks for a difference; there is none.
Prints seconds (the best of the repetitions) and how much longer the looking takes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from roundtrip import fresh, make


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=400, help="size of the model (%(default)s)")
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        first, second = work / "first.safetensors", work / "second.safetensors"
        for seed, path in enumerate((first, second)):
            make(path, arguments.megabytes * 1_000_000, seed)
        alone, after = [], []
        for number in range(arguments.repeat):
            alone.append(seconds(work / f"alone-{number}", [second]))
            after.append(seconds(work / f"after-{number}", [first, second]))
    print(f"add of {arguments.megabytes} MB: {min(alone):.2f} s where nothing is like it,")
    print(f"{min(after):.2f} s as the next version of an unrelated model: {min(after) / min(alone) - 1:+.0%}")


def seconds(repository: Path, versions: list[Path]) -> float:
    """Commit all of the versions but the last in a fresh repository; how long its add takes."""
    git = fresh(repository)
    git("theta", "install", "--local")
    git("theta", "track", "*.safetensors")
    for version in versions:
        shutil.copyfile(version, repository / "model.safetensors")
        taken = git("add", "--all")
        git("commit", "-q", "-m", version.name)
    shutil.rmtree(repository)
    return taken


if __name__ == "__main__":
    main()
