"""Time `git add` and `git checkout` of a checkpoint with git-theta, and with git-lfs where it is installed.

    python tests/bench/roundtrip.py [FILE.safetensors] [--megabytes 200] [--repeat 3]

Prints seconds (the best of the repetitions), the peak memory of the filter process and the stored bytes, and
git-theta's part of git-lfs's. Without a file it makes one: bf16 weights of a transformer, random.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

WIDTH = 1024
STEPS = ("first add", "checkout", "add of the touched file")
FILTERS = {"theta": "git-theta filter-process", "lfs": "git-lfs filter-process"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a checkpoint")
    parser.add_argument(
        "--megabytes", type=int, default=200, help="size of the file that is made (%(default)s)"
    )
    parser.add_argument("--repeat", type=int, default=3, help="repetitions (%(default)s)")
    parser.add_argument("--watch", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watch:
        sys.exit(watch(Path(arguments.watch[0]), arguments.watch[1:]))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        file = arguments.file.resolve() if arguments.file else work / "made.safetensors"
        if not arguments.file:
            make(file, arguments.megabytes * 1_000_000)
        tools = [tool for tool in FILTERS if shutil.which(f"git-{tool}")]
        figures = repeated(tools, file, work, arguments.repeat)
        print(f"{file.name}: {file.stat().st_size / 1e6:.0f} MB\n")
        for line in table(tools, figures):
            print(line)


def repeated(tools: list[str], file: Path, work: Path, times: int) -> list[dict[str, float]]:
    """The least of each tool's figures. They take turns, so that both meet the same state of the machine."""
    found: list[dict[str, float]] = [{} for _ in tools]
    for number in range(times):
        for tool, least in zip(tools, found, strict=True):
            for name, value in measured(tool, file, work / f"{tool}-{number}").items():
                least[name] = min(value, least.get(name, value))
    return found


def measured(tool: str, file: Path, folder: Path) -> dict[str, float]:
    """Figures of one fresh repository."""
    folder.mkdir()
    repository, memory = folder / "repository", folder / "memory"
    git = fresh(repository)
    git("config", f"filter.{tool}.required", "true")
    watching = [sys.executable, __file__, "--watch", str(memory), *FILTERS[tool].split()]
    git("config", f"filter.{tool}.process", " ".join(f"'{word}'" for word in watching))
    (repository / ".gitattributes").write_text(f"model{file.suffix} filter={tool} -text\n")
    git("add", ".gitattributes")
    model = repository / f"model{file.suffix}"
    shutil.copyfile(file, model)
    figures = {}
    for step in STEPS:
        if step == "checkout":
            git("commit", "-q", "-m", "model")
            model.unlink()
        elif step != "first add":
            os.utime(model, (1, 1))
        memory.unlink(missing_ok=True)
        verb = "checkout" if step == "checkout" else "add"
        figures[f"{step}, s"] = git(verb, "--", model.name)
        figures[f"{step}, filter's peak MB"] = max(map(float, memory.read_text().split()))
    if not filecmp.cmp(model, file, shallow=False):
        raise SystemExit(f"{tool}: the file came back with other bytes")
    figures["stored MB"] = sum(path.stat().st_size for path in stored(repository / ".git" / tool)) / 1e6
    shutil.rmtree(folder)
    return figures


def fresh(repository: Path) -> Callable[..., float]:
    """Make a repository apart from the user's settings; returns what runs git in it and tells the seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"HOME": str(repository.parent), "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*command: str) -> float:
        started = time.perf_counter()
        subprocess.run(["git", *command], cwd=repository, env=environment, check=True, capture_output=True)
        return time.perf_counter() - started

    repository.mkdir()
    git("init", "-q")
    git("config", "user.name", "bench")
    git("config", "user.email", "bench@example.com")
    return git


def stored(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def watch(log: Path, command: list[str]) -> int:
    """Run a command, and note its peak memory in MB (2**20 bytes, as ps counts)."""
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    with log.open("a") as file:
        file.write(f"{usage.ru_maxrss / unit:.1f}\n")
    return os.waitstatus_to_exitcode(status)


def make(path: Path, nbytes: int, seed: int = 0) -> None:
    """Write bf16 weights: an embedding, square matrices, and norms."""
    import numpy as np  # not at the top: the peak memory of a child is at least that of the one who starts it

    random = np.random.default_rng(seed)
    shapes = {"embedding": (4 * WIDTH, WIDTH)}
    size = 8 * WIDTH * WIDTH
    while size < nbytes:
        layer = len(shapes) // 2
        shapes |= {f"layers.{layer}.weight": (WIDTH, 2 * WIDTH), f"layers.{layer}.norm": (WIDTH,)}
        size += 4 * WIDTH * WIDTH + 2 * WIDTH
    header: dict[str, object] = {}
    at = 0
    for name, shape in shapes.items():
        length = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + length]}
        at += length
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes.values():
            values = random.standard_normal(shape, np.float32) * np.float32(0.02)
            file.write((values.view("<u4") >> 16).astype("<u2").tobytes())


def table(tools: list[str], figures: list[Mapping[str, float]]) -> Iterator[str]:
    """The figures of the tools side by side, and the ratio of the first two."""
    yield f"{'':42}" + "".join(f"{'git-' + tool:>12}" for tool in tools) + f"{'ratio':>9}" * (len(tools) > 1)
    for name in figures[0]:
        row = f"{name:42}" + "".join(f"{one[name]:12.2f}" for one in figures)
        yield row + (f"{figures[0][name] / figures[1][name]:9.2f}" if len(figures) > 1 else "")


if __name__ == "__main__":
    main()
