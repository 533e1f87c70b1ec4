"""How far what runs behind a lease is kept apart from this machine: by who holds it, what was asked, and what the owner said.

Code of the own account runs as a process with limits. Code of others in the realm runs in a sandbox, and so does that of whom our
account trusted by name: a right to use a machine is none to read it. Who comes only because the owner lends to *anyone* may bring
WebAssembly. An owner's lend rule that names a class replaces these; a need's own word can only make it stricter.

What no code of the holder's runs behind (Memory, Storage, devices: their drivers take words and data, and nothing else of anybody
but the own account) is kept apart by that, on every machine. Store has no worker at all.
Invariant: a lease is granted in the class that was demanded or a stricter one, or not at all. Source: DESIGN.md section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worldos.kernel import lend_rules
from worldos.kernel.question import ISOLATION
from worldos.model.ids import NodeId
from worldos.model.isolation import Isolation, stricter
from worldos.model.lend import Audience
from worldos.model.need import Need
from worldos.model.resource import Fact, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worldos.kernel.household import Household

DRIVEN: Final = frozenset(
    {Kind.MEMORY, Kind.STORAGE, Kind.STORE, Kind.NETWORK, Kind.POWER, Kind.CAMERA, Kind.SOUND, Kind.DISPLAY}
)
HINTS: Final = {
    Isolation.SANDBOX: "bubblewrap is not installed there, or may not make namespaces (apt install bubblewrap)",
    Isolation.WASM: "wasmtime is not installed there (pip install wasmtime)",
}


def demanded(house: Household, now_ns: int, peer: NodeId, need: Need, *, by_grant: bool) -> Isolation:
    """Say in which class a lease for this peer has to be."""
    if peer == house.node or house.is_member(peer):
        least = Isolation.PROCESS
    else:
        guest = lend_rules.guest_of(house, peer, by_grant=by_grant)
        rule = lend_rules.in_force(house.lend.lend, guest, need.kind, lend_rules.moment_of(house, now_ns))
        is_anyone = rule is not None and house.lend.lend.rules and rule.to == Audience.ANYONE and not guest.is_named
        by_asker = Isolation.WASM if is_anyone else Isolation.SANDBOX
        least = Isolation(rule.isolation) if rule is not None and rule.isolation else by_asker
    wanted = stricter(least, need.isolation)
    return min(wanted, Isolation.SANDBOX, key=list(Isolation).index) if need.kind in DRIVEN else wanted


def missing(facts: Mapping[str, Fact], kind: str, isolation: Isolation) -> str:
    """Say why this machine cannot give a lease in this class, or nothing."""
    if isolation is Isolation.PROCESS or kind in DRIVEN or isolation in str(facts.get(ISOLATION, "")).split():
        return ""
    return f"this machine cannot run it in the class {isolation}: {HINTS[isolation]}"
