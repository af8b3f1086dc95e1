"""A policy document made ready for the path: terms of freshness in milliseconds, conditions checked, rules in order.

`compile_policy` finds everything that is wrong with a document, each with its path, what was found and what was
expected; a policy that it passes cannot fail while it is evaluated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from schemas.common import POLICY_VERSION_MAX
from schemas.policy import PolicyDocument, Rule
from streams.cel import CelError
from streams.exposure_terms import ExposureTerms, compile_exposure
from streams.policy_checks import check_approval, check_exposure
from streams.rule_checks import check_rules
from streams.rules import Book, Ready, ready
from streams.terms import Asked, FreshnessTerms, Problem, compile_evaluator, compile_terms

NO_RULES = Book((), "all")


@dataclass(frozen=True, slots=True)
class Policy:
    """One workflow's policy in force. `index` is its place in the snapshot's columns.

    The books hold the same rules ready to be evaluated; shadow rules stand in `shadows` alone.
    """

    index: int
    workflow: str
    name: str  # on every output, `billing@3`
    freshness: FreshnessTerms
    rules: tuple[Rule, ...]  # all that are not `block`, in the document's order
    blocks: tuple[Rule, ...]
    evaluator: Asked | None
    document: PolicyDocument  # as it was written
    exposure: tuple[ExposureTerms, ...] = ()
    book: Book = field(default=NO_RULES, compare=False, repr=False)
    block_book: Book = field(default=NO_RULES, compare=False, repr=False)
    shadows: Book = field(default=NO_RULES, compare=False, repr=False)


def compile_policy(document: PolicyDocument, index: int) -> tuple[Policy | None, list[Problem]]:
    """The policy, or everything that is wrong with the document."""
    freshness, problems = compile_terms(document)
    if document.version > POLICY_VERSION_MAX:
        expected = f"a whole number of at most {POLICY_VERSION_MAX}"
        problems.append(Problem("version", f"{document.version!s:.40}", expected))
    evaluator, faults = compile_evaluator(document.evaluator)
    problems += faults
    rules = document.boundary.rules
    problems += check_rules(rules)
    problems += check_exposure(document.boundary)
    problems += check_approval(document.review)
    compiled: list[Ready] = []
    for at, rule in enumerate([] if problems else rules):
        try:
            compiled.append(ready(rule))
        except CelError as error:
            problems.append(Problem(f"boundary.rules[{at}].cel", error.found, error.expected))
    if problems:
        return None, problems
    deciding = [one for one in compiled if not one.rule.shadow]
    blocks = [one for one in deciding if one.rule.then == "block"]
    others = [one for one in deciding if one.rule.then != "block"]
    return Policy(
        index=index,
        workflow=document.workflow,
        name=f"{document.workflow}@{document.version}",
        freshness=freshness,
        rules=tuple(one.rule for one in others),
        blocks=tuple(one.rule for one in blocks),
        evaluator=evaluator,
        document=document,
        exposure=compile_exposure(document),
        book=Book(others, "first"),
        block_book=Book(blocks, "until_holds"),
        shadows=Book([one for one in compiled if one.rule.shadow], "all"),
    ), []
