"""Which class a lease must be in: by who asks, by the owner's word, by what was asked; and what a machine that lacks it says."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.test_lend_rules import HALF, host
from tests.test_node import ME, PEER, STRANGER, scan

from worldos.kernel import isolation
from worldos.model.ids import NodeId
from worldos.model.isolation import Isolation
from worldos.model.lend import LendRule
from worldos.model.need import Need
from worldos.node import Node

PROCESS, SANDBOX, WASM = Isolation


def demanded(node: Node, who: NodeId, *, kind: str = "CPU", said: str = "", by_grant: bool = False) -> Isolation:
    return isolation.demanded(node, 5, who, Need(kind=kind, amount=1, isolation=said), by_grant=by_grant)


def test_the_own_account_runs_as_processes_unless_it_asks_for_more() -> None:
    node = host()
    for who in (ME, PEER):
        assert demanded(node, who) is PROCESS
        assert demanded(node, who, said="sandbox") is SANDBOX
        assert demanded(node, who, said="wasm") is WASM


def test_others_of_the_realm_are_in_a_sandbox_whatever_they_ask_for() -> None:
    node = host()
    assert demanded(node, STRANGER) is SANDBOX
    assert demanded(node, STRANGER, said="process") is SANDBOX, "who holds a lease cannot loosen it"
    assert demanded(node, STRANGER, said="wasm") is WASM
    assert demanded(host(HALF), STRANGER) is SANDBOX


def test_who_comes_because_anyone_may_brings_webassembly_and_who_was_named_does_not_have_to() -> None:
    node = host(LendRule(to="anyone", cpu_permille=500))
    assert demanded(node, STRANGER) is WASM
    assert demanded(node, STRANGER, by_grant=True) is SANDBOX


@pytest.mark.parametrize("word", list(Isolation))
def test_the_owners_word_replaces_what_who_asks_would_get(word: Isolation) -> None:
    node = host(LendRule(cpu_permille=500, isolation=word))
    assert demanded(node, STRANGER) is word
    assert demanded(node, PEER) is PROCESS, "a rule for others is none for ourselves"


def test_what_a_driver_alone_runs_for_is_never_more_than_kept_to_its_words() -> None:
    node = host(LendRule(to="anyone", cpu_permille=500, memory_permille=500))
    for kind in isolation.DRIVEN:
        assert demanded(node, STRANGER, kind=kind) is SANDBOX
        assert demanded(node, PEER, kind=kind) is PROCESS


def test_a_machine_without_a_class_says_what_it_lacks() -> None:
    facts: dict[str, int | bool | str] = {"isolation": "process wasm"}
    assert "bubblewrap is not installed" in isolation.missing(facts, "CPU", SANDBOX)
    assert isolation.missing(facts, "CPU", WASM) == ""
    assert isolation.missing(facts, "CPU", PROCESS) == ""
    assert isolation.missing(facts, "Memory", SANDBOX) == ""
    assert "wasmtime" in isolation.missing({}, "GPU", WASM), "who says nothing can give nothing"


def test_the_class_stands_in_the_terms_and_a_machine_that_cannot_give_it_refuses() -> None:
    from tests.kernel.test_lend_rules import ask  # noqa: PLC0415 - the door as a guest sees it

    node = host(HALF)
    assert ask(node, 5, 500) == ""
    assert ask(node, 6, 500, who=PEER, number=2) == ""
    kept = sorted((lease.holder, lease.terms.isolation) for lease in node.leases.leases.values())
    assert kept == sorted([(PEER, ""), (STRANGER, "sandbox")])
    blind = scan(7)
    node.handle(msgspec.structs.replace(blind, facts={"isolation": "process"}))
    assert "bubblewrap" in ask(node, 8, 500, number=3)
