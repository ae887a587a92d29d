"""The ways to commit, and names that are hard to pass on."""

from __future__ import annotations

from git_repo import GitRepo, changed, digest, safetensors_bytes, version, weights

from git_theta import manifest

MODEL = "model.safetensors"


def test_commit_all(history: GitRepo) -> None:
    data = safetensors_bytes(changed(weights(), "layer.0.weight", "bias"))
    history.write(MODEL, data)
    said = history.git("commit", "-a", "-m", "tune")
    # Against v1, layer.1.weight has gone back to what it was.
    assert f"{MODEL}: 3 of 5 tensors changed, " in said.stdout + said.stderr
    history.git("checkout", "-q", "v0")
    history.git("checkout", "-q", "main")
    assert history.digest(MODEL) == digest(data)


def test_commit_one_path(history: GitRepo) -> None:
    data = safetensors_bytes(changed(weights(), "bias"))
    history.write(MODEL, data)
    history.write("notes.txt", "staged, and stays so\n")
    history.git("add", "notes.txt")
    history.git("commit", "-q", "-m", "the model only", MODEL)
    assert history.git("show", "--format=", "--name-only", "HEAD").stdout.split() == [MODEL]
    assert history.staged() == ["notes.txt"]
    history.git("reset", "-q", "--hard", "v0")
    history.git("reset", "-q", "--hard", "HEAD@{1}")
    assert history.digest(MODEL) == digest(data)


def test_hunks_of_a_manifest_are_refused(history: GitRepo) -> None:
    history.write(MODEL, safetensors_bytes(changed(weights(), "bias", "layer.3.weight")))
    # Split the first hunk; take its first part only.
    history.git("add", "-p", MODEL, stdin=b"s\ny\nn\nn\nn\nn\nn\nn\nn\n")
    assert history.staged() == [MODEL]
    refused = history.git("commit", "-m", "hunks", check=False)
    assert refused.returncode == 1
    assert f"{MODEL}: the manifest's lines do not belong together" in refused.stderr
    assert f"git add {MODEL}" in refused.stderr
    history.git("add", MODEL)
    history.git("commit", "-q", "-m", "whole")
    assert history.status() == []


def test_all_hunks_are_the_whole_file(history: GitRepo) -> None:
    data = safetensors_bytes(changed(weights(), "bias", "layer.3.weight"))
    history.write(MODEL, data)
    history.git("add", "-p", MODEL, stdin=b"a\n")
    history.git("commit", "-q", "-m", "all hunks")
    assert history.status() == []
    (history.path / MODEL).unlink()
    history.git("checkout", "--", MODEL)
    assert history.digest(MODEL) == digest(data)


def test_add_update_and_intent_to_add(history: GitRepo) -> None:
    history.write("new.safetensors", safetensors_bytes(weights(3)))
    history.git("add", "-N", "new.safetensors")
    history.write(MODEL, version(0))
    history.git("add", "-u")
    history.git("commit", "-q", "-m", "both")
    assert history.status() == []
    assert history.head(f"HEAD:{MODEL}") == history.head(f"v0:{MODEL}")


def test_manifest_without_storage_is_refused(history: GitRepo) -> None:
    """What clean answers to commands that only look must not be committed."""
    whole = manifest.parse(history.blob(f"v0:{MODEL}"))
    identity = manifest.write(whole.with_storage({}))
    history.stage(identity, MODEL)
    history.write(MODEL, version(0))
    refused = history.git("commit", "-m", "identity", check=False)
    assert refused.returncode == 1
    assert f"{MODEL}: its data have not been stored" in refused.stderr
    history.remedy(refused.stderr, f"git add --renormalize {MODEL}")
    assert history.head(f":{MODEL}") == history.head(f"v0:{MODEL}")


NAMES = (
    "a model with spaces.safetensors",
    "модель-模型-é.safetensors",
    "-rf.safetensors",
    "--upload-pack=x.safetensors",
    'it\'s "quoted" $HOME `id` %f.safetensors',
    "folder with spaces/ü/-x.safetensors",
    "[a-z]*?.safetensors",
    ":(top)x.safetensors",
    "new\nline.safetensors",
)


def test_names(repo: GitRepo) -> None:
    """Names that are hard to pass on, through the filter process."""
    check_names(repo, NAMES)


def test_names_in_single_shot_filters(repo: GitRepo) -> None:
    """Through the command that git starts for each file where there is no process."""
    repo.git("config", "--global", "--unset", "filter.theta.process")
    check_names(repo, NAMES[2:5])


def check_names(repo: GitRepo, names: tuple[str, ...]) -> None:
    versions = []
    for start in (0, 100):
        files = {
            name: safetensors_bytes(weights(start + number, count=1)) for number, name in enumerate(names)
        }
        for name, data in files.items():
            repo.write(name, data)
        repo.git("--literal-pathspecs", "add", "--", *names)
        repo.git("commit", "-q", "-m", "all of them")
        versions.append({name: digest(data) for name, data in files.items()})
    repo.git("checkout", "-q", "HEAD~1")
    assert {name: repo.digest(name) for name in names} == versions[0]
    repo.git("checkout", "-q", "main")
    assert {name: repo.digest(name) for name in names} == versions[1]
    assert repo.status() == []
    assert all(manifest.is_manifest(repo.blob(f"HEAD:{name}")) for name in names)


def test_names_on_the_command_line(repo: GitRepo) -> None:
    for name in NAMES[1:4]:
        repo.write(name, safetensors_bytes(weights(count=1)))
        repo.git("add", "--", name)
        repo.git("commit", "-q", "-m", name, "--", name)
        assert name in repo.git("show", "-z", "--format=", "--name-only").stdout
