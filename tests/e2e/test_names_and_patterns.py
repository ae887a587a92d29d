"""Names of tensors and files that look like patterns, rules, options or lines: they mean themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from git_repo import GitRepo, changed, does, safetensors_bytes

MODEL = "model.safetensors"
NAMES = ("w[0]", "w0", "a: b", "a", " spaced ", "two\nlines", '"quoted"', "*", "!x", "#x", "-x", "a -> b")


def tensors(seed: int = 0, names: Iterable[str] = NAMES) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    base = {name: random.standard_normal((4, 4)).astype("float32") for name in names}
    return changed(base, seed=seed) if seed else base


def diverge(repo: GitRepo, *paths: str, names: Iterable[str] = NAMES) -> None:
    """A merge of `side` (seed 1) into main (seed 2) that has stopped: both have changed everything."""
    for path in paths:
        repo.write(path, safetensors_bytes(tensors(0, names)))
    repo.commit("base", *(f":(literal){path}" for path in paths))
    for seed, branch in ((1, "side"), (2, "main")):
        repo.git("checkout", "-q", "-B", branch, "HEAD" if seed == 1 else "side~1")
        for path in paths:
            repo.write(path, safetensors_bytes(tensors(seed, names)))
        repo.commit(branch, *(f":(literal){path}" for path in paths))
    assert repo.git("merge", "side", check=False).returncode == 1


def mixed(sides: Mapping[str, int]) -> bytes:
    """A model with each tensor of the side that is named for it: 0 base, 1 theirs, 2 ours."""
    versions = [tensors(seed) for seed in range(3)]
    return safetensors_bytes({name: versions[sides[name]][name] for name in NAMES})


def test_each_name_is_answered_for_alone_and_the_record_repeats_it(repo: GitRepo) -> None:
    diverge(repo, MODEL)
    lines = [
        'theirs @"a: b"',
        "theirs @w[0]",
        'base @"two\\nlines"',
        'theirs @"*"',
        "theirs @ -x",
        "ours @all",
    ]
    repo.write(".git/answers", "\n".join(lines))
    repo.theta("mergetool", "--answers", ".git/answers")
    theirs = ("a: b", "w[0]", "*", "-x")
    sides = {name: 1 if name in theirs else 0 if name == "two\nlines" else 2 for name in NAMES}
    assert (repo.path / MODEL).read_bytes() == mixed(sides)
    repo.git("commit", "-q", "--no-edit")
    message = repo.git("log", "-1", "--format=%B").stdout
    assert r'Theta-Resolution: "two\nlines": base' in message
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_resolve_diff_and_log_take_a_name_before_a_glob(repo: GitRepo) -> None:
    diverge(repo, MODEL)
    done = repo.theta("resolve", MODEL, "--tensor", "w[0]", "--tensor", '"a: b"', "--theirs", check=False)
    assert done.returncode == 1
    repo.theta("resolve", MODEL, "--ours")
    sides = {name: 1 if name in ("w[0]", "a: b") else 2 for name in NAMES}
    assert (repo.path / MODEL).read_bytes() == mixed(sides)
    repo.git("commit", "-q", "--no-edit")
    shown = repo.theta("diff", "side", "HEAD", "--tensor", "w[0]").stdout
    assert "w0" not in shown
    assert "w0 " in repo.theta("diff", "side", "HEAD", "--tensor", "w[0-9]").stdout
    said = repo.refused("git", "theta", "diff", "side", "HEAD", "--tensor", "two\nlines*")
    does(said, "a name can have one, in quotes: ")
    assert "two" in repo.theta("diff", "side", "HEAD", "--tensor", '"two\\nlines"').stdout
    logged = repo.theta("log", MODEL, "--tensor", "w[0]").stdout
    assert "w[0]" in logged
    assert "w0" not in logged


def test_rules_for_merges_and_renames_take_names_in_quotes(repo: GitRepo) -> None:
    diverge(repo, MODEL)
    repo.git("merge", "--abort")
    repo.theta(
        "merge", "side", "--strategy", "ours", "--rule", '"two\\nlines": theirs', "--rule", "w[0]: theirs"
    )
    assert (repo.path / MODEL).read_bytes() == mixed(
        {n: 1 if n in ("two\nlines", "w[0]") else 2 for n in NAMES}
    )
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout


def test_a_path_is_no_pattern_and_no_option(repo: GitRepo) -> None:
    last = "w0.safetensors"
    paths = ("w[0].safetensors", ":x.safetensors", "-x.safetensors", "a\nb.safetensors", "!x.safetensors")
    diverge(repo, *paths, last, names=("t[0]", "t0"))
    said = repo.refused("git", "commit", "-qam", "too early")
    repo.remedy(said, "git theta resolve 'w[0].safetensors' --strategy average")
    repo.remedy(said, "git theta resolve :x.safetensors --strategy average")
    repo.remedy(said, "git theta resolve ./-x.safetensors --strategy average")
    repo.remedy(said, "git theta resolve \"$(printf -- 'a\\012b.safetensors')\" --strategy average")
    repo.remedy(said, "git theta resolve '!x.safetensors' --strategy average")
    assert repo.git("diff", "--name-only", "--diff-filter=U", "-z").stdout == f"{last}\0"
    repo.remedy(said, "git theta resolve w0.safetensors --strategy average")
    repo.git("commit", "-q", "--no-edit")
    shown = repo.theta("diff", "--stat", "HEAD~1", "--", paths[0]).stdout
    assert shown.count(".safetensors") == 1
    assert "t[0]" in shown


def test_options_of_git_about_pathspecs_do_not_reach_our_questions(repo: GitRepo) -> None:
    for option in ("--literal-pathspecs", "--icase-pathspecs", "--glob-pathspecs"):
        repo.write(MODEL, safetensors_bytes(tensors(len(option))))
        repo.git(option, "add", MODEL)
        assert repo.git(option, "theta", "status").stdout.count(MODEL) == 1
        assert repo.blob(f":{MODEL}").startswith(b'{"git-theta"')


def test_track_means_a_file_by_its_name(repo: GitRepo) -> None:
    names = (
        "w[0].bin",
        "!x.bin",
        "#x.bin",
        " x.bin",
        '"x".bin',
        "-x.bin",
        "[attr]x.bin",
        "a b*.bin",
        "\\x.bin",
        "a\nb.bin",
    )
    others = ("w0.bin", "a bc.bin", "x.bin")
    for path in (*names, *others):
        repo.write(path, safetensors_bytes({"t": np.zeros(4, "float32")}))
    repo.theta("track", "--", *names)
    repo.git("add", "--all")
    for path in (*names, *others):
        assert repo.blob(f":{path}").startswith(b'{"git-theta"') == (path in names), path
    repo.theta("untrack", "--", *names)
    assert ".bin" not in (repo.path / ".gitattributes").read_text()
