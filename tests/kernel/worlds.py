"""Random small worlds for properties: few distinct values, so that ties and near misses happen."""

from __future__ import annotations

from hypothesis import strategies as st
from tests.kernel.offers import GB, HOME, offer, resource

from worldos.kernel.question import View
from worldos.model.ids import AccountId
from worldos.model.need import DataAt, KnownNode, Need, Objective, Work
from worldos.model.offer import Offer, OfferRules
from worldos.model.resource import ResourceState
from worldos.model.where import parse_where

NODES = ("home", "b", "c", "d", "e", "f", "g")
PLACES = ("earth/eu/acme/berlin/lab", "earth/eu/acme/munich", "", "Berlin")
WHERES = (
    "arch == 'arm64'",
    "arch != 'arm64' and not battery",
    "memory >= 4GB or cores > 4",
    "speed_mips > 5000 and arch in (arm64, x86_64)",
    "tags has fast",
    "not tags has fast",
    "model < 'b' or model >= 'd'",
    "arch in 'arm64 riscv64'",
    "free >= 1000 and price <= 100",
    "place == 'Berlin' or name == 'name of c'",
    "mixed == 1 or mixed == 'one' or mixed",
    "not (missing or mixed > 0)",
    "kind == 'CPU' or kind == 'Storage'",
)
_SMALL = st.sampled_from([0, 1, 100, 5000])
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "arch": st.sampled_from(["arm64", "x86_64"]),
        "speed_mips": st.sampled_from([2000, 10_000, 10_000, 40_000, -1, 2**63]),
        "load_percent": st.sampled_from([0, 10, 50, 95, 300]),
        "carbon_g_kwh": st.sampled_from([0, 15, 400]),
        "battery": st.booleans(),
        "mixed": st.sampled_from([1, True, "one", 0, 2**62]),
    },
)
_OWN = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["a", "b", "c", "d"]),
        "write_bytes_s": st.sampled_from([10**7, 10**9]),
        "load_percent": st.sampled_from([0, 90]),
        "arch": st.just("riscv64"),
        "for": st.sampled_from(["me", "others"]),
    },
)


@st.composite
def offers(draw: st.DrawFn, node: str) -> Offer:
    more = [
        resource(
            node,
            draw(st.sampled_from(["GPU", "Storage", "CPU", "Memory", "Camera"])),
            f"x{number}",
            capacity := draw(st.sampled_from([1000, 1000, 2 * GB, 2**62, 2**63])),
            draw(st.sampled_from([0, 500, 1000, capacity])),
            price=draw(_SMALL),
            tags=draw(st.sampled_from([(), ("fast",), ("fast", "old")])),
            facts=draw(_OWN),
            state=draw(st.sampled_from(list(ResourceState))),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return offer(
        node,
        *more,
        cores=draw(st.sampled_from([2, 4, 8])),
        free=draw(st.sampled_from([0, 1000, 2000])),
        memory=8 * GB,
        memory_free=draw(st.sampled_from([0, GB, 8 * GB])),
        price=draw(_SMALL),
        place=draw(st.sampled_from(PLACES)),
        owner=draw(st.sampled_from(["me", "me", "you"])),
        rules=OfferRules(
            open=draw(st.sampled_from([True, True, True, False])),
            not_on_battery=draw(st.booleans()),
            owners_only=draw(st.booleans()),
            price_min_uwos=draw(_SMALL),
        ),
        **draw(_FACTS),  # type: ignore[arg-type]
    )


worlds = st.lists(st.sampled_from(NODES), unique=True, max_size=len(NODES)).flatmap(
    lambda nodes: st.tuples(*(offers(node) for node in nodes)).map(list)
)

_AMOUNTS = {
    "CPU": [500, 1000, 2000, 5000],
    "GPU": [500, 1000, 2000, 1500],
    "Memory": [GB, 9 * GB],
    "Storage": [1000, 2 * GB, 2**62 - 1],
    "Camera": [1],
    "Network": [1],
}


_DATA = st.lists(
    st.builds(DataAt, st.sampled_from(NODES), st.sampled_from([0, 10**6, GB, 2**62 - 1])),
    max_size=3,
    unique_by=lambda at: at.node,
).map(tuple)


_KNOWN = st.builds(
    KnownNode, st.sampled_from(NODES), st.sampled_from([0, 10**6, 10**9]), st.sampled_from([0, 1000, 10**12])
)
_WORK = st.builds(
    Work,
    cpu_mi=st.sampled_from([0, 5000, 10**7]),
    wait_us=st.sampled_from([0, 10**6, 10**9]),
    move_bytes=st.sampled_from([0, 10**6, 10**12]),
    known=st.lists(_KNOWN, max_size=3).map(tuple),
    data=_DATA,
)


@st.composite
def _needs(draw: st.DrawFn) -> Need:
    kind = draw(st.sampled_from(["CPU", "CPU", "GPU", "Memory", "Storage", "Camera", "Network"]))
    where = draw(st.one_of(st.none(), st.sampled_from(WHERES)))
    return Need(
        kind=kind,
        amount=draw(st.sampled_from(_AMOUNTS[kind])),
        memory_bytes=draw(st.sampled_from([0, 0, GB, 9 * GB])),
        where=None if where is None else parse_where(where),
        near=draw(st.sampled_from(["", "", "", HOME, "berlin", "c", "name of d"])),
        to=draw(st.sampled_from(["", "e"])),
        objective=draw(st.sampled_from(list(Objective))),
        budget_uwos_hour=draw(st.sampled_from([0, 0, 1, 300])),
        apart=draw(st.booleans()),
        data=draw(st.one_of(st.just(()), _DATA, _WORK)),
    )


needs = _needs()
_SOME = st.frozensets(st.sampled_from(NODES), max_size=2)
views = st.builds(
    View,
    home=st.just(HOME),
    account=st.just(AccountId("me")),
    nonce=st.binary(max_size=2),
    rtt_us=st.dictionaries(st.sampled_from(NODES), st.sampled_from([0, 300, 300, 40_000, 2**63]), max_size=5),
    doubted=_SOME,
    flaps=st.dictionaries(st.sampled_from(NODES), st.integers(0, 9), max_size=2),
    gone=st.one_of(st.just(frozenset()), _SOME),
    passed_over=st.one_of(st.just(frozenset()), _SOME),
)
