"""Strategies on tensors that their papers do not speak of: no numbers, single vectors, many equal changes."""

import numpy as np
from git_repo import GitRepo, safetensors_bytes
from merge_cases import MODEL, diverge


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
