import pytest

from git_theta.drivers.pre_push import RefUpdate, _given, parse_updates


def test_ref_updates() -> None:
    a, b, zero = "a" * 40, "b" * 40, "0" * 40
    text = f"refs/heads/main {a} refs/heads/main {zero}\n(delete) {zero} refs/heads/x {b}\n"
    assert parse_updates(text) == [
        RefUpdate("refs/heads/main", a, "refs/heads/main", zero),
        RefUpdate("(delete)", zero, "refs/heads/x", b),
    ]
    assert parse_updates("") == []


@pytest.mark.parametrize(
    ("command", "dry", "quiet"),
    [
        ("push", False, False),
        ("push -n", True, False),
        ("push origin --dry-run main", True, False),
        ("push --dry", True, False),
        ("push --delete origin x", False, False),
        ("push -fnq origin", True, True),
        ("push -q", False, True),
        ("push --quiet", False, True),
        ("push -o no-notify", False, False),
        ("push origin n -u", False, False),
        ("push --no-verify", False, False),
    ],
)
def test_options_of_git_push(command: str, dry: bool, quiet: bool) -> None:
    assert _given(command.split(), "dry-run") is dry
    assert _given(command.split(), "quiet") is quiet
