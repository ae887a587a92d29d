"""Rules, and the places where they come from."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.errors import ThetaError
from git_theta.merges.rule_sources import (
    Layer,
    command_line,
    environment,
    git_config,
    path_matches,
    resolve,
    thetaconfig,
)
from git_theta.merges.rules import Rename, Rules, parse_rename, parse_rule

EXAMPLE = [
    ("merge.models/*.safetensors.strategy", "ties"),
    ("merge.models/*.safetensors.density", "0.2"),
    ("merge.models/*.safetensors.rule", "lm_head.*: ours"),
    ("merge.models/*.safetensors.rule", "*.layers.0.*: linear weight=0.7"),
    ("merge.models/*.safetensors.rename", "embed.weight -> wte.weight"),
    ("merge.models/*.safetensors.rows", "common"),
]


def said(rules, name):
    return str(rules.choose(name))


def test_the_example():
    rules = resolve([thetaconfig(EXAMPLE, "models/a.safetensors")])
    assert said(rules, "h.1.weight") == "ties density=0.2 rows=common"
    assert said(rules, "lm_head.weight") == "ours rows=common"
    assert said(rules, "model.layers.0.q") == "linear weight=0.7 rows=common"
    assert rules.choose("model.layers.0.q").explicit
    assert not rules.choose("h.1.weight").explicit
    assert rules.renames == (Rename("embed.weight", "wte.weight"),)
    assert resolve([thetaconfig(EXAMPLE, "other/a.safetensors")]) == Rules()


def test_nothing_is_said():
    rules = resolve([command_line(None), environment(None), git_config([]), thetaconfig([], "a.pt")])
    assert rules == Rules()
    assert rules.choose("x") is None
    assert rules.settings() == []


def test_order_of_places():
    places = [
        command_line("slerp"),
        environment("average"),
        git_config([("theta.merge", "ties")]),
        thetaconfig([("merge.strategy", "magmax")], "a.pt"),
    ]
    for first, expected in enumerate(["slerp", "average", "ties", "magmax"]):
        assert said(resolve(places[first:]), "x") == expected


def test_rules_of_places_after_the_deciding_one_are_not_asked():
    config = thetaconfig([*EXAMPLE, ("merge.models/*.rule", "a: magmax")], "models/a.safetensors")
    rules = resolve([command_line("average"), config])
    assert said(rules, "lm_head.weight") == "average rows=common"
    rules = resolve([command_line(None, [], ["lm_head.*: theirs"]), config])
    assert said(rules, "lm_head.weight") == "theirs rows=common"
    assert said(rules, "a") == "magmax rows=common"
    assert said(rules, "b") == "ties density=0.2 rows=common"


def test_the_last_rule_of_a_place_wins():
    rules = resolve([command_line("average", [], ["*: ours", "a.*: theirs", "a.b: base"])])
    assert [said(rules, name) for name in ("x", "a.x", "a.b")] == ["ours", "theirs", "base"]


def test_options_of_other_places():
    config = git_config([("theta.merge.density", "0.3"), ("theta.merge.lambda", "0.5")])
    assert said(resolve([command_line("ties"), config]), "x") == "ties lambda=0.5 density=0.3"
    assert said(resolve([command_line("task_arithmetic"), config]), "x") == "task-arithmetic lambda=0.5"
    assert said(resolve([command_line("average"), config]), "x") == "average"
    assert (
        said(resolve([command_line("ties", ["density=0.1"]), config]), "x") == "ties lambda=0.5 density=0.1"
    )
    named = git_config([("theta.merge", "ties density=0.3"), ("theta.merge.lambda", "2")])
    assert said(resolve([command_line("ties"), named]), "x") == "ties lambda=2 density=0.3"
    assert said(resolve([command_line("sce"), named]), "x") == "sce"
    assert said(resolve([command_line(None, ["density=0.1"]), named]), "x") == "ties lambda=2 density=0.1"


def test_rows_can_be_set_for_all_or_in_a_rule():
    rules = resolve([command_line("average", ["rows=pad"], ["a: average rows=ours"])])
    assert rules.choose("a").rows == "ours"
    assert rules.choose("b").rows == "pad"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([command_line("tise")], "the command line: there is no merge strategy 'tise'; known: "),
        ([command_line("ties", ["densty=1"])], "the strategy ties has no option 'densty'"),
        ([command_line("ties", ["rows=some"])], "rows=some is not known"),
        ([command_line(None, ["density=1"])], "options are given with -o, but no merge strategy"),
        (
            [command_line("average"), git_config([("theta.merge.densty", "1")])],
            "no merge strategy has an option",
        ),
        ([git_config([("theta.merge", "average"), ("theta.merge.density", "1")])], "has no option 'density'"),
        ([thetaconfig([("merge.strateggy", "ties")], "m")], ".thetaconfig: no merge strategy has an option"),
        ([environment("ties density=3")], "GIT_THETA_MERGE: density=3 of ties: expected"),
        ([environment("ties 'density")], 'GIT_THETA_MERGE: "ties \'density" cannot be read'),
        ([command_line(None, [], ["lm_head"])], "rule 'lm_head' is not of the form GLOB: STRATEGY"),
        ([command_line(None, [], ["a: b"])], "rule 'a: b': there is no merge strategy 'b'"),
        (
            [command_line(None, [], ["a: ties x=1"])],
            "rule 'a: ties x=1': the strategy ties has no option 'x'",
        ),
        ([command_line(None, renames=["a b"])], "rename 'a b' is not of the form OLD -> NEW"),
        ([command_line(None, renames=["a.* -> b"])], "with as many [*] on both sides"),
    ],
)
def test_mistakes_name_their_place(layers, message):
    with pytest.raises(ThetaError, match=message):
        resolve(layers)


def test_mistakes_on_the_command_line_itself():
    with pytest.raises(ThetaError, match="-o: 'x' is not of the form"):
        command_line("ties", ["x"])


def test_settings_give_the_same_rules_again():
    layers = [
        command_line(None, ["rows=pad"], ["dense/kernel:0: slerp t=0.25"], ["old.* -> new.*"]),
        thetaconfig(EXAMPLE, "models/a.safetensors"),
    ]
    rules = resolve(layers)
    again = resolve([Layer.read("the record", rules.settings())])
    assert again.settings() == rules.settings()
    for name in ("dense/kernel:0", "lm_head.w", "h"):
        assert said(again, name) == said(rules, name)


@pytest.mark.parametrize(
    ("text", "pattern", "words"),
    [
        ("lm_head.*: ours", "lm_head.*", "ours"),
        ("a:ours", "a", "ours"),
        ("dense/kernel:0: slerp t=0.25", "dense/kernel:0", "slerp t=0.25"),
        ("  x y : average  ", "x y ", "average"),
        ("a: fisher fisher=main:f.pt,topic:f.pt", "a", "fisher fisher=main:f.pt,topic:f.pt"),
        ("a: ties 'density=0.5'", "a", "ties density=0.5"),
    ],
)
def test_rule_grammar(text, pattern, words):
    rule = parse_rule(text, "test")
    assert (rule.pattern, str(rule.choice)) == (pattern, words)


def test_globs_match_whole_names():
    rule = parse_rule("h.*.w?: ours", "test")
    assert rule.matches("h.1.a/b.wx")
    assert not rule.matches("h.1.w")
    assert not rule.matches("xh.1.wx")
    assert parse_rule("['params']['dense']: ours", "test").matches("['params']['dense']")
    assert not parse_rule("A: ours", "test").matches("a")


def test_renames():
    rename = parse_rename("model.layers.*.attn.* -> h.*.a.*", "test")
    assert rename.apply("model.layers.3.attn.q.weight") == "h.3.a.q.weight"
    assert rename.apply("model.layers.3.mlp.q") is None
    assert parse_rename("a.b->c", "test").apply("a.b") == "c"
    assert parse_rename("a.b->c", "test").apply("axb") is None


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.pt", "a.pt", True),
        ("*.pt", "deep/down/a.pt", True),
        ("models/*.pt", "models/a.pt", True),
        ("/models/*.pt", "models/a.pt", True),
        ("models/*.pt", "models/deep/a.pt", False),
        ("models/*.pt", "other/models/a.pt", False),
        ("models/**/a.pt", "models/a.pt", True),
        ("models/**/a.pt", "models/x/y/a.pt", True),
        ("**/a.pt", "x/a.pt", True),
        ("models/**", "models/x/y", True),
        ("models/**", "models", False),
        ("model?.pt", "model1.pt", True),
        ("model[12].pt", "model2.pt", True),
        ("model[!12].pt", "model2.pt", False),
        ("a.pt", "aXpt", False),
        ("**/x/**/*.pt", "x/a.pt", True),
        ("**/x/**/*.pt", "a/x/b/c/a.pt", True),
        ("**/x/**/*.pt", "a/y/b/a.pt", False),
        ("a**/b.pt", "ax/b.pt", True),
        ("a**/b.pt", "a/x/b.pt", False),
        ("a/**", "a/b/c", True),
        ("[z-a].pt", "z.pt", False),
        ("[^a].pt", "b.pt", True),
        ("/a.pt", "b/a.pt", False),
    ],
)
def test_paths(pattern, path, matches):
    assert path_matches(pattern, path) is matches


def test_paths_match_as_git_says(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    paths = ["a", "a.pt", "x/a.pt", "x/y/a.pt", "x/y/z/b.pt", "xx/a.pt", "x/a.ptx", "y/x/a.pt"]
    anchored, named = ["x/*", "x/**", "**/a.pt", "x/**/a.pt", "/a*", "*/*/a.pt", "**/y/**"], ["*.pt", "a?pt"]
    for pattern in [*anchored, *named, "x/*/*/?.pt", "[!a].pt"]:
        (tmp_path / ".gitattributes").write_text(f"{pattern} found\n")
        told = subprocess.run(
            ["git", "-C", tmp_path, "check-attr", "found", *paths], check=True, capture_output=True, text=True
        )
        found = [line.endswith(": set") for line in told.stdout.splitlines()]
        assert [path_matches(pattern, path) for path in paths] == found, pattern


def test_no_glob_takes_long():
    """A matcher that goes back and tries again would not end."""
    assert not path_matches("**/" * 12 + "*a" * 12 + "/" + "**/*a*/" * 12 + "x", "a" * 60 + "/a" * 40)
    assert not parse_rule("*a" * 40 + "x: ours", "test").matches("a" * 200)
    rename = parse_rename("*a" * 40 + "x -> " + "*b" * 40, "test")
    assert rename.apply("a" * 3000) is None
    with pytest.raises(ThetaError, match="not of the form"):
        parse_rename(" " * 200_000 + "-" + " " * 200_000, "test")


@given(
    st.lists(st.sampled_from(["*", "a", "b", "."]), min_size=1, max_size=8).map("".join),
    st.text("ab.", max_size=9),
)
def test_stars_of_renames_stand_for_as_much_as_they_can(old, name):
    match = re.fullmatch("(.*)".join(map(re.escape, old.split("*"))), name)
    new = "-".join("*" * old.count("*"))
    expected = None if match is None else "-".join(match.groups())
    assert Rename(old, new).apply(name) == expected


def test_sections_without_a_path_and_keys_of_others():
    pairs = [
        ("merge.strategy", "ties"),
        ("merge.density", "0.5"),
        ("theta.base", "x"),
        ("core.bare", "false"),
    ]
    assert said(resolve([thetaconfig(pairs, "a.pt")]), "x") == "ties density=0.5"
    later = [*pairs, ("merge.*.pt.density", "0.25")]
    assert said(resolve([thetaconfig(later, "a.pt")]), "x") == "ties density=0.25"
