"""git theta install, track and their inverses: nothing of the user's is lost, whatever was there before."""

import os
import subprocess
from pathlib import Path

import pytest
from git_repo import GitRepo, version

from git_theta.cli.main import SUMMARIES

HOOKS = (
    "pre-commit",
    "pre-merge-commit",
    "prepare-commit-msg",
    "pre-applypatch",
    "pre-push",
    "post-checkout",
    "post-commit",
    "post-merge",
)
SLEEPING = ["post-checkout", "post-index-change", "pre-push"]


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def hooks_of(repo: GitRepo) -> list[str]:
    """The hooks of git-theta in a repository."""
    folder = repo.path / repo.git("rev-parse", "--git-path", "hooks").stdout.strip()
    return sorted(path.name for path in folder.iterdir() if b"# git-theta hook" in path.read_bytes())


@pytest.mark.parametrize("scope", ["--global", "--local", "--worktree"])
def test_uninstall_undoes_install(plain: GitRepo, home: Path, scope: str) -> None:
    before = tree(home), tree(plain.path)
    option = [] if scope == "--global" else [scope]
    plain.theta("install", *option)
    assert plain.git("config", scope, "filter.theta.required").stdout == "true\n"
    assert hooks_of(plain) == sorted(HOOKS)
    installed = tree(home), tree(plain.path)
    plain.theta("install", *option)
    assert (tree(home), tree(plain.path)) == installed
    plain.theta("uninstall", *option)
    assert (tree(home), tree(plain.path)) == before


def test_for_all_users(plain: GitRepo, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "system"
    config.write_text("[core]\n\tabbrev = 12\n")
    monkeypatch.delenv("GIT_CONFIG_NOSYSTEM")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(config))
    before = tree(home), config.read_text()
    plain.theta("install", "--system")
    template = Path(plain.git("config", "--system", "init.templateDir").stdout.strip())
    assert (template / "hooks" / "post-index-change").exists()
    assert plain.git("config", "--system", "filter.theta.required").stdout == "true\n"
    plain.theta("uninstall", "--system")
    assert (tree(home), config.read_text()) == before
    assert not template.parent.exists()


def test_install_outside_of_a_repository(home: Path) -> None:
    done = GitRepo(home).theta("install")
    assert "for all your repositories" in done.stdout
    done = GitRepo(home).theta("install", "--local", check=False)
    assert done.returncode == 1


def test_only_drivers_that_there_are_get_configured(plain: GitRepo) -> None:
    plain.theta("install")
    configured = plain.git("config", "--get-regexp", r"^(filter|diff|merge)\.theta\.").stdout
    for line in configured.splitlines():
        key, value = line.split(" ", 1)
        if value.startswith("git-theta "):
            assert value.split()[1] in SUMMARIES, key


def test_settings_of_the_user_are_not_overwritten(plain: GitRepo, home: Path) -> None:
    plain.git("config", "--global", "filter.theta.clean", "my-own clean")
    before = tree(home), tree(plain.path)
    done = plain.theta("install", check=False)
    assert done.returncode == 1
    assert "my-own clean" in done.stderr
    assert "git theta install --force" in done.stderr
    assert (tree(home), tree(plain.path)) == before
    plain.theta("install", "--force")
    assert plain.git("config", "filter.theta.clean").stdout == "git-theta clean -- %f\n"


def test_settings_changed_since_survive_uninstall(plain: GitRepo) -> None:
    plain.theta("install")
    plain.git("config", "--global", "diff.theta.xfuncname", "x")
    plain.git("config", "--global", "filter.theta.smudge", "my-own smudge")
    plain.theta("uninstall")
    left = plain.git("config", "--global", "--get-regexp", "theta").stdout
    assert left.splitlines() == ["filter.theta.smudge my-own smudge", "diff.theta.xfuncname x"]


def test_hooks_of_the_user_run_before_ours_and_come_back(history: GitRepo) -> None:
    history.theta("uninstall")
    hooks = history.path / ".git" / "hooks"
    for name in HOOKS:
        script(hooks / name, f'echo "{name} $0 $*" >> hooks.log; cat >> hooks.log < /dev/stdin')
    (hooks / "commit-msg").write_text("not ours to touch")
    before = tree(hooks)
    done = history.theta("install")
    assert "pre-push" in done.stdout
    bare = history.add_remote("backup")
    history.write("model.safetensors", version(0))
    history.git("add", "model.safetensors")
    history.git("commit", "-q", "-m", "again")
    pushed = history.git("push", "backup", "main")
    assert "Uploaded" in pushed.stderr
    assert bare.objects()
    log = (history.path / "hooks.log").read_text()
    assert f"pre-push .git/hooks/pre-push backup {bare.path}" in log
    assert f"refs/heads/main {history.head()} refs/heads/main {'0' * 40}" in log
    assert [line.split()[0] for line in log.splitlines()][:3] == [
        "pre-commit",
        "prepare-commit-msg",
        "post-commit",
    ]
    history.theta("uninstall")
    assert tree(hooks) == before
    assert all(os.access(hooks / name, os.X_OK) for name in HOOKS)


def test_a_failing_hook_of_the_user_stops_git(history: GitRepo) -> None:
    script(history.path / ".git" / "hooks" / "pre-commit", "echo no >&2; exit 7")
    script(history.path / ".git" / "hooks" / "pre-push", "exit 1")
    history.theta("install")
    history.write("notes.txt", "x")
    history.git("add", "notes.txt")
    assert history.git("commit", "-m", "x", check=False).returncode != 0
    bare = history.add_remote("backup")
    assert history.git("push", "backup", "main", check=False).returncode != 0
    assert not bare.objects()


def test_ctrl_c_waits_for_a_hook_of_the_user(history: GitRepo) -> None:
    """It may have hidden what is not staged, and bring it back now."""
    mend = "trap 'sleep 0.5; echo back > mended; exit 1' INT"
    script(history.path / ".git" / "hooks" / "pre-commit", f'{mend}\nkill -INT -"$GROUP"\nsleep 5')
    history.theta("install")
    command = ["sh", "-c", "export GROUP=$$; exec git commit --allow-empty -m x"]
    subprocess.run(command, cwd=history.path, capture_output=True, start_new_session=True)
    assert (history.path / "mended").read_text() == "back\n"


def test_hooks_that_are_no_shell_scripts_are_chained(history: GitRepo) -> None:
    hook = history.path / ".git" / "hooks" / "post-commit"
    hook.write_text("#!/usr/bin/env python3\nopen('ran', 'w').write('yes')\n")
    history.theta("install")
    history.git("commit", "-q", "--allow-empty", "-m", "x")
    assert (history.path / "ran").read_text() == "yes"


def test_a_hook_that_would_be_lost_stops_install(history: GitRepo) -> None:
    hooks = history.path / ".git" / "hooks"
    script(hooks / "post-merge", "one")
    script(hooks / "post-merge.theta-chained", "two")
    (hooks / "pre-push").unlink()
    before = tree(hooks)
    done = history.theta("install", check=False)
    assert done.returncode == 1
    assert "post-merge.theta-chained" in done.stderr
    assert tree(hooks) == before


def test_hooks_under_version_control_are_not_changed(history: GitRepo) -> None:
    script(history.path / "githooks" / "pre-push", "cat > /dev/null")
    history.git("config", "core.hooksPath", "githooks")
    before = tree(history.path / "githooks")
    said = history.theta("install").stdout
    assert tree(history.path / "githooks") == before
    lines = [line.split(":  ") for line in said.splitlines() if "git theta hook" in line]
    assert [name.strip().rpartition("/")[2] for name, _ in lines] == list(HOOKS)
    assert history.theta("status", check=False).returncode == 1
    assert "githooks" in history.theta("doctor", check=False).stdout
    for name, line in lines:
        script(Path(history.path, name.strip()), line)
    assert history.theta("status").returncode == 0
    bare = history.add_remote("backup")
    history.git("push", "backup", "main")
    assert bare.objects()


def test_husky(history: GitRepo) -> None:
    """husky 9: core.hooksPath is .husky/_, whose scripts find the user's by their own name."""
    husky = history.path / ".husky"
    stub = '. "$(dirname "$0")/h"'
    (husky / "_").mkdir(parents=True)
    (husky / "_" / ".gitignore").write_text("*")
    (husky / "_" / "h").write_text(
        'n=$(basename "$0")\ns=$(dirname "$(dirname "$0")")/$n\n[ ! -f "$s" ] && exit 0\nsh -e "$s" "$@"\n'
    )
    for name in HOOKS:
        script(husky / "_" / name, stub)
    (husky / "pre-push").write_text("echo mine >> husky.log\n")
    history.git("config", "core.hooksPath", ".husky/_")
    said = history.theta("install").stdout
    assert ".husky/pre-push:  git theta hook pre-push" in said
    bare = history.add_remote("backup")
    history.git("push", "backup", "main")
    assert bare.objects()
    assert (history.path / "husky.log").read_text() == "mine\n"
    # The lines that install has printed do for good what husky undoes with its next run.
    for line in said.splitlines():
        if "git theta hook" in line:
            name, _, call = line.partition(":  ")
            with Path(history.path, name.strip()).open("a") as file:
                file.write(call + "\n")
    for name in HOOKS:
        script(husky / "_" / name, stub)
    assert history.theta("status").returncode == 0
    other = history.add_remote("other")
    history.git("push", "other", "main")
    assert len(other.objects()) == len(bare.objects())


def test_a_hooks_folder_for_all_repositories(history: GitRepo, home: Path) -> None:
    folder = home / "hooks"
    script(folder / "pre-push", "echo mine >> pushed.log")
    before = tree(folder)
    history.git("config", "--global", "core.hooksPath", "~/hooks")
    history.theta("install")
    bare = history.add_remote("backup")
    history.git("push", "backup", "main")
    assert bare.objects()
    assert (history.path / "pushed.log").exists()
    history.theta("uninstall")
    assert tree(folder) == before


def test_disabled_hooks_are_told(history: GitRepo) -> None:
    history.git("config", "core.hooksPath", "/dev/null")
    assert "git theta push" in history.theta("install").stdout
    history.write("model.safetensors", version(0))
    assert "git theta install" in history.git("add", "model.safetensors").stderr


def test_pre_commit_that_moves_our_hook_aside(history: GitRepo) -> None:
    """The pre-commit framework installs itself over ours, and runs ours as pre-push.legacy."""
    hooks = history.path / ".git" / "hooks"
    framework = (
        "# File generated by pre-commit\necho framework >> framework.log\n"
        'exec "$(dirname "$0")/pre-push.legacy" "$@"'
    )
    (hooks / "pre-push").replace(hooks / "pre-push.legacy")
    script(hooks / "pre-push", framework)
    assert history.theta("status").returncode == 0
    bare = history.add_remote("backup")
    history.git("push", "backup", "main")
    assert bare.objects()
    # Installed before ours, moved aside by us, and then over us again: it runs once.
    script(hooks / "pre-push.theta-chained", framework)
    (history.path / "framework.log").unlink()
    other = history.add_remote("other")
    history.git("push", "other", "main")
    assert other.objects()
    assert (history.path / "framework.log").read_text() == "framework\n"


def test_a_push_inside_of_a_hook_takes_its_objects_along(history: GitRepo) -> None:
    first, second = history.add_remote("first"), history.add_remote("second")
    script(
        history.path / ".git" / "hooks" / "pre-push",
        '[ "$1" = second ] || git push second main',
    )
    history.theta("install")
    history.git("push", "first", "main")
    assert len(first.objects()) == len(second.objects()) > 0


def test_without_git_theta_hooks_say_so(history: GitRepo, tmp_path: Path) -> None:
    hooks = history.path / ".git" / "hooks"
    script(hooks / "pre-commit.theta-chained", "echo chained >&2")
    history.add_remote("backup")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "cat"):
        (programs / name).symlink_to(
            next(p for p in map(Path, os.get_exec_path()) if (p / name).exists()) / name
        )
    history.write("notes.txt", "x")
    history.git("add", "notes.txt")
    history.git("status")  # the copy's times are known: no filter is needed from here on
    done = history.git("commit", "-m", "x", PATH=str(programs))
    assert "not on the PATH" in done.stderr
    assert "chained" in done.stderr
    done = history.git("push", "backup", "main", check=False, PATH=str(programs))
    assert done.returncode != 0
    assert "pip install git-theta" in done.stderr


def test_new_clones_get_hooks(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", source=str(pushed.path))
    assert hooks_of(clone) == sorted(HOOKS)
    assert not (clone.path / ".git" / "hooks" / "post-index-change").exists()
    clone.write("model.safetensors", version(0))
    clone.git("checkout", "-q", "-b", "work")
    assert "git-theta:" not in clone.git("commit", "-am", "work").stderr
    before = len(pushed.objects())
    clone.write("model.safetensors", version(1)[:-4] + b"more")
    clone.git("commit", "-q", "-am", "new data")
    clone.git("push", "-q", "origin", "work")
    assert len(pushed.objects()) > before


def test_hooks_sleep_in_new_clones_without_checkpoints(installed: Path, plain: GitRepo) -> None:
    plain.write("notes.txt", "x")
    plain.commit()
    clone = plain.clone("clone")
    assert hooks_of(clone) == SLEEPING
    assert (clone.path / ".git" / "info" / "exclude").exists()
    clone.write("notes.txt", "y")
    done = clone.git("commit", "-q", "-am", "y")
    clone.git("checkout", "-q", "-b", "work", "HEAD~1")
    pushed = clone.git("push", "-q", "origin", "work")
    assert done.stdout + done.stderr + pushed.stdout + pushed.stderr == ""
    assert hooks_of(clone) == SLEEPING
    clone.theta("uninstall")
    assert hooks_of(clone) == []


def test_a_template_of_the_user_is_left_alone(plain: GitRepo, home: Path) -> None:
    plain.git("config", "--global", "init.templateDir", "~/template")
    said = plain.theta("install").stdout
    hooks = home / ".local" / "share" / "git-theta" / "template" / "hooks"
    copied = " ".join(str(hooks / name) for name in ("post-index-change", "pre-push", "post-checkout"))
    plain.remedy(said, f"mkdir -p ~/template/hooks; cp {copied} ~/template/hooks")
    plain.git("init", "-q", "../other")
    assert hooks_of(GitRepo(plain.path.parent / "other")) == SLEEPING
    assert "cp " not in plain.theta("install").stdout
    plain.theta("uninstall")
    assert plain.git("config", "--global", "init.templateDir").stdout == "~/template\n"


def test_clones_made_before_are_told(history: GitRepo, pushed: GitRepo) -> None:
    clone = history.clone("clone", "--template=", source=str(pushed.path))
    clone.write("model.safetensors", version(0))
    assert "git push would leave data behind" in clone.git("add", "model.safetensors").stderr
    assert "leave data behind" not in clone.git("status").stderr
    assert clone.theta("status", check=False).returncode == 1
    assert clone.theta("doctor", check=False).returncode == 1
    assert "it has them now" in clone.theta("fetch").stdout
    assert hooks_of(clone) == sorted(HOOKS)
    assert "leave data behind" not in clone.git("add", "--renormalize", "model.safetensors").stderr


def test_work_trees_and_submodules_have_the_right_hooks(history: GitRepo, pushed: GitRepo) -> None:
    history.git("worktree", "add", "-q", "../tree")
    tree_repo = GitRepo(history.path.parent / "tree")
    for name in HOOKS:
        (history.path / ".git" / "hooks" / name).unlink()
    tree_repo.theta("install")
    assert hooks_of(history) == sorted(HOOKS)
    outer = GitRepo(history.path.parent / "outer")
    outer.path.mkdir()
    outer.git("init", "-q")
    outer.git("submodule", "add", "-q", str(pushed.path), "models")
    assert hooks_of(GitRepo(outer.path / "models")) == sorted(HOOKS)


def test_track_and_untrack(installed: Path, plain: GitRepo) -> None:
    said = plain.theta("track", "*.safetensors", "my models/*.pt").stdout
    assert said.splitlines() == ['Tracking "*.safetensors"', 'Tracking "my models/*.pt"']
    for path in ("a.safetensors", "x/b.safetensors", "my models/c.pt"):
        assert plain.git("check-attr", "filter", "diff", "merge", "text", "--", path).stdout.splitlines() == [
            f"{path}: filter: theta",
            f"{path}: diff: theta",
            f"{path}: merge: theta",
            f"{path}: text: unset",
        ]
    assert hooks_of(plain) == sorted(HOOKS)
    assert plain.git("status", "--short").stdout == "?? .gitattributes\n"
    assert "*.safetensors (.gitattributes)" in plain.theta("track").stdout
    done = plain.theta("untrack", "*.bin", check=False)
    assert done.returncode == 1
    plain.theta("untrack", "*.safetensors", "my models/*.pt")
    assert not (plain.path / ".gitattributes").exists()


def test_track_in_a_folder(installed: Path, plain: GitRepo) -> None:
    (plain.path / "sub").mkdir()
    sub = GitRepo(plain.path / "sub")
    sub.theta("track", "./*.pt")
    assert (sub.path / ".gitattributes").read_text().startswith("*.pt filter=theta")
    assert "*.pt (sub/.gitattributes)" in plain.theta("track").stdout
    done = plain.theta("untrack", "*.pt", check=False)
    assert "sub/.gitattributes" in done.stderr


def test_track_says_what_git_has_already(installed: Path, plain: GitRepo) -> None:
    plain.write("old.pt", b"x" * 5000)
    plain.commit()
    said = plain.theta("track", "*.pt").stdout
    assert "git add --renormalize old.pt" in said
    plain.git("add", "--renormalize", "old.pt")
    assert plain.blob(":old.pt").startswith(b'{"git-theta":')


def test_track_before_install_says_what_is_missing(plain: GitRepo) -> None:
    assert "git theta install" in plain.theta("track", "*.pt").stdout
