"""Reading a folder of policies: everything that is wrong, with file, path in it, found and expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import ConfigurationError
from streams.runtime.policies import Fault, load, read_folder
from tests.kafka.harness import write_policies

RIGHT = """
workflow: billing
version: 3
freshness: {budget: 10m, total: 30m}
boundary:
  rules:
    - {name: no, when: {segment: {equals: no}}, then: block}
    - name: small
      then: autonomous
      limits: {value_minor_at_most: 5000, currency: USD, confidence_at_least: 0.8, reversible: true}
"""
HEAD = "workflow: w\nversion: 1\nfreshness: {budget: 10s}\nboundary:\n  rules:\n"


def write(folder: Path, **documents: str) -> Path:
    for name, text in documents.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def fault(folder: Path, document: str) -> tuple[str, str, str]:
    """The one fault of one document, as (path, found, expected)."""
    policies, (only,) = read_folder(write(folder, a=document))
    assert policies == []
    assert only.file == folder / "a.yaml"
    return only.problem


def test_a_policy_that_is_right(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("not a policy")
    (tmp_path / "b.yml").write_text(RIGHT.replace("billing", "routing"))
    snapshot = load(write(tmp_path, a=RIGHT))
    assert [(one.index, one.name) for one in snapshot.by_index] == [(0, "billing@3"), (1, "routing@3")]
    assert snapshot.by_workflow["routing"].freshness.total_ms == 1_800_000
    assert snapshot.tolerances_ms == (2_000, 2_000)
    limits = snapshot.by_index[0].rules[0].limits
    assert limits is not None and limits.reversible is True


def test_no_stays_the_text_no(tmp_path: Path) -> None:
    """YAML 1.2: `no` is no boolean, so the rule about Norway works; `false` is one."""
    (policy,), _ = read_folder(write(tmp_path, a=RIGHT))
    assert policy.blocks[0].when["segment"].equals == "no"


@pytest.mark.parametrize(
    ("document", "path", "found", "expected"),
    [
        ("", "", "nothing", "fields with values"),
        ("- a", "", "['a']", "fields with values"),
        (HEAD.replace("w\n", "[w]\n", 1) + "    []", "workflow", "['w']", "text"),
        (HEAD.replace("version: 1", "version: '1'") + "    []", "version", "'1'", "a whole number"),
        (HEAD.replace("version: 1", "version: 0") + "    []", "version", "0", "a whole number >= 1"),
        (HEAD.replace("version: 1", "version: 1.5") + "    []", "version", "1.5", "a whole number"),
        (HEAD.replace("version: 1\n", "") + "    []", "version", "nothing", "this field"),
        (HEAD.replace("budget: 10s", "") + "    []", "freshness.budget", "nothing", "this field"),
        ("colour: red\n" + HEAD + "    []", "", "an unknown field colour", "only the fields that a policy has"),
        (
            HEAD + "    - {name: a, then: block, wen: {}}",
            "boundary.rules[0]",
            "an unknown field wen",
            "only the fields that a policy has",
        ),
        (HEAD, "boundary.rules", "nothing", "a list"),
        (
            HEAD + "    - {name: a, then: maybe}",
            "boundary.rules[0].then",
            "'maybe'",
            "autonomous, escalate or block",
        ),
        (
            HEAD + "    - {name: a, then: autonomous, limits: {reversible: false}}",
            "boundary.rules[0].limits.reversible",
            "False",
            "true; without the line, reversible or not is all the same",
        ),
        (
            HEAD
            + "    - {name: a, then: block}\n    - {name: b, then: block, when: {model: {equals: m}, segment: no}}",
            "boundary.rules[1].when.segment",
            "'no'",
            "fields with values",
        ),
        (
            HEAD + "    - {name: a, then: block, when: {attributes.b: {in: [1, [2]]}}}",
            "boundary.rules[0].when.attributes.b.in[1]",
            "[2]",
            "true or false, or a whole number, or a number, or text",
        ),
        (
            HEAD + "    - {name: a, then: block, when: {1: {equals: 3}}}",
            "boundary.rules[0].when",
            "a name that is no text",
            "names that are text, in quotes where need be",
        ),
        (
            HEAD + "    - {name: a, then: autonomous, limits: {confidence_at_least: 80}}",
            "boundary.rules[0].limits.confidence_at_least",
            "80",
            "a number <= 1.0",
        ),
        (
            HEAD + "    - {name: a, then: autonomous, limits: {value_minor_at_most: -1, currency: USD}}",
            "boundary.rules[0].limits.value_minor_at_most",
            "-1",
            "a whole number >= 0",
        ),
    ],
)
def test_a_fault_of_shape(tmp_path: Path, document: str, path: str, found: str, expected: str) -> None:
    assert fault(tmp_path, document) == (path, found, expected)


UNIT = "a length of time with its unit, such as 250ms, 90s, 10m or 1h30m"


@pytest.mark.parametrize(
    ("budget", "found", "expected"),
    [
        ("10", "10", UNIT),
        ("-5s", "'-5s'", UNIT),
        ("0s", "'0s'", "more than nothing: with no budget every decision is stale"),
        ("10s, total: 5s", "5s", "at least the budget, 10s"),
        ("10s, skew_tolerance: 2", "2", UNIT),
        ("8d", "'8d'", "at most 7d: topics keep records for so long"),
        ("7d, total: 169h", "'169h'", "at most 7d: topics keep records for so long"),
        ("10s, total: 0s", "'0s'", "more than nothing"),
        ("10s, segments: {b: {budget: 1s}, a: {budget: 5}}", "5", UNIT),
        ("10s, segments: {a: {budget: 0s}}", "'0s'", "more than nothing: with no budget every decision is stale"),
        ("10s, allowance: 5", "5", f"{UNIT}, or initial and at_most where it is measured"),
        ("10s, allowance: {initial: 5, at_most: 6s}", "5", UNIT),
        ("10s, allowance: 10s", "10s", "less than the shortest budget, 10000 ms: nothing would pass"),
        (
            "10s, segments: {a: {budget: 2s}}, allowance: {initial: 1s, at_most: 2s}",
            "2s",
            "less than the shortest budget, 2000 ms: nothing would pass",
        ),
        ("10s, allowance: {initial: 3s, at_most: 2s}", "3s", "from 0s to 2s"),
    ],
)
def test_a_fault_of_time(tmp_path: Path, budget: str, found: str, expected: str) -> None:
    document = HEAD.replace("10s", budget) + "    []"
    assert fault(tmp_path, document)[1:] == (found, expected)


ALONE = "drop: without an evaluator nobody can decide again on the present"


@pytest.mark.parametrize(
    ("freshness", "path", "found", "expected"),
    [
        ("on_stale: maybe", "on_stale", "'maybe'", "drop, reevaluate or escalate"),
        ("on_stale: 5", "on_stale", "5", "drop, reevaluate or escalate"),
        (
            "segments: {b: {budget: 1s}, a: {on_stale: no}}",
            "segments.a.on_stale",
            "'no'",
            "drop, reevaluate or escalate",
        ),
        ("on_stale: reevaluate", "on_stale", "reevaluate", ALONE),
        ("on_stale: escalate", "on_stale", "escalate", ALONE),
        ("segments: {a: {on_stale: reevaluate}}", "segments.a.on_stale", "reevaluate", ALONE),
        ("segments: {a: {}}", "segments.a", "nothing", "budget, on_stale or both"),
        (
            "context: all",
            "context",
            "'all'",
            "any, or a list of fields of the context's state; without the line it is not looked at",
        ),
        ("context: []", "context", "no field", "any, or the names of fields of the context's state"),
        ("context: [rate_card, 5]", "context[1]", "5", "text"),
        ("overload: true", "overload", "True", "fields with values, {} for the usual ones"),
        ("max_attempts: 1", "max_attempts", "1", "a whole number >= 2"),
    ],
)
def test_a_fault_of_what_becomes_of_the_stale(
    tmp_path: Path, freshness: str, path: str, found: str, expected: str
) -> None:
    document = HEAD.replace("10s", f"10s, {freshness}") + "    []"
    assert fault(tmp_path, document) == (f"freshness.{path}", found, expected)


@pytest.mark.parametrize(
    ("evaluator", "path", "found", "expected"),
    [
        ("{}", "", "neither of url and function", "one of them"),
        ("{url: 'http://x', function: 'a:b'}", "", "both of url and function", "one of them"),
        ("{url: 'ftp://x'}", ".url", "'ftp://x'", "the address of an endpoint, such as http://rater:8080/rate"),
        ("{function: rater}", ".function", "'rater'", "module:function, such as rater:evaluate"),
        ("{url: 'http://x', interpreter: py}", ".interpreter", "'py'", "it only beside a function"),
        ("{url: 'http://x', timeout: 5}", ".timeout", "5", UNIT),
        ("{url: 'http://x', timeout: 0s}", ".timeout", "'0s'", "more than nothing"),
        ("{url: 'http://x', timeout: 2m}", ".timeout", "'2m'", "at most 60s"),
        ("{url: 'http://x', concurrency: 0}", ".concurrency", "0", "a whole number >= 1"),
        ("{url: 'http://x', action_types: []}", ".action_types", "none", "at least one type, or no such line"),
    ],
)
def test_a_fault_of_the_evaluator(tmp_path: Path, evaluator: str, path: str, found: str, expected: str) -> None:
    assert fault(tmp_path, f"evaluator: {evaluator}\n{HEAD}    []") == (f"evaluator{path}", found, expected)


def test_with_an_evaluator_the_stale_may_be_asked_again(tmp_path: Path) -> None:
    freshness = "10s, on_stale: escalate, segments: {a: {on_stale: reevaluate}}"
    head = f"evaluator: {{function: 'rater:evaluate'}}\n{HEAD.replace('10s', freshness)}    []"
    (policy,), faults = read_folder(write(tmp_path, a=head))
    assert faults == []
    assert (policy.freshness.of(None).on_stale, policy.freshness.of("a").on_stale) == ("escalate", "reevaluate")


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ("{name: a, then: block, when: {colour: {equals: red}}}", "when.colour"),
        ("{name: a, then: block, when: {value_minor: {over: 5}}}", "when.value_minor.currency"),
        ("{name: a, then: block, when: {attributes.b: {over: .nan}}}", "when.attributes.b"),
        ("{name: a, then: escalate, limits: {reversible: true}}", "limits"),
        ("{name: a, then: autonomous, limits: {value_minor_at_most: 5}}", "limits.currency"),
    ],
)
def test_a_fault_of_sense(tmp_path: Path, rule: str, path: str) -> None:
    assert fault(tmp_path, f"{HEAD}    - {rule}")[0] == f"boundary.rules[0].{path}"


def test_the_same_rule_name_twice(tmp_path: Path) -> None:
    document = HEAD + "    - {name: a, then: block}\n    - {name: a, then: escalate}"
    assert fault(tmp_path, document) == ("boundary.rules[1].name", "'a'", "a name of its own, not that of rules[0]")


@pytest.mark.parametrize(
    ("document", "at", "words"),
    [
        ("a: 1\na: 2", "line 2, column 1", 'duplicate key "a"'),
        (HEAD + "    - {name: a, then: block, then: escalate}", "line 6, column 30", 'duplicate key "then"'),
        ("a: [1", "line 1, column 6", "expected ',' or ']'"),
        ("\ta: 1", "line 1, column 1", "cannot start any token"),
        ("a: 1\n---\nb: 2", "line 2, column 1", "another document"),
        ("!!python/object:os.system x", "line 1, column 1", "could not determine a constructor"),
        ("a: \x00", "", "unacceptable character"),
        ("a: 1" + "0" * 5_000, "", "Exceeds the limit"),
        ("[" * 5_000, "line 1, column 65", "more than 64 lists or fields within each other"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(tmp_path: Path, document: str, at: str, words: str) -> None:
    path, found, expected = fault(tmp_path, document)
    assert (path, expected) == (at, "a YAML document")
    assert words in found
    assert "\n" not in found


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"workflow: caf\xe9")
    _, (only,) = read_folder(tmp_path)
    assert only.problem.expected == "a UTF-8 text file"


def test_two_files_for_one_workflow(tmp_path: Path) -> None:
    policies, (only,) = read_folder(write(tmp_path, a=RIGHT, b=RIGHT.replace("3", "4")))
    assert [one.name for one in policies] == ["billing@3"]
    assert only == Fault(tmp_path / "b.yaml", only.problem)
    assert only.problem == ("workflow", "'billing'", "one that a.yaml is not for")


def test_all_faults_of_all_files_are_told_in_one_error(tmp_path: Path) -> None:
    write(tmp_path, a=HEAD.replace("10s", "0s"), b="x: 1", c=HEAD.replace("10s", "0s") + "    []", d=RIGHT)
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path)
    first, *lines = str(caught.value).splitlines()
    assert first == "the policies cannot be used:"
    assert lines == [
        f"  {tmp_path}/a.yaml: boundary.rules: found nothing, expected a list",
        f"  {tmp_path}/b.yaml: the document: found an unknown field x, expected only the fields that a policy has",
        f"  {tmp_path}/c.yaml: freshness.budget: found '0s', expected more than nothing: "
        "with no budget every decision is stale",
    ]


def test_no_folder_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder; policies are YAML files in one"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="holds no policy: expected at least one"):
        read_folder(tmp_path)


def test_one_file_is_read_alone(tmp_path: Path) -> None:
    folder = write_policies(tmp_path)
    (folder / "other.yaml").write_text("nonsense")
    assert [policy.name for policy in load(folder / "billing.yaml").by_index] == ["billing@3"]


def test_aliases_that_explode_are_refused_before_they_are_built(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path, found, _ = fault(tmp_path, "\n".join(lines))
    assert path.startswith("line ") and "aliases" in found
    path, found, _ = fault(tmp_path, "a: &a [*a]")
    assert "aliases" in found


def test_a_few_aliases_are_fine_and_a_large_file_is_not(tmp_path: Path) -> None:
    shared = (
        HEAD + "    - {name: a, then: block, when: &w {segment: {equals: x}}}\n    - {name: b, then: block, when: *w}"
    )
    policies, faults = read_folder(write(tmp_path, a=shared))
    assert faults == [] and policies[0].blocks[0].when == policies[0].blocks[1].when
    path, found, expected = fault(tmp_path, "#" * 10_000_000)
    assert (path, found, expected) == ("", "a file of 10000000 bytes", "at most 262144")
