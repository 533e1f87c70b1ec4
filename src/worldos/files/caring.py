"""The carer: looks after every file that this device holds a verify cap of, while its owner sleeps.

It asks the depots who has which share (``Have``; there is no other record), remembers what each answered last (holders.py),
and carries out what store/health.py plans: debts at once, what is lost when it is due, sleepers never, the most endangered
first, each alive device in its turn. A file is looked at when it is new, again and again while it is not whole, whenever somebody
came, went or was declared lost, and in any case once in a pass over everything.

Invariant: nothing is repaired that its manifest's signature and roots do not prove; nothing is ever dropped by a repair. Moments
are ns of this machine's clock, compared with nobody else's. Source: DESIGN.md section 9; store/health.py.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import msgspec

from worldos.agent.home import write_durably
from worldos.depot.block_store import BlockStore
from worldos.depot.codec import best_codec
from worldos.depot.limits import IDS_PER_REQUEST_MAX
from worldos.depot.link import StoreLink
from worldos.depot.records import Cared
from worldos.errors import DiskFull, Refused, WorldError
from worldos.files.limits import ANSWER_S, STANDING_S
from worldos.files.mending import Gathered, Mender
from worldos.files.stores import Store, answers
from worldos.files.watching import Watch
from worldos.store.audit import Verdict
from worldos.store.entry import check_entry
from worldos.store.erasure import Code, Codec, share_bytes
from worldos.store.health import Health, Repair, is_turn, plan, standing, surplus
from worldos.store.limits import REPAIRS_MAX
from worldos.store.manifest import Map, Segment, open_map, share_ids

SECOND: Final = 1_000_000_000
GRACE_NS: Final = 5 * SECOND  # what is new is left to its writer, who still sends
AGAIN_NS: Final = 5 * SECOND  # what is not whole is looked at again after this ...
AGAIN_NS_MAX: Final = 300 * SECOND  # ... and ever later while nothing can be done
PASS_NS: Final = 3600 * SECOND
IDLE_NS: Final = 1 * SECOND
PACE_NS: Final = SECOND // 50  # between two lots of files in a pass: programs come first
FILES_AT_ONCE: Final = 64
NEW_MAX: Final = 1 << 16
MAPS_KEPT: Final = 512
AILING_TOLD_MAX: Final = 4096
TELL_NS: Final = 2 * SECOND
STANDING: Final = "standing"
BAD_MAX: Final = 1 << 16


class Ailing(msgspec.Struct, frozen=True, kw_only=True):
    """A file of which something is missing, or on devices that sleep, as people are told of it."""

    locator: bytes
    k: int
    n: int
    missing: int  # shares, lost or never written
    asleep: int  # shares on devices that do not answer, and are not lost
    survives: int  # losses, of all devices that are not lost
    repairing: bool


class CareTold(msgspec.Struct, frozen=True, kw_only=True):
    """What a carer has found: lies in ``<home>/depot/standing``."""

    files: int
    ailing: tuple[Ailing, ...]
    repaired: int  # shares made since the keeper began
    lost: tuple[str, ...]
    passes: int  # over all files since the keeper began


class _Sick(msgspec.Struct):
    """A file that was not whole when it was looked at last."""

    since_ns: int
    due_ns: int
    wait_ns: int
    told: Ailing


class _Patient(msgspec.Struct, frozen=True):
    """One segment that is looked at."""

    care: Cared
    segment: Segment
    ids: tuple[bytes, ...]


Place = Callable[[int, int], Sequence[Store]]


class Caring:
    """The loop of a carer."""

    def __init__(
        self, folder: Path, store: BlockStore, watch: Watch, place: Place | None = None, codec: Codec | None = None
    ) -> None:
        """``place`` names stores with room, by the kernel's matcher; without, all that answer take shares."""
        self._folder = folder
        self._store = store
        self._watch = watch
        self._place = place
        self._gathered = Gathered(folder / "gathered")
        self._mender = Mender(codec or best_codec(), self._gathered, watch.account, self.reported)
        self._new: deque[tuple[int, Cared]] = deque(maxlen=NEW_MAX)
        self._sick: dict[bytes, _Sick] = {}
        self._resting: dict[bytes, Ailing] = {}  # whole, and something of it is on devices that sleep
        self._maps: OrderedDict[bytes, tuple[int, Map]] = OrderedDict()
        self._bad: OrderedDict[tuple[str, bytes], None] = OrderedDict()  # what somebody gave wrongly
        self._mark: bytes | None = b""  # how far the pass over everything is; None: it is done
        self._pass_due_ns = 0
        self._told_ns = 0
        self._told: CareTold | None = None
        self._lock = threading.RLock()
        self.repaired = 0
        self.passes = 0
        self.files = self._seen = 0

    # -- what comes in -------------------------------------------------------------------------------------------------------

    def heard(self, care: Cared, now_ns: int) -> None:
        """Take in that there is something new to look after."""
        self._watch.holders.since("care", care.locator, now_ns)
        self._new.append((now_ns + GRACE_NS, care))

    def reported(self, node: str, share: bytes, verdict: Verdict) -> None:
        """Take in what a store's answer was worth; what it gave wrongly does not count as held by it any more."""
        self._watch.judged(node, verdict)
        if verdict is Verdict.GOOD:
            return
        with self._lock:
            self._bad[node, share] = None  # its disk rotted, or it lies: that it says it has it is worth nothing
            while len(self._bad) > BAD_MAX:
                self._bad.popitem(last=False)

    # -- the loop ------------------------------------------------------------------------------------------------------------

    def step(self, now_ns: int) -> int:
        """Look at some files; return when the next are due."""
        with self._lock:
            if self._watch.look(now_ns):
                self._begin_pass()
                for sick in self._sick.values():
                    sick.due_ns, sick.wait_ns = min(sick.due_ns, now_ns), AGAIN_NS
            due = self._due(now_ns)
            if due:
                self.examine(due, now_ns)
            self._tell(now_ns)
            return now_ns + (PACE_NS if self._mark is not None and due else IDLE_NS)

    def run_all(self, now_ns: int, progress: Callable[[int, int], None]) -> int:
        """Look at everything now, turn or no turn; return how many shares were made."""
        before = self.repaired
        cares = list(self.all_cares())
        with self._lock:
            for first in range(0, len(cares), FILES_AT_ONCE):
                self.examine(cares[first : first + FILES_AT_ONCE], now_ns, at_once=True)
                progress(min(len(cares), first + FILES_AT_ONCE), len(cares))
            sick = [care for care in cares if care.locator in self._sick]
            for first in range(0, len(sick), FILES_AT_ONCE):
                self.examine(sick[first : first + FILES_AT_ONCE], now_ns, at_once=True)
            self._told_ns = 0
            self._tell(now_ns)
        return self.repaired - before

    def look_again(self) -> None:
        """Look at everything soon: something was found to be wrong."""
        with self._lock:
            self._begin_pass()

    def all_cares(self) -> Iterable[Cared]:
        """Return everything that this device looks after, of its own account."""
        after = b""
        while page := self._store.cares(after, FILES_AT_ONCE):
            yield from (care for care in page if care.owner == self._watch.account)
            after = page[-1].locator

    @property
    def missing(self) -> int:
        """Return how many shares are known to be missing."""
        return sum(sick.told.missing for sick in self._sick.values())

    def _due(self, now_ns: int) -> list[Cared]:
        """Return whom to look at now: the new, the sick, then the next of the pass; a bounded number."""
        due: dict[bytes, Cared] = {}
        while self._new and self._new[0][0] <= now_ns and len(due) < FILES_AT_ONCE:
            _, care = self._new.popleft()
            due[care.locator] = care
        for locator, sick in sorted(self._sick.items(), key=lambda item: (item[1].told.survives, item[0])):
            if len(due) >= FILES_AT_ONCE:
                break
            if sick.due_ns <= now_ns and locator not in due:
                due.update(
                    (care.locator, care) for care in self._store.cares(_before(locator), 1) if care.locator == locator
                )
        if self._mark is None and now_ns >= self._pass_due_ns:
            self._begin_pass()
        if self._mark is not None and len(due) < FILES_AT_ONCE:
            page = self._store.cares(self._mark, FILES_AT_ONCE - len(due))
            due.update((care.locator, care) for care in page)
            self._mark = page[-1].locator if page else None
            self._seen += len(page)
            if not page:
                self.files = self._seen
                self._pass_due_ns = now_ns + PASS_NS
                self.passes += 1
        return [care for care in due.values() if care.owner == self._watch.account]

    def _begin_pass(self) -> None:
        self._mark = b""
        self._seen = 0

    # -- looking -------------------------------------------------------------------------------------------------------------

    def examine(self, cares: Sequence[Cared], now_ns: int, *, at_once: bool = False) -> None:
        """Look at these files, tell how they stand, and repair what is due and our turn."""
        stores = {store.at.node: store for store in self._watch.reachable()}
        patients: list[_Patient] = []
        for care in cares:
            made = self._map_of(care, list(stores.values()))
            if made is None:
                self._sick.pop(care.locator, None)
                continue
            patients += [_Patient(care, segment, share_ids(segment, care.verify)) for segment in made.segments]
        healths = list(zip(patients, self._healths(patients, stores, now_ns), strict=True))
        repairs = self._plan(healths, stores)
        self._trim(healths, stores, now_ns)
        self._note(cares, healths, repairs, now_ns)
        by_segment = {patient.segment.id: patient for patient in patients}
        for repair in repairs:
            patient = by_segment[repair.segment]
            sick = self._sick.get(patient.care.locator)
            waiting_ns = now_ns - sick.since_ns if sick is not None else 0
            own = [node for node, store in stores.items() if store.at.account == self._watch.account]
            if at_once or is_turn(patient.care.locator, self._watch.me, own, waiting_ns=waiting_ns):
                self._repair(patient, repair, stores, now_ns)

    def map_of(self, care: Cared) -> Map | None:
        """Open the newest manifest of a file that lies here."""
        with self._lock:
            return self._map_of(care, ())

    def _map_of(self, care: Cared, stores: Sequence[Store]) -> Map | None:
        """Open the newest manifest that is known; None where there is none (yet), or it is not what it should be."""
        entry = self._store.last(care.locator)
        if entry is None:
            told = answers(stores, lambda link: link.last((care.locator,)), within_s=ANSWER_S) if stores else {}
            found = [each for entries in told.values() for each in entries if each.log == care.locator]
            entry = max(found, key=lambda each: each.seq, default=None)
        if entry is None:
            return None
        known = self._maps.get(care.locator)
        if known is not None and known[0] == entry.seq:
            self._maps.move_to_end(care.locator)
            return known[1]
        try:
            check_entry(entry)
            made = open_map(entry.body, care.verify)
        except WorldError:
            return None
        self._maps[care.locator] = (entry.seq, made)
        while len(self._maps) > MAPS_KEPT:
            self._maps.popitem(last=False)
        return made

    def _healths(self, patients: Sequence[_Patient], stores: dict[str, Store], now_ns: int) -> list[Health]:
        """Ask who has what, and put it together with what is remembered of those that did not answer."""
        flat = [(number, index) for number, patient in enumerate(patients) for index in range(patient.segment.n)]
        had: list[dict[str, set[int]]] = [{} for _ in patients]
        heard: set[str] = set()
        for first in range(0, len(flat), IDS_PER_REQUEST_MAX):
            part = flat[first : first + IDS_PER_REQUEST_MAX]
            asked = tuple(patients[number].ids[index] for number, index in part)
            told = answers(stores.values(), _have(asked), within_s=ANSWER_S, patience_s=STANDING_S)
            heard = heard & told.keys() if first else set(told)
            for node, sizes in told.items():
                for (number, index), size in zip(part, sizes, strict=False):
                    segment = patients[number].segment
                    right = size == share_bytes(segment.size_bytes, segment.k)
                    if right and (node, patients[number].ids[index]) not in self._bad:
                        had[number].setdefault(node, set()).add(index)
        domains = {node: store.at.place or node for node, store in stores.items()}
        healths = []
        for patient, by_node in zip(patients, had, strict=True):
            segment = patient.segment
            held = self._watch.holders.told(segment.id, {node: by_node.get(node, set()) for node in heard})
            nodes = sorted({node for each in held.values() for node in each})
            asleep, lost = self._watch.split(nodes, sorted(heard))
            written_ns = self._watch.holders.since("care", patient.care.locator, now_ns)
            sleepers = set(self._watch.asleep_since(written_ns, now_ns, sorted(heard))) - set(nodes)
            healths.append(
                Health(
                    segment=segment.id,
                    code=Code(k=segment.k, n=segment.n),
                    have=held,
                    asleep=asleep,
                    lost=lost,
                    domains=domains,
                    gathered=self._gathered.which(patient.ids),
                    unknown=len(sleepers),
                )
            )
        return healths

    def _plan(self, healths: Sequence[tuple[_Patient, Health]], stores: dict[str, Store]) -> list[Repair]:
        largest = max((share_bytes(each.segment.size_bytes, each.segment.k) for each, _ in healths), default=0)
        if not largest or all(_is_whole(health, stores) for _, health in healths):
            return []
        takers = [node for node, store in stores.items() if not store.refused_room]
        wanted = [health for _, health in healths]
        if self._place is not None and plan(wanted, takers):  # where nothing can be done no room is leased
            with contextlib.suppress(Refused):
                leased = [store.at.node for store in self._place(len(takers), largest)]
                takers = [node for node in leased if node in stores]
        return plan(wanted, takers, repairs_max=REPAIRS_MAX)

    def _note(
        self,
        cares: Sequence[Cared],
        healths: Sequence[tuple[_Patient, Health]],
        repairs: Sequence[Repair],
        now_ns: int,
    ) -> None:
        """Keep who is not whole, and when to look again."""
        under_repair = {repair.segment for repair in repairs}
        for care in cares:
            own = [(each, standing(health)) for each, health in healths if each.care.locator == care.locator]
            missing = sum(found.lost + found.debt for _, found in own)
            repairing = any(each.segment.id in under_repair for each, _ in own)
            asleep = sum(found.asleep for _, found in own)
            self._resting.pop(care.locator, None)
            if not missing and not repairing and not asleep:
                self._sick.pop(care.locator, None)
                continue
            first = own[0][0].segment
            told = Ailing(
                locator=care.locator,
                k=first.k,
                n=first.n,
                missing=missing,
                asleep=asleep,
                survives=min(found.survives for _, found in own),
                repairing=repairing,
            )
            if not missing and not repairing:
                self._sick.pop(care.locator, None)
                if len(self._resting) < NEW_MAX:
                    self._resting[care.locator] = told
                continue
            before = self._sick.get(care.locator)
            since_ns = before.since_ns if before is not None else now_ns
            wait_ns = AGAIN_NS if repairing or before is None else min(AGAIN_NS_MAX, 2 * before.wait_ns)
            self._sick[care.locator] = _Sick(since_ns, now_ns + wait_ns, wait_ns, told)

    def _trim(self, healths: Sequence[tuple[_Patient, Health]], stores: dict[str, Store], now_ns: int) -> None:
        """Let go of copies too many, once a segment has been whole with them for long: the first carer alone does that."""
        own = [node for node, store in stores.items() if store.at.account == self._watch.account]
        for patient, health in healths:
            here = [health.here(index) for index in range(health.code.n)]
            if all(len(nodes) < 2 for nodes in here):
                continue
            if not all(here) or not is_turn(patient.care.locator, self._watch.me, own, waiting_ns=0):
                self._watch.holders.over("doubled", patient.segment.id)
                continue
            since_ns = self._watch.holders.since("doubled", patient.segment.id, now_ns)
            for index, node in surplus(health, whole_since_ns=since_ns, now_ns=now_ns):
                if node in stores:
                    stores[node].ask(_drop(patient.ids[index]))

    def _repair(self, patient: _Patient, repair: Repair, stores: dict[str, Store], now_ns: int) -> None:
        try:
            placed = self._mender.mend(patient.segment, patient.ids, repair, stores)
        except WorldError:
            return  # it is looked at again soon, with what was learnt of those that failed
        for index, node in placed.items():
            self._watch.made(patient.segment.id, index, node, now_ns)
        self.repaired += len(placed)
        if len(placed) == len(repair.indices) and placed:
            sick = self._sick.get(patient.care.locator)
            if sick is not None:
                sick.due_ns = now_ns  # seen whole, it is well

    # -- what people are told --------------------------------------------------------------------------------------------------

    def _tell(self, now_ns: int) -> None:
        if 0 <= now_ns - self._told_ns < TELL_NS:
            return
        self._told_ns = now_ns
        found = [*(sick.told for sick in self._sick.values()), *self._resting.values()]
        ailing = sorted(found, key=lambda each: (not each.missing, each.survives, each.locator))
        told = CareTold(
            files=self.files,
            ailing=tuple(ailing[:AILING_TOLD_MAX]),
            repaired=self.repaired,
            lost=tuple(sorted(self._watch.lost)),
            passes=self.passes,
        )
        if told != self._told:
            self._told = told
            with contextlib.suppress(DiskFull):
                write_durably(self._folder / STANDING, msgspec.msgpack.encode(told))


def _is_whole(health: Health, stores: dict[str, Store]) -> bool:
    """Tell whether there is surely nothing to do: every share is kept, and none crowds on a device while another is free."""
    found = standing(health)
    return found.whole and (found.survives >= health.code.n - health.code.k or len(stores) <= found.here)


def _drop(share: bytes) -> Callable[[StoreLink], Future[int]]:
    return lambda link: link.drop((share,))


def _have(asked: tuple[bytes, ...]) -> Callable[[StoreLink], Future[tuple[int, ...]]]:
    return lambda link: link.have(asked)


def _before(locator: bytes) -> bytes:
    """Return the mark after which a list of cares begins with this locator."""
    number = int.from_bytes(locator, "big")
    return b"" if number == 0 else (number - 1).to_bytes(len(locator), "big")
