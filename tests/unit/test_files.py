from pathlib import Path

import pytest

from git_theta.files import make_folder


@pytest.mark.parametrize("mode", [0o755, 0o2775, 0o700])
def test_folders_are_as_open_as_the_one_that_was_there(tmp_path: Path, mode: int) -> None:
    top = tmp_path / "repository.git"
    top.mkdir()
    top.chmod(mode)
    make_folder(top / "theta" / "objects" / "ab")
    make_folder(top / "theta" / "objects" / "ab")
    for folder in ("theta", "theta/objects", "theta/objects/ab"):
        assert (top / folder).stat().st_mode & 0o7777 == mode


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "theta").write_text("")
    with pytest.raises(OSError):
        make_folder(tmp_path / "theta" / "objects")
