"""What install, track, status, doctor and hooks advise, done as it says."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from git_repo import GitRepo, does, version

MODEL = "model.safetensors"


def wrong(repo: GitRepo, **environment: str) -> str:
    """What doctor says where something is wrong."""
    done = repo.theta("doctor", check=False, **environment)
    assert done.returncode == 1
    return done.stdout


def well(repo: GitRepo) -> None:
    assert repo.theta("doctor").returncode == 0


def test_settings(history: GitRepo) -> None:
    history.git("config", "--global", "filter.theta.clean", "my-own clean")
    said = history.refused("git", "theta", "install")
    history.remedy(said, "git theta install --force")
    history.git("config", "--global", "filter.theta.clean", "my-own clean")
    history.remedy(wrong(history), "git theta install --force")
    well(history)
    history.theta("uninstall")
    history.theta("install", "--local")
    history.git("config", "filter.theta.clean", "my-own clean")
    history.remedy(wrong(history), "git theta install --force --local")
    well(history)


def test_configuration_that_cannot_be_written(history: GitRepo, home: Path) -> None:
    lock = home / ".gitconfig.lock"
    lock.write_text("")
    history.git("config", "--global", "--unset", "filter.theta.clean", check=False)
    lock.unlink()
    history.git("config", "--global", "--unset", "filter.theta.clean")
    lock.write_text("")
    said = history.refused("git", "theta", "install")
    shown = history.remedy(said, "git config --list --show-origin --show-scope").stdout
    assert str(home / ".gitconfig") in shown
    lock.unlink()
    history.theta("install")
    well(history)


def test_not_set_up(history: GitRepo) -> None:
    history.theta("uninstall")
    said = history.theta("status", check=False).stdout
    history.remedy(said, "git theta install")
    history.theta("status")
    (history.path / ".git" / "hooks" / "pre-push").unlink()
    said = history.theta("status", check=False).stdout
    doctor = wrong(history)
    (history.path / MODEL).write_bytes(version(0))
    warned = history.git("add", MODEL).stderr
    does(warned, "git push would leave data behind\n  git theta install")
    assert "git theta install" in said
    history.remedy(doctor, "git theta install")
    well(history)
    history.theta("status")


def test_nothing_tracked(plain: GitRepo) -> None:
    plain.theta("install")
    said = plain.theta("status").stdout
    plain.remedy(said, 'git theta track "*.safetensors"')
    assert "*.safetensors" in plain.theta("status").stdout


def test_attributes(history: GitRepo) -> None:
    text = (history.path / ".gitattributes").read_text()
    history.write(".gitattributes", text + f"{MODEL} filter=lfs -text\n")
    said = wrong(history)
    history.remedy(said, f"git theta track {MODEL}")
    well(history)
    history.write(".gitattributes", text.replace("diff=theta", "diff=text"))
    history.remedy(wrong(history), f"git theta track {MODEL}")
    well(history)


def test_raw_and_damaged(history: GitRepo) -> None:
    history.commit_as_it_is(version(0), MODEL)
    history.write(MODEL, version(0))
    said = wrong(history)
    history.remedy(said, f"git add --renormalize {MODEL}")
    history.git("commit", "-q", "-m", "mended")
    well(history)
    damaged = history.blob(f"HEAD:{MODEL}").replace(b'"format":"safetensors"', b'"format":"pytorch"')
    history.stage(damaged, MODEL)
    history.remedy(wrong(history), f"git add --renormalize {MODEL}")
    well(history)


def test_programs_that_are_not_found(history: GitRepo, home: Path) -> None:
    program = "import sys; from git_theta.cli.entry import main; sys.exit(main(['doctor']))"
    said = history.run(sys.executable, "-c", program, check=False, PATH="/usr/bin:/bin").stdout
    does(said, "activate the environment it is installed in")
    well(history)
    empty = home / "empty"
    empty.mkdir()
    done = history.run(sys.executable, "-c", program, check=False, PATH=str(empty))
    does(done.stdout + done.stderr, "install Git 2.34 or newer")
    history.write(MODEL, version(0))
    ls_files = program.replace("doctor", "ls-files")
    done = history.run(sys.executable, "-c", ls_files, check=False, PATH=str(empty))
    does(done.stderr, "install Git 2.34 or newer")
    history.theta("ls-files")


def test_git_that_is_too_old(history: GitRepo, tmp_path: Path) -> None:
    git = history.run("sh", "-c", "command -v git").stdout.strip()
    program = tmp_path / "old" / "git"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\n[ "$1" = version ] && echo git version 2.9.5 || exec {git} "$@"\n')
    program.chmod(0o755)
    old = {"PATH": f"{program.parent}:{history.run('sh', '-c', 'echo $PATH').stdout.strip()}"}
    does(history.refused("git-theta", "install", "--local", **old), "install Git 2.34 or newer")
    said = history.run("git-theta", "doctor", check=False, **old).stdout
    assert "git 2.9.5 is too old" in said
    does(said, "install Git 2.34 or newer")
    history.theta("install", "--local")
    well(history)


def test_outside_of_repositories(home: Path, history: GitRepo) -> None:
    nowhere = GitRepo(home)
    said = nowhere.refused("git", "theta", "ls-files")
    nowhere.remedy(said, "git init")
    nowhere.theta("ls-files")
    does(said, "cd to a repository")
    history.theta("ls-files")


def test_commands_that_there_are_not(history: GitRepo) -> None:
    said = history.refused("git", "theta", "lsfiles")
    assert "ls-files" in history.remedy(said, "git theta -h").stdout
    does(said, "did you mean ls-files?")
    history.theta("ls-files")


def test_hooks_that_do_not_run(history: GitRepo) -> None:
    history.git("config", "core.hooksPath", "/dev/null")
    bare = history.add_remote("origin")
    said = history.theta("install").stdout
    does(said, "before each git push, type: git theta push")
    history.remedy(said, "git theta push")
    history.git("push", "-q", "origin", "main")
    assert bare.clone("clone").git("status", "--short").stdout == ""


def test_hooks_under_version_control(history: GitRepo) -> None:
    folder = history.path / "githooks"
    folder.mkdir()
    hook = folder / "pre-push"
    hook.write_text("#!/bin/sh\n")
    hook.chmod(0o755)
    history.git("config", "core.hooksPath", "githooks")
    said = history.theta("install").stdout
    does(said, 'githooks/pre-push:  git theta hook pre-push "$@"')
    for line in said.splitlines():
        name, colon, command = line.strip().partition(":  ")
        if colon:
            place = history.path / name
            place.write_text(f"#!/bin/sh\n{command}\n")
            place.chmod(0o755)
    history.theta("status")
    well(history)


def test_hooks_of_two(history: GitRepo) -> None:
    hooks = history.path / ".git" / "hooks"
    (hooks / "post-merge").write_text("#!/bin/sh\n# one\n")
    (hooks / "post-merge.theta-chained").write_text("#!/bin/sh\n# two\n")
    said = history.refused("git", "theta", "install")
    does(said, "put what both should do into one of them, remove the other, then: ")
    (hooks / "post-merge.theta-chained").unlink()
    history.remedy(said, "git theta install")
    well(history)


def test_refused_by_a_hook_for_being_raw(history: GitRepo) -> None:
    oid = history.hash_object(version(0))
    history.write(MODEL, version(0))
    history.git("update-index", "--cacheinfo", f"100644,{oid},{MODEL}")
    said = history.refused("git", "commit", "-m", "raw")
    history.remedy(said, f"git add --renormalize {MODEL}")
    history.git("commit", "-q", "-m", "mended")
    assert history.blob(f"HEAD:{MODEL}").startswith(b'{"git-theta":')


def test_repack(history: GitRepo) -> None:
    history.write(MODEL, version(0))
    history.git("add", MODEL)
    said = history.refused("git", "theta", "repack")
    history.remedy(said, "git stash")
    history.theta("repack")
    history.git("stash", "pop", "-q", "--index")
    history.remedy(said, "git commit", GIT_EDITOR="sh -c 'echo again > $0'")
    history.theta("repack")
    history.git("switch", "-q", "--orphan", "unborn")
    said = history.refused("git", "theta", "repack")
    history.write("notes.txt", "again\n")
    history.git("add", "notes.txt")
    history.remedy(said, "git commit", GIT_EDITOR="sh -c 'echo first > $0'")
    history.theta("repack")
    history.git("revert", "--no-commit", "v1", check=False)
    if "under way" in (said := history.theta("repack", check=False).stderr):
        does(said, "finish or abort it first")
        history.git("revert", "--abort")
    history.theta("repack")


def test_hooks_folder_that_cannot_be_written(history: GitRepo) -> None:
    if not os.geteuid():
        pytest.skip("root can write everywhere")
    hooks = history.path / ".git" / "hooks"
    (hooks / "pre-push").unlink()
    hooks.chmod(0o555)
    said = history.refused("git", "theta", "install")
    history.remedy(said, f"chmod u+w {hooks}")
    history.theta("install")
    well(history)


def test_servers(history: GitRepo, pushed: GitRepo) -> None:
    said = pushed.theta("doctor", check=False).stdout
    pushed.remedy(said, "git theta install --server")
    assert "refs whose objects are not here are refused" in pushed.theta("doctor", check=False).stdout
    history.write(MODEL, version(0))
    history.commit("again")
    history.git("push", "-q", "origin", "main")
