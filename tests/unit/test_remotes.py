from pathlib import Path

import pytest

from git_theta.remotes.configured import local_path

TOP = Path("/top")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/model.git", "/srv/model.git"),
        ("../model.git", "/top/../model.git"),
        ("model.git", "/top/model.git"),
        ("./a:b", "/top/./a:b"),
        ("file:///srv/a%20b%c3%a4.git", "/srv/a bä.git"),
        ("file://server/share", "//server/share"),
    ],
)
def test_urls_that_are_paths(url: str, path: str) -> None:
    assert str(local_path(url, TOP)) == str(Path(path))


def test_a_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert local_path("~/model.git", TOP) == Path("/home/me/model.git")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/model.git",
        "ssh://host/model.git",
        "git@example.com:model.git",
        "host:model.git",
        "ext::sh -c x",
        "s3://bucket/x",
    ],
)
def test_urls_that_are_not(url: str) -> None:
    assert local_path(url, TOP) is None


def test_a_folder_with_a_colon_in_its_name_is_a_path_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert local_path("a:b", tmp_path) == tmp_path / "a:b"
