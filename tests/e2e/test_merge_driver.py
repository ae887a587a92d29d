"""Git merges checkpoints, in all the commands that merge."""

import json
from pathlib import Path

import numpy as np
from git_repo import GitRepo, changed, digest, safetensors_bytes, weights
from merge_cases import BOTH, MODEL, bfloat16, clean_and_equal, commit, diverge, model

from git_theta.manifest import parse


def lines(done: object) -> list[str]:
    return [line for line in done.stderr.splitlines() if "git-theta: " in line]  # type: ignore[attr-defined]


def test_tensors_changed_on_one_side_only_are_taken(repo: GitRepo) -> None:
    first = weights(0)
    ours = changed(first, "layer.0.weight", seed=1)
    theirs = changed(first, "layer.1.weight", "bias", seed=2)
    diverge(repo, *map(safetensors_bytes, (first, ours, theirs)))
    before = repo.objects()
    done = repo.git("merge", "--no-edit", "theirs")
    wanted = ours | {name: theirs[name] for name in ("layer.1.weight", "bias")}
    clean_and_equal(repo, safetensors_bytes(wanted))
    assert repo.objects() == before
    assert lines(done) == [f"git-theta: {MODEL}: 5 tensors: 3 taken from one side"]
    assert repo.theta("fsck").stdout.endswith("all is well.\n")


def test_tensors_that_were_added_and_removed(repo: GitRepo) -> None:
    diverge(
        repo,
        model(kept=1, removed_here=2, removed_there=3, both=4),
        model(kept=1, removed_there=3, added_here=[5, 6], alike=7, both=8),
        model(kept=9, removed_here=2, added_there=[1, 2, 3], alike=7, both=8),
    )
    repo.git("merge", "--no-edit", "theirs")
    manifest = parse(repo.blob(f"HEAD:{MODEL}"))
    found = {line.name: line.shape for line in manifest.tensors}
    assert found == {"kept": (1,), "added_here": (2,), "added_there": (3,), "alike": (1,), "both": (1,)}
    data = (repo.path / MODEL).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    values = np.frombuffer(data[8 + int.from_bytes(data[:8], "little") :], np.float32)
    start, stop = (offset // 4 for offset in header["kept"]["data_offsets"])
    assert values[start:stop] == [9]
    clean_and_equal(repo, data)


def test_average_of_bfloat16_is_the_rounded_mean(repo: GitRepo) -> None:
    random = np.random.default_rng(0)

    def stepped(values: np.ndarray) -> np.ndarray:
        steps = random.integers(-2, 3, values.shape).astype(np.uint32) << 16
        return ((values.view(np.uint32) + steps) & 0xFFFF0000).view(np.float32)

    base = stepped(random.standard_normal((300, 200)).astype(np.float32))
    ours, theirs = stepped(base), stepped(base)
    exact = (ours.astype(np.float64) + theirs) / 2
    bits = exact.astype(np.float32).view(np.uint32)
    mean = ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32)
    files = [safetensors_bytes({"w": bfloat16(one)}) for one in (base, ours, theirs, mean)]
    diverge(repo, *files[:3])
    before = set(repo.objects())
    done = repo.git("-c", "theta.merge=average", "merge", "--no-edit", "theirs")
    assert lines(done) == [f"git-theta: {MODEL}: 1 tensor: 1 merged (average)"]
    clean_and_equal(repo, files[3])
    assert sum(path.stat().st_size for path in set(repo.objects()) - before) < 2500
    line = parse(repo.blob(f"HEAD:{MODEL}")).tensors[0]
    assert parse(repo.blob(f"HEAD:{MODEL}")).storage[line.digest].update == "combine"
    assert not list((repo.path / ".git/theta/prepared").iterdir())  # the checkout has taken it


def test_the_result_is_the_same_in_every_clone(repo: GitRepo) -> None:
    first = weights(0)
    diverge(repo, *map(safetensors_bytes, (first, changed(first, seed=1), changed(first, seed=2))))
    repo.git("config", "theta.merge", "ties")
    repo.git("merge", "--no-edit", "theirs")
    blob = repo.head(f"HEAD:{MODEL}")
    repo.git("reset", "-q", "--hard", "HEAD~1")
    repo.git("merge", "--no-edit", "theirs")
    assert repo.head(f"HEAD:{MODEL}") == blob
    other = repo.clone("other", "--branch", "theirs")
    other.git("config", "theta.merge", "ties")
    other.git("switch", "-q", "-c", "again", "origin/main~1")
    other.git("merge", "--no-edit", "theirs")
    mine, theirs = (parse(one.blob(f"HEAD:{MODEL}")) for one in (repo, other))
    assert mine.root == theirs.root


def test_rebase(disjoint: GitRepo) -> None:
    disjoint.git("switch", "-q", "theirs")
    commit(disjoint, MODEL, model(a=1, b=21, c=30), "more")
    disjoint.git("rebase", "-q", "main")
    clean_and_equal(disjoint, model(a=10, b=21, c=30))
    disjoint.git("switch", "-q", "--detach", "HEAD~1")
    clean_and_equal(disjoint, BOTH)


def test_cherry_pick(disjoint: GitRepo) -> None:
    disjoint.git("cherry-pick", "theirs")
    clean_and_equal(disjoint, BOTH)


def test_revert(disjoint: GitRepo) -> None:
    commit(disjoint, MODEL, model(a=10, b=2, c=30), "more")
    disjoint.git("revert", "--no-edit", "HEAD~1")
    clean_and_equal(disjoint, model(a=1, b=2, c=30))


def test_stash_pop(disjoint: GitRepo) -> None:
    disjoint.write(MODEL, model(a=10, b=2, c=30))
    disjoint.git("stash", "-q")
    commit(disjoint, MODEL, model(a=11, b=2, c=3), "more")
    disjoint.git("stash", "pop", "-q")
    assert disjoint.digest(MODEL) == digest(model(a=11, b=2, c=30))
    assert disjoint.status() == [f" M {MODEL}"]


def test_pull(disjoint: GitRepo) -> None:
    bare = disjoint.add_remote("origin")
    disjoint.git("push", "-q", "origin", "theirs:main")
    disjoint.git("pull", "-q", "--no-rebase", "--no-edit", "origin", "main")
    clean_and_equal(disjoint, BOTH)
    assert bare.head("main") == disjoint.head("theirs")


def test_criss_cross(disjoint: GitRepo) -> None:
    ours, theirs = disjoint.head("main"), disjoint.head("theirs")
    disjoint.git("merge", "--no-edit", theirs)
    commit(disjoint, MODEL, model(a=100, b=20, c=3), "ours again")
    disjoint.git("switch", "-q", "theirs")
    disjoint.git("merge", "--no-edit", ours)
    commit(disjoint, MODEL, model(a=10, b=200, c=3), "theirs")
    disjoint.git("switch", "-q", "main")
    assert len(disjoint.git("merge-base", "--all", "main", "theirs").stdout.split()) == 2
    disjoint.git("merge", "--no-edit", "theirs")
    clean_and_equal(disjoint, model(a=100, b=200, c=3))


def test_renamed_on_one_side(disjoint: GitRepo) -> None:
    disjoint.git("mv", MODEL, "renamed.safetensors")
    disjoint.commit("rename")
    disjoint.git("merge", "--no-edit", "theirs")
    clean_and_equal(disjoint, BOTH, "renamed.safetensors")
    assert not (disjoint.path / MODEL).exists()


def test_renamed_where_every_tensor_changed(repo: GitRepo) -> None:
    first = weights(0, count=8, shape=(4, 4))
    theirs = changed(first, seed=2)
    diverge(repo, safetensors_bytes(first), safetensors_bytes(first), safetensors_bytes(theirs))
    repo.git("switch", "-q", "theirs")
    repo.git("mv", MODEL, "renamed.safetensors")
    repo.commit("rename")
    repo.git("switch", "-q", "main")
    ours = changed(first, "bias", seed=3)
    commit(repo, MODEL, safetensors_bytes(ours), "bias")
    merged = ["-c", "theta.merge=ours", "merge", "--no-edit", "theirs"]
    assert repo.git(*merged, check=False).returncode == 1
    refused = repo.theta("resolve", MODEL, "--strategy", "average", check=False)
    assert "-Xfind-renames=15" in refused.stderr
    repo.git("merge", "--abort")
    refused = repo.theta("merge", "theirs", "-s", "ours", check=False)
    assert f"if {MODEL} was renamed there: git merge -Xfind-renames=15 theirs" in refused.stderr
    repo.git(*merged, "-Xfind-renames=15")
    clean_and_equal(repo, safetensors_bytes(theirs | {"bias": ours["bias"]}), "renamed.safetensors")


def test_merge_tree_in_a_bare_repository(disjoint: GitRepo) -> None:
    bare = disjoint.clone("bare.git", "--bare")
    bare.write("info/attributes", "*.safetensors merge=theta\n")  # git reads no others here
    tree = bare.git("merge-tree", "--write-tree", "main", "theirs").stdout.strip()
    merged = parse(bare.blob(f"{tree}:{MODEL}"))
    disjoint.git("merge", "--no-edit", "theirs")
    assert merged.root == parse(disjoint.blob(f"HEAD:{MODEL}")).root


def test_a_checkpoint_that_was_committed_without_git_theta(disjoint: GitRepo) -> None:
    raw = model(a=1, b=2, c=30)
    oid = disjoint.hash_object(raw)
    disjoint.git("switch", "-q", "-c", "raw", "base")
    disjoint.git("update-index", "--cacheinfo", f"100644,{oid},{MODEL}")
    disjoint.commit_index("raw")
    assert disjoint.blob(f"raw:{MODEL}") == raw
    disjoint.git("switch", "-q", "-f", "main")
    disjoint.git("merge", "--no-edit", "raw")
    clean_and_equal(disjoint, model(a=10, b=2, c=30))


def test_files_of_no_known_format(repo: GitRepo) -> None:
    diverge(repo, b"one text\n", b"one text\n", b"another, longer text\n", "odd.safetensors")
    repo.git("merge", "--no-edit", "theirs")
    clean_and_equal(repo, b"another, longer text\n", "odd.safetensors")
    commit(repo, "odd.safetensors", model(a=1), "now a checkpoint")
    repo.git("switch", "-q", "theirs")
    commit(repo, "odd.safetensors", b"still a text\n", "theirs")
    done = repo.git("merge", "--no-edit", "main", check=False)
    assert done.returncode == 1
    assert "the file is no checkpoint on some side (base: opaque, theirs: opaque and main: safetensors)" in (
        done.stderr
    )
    repo.theta("resolve", "--theirs", "odd.safetensors")
    repo.git("commit", "-q", "--no-edit")
    clean_and_equal(repo, model(a=1), "odd.safetensors")


def test_numbers_of_rows(repo: GitRepo) -> None:
    def rows(*values: float) -> bytes:
        return safetensors_bytes({"wte": np.array(values, np.float32).reshape(-1, 1).repeat(2, axis=1)})

    diverge(repo, rows(1, 2, 3), rows(10, 20, 30, 40), rows(30, 40))
    done = repo.git("-c", "theta.merge=average", "merge", "theirs", check=False)
    assert "shapes differ (main [4, 2], theirs [2, 2]), and no policy for rows is chosen" in done.stderr
    repo.git("merge", "--abort")
    for policy, wanted in (("common", (20, 30)), ("pad", (20, 30, 30, 40))):
        repo.git("merge", "--no-edit", "theirs", GIT_THETA_MERGE=f"average rows={policy}")
        clean_and_equal(repo, rows(*wanted))
        repo.git("reset", "-q", "--hard", "HEAD~1")


def test_a_strategy_that_needs_torch_where_there_is_none(disjoint: GitRepo, tmp_path: Path) -> None:
    commit(disjoint, MODEL, model(a=10, b=5, c=3), "both")
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    (shadow / "torch.py").write_text("raise ImportError('not here')\n")
    disjoint.git("config", "theta.merge", "ties")
    done = disjoint.git("merge", "--no-edit", "theirs", check=False, PYTHONPATH=str(shadow))
    assert done.returncode == 1
    assert 'pip install "git-theta[torch]"' in done.stderr
    assert "b: torch is not installed" in done.stderr
    assert disjoint.status()[0] == f"UU {MODEL}"
    disjoint.theta("resolve", MODEL, "--strategy", "average", PYTHONPATH=str(shadow))
    disjoint.git("commit", "-q", "--no-edit")
    clean_and_equal(disjoint, model(a=10, b=12.5, c=3))


def test_a_mistake_in_the_settings_leaves_a_conflict(disjoint: GitRepo) -> None:
    disjoint.write(".thetaconfig", '[merge "*.safetensors"]\n\trule = a: avrage\n')
    disjoint.commit("settings")
    done = disjoint.git("merge", "--no-edit", "theirs", check=False)
    assert done.returncode == 1
    assert ".thetaconfig: rule 'a: avrage'" in done.stderr
    assert disjoint.digest(MODEL) == digest(model(a=10, b=2, c=3))
    disjoint.write(".thetaconfig", '[merge "*.safetensors"]\n\trule = a: average\n')
    disjoint.theta("resolve", MODEL)
    assert disjoint.staged() == [MODEL]


def test_shallow_clone_without_the_common_ancestor(disjoint: GitRepo) -> None:
    bare = disjoint.add_remote("origin")
    disjoint.git("push", "-q", "origin", "main", "theirs")
    url = f"file://{bare.path}"
    shallow = disjoint.clone("shallow", "--depth", "1", "--no-single-branch", source=url)
    done = shallow.git("merge", "--allow-unrelated-histories", "origin/theirs", check=False)
    assert done.returncode == 1
    assert "lacks the common ancestor: git fetch --deepen=" in done.stderr
    shallow.git("merge", "--abort")
    shallow.git("fetch", "-q", "--deepen=100")
    shallow.git("merge", "--no-edit", "origin/theirs")
    clean_and_equal(shallow, BOTH)


def test_a_missing_object_is_fetched_or_leaves_a_conflict(disjoint: GitRepo) -> None:
    bare = disjoint.add_remote("origin")
    disjoint.git("push", "-q", "origin", "main", "theirs")
    clone = disjoint.clone("clone", source=str(bare.path))
    clone.git("merge", "--no-edit", "origin/theirs")
    clean_and_equal(clone, BOTH)
    clone.git("reset", "-q", "--hard", "HEAD~1")
    kept = parse(clone.blob(f"HEAD:{MODEL}")).oids()
    stores = [clone.path / ".git" / "theta", bare.path / "theta"]
    for path in (file for store in stores for file in store.glob("objects/??/??/*")):
        if path.name not in kept:
            path.unlink()
    (clone.path / ".git" / "theta" / "index.sqlite").unlink()
    done = clone.git("merge", "--no-edit", "origin/theirs", check=False)
    assert done.returncode == 1
    assert "1 object is missing" in done.stderr
    assert clone.digest(MODEL) == digest(model(a=10, b=2, c=3))
    clone.git("merge", "--abort")
    assert clone.status() == []
