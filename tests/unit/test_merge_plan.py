"""Plans: what becomes of every tensor, for all ways in which sides can differ."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from git_theta.dtypes import dtype
from git_theta.errors import ThetaError
from git_theta.manifest import Manifest, TensorLine, View
from git_theta.merges.plan import plan
from git_theta.merges.rule_sources import command_line, resolve
from git_theta.merges.rules import Rules

F32, BF16, I64 = dtype("F32"), dtype("BF16"), dtype("I64")
NONE = Rules()


def rules(strategy=None, *several, rows=None, renames=()):
    return resolve([command_line(strategy, [f"rows={rows}"] if rows else [], several, renames)])


def line(name, value, kind=F32, shape=(4, 2)):
    return TensorLine(name, kind, shape, value * 64)


def view(name, of, kind=F32, shape=(4, 2), offset=0):
    return View(name, of, kind, shape, offset, (2, 1))


def manifest(*lines, skeleton="0", form="safetensors"):
    tensors = sorted((one for one in lines if isinstance(one, TensorLine)), key=lambda one: one.name)
    views = sorted((one for one in lines if isinstance(one, View)), key=lambda one: one.name)
    return Manifest(form, 100, "f" * 64, tuple(tensors), tuple(views), skeleton * 64, 10)


def one(values, chosen=NONE, **kinds):
    """The decision about a tensor `w` with these values, base first; '-' for a side that has none."""
    sides = [manifest() if value == "-" else manifest(line("w", value, **kinds)) for value in values]
    made = plan(sides[0], sides[1:], chosen)
    return made.decisions[0] if made.decisions else None


# base, ours, theirs; action, side, state
TABLE = [
    ("aaa", "take", 1, "unchanged"),
    ("aab", "take", 2, "changed on one side"),
    ("aba", "take", 1, "changed on one side"),
    ("abb", "take", 1, "changed alike"),
    ("abc", "conflict", 1, "changed differently"),
    ("aa-", "remove", 2, "removed on one side"),
    ("a-a", "remove", 1, "removed on one side"),
    ("a--", "remove", 1, "removed alike"),
    ("ab-", "conflict", 1, "removed and changed"),
    ("a-b", "conflict", 1, "removed and changed"),
    ("-b-", "add", 1, "added on one side"),
    ("--b", "add", 2, "added on one side"),
    ("-bb", "add", 1, "added alike"),
    ("-bc", "conflict", 1, "added differently"),
    # three models: base, ours, and two of theirs
    ("aaaa", "take", 1, "unchanged"),
    ("aaab", "take", 3, "changed on one side"),
    ("aaba", "take", 2, "changed on one side"),
    ("abaa", "take", 1, "changed on one side"),
    ("aabb", "take", 2, "changed alike"),
    ("abab", "take", 1, "changed alike"),
    ("abbb", "take", 1, "changed alike"),
    ("aabc", "conflict", 1, "changed differently"),
    ("abbc", "conflict", 1, "changed differently"),
    ("abcd", "conflict", 1, "changed differently"),
    ("aaa-", "remove", 3, "removed on one side"),
    ("aa--", "remove", 2, "removed alike"),
    ("a---", "remove", 1, "removed alike"),
    ("aab-", "conflict", 1, "removed and changed"),
    ("ab-a", "conflict", 1, "removed and changed"),
    ("abb-", "conflict", 1, "removed and changed"),
    ("ab--", "conflict", 1, "removed and changed"),
    ("---b", "add", 3, "added on one side"),
    ("--bb", "add", 2, "added alike"),
    ("-bbb", "add", 1, "added alike"),
    ("--bc", "conflict", 1, "added differently"),
    ("-b-c", "conflict", 1, "added differently"),
    ("-bbc", "conflict", 1, "added differently"),
]


@pytest.mark.parametrize(("values", "action", "side", "state"), TABLE)
def test_with_no_rules(values, action, side, state):
    decision = one(values)
    assert (decision.action, decision.side, decision.state) == (action, side, state)
    assert [found and found.digest[0] for found in decision.lines] == [
        v if v != "-" else None for v in values
    ]
    assert bool(decision.reason) == (action == "conflict")


def test_the_table_for_two_models_is_complete():
    patterns = set()
    for values in itertools.product("-abc", repeat=3):
        order = list(dict.fromkeys(v for v in values if v != "-"))
        letters = "abc" if values[0] != "-" else "bcd"
        patterns.add("".join(v if v == "-" else letters[order.index(v)] for v in values))
    assert patterns - {"---"} == {values for values, *_ in TABLE if len(values) == 3}


@pytest.mark.parametrize("values", [row[0] for row in TABLE if row[1] != "conflict"])
def test_strategies_are_asked_only_where_sides_differ(values, subtests):
    for chosen in (rules("average"), rules("ours"), rules("theirs"), rules(None, "*: ties")):
        with subtests.test(chosen=chosen):
            if values != "---":
                assert one(values, chosen) == one(values)


@pytest.mark.parametrize(("values", "state"), [(row[0], row[3]) for row in TABLE if row[1] == "conflict"])
def test_a_strategy_for_all(values, state):
    decision = one(values, rules("average"))
    assert decision.action == ("combine" if state == "changed differently" else "conflict")


@pytest.mark.parametrize(("values", "state"), [(row[0], row[3]) for row in TABLE if row[1] == "conflict"])
def test_a_rule_for_the_tensor(values, state):
    decision = one(values, rules(None, "w: average"))
    assert decision.action == ("conflict" if state == "removed and changed" else "combine")
    if decision.combination:
        changed = tuple(side for side in range(1, len(values)) if values[side] != values[0])
        assert decision.combination.sides == changed


@pytest.mark.parametrize("values", [row[0] for row in TABLE if row[1] == "conflict"])
def test_taking_a_side_settles_every_conflict(values, subtests):
    others = [place for place in range(2, len(values)) if values[place] != values[0]]
    for strategy, side in (("ours", 1), ("base", 0), ("theirs", others[0])):
        with subtests.test(strategy=strategy):
            decision = one(values, rules(strategy))
            if strategy == "theirs" and len({values[place] for place in others}) > 1:
                assert decision.action == "conflict"
                continue
            expected = "remove" if values[side] == "-" else "add" if values[0] == "-" else "take"
            assert (decision.action, decision.side) == (expected, side)


def test_reasons_are_sentences():
    assert one("abc").reason == "changed differently by ours and theirs, and no strategy is chosen"
    assert one("ab-").reason == "removed by theirs, changed by ours"
    assert one("-bc", rules("average")).reason == (
        "added differently by ours and theirs, and no rule says what to do with it"
    )
    assert (
        one("abcd").reason == "changed differently by ours, theirs 1 and theirs 2, and no strategy is chosen"
    )
    assert one("-bc", rules(None, "w: ties")).reason == (
        "ties needs the common ancestor, which does not have this tensor"
    )
    assert one("abcd", rules("slerp")).reason == "slerp cannot merge 3 models (ours, theirs 1 and theirs 2)"
    assert one("abcd", rules("theirs")).reason.endswith(": theirs is not one of them")


def test_labels_are_used_in_reasons():
    made = plan(
        manifest(line("w", "a")),
        [manifest(line("w", "b")), manifest(line("w", "c"))],
        NONE,
        ["v1", "main", "topic"],
    )
    assert made.labels == ("v1", "main", "topic")
    assert "by main and topic" in made.decisions[0].reason


def test_no_base_at_all():
    made = plan(
        None, [manifest(line("w", "b"), line("x", "b")), manifest(line("w", "b"), line("x", "c"))], NONE
    )
    assert [(one.name, one.action, one.state) for one in made.decisions] == [
        ("w", "add", "added alike"),
        ("x", "conflict", "added differently"),
    ]


def test_weights_of_those_who_take_part():
    decision = one("aabc", resolve([command_line("linear", ["weight=0.5,0.3,0.2"])]))
    assert decision.combination.options.weight == (0.3, 0.2)
    with pytest.raises(ThetaError, match="3 values for 2 models"):
        one("abc", resolve([command_line("linear", ["weight=0.5,0.3,0.2"])]))


def test_numbers_that_are_no_floats(subtests):
    for kind in (I64, dtype("BOOL"), dtype("C64"), dtype("F8_E8M0")):
        with subtests.test(kind=kind.name):
            assert one("aab", kind=kind).action == "take"
            for chosen in (rules("average"), rules(None, "w: average")):
                decision = one("abc", chosen, kind=kind)
                assert decision.action == "conflict"
                assert f"{kind.name} is not merged by arithmetic" in decision.reason
            assert one("abc", rules(None, "w: ours"), kind=kind).action == "take"


def three(base, ours, theirs, chosen):
    return plan(manifest(base), [manifest(ours), manifest(theirs)], chosen).decisions[0]


def test_different_dtypes():
    lines = line("w", "a", BF16), line("w", "b", BF16), line("w", "c", F32)
    assert "dtypes differ (ours BF16, theirs F32)" in three(*lines, rules("average")).reason
    decision = three(*lines, rules(None, "w: average"))
    assert (decision.action, decision.combination.dtype) == ("combine", BF16)
    cast = line("w", "a", BF16), line("w", "b", F32), line("w", "c", F32)
    assert three(*cast, rules("ties")).combination.dtype == F32
    assert three(line("w", "a", I64), *cast[1:], rules("ties")).action == "conflict"


def test_the_same_bytes_in_another_shape_are_a_change():
    decision = three(line("w", "a"), line("w", "a", shape=(2, 4)), line("w", "a"), NONE)
    assert (decision.action, decision.side, decision.state) == ("take", 1, "changed on one side")


@pytest.mark.parametrize(
    ("rows", "shapes", "strategy", "result"),
    [
        (None, [(6, 2), (6, 2), (5, 2)], "average", None),
        ("common", [(6, 2), (6, 2), (5, 2)], "average", (5, 2)),
        ("pad", [(6, 2), (6, 2), (5, 2)], "average", (6, 2)),
        ("ours", [(6, 2), (6, 2), (5, 2)], "average", (6, 2)),
        ("ours", [(5, 2), (5, 2), (6, 2)], "average", (5, 2)),
        ("common", [(4, 2), (6, 2), (3, 2)], "ties", (3, 2)),
        ("pad", [(4, 2), (3, 2), (5, 2)], "ties", (5, 2)),
        (None, [(4, 2), (3, 2), (3, 2)], "average", (3, 2)),
        (None, [(4, 2), (3, 2), (3, 2)], "ties", None),
        ("ours", [(4, 2), (3, 2), (3, 2)], "ties", (3, 2)),
        ("pad", [(4, 2), (4, 2), (4, 3)], "average", None),
        ("pad", [(4,), (3,), (5,)], "average", (5,)),
        ("pad", [(), (), (5,)], "average", None),
    ],
)
def test_different_numbers_of_rows(rows, shapes, strategy, result):
    lines = [line("w", value, shape=shape) for value, shape in zip("abc", shapes, strict=True)]
    decision = three(*lines, rules(strategy, rows=rows))
    if result is None:
        assert decision.action == "conflict"
        assert "shapes differ" in decision.reason
    else:
        assert (decision.combination.shape, decision.form[1]) == (result, result)
        assert decision.combination.rows == rows


@pytest.mark.parametrize(
    ("rows", "shapes", "strategy", "result"),
    [
        ("common", [(4, 2), (6, 2), (5, 2)], "average", (5, 2)),
        ("pad", [(4, 2), (6, 2), (5, 2)], "average", (6, 2)),
        ("ours", [(4, 2), (5, 2), (6, 2)], "average", (5, 2)),
        ("common", [(4, 2), (6, 2), (5, 2)], "ties", (4, 2)),
        ("pad", [(4, 2), (5, 2), (5, 2)], "average", (5, 2)),
        ("ours", [(4, 2), (5, 2), (5, 2)], "ties", (5, 2)),
        ("pad", [(4,), (5,), (6,)], "average", (6,)),
    ],
)
def test_rows_that_both_added(rows, shapes, strategy, result):
    lines = [line("w", value, shape=shape) for value, shape in zip("abc", shapes, strict=True)]
    for chosen in (rules(strategy, rows=rows), rules(strategy), rules(None, f"w: {strategy}", rows=rows)):
        decision = three(*lines, chosen)
        assert (decision.action, decision.helps) == ("conflict", "rows")
        assert "have new rows" in decision.reason
    assert three(*lines, rules(None, f"w: {strategy} rows={rows}")).combination.shape == result
    assert three(None, *lines[1:], rules(None, f"w: average rows={rows}")).action == "combine"


@pytest.mark.parametrize(
    ("kind", "shape"), [(I64, (4, 2)), (F32, (4, 3)), (F32, (4,)), (F32, (4, 2, 1)), (F32, ())]
)
def test_what_replaces_another_kind_of_tensor_has_no_more_rows_than_it(kind, shape):
    sides = [line("w", value, shape=(6, 2)) for value in "bc"]
    assert three(line("w", "a", kind, shape), *sides, rules("average")).action == "combine"


def test_tied_tensors_are_merged_once():
    sides = [manifest(line("wte", value), view("head", "wte")) for value in "abc"]
    made = plan(sides[0], sides[1:], rules("average"))
    head, wte = made.decisions
    assert (head.action, head.is_view, head.of) == ("take", True, "wte")
    assert (wte.action, wte.is_view) == ("combine", False)


def test_a_view_that_one_side_untied():
    tied, untied = view("head", "wte"), line("head", "d")
    for value, expected in (("a", ("take", 2, False)), ("b", ("conflict", 1, True))):
        made = plan(
            manifest(line("wte", "a"), tied),
            [manifest(line("wte", value), tied), manifest(line("wte", "a"), untied)],
            NONE,
        )
        head, wte = made.decisions
        assert (head.action, head.side, head.is_view) == expected
        assert (wte.action, wte.side) == ("take", 1)
    both = plan(
        manifest(line("wte", "a"), tied),
        [manifest(line("wte", "a"), line("head", "e")), manifest(line("wte", "a"), untied)],
        rules("average"),
    )
    assert both.decisions[0].action == "combine"
    mixed = plan(
        manifest(line("wte", "a"), tied),
        [manifest(line("wte", "a"), view("head", "wte", offset=1)), manifest(line("wte", "a"), untied)],
        rules("average"),
    )
    assert "view of another tensor on some side" in mixed.decisions[0].reason


def test_a_view_of_what_is_removed_or_reshaped_is_a_conflict():
    base = manifest(line("wte", "a"))
    ours = manifest(line("wte", "a"), view("head", "wte"))
    made = plan(base, [ours, manifest()], NONE)
    assert [one.action for one in made.decisions] == ["conflict", "conflict"]
    assert [one.line for one in made.decisions] == [view("head", "wte"), line("wte", "a")]
    made = plan(base, [ours, manifest(line("wte", "c", shape=(5, 2)))], NONE)
    assert [one.action for one in made.decisions] == ["conflict", "conflict"]
    assert "would lose its data" in made.decisions[1].reason
    made = plan(base, [ours, manifest(line("wte", "c"))], NONE)
    assert [(one.action, one.of) for one in made.decisions] == [("add", "wte"), ("take", "")]


def test_renamed_tensors():
    chosen = rules("average", renames=["old.* -> new.*"])
    base, theirs = manifest(line("old.w", "a"), line("x", "a")), manifest(line("old.w", "c"), line("x", "a"))
    ours = manifest(line("new.w", "b"), line("x", "a"))
    decision = plan(base, [ours, theirs], chosen).decisions[0]
    assert (decision.name, decision.action) == ("new.w", "combine")
    assert [found.name for found in decision.lines] == ["old.w", "new.w", "old.w"]
    back = plan(base, [theirs, ours], chosen).decisions[0]
    assert (back.name, back.action) == ("new.w", "combine")
    only = plan(base, [ours, base], chosen).decisions[0]
    assert (only.name, only.action, only.side) == ("new.w", "take", 1)
    kept = plan(base, [manifest(line("new.w", "a"), line("x", "a")), base], chosen).decisions[0]
    assert (kept.name, kept.action, kept.state) == ("new.w", "take", "unchanged")
    with pytest.raises(ThetaError, match=r"'new.w' and 'old.w', but theirs has both"):
        plan(base, [ours, manifest(line("old.w", "a"), line("new.w", "a"))], chosen)


def test_strategies_that_take_a_side_settle_views_too():
    base = manifest(line("wte", "a"))
    ours = manifest(line("wte", "a"), view("head", "wte"))
    theirs = manifest(line("wte", "b", shape=(8, 2)))
    for strategy, sides in (("ours", (1, 1)), ("theirs", (2, 2))):
        made = plan(base, [ours, theirs], rules(strategy))
        assert not made.conflicts()
        assert tuple(one.side for one in made.decisions) == sides
    assert [one.action for one in plan(base, [ours, theirs], rules("theirs")).decisions] == ["remove", "take"]
    mixed = plan(base, [ours, theirs], rules("theirs", "head: ours"))
    assert [one.name for one in mixed.conflicts()] == ["head", "wte"]


def test_renames_of_views_and_of_what_they_show():
    chosen = rules("average", renames=["old -> new"])
    base = manifest(line("old", "a"), view("head", "old"))
    ours = manifest(line("new", "a"), view("head", "new"))
    made = plan(base, [ours, manifest(line("old", "b"), view("head", "old"))], chosen)
    assert [(one.name, one.action, one.of) for one in made.decisions] == [
        ("head", "take", "new"),
        ("new", "take", ""),
    ]


def test_skeletons():
    base = manifest(line("w", "a"), skeleton="1")
    ours, theirs = manifest(line("w", "b"), skeleton="2"), manifest(line("w", "c"), skeleton="3")
    same = manifest(line("w", "b"), skeleton="1")

    def skeleton(*sides):
        made = plan(sides[0], sides[1:], rules("average"))
        return made.skeleton.action, made.skeleton.side, [part.name for part in made.open_parts()]

    both = ["skeleton"]  # a format that says nothing of parts has one, which both have changed
    assert skeleton(base, ours, theirs) == ("take", 1, both)
    assert skeleton(base, same, theirs) == ("take", 2, [])
    assert skeleton(base, ours, manifest(line("w", "c"), skeleton="1")) == ("take", 1, [])
    assert skeleton(None, ours, theirs) == ("take", 1, both)
    more = manifest(line("w", "a"), line("v", "a"), skeleton="3")
    assert skeleton(base, same, more) == ("take", 2, [])
    assert skeleton(base, ours, more) == ("write", 1, both)
    assert skeleton(base, manifest(line("w", "a", shape=(8,)), skeleton="2"), more) == ("write", 1, both)
    other = manifest(line("w", "c"), skeleton="3", form="pytorch")
    assert skeleton(base, same, other) == ("take", 1, [])


def test_a_strategy_that_takes_their_side_takes_their_skeleton_where_both_changed_it():
    base = manifest(line("w", "a"), skeleton="1")
    ours, theirs = manifest(line("w", "b"), skeleton="2"), manifest(line("w", "c"), skeleton="3")
    same = manifest(line("w", "c"), skeleton="1")
    more = manifest(line("w", "b"), line("v", "a"), skeleton="2")

    def skeleton(*sides, strategy="theirs"):
        found = plan(sides[0], sides[1:], rules(strategy)).skeleton
        return found.action, found.side

    assert skeleton(base, ours, theirs) == ("take", 2)
    assert skeleton(base, ours, theirs, strategy="ours") == ("take", 1)
    assert skeleton(None, ours, theirs) == ("take", 2)
    assert skeleton(base, ours, same) == ("take", 1)
    assert skeleton(base, more, theirs) == ("write", 2)


def test_files_that_are_no_checkpoints():
    kind = dtype("U8")
    opaque = [manifest(line("file", v, kind, (9,)), skeleton="5", form="opaque") for v in "abc"]
    made = plan(opaque[0], opaque[1:], rules("average"))
    assert made.decisions[0].action == "conflict"
    assert made.skeleton.action == "take"
    other = manifest(line("w", "a"))
    mixed = plan(opaque[0], [opaque[1], other], rules("average"))
    assert mixed.skeleton.action == "conflict"
    assert "base: opaque, ours: opaque and theirs: safetensors" in mixed.skeleton.reason
    for strategy, side, kept in (("ours", 1, ["file"]), ("theirs", 2, ["w"])):
        whole = plan(opaque[0], [opaque[1], other], rules(strategy))
        assert (whole.skeleton.action, whole.skeleton.side) == ("take", side)
        assert [one.name for one in whole.decisions if one.form is not None] == kept
        assert whole.format == (opaque[1], other)[side - 1].format


def test_counts():
    made = plan(
        manifest(*(line(name, "a") for name in "uvwx")),
        [manifest(*(line(name, "b") for name in "uvw")), manifest(*(line(name, "c") for name in "uvwx"))],
        rules("average", "u: ours"),
    )
    assert made.counts() == {
        ("combine", "changed differently"): 2,
        ("take", "changed differently"): 1,
        ("conflict", "removed and changed"): 1,
    }
    assert [found.name for found in made.conflicts()] == ["x"]


VALUES = st.sampled_from(
    [None, line("?", "a"), line("?", "b"), line("?", "c", I64), line("?", "d", shape=(5, 2)), view("?", "w0")]
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    sides=st.lists(st.fixed_dictionaries({f"w{n}": VALUES for n in range(4)}), min_size=3, max_size=4),
    chosen=st.sampled_from(
        [
            NONE,
            rules("average"),
            rules("ties", rows="pad"),
            rules("ours"),
            rules(None, "*: average rows=common"),
        ]
    ),
)
def test_every_tensor_is_accounted_for(sides, chosen):
    import dataclasses

    manifests = []
    for side in sides:
        named = [dataclasses.replace(one, name=name) for name, one in side.items() if one is not None]
        if not any(one.name == "w0" and isinstance(one, TensorLine) for one in named):
            named = [one for one in named if isinstance(one, TensorLine)]
        manifests.append(manifest(*named))
    made = plan(manifests[0], manifests[1:], chosen)
    names = {one.name for side in manifests for one in (*side.tensors, *side.views)}
    assert [decision.name for decision in made.decisions] == sorted(names)
    for decision in made.decisions:
        kept = [one for one in decision.lines if one is not None]
        assert kept
        if decision.action == "remove":
            assert decision.lines[decision.side] is None
        if decision.action == "conflict":
            assert decision.reason
        if decision.is_view:
            shown = next(one for one in made.decisions if one.name == decision.of)
            assert shown.form is not None
