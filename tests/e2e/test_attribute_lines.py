"""Macros in .gitattributes, and lines elsewhere that take checkpoints away from git-theta."""

from pathlib import Path

import pytest
from git_repo import GitRepo, digest
from merge_cases import MODEL, model

MACRO = "[attr]model filter=theta diff=theta merge=theta -text lockable\n"


def overridden(repo: GitRepo, file: str, number: int, path: str) -> str:
    """What `track` and `doctor` both say about a line."""
    said = repo.theta("track", "*.safetensors").stdout
    assert f"line {number} of {file}, " in said
    assert f"overrides git-theta for {path}" in said
    assert f"line {number} of {file}, " in repo.theta("doctor", check=False).stdout
    return said


def is_stored(repo: GitRepo, path: str = MODEL) -> None:
    repo.git("add", path)
    repo.git("add", "--renormalize", path)
    assert repo.blob(f":{path}").startswith(b'{"git-theta"')


@pytest.mark.parametrize("file", [".gitattributes", ".git/info/attributes", "global"])
def test_patterns_through_macros_are_listed_and_honoured(installed: Path, plain: GitRepo, file: str) -> None:
    place = plain.path / file if file != "global" else installed / ".config/git/attributes"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{MACRO}[attr]big model\n")
    plain.write("sub/.gitattributes", "[attr]other filter=theta\n*.bin other\n*.pt big -filter\n")
    with (plain.path / ".gitattributes").open("a") as text:
        text.write("*.safetensors model\n")
    listed = "    *.safetensors (.gitattributes)\n"
    assert plain.theta("track").stdout == f"Tracked patterns:\n{listed}"  # git ignores macros in sub
    assert listed.strip() in plain.theta("status", check=False).stdout
    assert "tracked already" in plain.theta("track", "*.safetensors").stdout
    plain.write(MODEL, model(w=1))
    plain.commit()
    assert MODEL in plain.theta("ls-files").stdout
    is_stored(plain)
    plain.theta("untrack", "*.safetensors")
    assert plain.path.joinpath(".gitattributes").read_text().endswith("*.safetensors lockable\n")
    assert plain.theta("track").stdout == "No patterns are tracked yet.\n"


@pytest.mark.parametrize("words", ["-filter", "!filter", "filter=lfs diff=lfs merge=lfs -text"])
def test_a_deeper_file_that_takes_checkpoints_away_is_named(repo: GitRepo, words: str) -> None:
    path = f"sub/{MODEL}"
    repo.write("sub/.gitattributes", f"# here\n*.safetensors {words}\n")
    repo.write(path, model(w=1))
    said = overridden(repo, "sub/.gitattributes", 2, path)
    repo.remedy(said, f"git -C sub theta track {MODEL}")
    is_stored(repo, path)
    assert f"for {path}" not in repo.theta("track", "*.safetensors").stdout
    assert "sub/.gitattributes" not in repo.theta("doctor").stdout


def test_it_is_named_before_there_are_files(repo: GitRepo) -> None:
    repo.write("sub/.gitattributes", "*.safetensors -filter\n")
    said = repo.theta("track", "*.safetensors").stdout
    assert "line 1 of sub/.gitattributes, " in said
    assert "overrides git-theta for files like sub/example.safetensors" in said
    repo.remedy(said, "git -C sub theta track '*.safetensors'")
    repo.write(f"sub/{MODEL}", model(w=1))
    is_stored(repo, f"sub/{MODEL}")


def test_a_later_line_of_the_same_file(history: GitRepo) -> None:
    with (history.path / ".gitattributes").open("a") as text:
        text.write("model* binary\n")
    assert history.git("check-attr", "merge", MODEL).stdout.strip().endswith(": unset")
    said = history.theta("doctor", check=False).stdout
    assert f'line 3 of .gitattributes, "model* binary", overrides git-theta for {MODEL}' in said
    history.remedy(said, f"git theta track {MODEL}")
    assert history.git("check-attr", "merge", MODEL).stdout.strip().endswith(": theta")
    assert history.theta("doctor").returncode == 0


def test_a_later_line_is_outdone_where_the_pattern_is_tracked_again(history: GitRepo) -> None:
    with (history.path / ".gitattributes").open("a") as text:
        text.write("model* binary\n")
    assert "one in .gitattributes outdoes it" in history.theta("track", "*.safetensors").stdout
    assert history.git("check-attr", "merge", MODEL).stdout.strip().endswith(": theta")
    assert history.theta("doctor").returncode == 0


def test_info_attributes_come_before_everything(history: GitRepo) -> None:
    info = history.path / ".git/info/attributes"
    info.parent.mkdir(exist_ok=True)
    info.write_text("*.png -text\n* text=auto\n*.safetensors !filter\n")
    said = overridden(history, ".git/info/attributes", 3, MODEL)
    data = (history.path / MODEL).read_bytes()
    history.remedy(said, "sed -i.old 3d .git/info/attributes")
    said = overridden(history, ".git/info/attributes", 2, MODEL)
    history.remedy(said, "sed -i.old 2d .git/info/attributes")
    is_stored(history)
    assert digest(data) == history.digest(MODEL)
    assert info.read_text() == "*.png -text\n"
    assert history.theta("doctor").returncode == 0


def test_macros_that_are_taken_back(repo: GitRepo) -> None:
    repo.write(".gitattributes", f"{MACRO}*.safetensors model\nsmall* -model\n")
    repo.write("small.safetensors", model(w=1))
    said = repo.theta("track", "*.safetensors").stdout
    assert 'line 3 of .gitattributes, "small* -model", overrides git-theta for small.safetensors' in said
