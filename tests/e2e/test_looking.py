"""git theta ls-files, status, doctor and fsck."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from git_repo import GitRepo, changed, safetensors_bytes, version, weights

from git_theta.manifest import parse, write


class TestLsFiles:
    def test_table(self, history: GitRepo) -> None:
        lines = history.theta("ls-files").stdout.splitlines()
        assert lines[0].split() == ["PATH", "FORMAT", "TENSORS", "SIZE", "STORED"]
        assert lines[1].split()[:5] == ["model.safetensors", "safetensors", "5", "328", "KB"]
        assert len(lines) == 2

    def test_tensors(self, history: GitRepo) -> None:
        lines = history.theta("ls-files", "--long").stdout.splitlines()
        assert lines[0].startswith("model.safetensors (safetensors, 5 tensors, 328 KB, stored ")
        assert [line.split()[0] for line in lines[2:]] == ["bias", *(f"layer.{n}.weight" for n in range(4))]
        assert lines[2].split()[1:6] == ["unchanged", "F32", "16", "64", "B"]
        assert lines[3].split()[1:6] == ["unchanged", "F32", "160x128", "82", "KB"]

    def test_status_against_the_version_before(self, history: GitRepo) -> None:
        statuses = []
        for revision in ("v0", "v1"):
            (entry,) = json.loads(history.theta("ls-files", revision, "--json", "-l").stdout)
            statuses.append({tensor["status"] for tensor in entry["tensors"]})
        assert statuses == [{"added"}, {"modified", "unchanged"}]

    def test_json_of_a_revision(self, history: GitRepo) -> None:
        (entry,) = json.loads(history.theta("ls-files", "v0", "--json").stdout)
        assert entry["path"] == "model.safetensors"
        assert entry["size"] == len(version(0))
        assert entry["tensors"] == 5
        assert entry["blob"] == history.head("v0:model.safetensors")
        (entry,) = json.loads(history.theta("ls-files", "v0", "--json", "-l").stdout)
        assert {tensor["update"] for tensor in entry["tensors"]} == {"dense"}
        assert sum(tensor["size"] for tensor in entry["tensors"]) == 4 * 160 * 128 * 4 + 64
        assert all(0 < tensor["stored_bytes"] <= tensor["size"] + 100 for tensor in entry["tensors"])

    def test_tensor_whose_object_is_not_here(self, history: GitRepo) -> None:
        for path in history.objects():
            path.unlink()
        lines = history.theta("ls-files", "-l").stdout.splitlines()
        sizes = {line.split()[0]: "not here" in line for line in lines[2:]}
        # Where an object holds one tensor only, the manifest says its size.
        assert sizes == {"bias": True} | {f"layer.{number}.weight": False for number in range(4)}

    def test_bare_repositories_and_folders(self, history: GitRepo, pushed: GitRepo) -> None:
        assert "model.safetensors" in pushed.theta("ls-files", "main").stdout
        (history.path / "folder").mkdir()
        assert "model.safetensors" in GitRepo(history.path / "folder").theta("ls-files", "HEAD").stdout

    def test_nothing_and_nonsense(self, repo: GitRepo) -> None:
        assert repo.theta("ls-files").stdout == ""
        assert json.loads(repo.theta("ls-files", "--json").stdout) == []
        assert repo.theta("ls-files", "no-such-revision", check=False).returncode == 1

    def test_damaged_manifest_is_listed_as_such(self, history: GitRepo) -> None:
        history.commit_as_it_is(b'{"git-theta":1,' + b"x" * 300, "bad.safetensors")
        assert "damaged" in history.theta("ls-files").stdout
        listed = json.loads(history.theta("ls-files", "--json").stdout)
        assert [bool(entry.get("problem")) for entry in listed] == [True, False]


class TestStatus:
    def test_all_is_well(self, history: GitRepo) -> None:
        done = history.theta("status")
        assert "*.safetensors (.gitattributes)" in done.stdout
        assert "No checkpoint has changed." in done.stdout

    def test_staged_and_unstaged(self, history: GitRepo) -> None:
        first = changed(changed(weights(0), "layer.1.weight"), "bias", seed=3)
        history.write("model.safetensors", safetensors_bytes(first))
        history.git("add", "model.safetensors")
        second = changed(first, "layer.0.weight", "layer.2.weight", seed=4)
        history.write("model.safetensors", safetensors_bytes(second))
        history.write("new.pt", b"x")
        objects = history.objects()
        lines = history.theta("status").stdout.splitlines()
        staged = lines.index("Changes to be committed:")
        assert lines[staged + 1].startswith("    model.safetensors: 1 of 5 tensors changed, ")
        not_staged = lines.index("Changes not staged for commit:")
        assert lines[not_staged + 1] == "    model.safetensors: 2 of 5 tensors changed"
        assert lines[lines.index("Untracked checkpoints:") + 1] == "    new.pt"
        assert history.objects() == objects
        found = json.loads(history.theta("status", "--json").stdout)
        assert found["staged"][0]["changed"] == 1
        (unstaged,) = found["unstaged"]
        assert unstaged.items() >= {"changed": 2, "modified": 2, "removed": 0, "tensors": 5}.items()
        assert found["untracked"] == ["new.pt"]
        assert found["installed"] is found["hooks"] is True

    def test_touched_file_is_not_changed(self, history: GitRepo) -> None:
        (history.path / "model.safetensors").touch()
        assert "No checkpoint has changed." in history.theta("status").stdout

    def test_a_damaged_manifest_is_named_once(self, history: GitRepo) -> None:
        text = history.blob("HEAD:model.safetensors")
        history.write("model.safetensors", text.replace(b'"shape":[16]', b'"shape":[17]'))
        shown = history.theta("status", check=False).stdout
        (line,) = [line for line in shown.splitlines() if "model.safetensors" in line]
        assert line.count("model.safetensors") == 1

    def test_damaged_and_deleted_files(self, history: GitRepo) -> None:
        history.write("model.safetensors", version(1)[:1000])
        assert "no whole safetensors file" in history.theta("status").stdout
        (history.path / "model.safetensors").unlink()
        assert "model.safetensors: deleted" in history.theta("status").stdout

    def test_missing_objects(self, history: GitRepo) -> None:
        history.objects()[0].unlink()
        done = history.theta("status", check=False)
        assert done.returncode == 1
        assert "model.safetensors: 1 object" in done.stdout

    def test_before_install(self, plain: GitRepo) -> None:
        done = plain.theta("status", check=False)
        assert done.returncode == 1
        assert "git theta install" in done.stdout
        assert json.loads(plain.theta("status", "--json", check=False).stdout)["installed"] is False

    def test_before_the_first_commit(self, installed: Path, plain: GitRepo) -> None:
        plain.theta("track", "*.safetensors")
        plain.write("model.safetensors", version(0))
        plain.git("add", "--all")
        assert "model.safetensors: 5 tensors" in plain.theta("status").stdout

    def test_colours(self, history: GitRepo) -> None:
        history.write("new.pt", b"x")
        assert "\x1b[" not in history.theta("status").stdout
        history.git("config", "color.ui", "always")
        assert "\x1b[31mnew.pt" in history.theta("status").stdout
        assert "\x1b[" not in history.theta("status", NO_COLOR="1").stdout


class TestDoctor:
    def findings(self, repo: GitRepo) -> dict[str, str]:
        """What is wrong: texts and remedies."""
        done = repo.theta("doctor", "--json", check=False)
        found = json.loads(done.stdout)
        wrong = {entry["text"]: entry["remedy"] for entry in found if entry["level"] == "wrong"}
        assert done.returncode == (1 if wrong else 0)
        return wrong

    def test_all_is_well(self, history: GitRepo, pushed: GitRepo) -> None:
        done = history.theta("doctor")
        assert "wrong" not in done.stdout
        assert "git 2." in done.stdout
        assert "remote origin" in done.stdout

    def test_outside_of_a_repository(self, home: Path) -> None:
        (text,) = self.findings(GitRepo(home)).items()
        assert text[1] == "git theta install"

    def test_every_remedy_mends(self, plain: GitRepo) -> None:
        """An untouched machine: what doctor says to type, typed, makes it content."""
        plain.write("model.pt", b"x" * 2000)
        plain.write(".gitattributes", "*.pt filter=theta\n")
        plain.commit()
        for _ in range(6):
            wrong = self.findings(plain)
            if not wrong:
                break
            remedy = next(iter(wrong.values()))
            command = remedy.replace(", and commit", " && git commit -q -m mend")
            plain.run("sh", "-c", command)
        assert not self.findings(plain)
        assert plain.blob(":model.pt").startswith(b'{"git-theta":')

    def test_settings_of_an_old_version(self, history: GitRepo) -> None:
        history.git("config", "--global", "filter.theta.clean", "git-theta-filter clean %f")
        (text,) = self.findings(history)
        assert "filter.theta.clean" in text
        history.theta("install")
        assert not self.findings(history)

    def test_remote_that_cannot_take_objects(self, history: GitRepo) -> None:
        history.git("remote", "add", "web", "https://example.invalid/m.git")
        (text,) = self.findings(history)
        assert "remote web" in text

    def test_attribute_of_another_tool(self, history: GitRepo) -> None:
        with (history.path / ".gitattributes").open("a") as file:
            file.write("model.safetensors filter=lfs -text\n")
        wrong = self.findings(history)
        assert any("model.safetensors" in text and "filter" in text for text in wrong)

    def test_missing_text_attribute(self, history: GitRepo) -> None:
        history.write(".gitattributes", "*.safetensors filter=theta diff=theta merge=theta\n")
        ((text, remedy),) = self.findings(history).items()
        assert "text" in text
        assert remedy == "git theta track model.safetensors"

    def test_missing_objects(self, history: GitRepo, pushed: GitRepo) -> None:
        history.objects()[0].unlink()
        ((text, remedy),) = self.findings(history).items()
        assert "model.safetensors" in text
        history.run("sh", "-c", remedy)
        assert not self.findings(history)

    def test_git_theta_that_git_cannot_find(self, history: GitRepo) -> None:
        import sys

        program = "from git_theta.cli.entry import main; main(['doctor'])"
        done = history.run(sys.executable, "-c", program, PATH="/usr/bin:/bin")
        assert "not on the PATH" in done.stdout


class TestFsck:
    def test_all_is_well(self, history: GitRepo) -> None:
        said = history.theta("fsck").stdout
        assert said.startswith(f"Checked 2 manifests, {len(history.objects())} objects (")
        assert said.endswith("): all is well.\n")

    @pytest.mark.parametrize("fast", [[], ["--fast"]])
    def test_flipped_bit_in_every_object(self, history: GitRepo, fast: list[str]) -> None:
        for path in history.objects():
            before = path.read_bytes()
            position = len(before) // 2
            path.chmod(0o644)
            path.write_bytes(before[:position] + bytes([before[position] ^ 1]) + before[position + 1 :])
            done = history.theta("fsck", *fast, check=False)
            assert done.returncode == 1
            assert "model.safetensors (commit " in done.stdout
            assert "tensor " in done.stdout or "skeleton" in done.stdout
            assert str(path.relative_to(history.path)) in done.stdout
            path.write_bytes(before)
        assert history.theta("fsck").returncode == 0

    def test_cut_off_and_missing_objects(self, history: GitRepo) -> None:
        first, second, *_ = history.objects()
        first.chmod(0o644)
        first.write_bytes(first.read_bytes()[:-1])
        second.unlink()
        done = history.theta("fsck", check=False)
        assert done.stdout.count("error: ") == 2
        assert "is missing" in done.stdout
        assert "is damaged" in done.stdout
        assert "2 problems" in done.stdout

    def test_object_that_holds_something_else(self, history: GitRepo) -> None:
        """An object that is whole, under its own name, but is not what the manifest says."""
        manifest = parse(history.blob("HEAD:model.safetensors"))
        dense = [line for line in manifest.storage.values() if line.update == "dense"]
        first, second = dense[:2]
        assert first.place != second.place
        storage = dict(manifest.storage)
        storage[first.digest] = replace(second, digest=first.digest)
        storage[second.digest] = replace(first, digest=second.digest)
        history.commit_as_it_is(write(manifest.with_storage(storage)), "model.safetensors")
        assert history.theta("fsck", "--fast").returncode == 0
        done = history.theta("fsck", check=False)
        assert done.returncode == 1
        assert "does not hold" in done.stdout

    def test_damaged_manifests_are_found_wherever_they_are(self, history: GitRepo) -> None:
        damaged = history.blob("HEAD:model.safetensors").replace(
            b'"format":"safetensors"', b'"format":"pytorch"'
        )
        history.stage(damaged, "model.safetensors")
        done = history.theta("fsck", check=False)
        assert "model.safetensors: the manifest's lines do not belong together" in done.stdout

    def test_stash_and_reflog_count(self, history: GitRepo) -> None:
        history.write("model.safetensors", safetensors_bytes(weights(9)))
        history.git("stash", "-q")
        text = history.blob("stash@{0}:model.safetensors").decode()
        old = history.blob("HEAD:model.safetensors").decode()
        victim = next(path for path in history.objects() if path.name in text and path.name not in old)
        victim.unlink()
        assert victim.name in history.theta("fsck", check=False).stdout

    def test_what_no_version_needs_and_leftovers_are_only_noted(self, history: GitRepo) -> None:
        history.write("model.safetensors", safetensors_bytes(weights(9)))
        history.git("add", "model.safetensors")
        history.git("reset", "-q", "--hard")
        temporary = history.path / ".git" / "theta" / "tmp"
        temporary.mkdir(exist_ok=True)
        import os
        import socket

        name = "".join(letter for letter in socket.gethostname() if letter.isalnum() or letter == ".")[:64]
        (temporary / f"999999999-{name}-{os.urandom(8).hex()}").write_bytes(b"half")
        done = history.theta("fsck")
        assert "belong to no version" in done.stdout
        assert "removed 1 temporary file" in done.stdout

    def test_bare_repository(self, history: GitRepo, pushed: GitRepo) -> None:
        assert "all is well" in pushed.theta("fsck").stdout

    def test_new_clone_lacks_earlier_versions(self, history: GitRepo, pushed: GitRepo) -> None:
        history.write("model.safetensors", safetensors_bytes(weights(9)))
        history.commit("unrelated")
        history.git("push", "-q", "origin", "main")
        clone = pushed.clone("clone")
        said = clone.theta("fsck").stdout
        assert "objects (" in said
        assert "are not here, but on a remote; git theta fetch --all brings them" in said
        assert said.endswith("all is well.\n")
        clone.theta("fetch", "--all")
        assert "not here" not in clone.theta("fsck").stdout
        clone.git("remote", "set-url", "origin", "https://example.invalid/m.git")
        clone.objects()[0].unlink()
        done = clone.theta("fsck", check=False)
        assert done.returncode == 1
        assert "is missing" in done.stdout
