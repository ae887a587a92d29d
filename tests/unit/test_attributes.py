from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.errors import ThetaError
from git_theta.git import attributes

OURS = b" filter=theta diff=theta merge=theta -text\n"


def file(folder: Path) -> bytes:
    return (folder / ".gitattributes").read_bytes()


def test_a_pattern_is_added_once(tmp_path: Path) -> None:
    assert attributes.track(tmp_path, ["*.pt", "*.pt"]) == ["*.pt"]
    assert attributes.track(tmp_path, ["*.pt"]) == []
    assert file(tmp_path) == b"*.pt" + OURS


def test_other_lines_stay_as_they_are(tmp_path: Path) -> None:
    before = b"# mine\r\n*.png -text\r\n\r\n[attr]big -diff"
    (tmp_path / ".gitattributes").write_bytes(before)
    attributes.track(tmp_path, ["*.pt"])
    assert file(tmp_path) == before + b"\r\n*.pt" + OURS.replace(b"\n", b"\r\n")
    assert attributes.untrack(tmp_path, ["*.pt"]) == ["*.pt"]
    assert file(tmp_path) == before + b"\r\n"


def test_a_pattern_of_another_filter_gets_a_line_that_wins(tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_text("*.pt filter=lfs diff=lfs merge=lfs -text\n")
    assert attributes.track(tmp_path, ["*.pt"]) == ["*.pt"]
    assert file(tmp_path).endswith(b"*.pt" + OURS)


def test_a_line_taken_over_by_another_filter_later_is_not_tracked(tmp_path: Path) -> None:
    attributes.track(tmp_path, ["*.pt"])
    with (tmp_path / ".gitattributes").open("a") as text:
        text.write("*.pt filter=lfs\n")
    assert attributes.track(tmp_path, ["*.pt"]) == ["*.pt"]


def test_untrack_leaves_other_attributes(tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_bytes(b'"a b" lockable' + OURS + b"x y\n")
    assert attributes.untrack(tmp_path, ["a b"]) == ["a b"]
    assert file(tmp_path) == b'"a b" lockable\nx y\n'


def test_untrack_removes_a_file_that_it_empties(tmp_path: Path) -> None:
    attributes.track(tmp_path, ["*.pt"])
    attributes.untrack(tmp_path, ["*.pt"])
    assert not (tmp_path / ".gitattributes").exists()


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    assert attributes.track(tmp_path, ["*.pt"], dry_run=True) == ["*.pt"]
    assert not (tmp_path / ".gitattributes").exists()


def test_folders_are_tracked_with_all_in_them(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert attributes.track(tmp_path, ["models", "./later/"]) == ["models/**", "later/**"]


def test_an_absolute_path_in_the_folder_is_made_relative(tmp_path: Path) -> None:
    assert attributes.track(tmp_path, [f"{tmp_path}/x/*.pt"]) == ["x/*.pt"]


@pytest.mark.parametrize("pattern", ["", "!*.pt", "../x.pt", "/elsewhere/x.pt", "a\nb"])
def test_senseless_patterns_are_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ThetaError):
        attributes.track(tmp_path, ["*.ok", pattern])
    assert not (tmp_path / ".gitattributes").exists()


@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_every_pattern_reads_back(pattern: str) -> None:
    line = attributes.line(pattern, attributes.ATTRIBUTES) + b"\n"
    (parsed,) = attributes.parse(line)
    assert parsed.pattern == pattern
    assert parsed.attributes == attributes.ATTRIBUTES
