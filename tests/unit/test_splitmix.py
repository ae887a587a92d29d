"""Numbers that look random and are the same everywhere."""

from __future__ import annotations

import numpy as np

from git_theta import splitmix


def test_words_are_splitmix64_seeded_with_zero() -> None:
    # The sequence that java.util.SplittableRandom and the reference code by Vigna give for seed 0.
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
    assert splitmix.words(4).tolist() == expected


def test_signs_are_balanced_and_without_pattern() -> None:
    found = splitmix.signs(300, 200)
    assert found.dtype == np.float32
    assert set(np.unique(found)) == {-1.0, 1.0}
    assert abs(found.mean()) < 0.01
    products = found @ found.T / 200  # of different rows: noise of 1/sqrt(200)
    assert abs(products[~np.eye(300, dtype=bool)]).max() < 6 / 200**0.5
