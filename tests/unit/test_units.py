import pytest

from git_theta.terminal.units import human_size, percent


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (9_949, "9.9 KB"),
        (9_960, "10 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
        (67_400_000, "67 MB"),
        (2_836_000_000, "2.8 GB"),
        (5 * 10**21, "5000000 PB"),
    ],
)
def test_sizes_are_decimal(nbytes: int, text: str) -> None:
    assert human_size(nbytes) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(67, 709, "9.4 %"), (1, 10_000, "0.01 %"), (0, 5, "0.0 %"), (3, 0, "0.0 %"), (5, 5, "100.0 %")],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text
