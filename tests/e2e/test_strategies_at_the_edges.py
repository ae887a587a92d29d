"""Strategies on tensors that their papers do not speak of: no numbers, single vectors, many equal changes."""

import numpy as np
from git_repo import GitRepo, does, safetensors_bytes
from merge_cases import MODEL, bfloat16, diverge


def merged(repo: GitRepo) -> dict[str, np.ndarray]:
    """The float32 tensors of the model in the work tree."""
    from safetensors.numpy import load

    return load((repo.path / MODEL).read_bytes())


def test_model_stock_does_not_hide_a_tensor_that_is_no_number(repo: GitRepo) -> None:
    def version(w: list[float], v: list[float]) -> bytes:
        return safetensors_bytes({"w": np.array(w, np.float32), "v": np.array(v, np.float32)})

    nan = float("nan")
    diverge(repo, version([0, 0], [0, 0]), version([1, 2], [1, 0]), version([nan, nan], [1, 1]))
    said = repo.theta("merge", "-s", "model-stock", "theirs")
    assert f"warning: {MODEL}: 2 entries of w are not finite" in said.stdout + said.stderr
    found = merged(repo)
    assert np.isnan(found["w"]).all()
    cosine = 1 / np.sqrt(2)
    t = 2 * cosine / (1 + cosine)
    np.testing.assert_allclose(found["v"], [t, t / 2], rtol=1e-6)


def test_row_wise_nuslerp_takes_a_vector_whole(repo: GitRepo) -> None:
    def version(*values: float) -> bytes:
        return safetensors_bytes({"bias": np.array(values, np.float32)})

    diverge(repo, version(9, 9), version(3, 0), version(0, 5))
    repo.theta(
        "merge", "-s", "nuslerp", "-o", "nuslerp-flatten=false", "-o", "nuslerp-row-wise=true", "theirs"
    )
    np.testing.assert_allclose(merged(repo)["bias"], [3 / np.sqrt(2), 5 / np.sqrt(2)], rtol=1e-6)


def test_exactly_the_density_is_kept_of_many_equal_changes(repo: GitRepo) -> None:
    count = 4003
    ours = (np.arange(count) % 4 - 2).astype(np.float32)  # of a quarter each: -2, -1, 0, 1
    theirs = np.where(np.arange(count) % 2, np.float32(0.5), np.float32(0))

    def version(values: np.ndarray) -> bytes:
        return safetensors_bytes({"w": bfloat16(values), "v": bfloat16(np.zeros(3))})

    diverge(repo, version(np.zeros(count)), version(ours), version(theirs))
    repo.theta("merge", "-s", "ties", "-o", "density=0.2,0.6", "-o", "normalize=false", "theirs")
    kept = [np.zeros(count), np.zeros(count)]
    for result, change, density in zip(kept, (ours, theirs), (0.2, 0.6), strict=True):
        largest = sorted(range(count), key=lambda place, change=change: -abs(change[place]))  # type: ignore[misc]
        chosen = largest[: round(density * count)]
        result[chosen] = change[chosen]
    assert np.count_nonzero(kept[0]) == round(0.2 * count)
    one, other = kept
    agreed = np.where(one * other < 0, one, one + other)  # where they disagree, ours is the larger change
    found = (repo.path / MODEL).read_bytes()
    np.testing.assert_array_equal(bf16_values(found, "w"), agreed)


def bf16_values(data: bytes, name: str) -> np.ndarray:
    import torch
    from safetensors.torch import load

    return load(data)[name].to(torch.float64).numpy()


def test_trim_global_ranks_all_tensors_of_the_model(repo: GitRepo) -> None:
    """Also those that a rule takes from a side, that one side alone changed, and that nobody did."""

    def version(w: list[float], a: list[float], head: list[float]) -> bytes:
        values = {"w": w, "a": a, "head": head, "z": [8.0, 8.0]}
        found = {name: np.array(value, np.float32) for name, value in values.items()}
        return safetensors_bytes(found | {"steps": np.array([1], np.int64)})

    diverge(
        repo,
        version([0] * 4, [0] * 2, [0] * 2),
        version([1, 5, 2, 0], [9, 9], [7, 0.5]),
        version([3, 1, 4, 0], [0, 0], [0, 2]),
    )
    options = ["-o", "density=0.3", "-o", "trim=global", "-o", "one-sided=take"]
    repo.theta("merge", "-s", "ties", *options, "--rule", "head: ours", "theirs")
    found = merged(repo)
    # Three of ten changes of each side: of ours 9, 9 and 7, none of which is in w; of theirs 4, 3 and 2.
    assert found["w"].tolist() == [3, 0, 4, 0]
    assert found["a"].tolist() == [9, 9]
    assert found["head"].tolist() == [7, 0.5]
    repo.git("reset", "-q", "--hard", "HEAD^")
    repo.theta("merge", "-s", "ties", *options[:2], "-o", "one-sided=take", "--rule", "head: ours", "theirs")
    assert merged(repo)["w"].tolist() == [0, 5, 4, 0]


def test_interpolation_by_the_number_of_its_formula(repo: GitRepo) -> None:
    def version(*values: float) -> bytes:
        return safetensors_bytes({"w": np.array(values, np.float32)})

    diverge(repo, version(1, 1), version(3, 0), version(0, 5))
    form = ["merge", "-s", "interpolate", "-o", "form=3", "theirs"]
    refused = repo.theta(*form, check=False).stderr
    does(refused, "give -o form=3 -o beta=0.5")
    refused = repo.theta(*form, "-o", "alpha=1", check=False).stderr
    assert "form=3 has no alpha" in refused
    does(refused, "give beta with it, or another form")
    repo.theta(*form, "-o", "beta=0.5")
    assert merged(repo)["w"].tolist() == [1 + 0.5 * (0 - 3), 1 + 0.5 * (5 - 0)]
    assert "Theta-Strategy: interpolate beta=0.5 form=3" in repo.git("log", "-1", "--format=%B").stdout
    assert "the same result" in repo.theta("merge", "--redo", "HEAD").stdout
