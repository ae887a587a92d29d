"""Every command in a repository in which names, messages and manifests hold what a terminal would obey."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from git_repo import GitRepo, changed, safetensors_bytes

from git_theta.cli.main import CALLED_BY_GIT, SUMMARIES

EVIL = "\x1b]0;FORGED\x07\x9b31m\u202e\r\t\x7f\x85\u2028\nFORGED: \x1b[31mred"
TENSORS = (f"evil{EVIL}", "\nFORGED", "\x1b[2J", "w[0]", "x" * 3000, "layer.0.\x1b]52;c;Zm9v\x07weight")
BYTES = os.fsdecode(b"\xff\x9b")
"""No UTF-8."""
FOLDER = f"dir{EVIL}"
MODEL = f"{FOLDER}/m{EVIL}{BYTES}.safetensors"
DAMAGED, OPAQUE, RAW = f"damaged{EVIL}.safetensors", f"opaque{EVIL}.pt", f"raw{EVIL}.safetensors"
FORMAT = f"format{EVIL}.safetensors"
BRANCH = f"side\x9b31m\u202e{BYTES}"
REMOTE = "rem\x9bote\u202e"

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
OF_GIT = re.compile(r"^(?:To|error: failed to push some refs to) .*$|(?<=\")\t$", re.MULTILINE)
"""What git itself prints: where it pushes to, and what ends names in patches."""
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class Hostile(GitRepo):
    """The repository, with an environment of its own, because it outlives a test."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        super().__init__(path)
        self.environment = environment

    def said(self, *command: str, stdin: bytes | None = None, **environment: str) -> str:
        """What a command says, after a look at all of it."""
        variables = os.environ | self.environment | environment
        done = subprocess.run(command, cwd=self.path, env=variables, input=stdin, capture_output=True)
        text = (done.stdout + done.stderr).decode(
            errors="surrogateescape" if "theta" in command else "replace"
        )
        look(text, " ".join(command))
        assert "Traceback" not in text, text
        assert "did not expect" not in text, text
        return text

    def do(self, *command: str, check: bool = True) -> str:
        return self.run("git", *command, check=check, **self.environment).stdout


def look(text: str, what: str) -> None:
    plain = COLOUR.sub("", text) if "--color=always" in what or "color.ui" in what else text
    plain = OF_GIT.sub("", plain)
    found = FORBIDDEN.search(plain)
    around = plain[max(0, found.start() - 80) : found.start() + 40] if found else ""
    assert not around, f"{what[:60]!r} prints what it must not: {around!r}"
    assert plain.isprintable() or plain.encode(errors="ignore").decode() == plain, (
        f"{what[:60]!r} prints no UTF-8"
    )
    forged = re.search(r"^\W*FORGED", plain, re.MULTILINE)
    near = plain[max(0, forged.start() - 300) : forged.end()] if forged else ""
    assert not forged, f"{what[:60]!r} lets a name end a line: {near!r}"


def model(seed: int) -> bytes:
    random = np.random.default_rng(0)
    base = {name: random.standard_normal((4, 4)).astype("float32") for name in TENSORS}
    metadata = {f"key{EVIL}": f"value {seed} {EVIL}"}
    return safetensors_bytes(changed(base, seed=seed) if seed else base, metadata)


@pytest.fixture(scope="module")
def hostile(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    """A merge with a conflict; beside it a damaged manifest, an opaque file, and one committed as it is."""
    folder = tmp_path_factory.mktemp("hostile")
    scripts = Path(sys.executable).parent
    environment = {"HOME": str(prepared / "home"), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"GIT_MERGE_AUTOEDIT": "no"}
    repo = Hostile(
        Path(shutil.copytree(prepared / "repo", folder / f"r{EVIL}".replace("\n", ""))), environment
    )
    bare = folder / f"bare{EVIL}".replace("\n", "").replace("\x85", "").replace("\u2028", "")
    repo.do("init", "-q", "--bare", str(bare))
    repo.do("config", "user.name", f"Eve {EVIL}".replace("\n", " "))
    repo.do("remote", "add", REMOTE, str(bare))
    repo.write(MODEL, model(0))
    repo.write(OPAQUE, b"opaque")
    repo.do("add", "--all")
    manifest = repo.do("cat-file", "blob", f":{MODEL}")
    for path, text in (
        (FORMAT, manifest.replace('"format":"safetensors"', f'"format":{json.dumps(EVIL)}')),
        (DAMAGED, json.dumps({"git-theta": 1, "format": EVIL}) + "\n{" + EVIL),
        (RAW, model(0).decode("latin-1")),
    ):
        repo.write(".git/text", text.encode("latin-1", "replace"))
        oid = repo.do("hash-object", "-w", "--no-filters", ".git/text").strip()
        repo.do("update-index", "--add", "--cacheinfo", f"100644,{oid},{path}")
    unchecked = ("-c", "core.hooksPath=/dev/null", "commit", "-q", "-m")
    repo.do(*unchecked, f"base {EVIL}")
    for seed, branch in ((1, BRANCH), (2, "main")):
        repo.do("checkout", "-q", "-B", branch, "HEAD" if seed == 1 else f"{BRANCH}~1", check=False)
        repo.write(MODEL, model(seed))
        repo.do("add", "--", f":(literal){MODEL}")
        repo.do(*unchecked, f"change {seed} {EVIL}")
    return repo


FILES = {
    "MODEL": MODEL,
    "DAMAGED": DAMAGED,
    "FORMAT": FORMAT,
    "OPAQUE": OPAQUE,
    "RAW": RAW,
    "BRANCH": BRANCH,
    "REMOTE": REMOTE,
}
FILES |= {"TENSOR": TENSORS[0]}

COMMANDS: dict[str, list[str]] = {
    "install": ["--local", ""],
    "track": ["", "MODEL", "-n *.nothing\x1b"],
    "untrack": ["-n MODEL", "none\x1b\x9b"],
    "doctor": ["", "--deep", "--json"],
    "status": ["", "--json", "color.ui"],
    "diff": [
        "",
        "HEAD~1 HEAD",
        "HEAD~1 HEAD --stat",
        "HEAD~1 HEAD --json",
        "nothing\x1b",
        "--tensor TENSOR BRANCH",
    ],
    "show": [
        "MODEL",
        "MODEL --tensor TENSOR",
        "MODEL --tensor \x1b",
        "DAMAGED",
        "FORMAT",
        "OPAQUE",
        "RAW",
        "nothing\x9b",
    ],
    "log": ["MODEL", "MODEL --tensor TENSOR", "none\x1b"],
    "blame": ["MODEL", "none\x1b"],
    "ls-files": ["", "-l", "--json", "--json -l", "BRANCH -l", "none\x1b"],
    "du": ["", "--json", "none\x1b"],
    "fsck": ["", "--fast"],
    "merge": ["BRANCH --strategy ours -n", "BRANCH", "none\x1b", "BRANCH --rule \x1b:ours", "--redo HEAD"],
    "strategies": ["", "none\x1b"],
    "mergetool": ["--answers .git/answers", "--answers .git/none\x1b"],
    "resolve": ["none\x1b --ours", "MODEL --strategy none\x1b", "MODEL --tensor TENSOR --ours"],
    "checkout": ["--theirs MODEL", "none\x1b --ours"],
    "fetch": ["REMOTE", "none\x1b", "/nowhere\x1b"],
    "pull": ["REMOTE", "none\x1b"],
    "push": ["REMOTE HEAD", "none\x1b", "REMOTE none\x1b", "-n REMOTE"],
    "add": ["MODEL", "none\x1b", "OPAQUE --update low-rank --update-data MODEL"],
    "repack": ["none\x1b", ""],
    "demo": ["MODEL"],
    "completion": ["bash", "none\x1b"],
    "version": [""],
    "clean": ["MODEL", ""],
    "smudge": ["MODEL", ""],
    "hook": ["pre-commit", "pre-push REMOTE URL", "none\x1b", "post-commit", "post-checkout HEAD~1 HEAD 1"],
    "diff-driver": ["MODEL", "none\x1b"],
    "textconv": ["MODEL", "DAMAGED", "OPAQUE", "none\x1b"],
    "merge-driver": ["none\x1b none none 7 MODEL", "a b c d e"],
    "filter-process": [""],
    "uninstall": ["--local"],
}
"""What to type after each command; words in capitals stand for names of above."""

DATA = {"clean", "smudge", "filter-process"}  # print what is for git


def test_every_command_is_here() -> None:
    assert COMMANDS.keys() == SUMMARIES.keys()
    assert CALLED_BY_GIT.keys() <= COMMANDS.keys()


def test_nothing_that_a_terminal_obeys_gets_out(hostile: Hostile) -> None:
    hostile.write(".git/answers", "theirs @layer\nskip @all\n")
    wrong = []

    def attempt(*command: str, stdin: bytes | None = None) -> None:
        try:
            hostile.said(*command, stdin=stdin)
        except AssertionError as error:
            wrong.append(str(error))

    def type_all(name: str) -> None:
        for line in COMMANDS[name]:
            words = [FILES.get(word, word) for word in line.split(" ") if word and word != "color.ui"]
            colour = ("-c", "color.ui=always") if "color.ui" in line else ()
            given = b"" if name in DATA or name == "hook" else None
            attempt("git", *colour, "theta", name, *words, stdin=given)

    first = ("merge", "status", "fsck", "push", "repack")
    for name in first:
        type_all(name)
    attempt("sh", "-c", f"git merge '{BRANCH}' >/dev/null")  # git says raw names there
    attempt("git", "diff", "--color=always")  # without colours it is a patch in a pipe, and that is data
    for name in COMMANDS:
        if name not in ("uninstall", "repack", "demo"):
            type_all(name)
    attempt("git", "theta", "resolve", MODEL, "--ours")
    attempt("git", "commit", "-qm", "merged")
    attempt("git", "push", REMOTE, "HEAD")
    for options in (["--color=always"], ["--no-ext-diff", "--textconv"]):
        attempt("git", "diff", *options, "HEAD~1", "HEAD", "--", f":(literal){MODEL}")
    attempt("git", "log", "-p", "-2", "--format=%h", "--", f":(literal){MODEL}")
    attempt("git", "theta", "merge", "--redo", "HEAD")
    attempt("git", "checkout", "-q", BRANCH)
    for name in ("demo", "repack", "uninstall"):
        type_all(name)
    assert not wrong, "\n\n".join(wrong)


def test_what_programs_read_has_the_names_as_they_are(hostile: Hostile) -> None:
    listed = json.loads(hostile.said("git", "theta", "ls-files", "--json", "-l"))
    found = {entry["path"]: entry for entry in listed}
    assert {tensor["name"] for tensor in found[MODEL]["tensors"]} == set(TENSORS)
