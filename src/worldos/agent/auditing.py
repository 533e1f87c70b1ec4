"""Auditing: what anybody who has the files of a decision log can find out about it, without believing its node.

``verify`` reckons the root again from every leaf, holds each payload that is still there against its leaf, counts the numbers
of choices (one left out is missed), and checks that ties were drawn by what was committed to before anybody could know it.
``replay`` makes choices again from what was put down: the same bytes, or the log, the code or the chooser is another.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from worldos.agent.decision_shelf import DECISION, ERASED, NUMBER, OFFER, DecisionShelf, read_segment
from worldos.agent.draws import check_round, draws_of
from worldos.errors import BadSignature, Damaged, PeerBroke
from worldos.kernel.decisions import Acted, Answered, Chosen, redo
from worldos.kernel.match import Refusal, explain
from worldos.kernel.question import Question
from worldos.kernel.records import (
    LEAF_BYTES,
    SALT_BYTES,
    ChosenRecord,
    Committed,
    Leaf,
    Record,
    RecordKind,
    Revealed,
    check_payload,
    chosen_of,
    read_leaf,
    read_offer,
    write_record,
)
from worldos.model.ids import NodeId
from worldos.model.offer import Offer
from worldos.model.units import show
from worldos.trust.merkle import HASH_BYTES, leaf_hash
from worldos.trust.note import check_checkpoint, cosignatures
from worldos.trust.tiles import Tower

LEAVES_AT_ONCE: Final = 4096
SAID_MAX: Final = 20
PAST_ROUNDS: Final = 4  # a use that is tried again draws from the round that it began in
DRAWS_MORE: Final = 4096  # beyond what a round says it drew: its machine may have stopped before it counted
READ_MAX: Final = 4096  # offers that were read and are remembered

_read: dict[bytes, Offer] = {}


class Entry(NamedTuple):
    """One decision of a log: its leaf, and what it was, if that is still there."""

    number: int
    leaf: Leaf
    record: Record | None
    payload: bytes
    offers: dict[bytes, bytes]


def entries(shelf: DecisionShelf, first: int = 0) -> Iterator[Entry]:
    """Yield every decision from ``first`` on whose words are kept; raise Damaged where they are not those of its leaf."""
    firsts = shelf.firsts()
    later = [at for at in firsts if at <= first]
    for begin in firsts[firsts.index(later[-1]) :] if later else firsts:
        yield from _segment_entries(shelf, begin, first)


def _segment_entries(shelf: DecisionShelf, begin: int, first: int = 0) -> Iterator[Entry]:
    offers: dict[bytes, bytes] = {}
    block, leaves, salts = 0, b"", b""
    for kind, _, body in read_segment(shelf.segment_path(begin)):
        if kind == OFFER:
            hashed, data = body[:HASH_BYTES], body[HASH_BYTES:]
            if sha256(data).digest() != hashed:
                raise Damaged("an offer is not the one that choices were made from")
            offers[hashed] = data
            continue
        number = NUMBER.unpack_from(body)[0]
        if number < first:
            continue
        if number >= shelf.durable:
            return
        at = number - block
        if not 0 <= at < len(leaves) // LEAF_BYTES:
            block, at = number, 0
            count = min(LEAVES_AT_ONCE, shelf.durable - number)
            leaves, salts = shelf.leaves(number, count), shelf.salts(number, count)
        leaf = read_leaf(leaves[at * LEAF_BYTES : (at + 1) * LEAF_BYTES])
        salt = salts[at * SALT_BYTES : (at + 1) * SALT_BYTES]
        payload = body[NUMBER.size :] if kind == DECISION else b""
        record = None if kind == ERASED else check_payload(leaf, salt, payload)
        yield Entry(number, leaf, record, payload, offers)


def one(shelf: DecisionShelf, number: int) -> Entry:
    """Return one decision; raise NotThere where its words are gone."""
    payload = shelf.payload(number)
    leaf = read_leaf(shelf.leaf(number))
    record = check_payload(leaf, shelf.salt(number), payload)
    hashes = {seat.offer for seat in record.seats} if isinstance(record, ChosenRecord) else set()
    return Entry(number, leaf, record, payload, {hashed: shelf.offer(number, hashed) for hashed in sorted(hashes)})


def same_again(entry: Entry) -> bool:
    """Make a choice again; tell whether the same bytes come out. Raise Damaged where an offer is missing."""
    record = entry.record
    assert isinstance(record, ChosenRecord)
    again = redo(choice_of(entry, record))
    return write_record(msgspec.structs.replace(record, parts=again.parts, answer=again.answer)) == entry.payload


def choice_of(entry: Entry, record: ChosenRecord) -> Chosen:
    """Return a choice with the offers that it was made from; what is equal by its hash is read once."""

    def offer_of(hashed: bytes) -> Offer:
        if hashed not in entry.offers:
            raise Damaged(f"decision {entry.number} was made from an offer that the log lacks")
        known = _read.get(hashed)
        if known is None:
            if len(_read) >= READ_MAX:
                _read.clear()
            known = _read[hashed] = read_offer(hashed, entry.offers[hashed])
        return known

    return chosen_of(record, offer_of)


class Replayed(NamedTuple):
    """What making choices again came to: how many, which came out otherwise, and by which code they were made."""

    choices: int
    differing: list[int]
    code: str


def replay(shelf: DecisionShelf, jobs: int) -> Replayed:
    """Make every choice again that is kept, a segment at a time, in so many processes."""
    work = [(shelf.folder, shelf.durable, begin) for begin in shelf.firsts()]
    if jobs <= 1 or len(work) <= 1:
        parts = [_replay_segment(each) for each in work]
    else:
        with ProcessPoolExecutor(min(jobs, len(work))) as pool:
            parts = list(pool.map(_replay_segment, work))
    codes = [part.code for part in parts if part.code]
    differing = [number for part in parts for number in part.differing]
    return Replayed(sum(part.choices for part in parts), differing, codes[-1] if codes else "")


def _replay_segment(work: tuple[Path, int, int]) -> Replayed:
    folder, durable, begin = work
    count, code = 0, ""
    differing: list[int] = []
    for entry in _segment_entries(DecisionShelf(folder, durable), begin):
        if isinstance(entry.record, ChosenRecord):
            count += 1
            if not same_again(entry):
                differing.append(entry.number)
        else:
            code = code_of(entry) or code
    return Replayed(count, differing, code)


class Tally:
    """What was found so far: counts, and everything that is wrong, in sentences."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.kinds: dict[str, int] = {}
        self.words = 0
        self.erased = 0
        self.witnessed_rounds = 0
        self.own_rounds = 0
        self.drawn_checked = 0
        self._life_number: int | None = None
        self._committed: dict[int, tuple[Committed, int]] = {}
        self._nonces: list[tuple[int, int]] = []
        self._over: set[int] = set()
        self._past: list[dict[int, int]] = []

    def say(self, what: str) -> None:
        """Note that something is wrong."""
        if len(self.wrong) < SAID_MAX:
            self.wrong.append(what)

    def take(self, entry: Entry, log: NodeId) -> None:
        """Look at one decision."""
        record = entry.record
        if record is None:
            self.erased += 1
            if entry.leaf.kind == RecordKind.CHOSEN and self._life_number is not None:
                self._life_number += 1
            return
        self.words += 1
        if isinstance(record, ChosenRecord):
            self._number(entry.number, record)
        elif isinstance(record, Acted) and record.what == "began":
            self._life_number = 0
        elif isinstance(record, Acted) and record.what == "missed":
            self._life_number = None  # it says itself how many are missing
            self.say(f"decision {entry.number}: {record.fields.get('count')} before it could not be written")
        elif isinstance(record, Committed):
            self._committed[record.round] = (record, entry.number)
        elif isinstance(record, Revealed):
            self._revealed(record, log)

    def _number(self, number: int, record: ChosenRecord) -> None:
        if self._life_number is not None and record.number != self._life_number + 1:
            missing = record.number - self._life_number - 1
            self.say(f"before decision {number} {missing} choices of this life are not in the log")
        self._life_number = record.number
        nonce = int.from_bytes(record.nonce[:8], "big")
        if record.splits and not any(
            nonce in drawn for drawn in self._past
        ):  # what takes a lost lease's place has its own
            self._nonces.append((number, nonce))

    def _revealed(self, record: Revealed, log: NodeId) -> None:
        """Make the draws of a round again: all choices before this entry were drawn in it, or in one that was over before."""
        if record.round in self._over:
            return
        committed = self._committed.pop(record.round, None)
        if committed is None:
            self.say(f"round {record.round} of draws was never committed to")
            return
        try:
            witnessed = check_round(log, *committed, record)
        except (Damaged, PeerBroke) as error:
            self.say(str(error))
            return
        self._over.add(record.round)
        self.witnessed_rounds += witnessed
        self.own_rounds += not witnessed
        drawn = draws_of(record, max(0, record.draws) + DRAWS_MORE)
        self._past = [*self._past[1 - PAST_ROUNDS :], drawn]
        before = 0
        for number, nonce in self._nonces:
            k = drawn.get(nonce)
            if k is None:
                self.say(f"decision {number} drew from no round that was committed to")
                continue
            self.drawn_checked += 1
            if k < before:
                self.say(f"decision {number} drew out of turn")
            before = max(before, k)
        self._nonces = []


def verify(shelf: DecisionShelf, log: NodeId) -> dict[str, Any]:
    """Check a whole log; return what was found, with ``wrong`` empty where all is as it should be."""
    tally = Tally()
    signed = _check_root(shelf, log, tally)
    kept = shelf.firsts()
    try:
        for entry in entries(shelf):
            tally.take(entry, log)
    except Damaged as error:
        tally.say(str(error))
    seen = _check_cosigned(shelf, log, tally)
    return {
        "log": log,
        "decisions": shelf.durable,
        "root": signed.hex(),
        "kinds": dict(sorted(tally.kinds.items())),
        "words_kept": tally.words,
        "erased": tally.erased,
        "dropped": kept[0] if kept else shelf.durable,
        "draws_checked": tally.drawn_checked,
        "rounds_witnessed": tally.witnessed_rounds,
        "rounds_by_own_word": tally.own_rounds,
        **seen,
        "wrong": tally.wrong,
    }


def _check_root(shelf: DecisionShelf, log: NodeId, tally: Tally) -> bytes:
    """Reckon the root again from every leaf, and hold it against the signed one; return the latter."""
    try:
        _, checkpoint = check_checkpoint(shelf.load("checkpoint"), log)
    except (BadSignature, PeerBroke) as error:
        tally.say(f"the checkpoint is not signed by this node: {error}")
        return b""
    tower = Tower(lambda level, index, hashes: None)
    for first in range(0, checkpoint.size, LEAVES_AT_ONCE):
        try:
            data = shelf.leaves(first, min(LEAVES_AT_ONCE, checkpoint.size - first))
        except Damaged as error:
            tally.say(str(error))
            return checkpoint.root
        for at in range(0, len(data), LEAF_BYTES):
            leaf = data[at : at + LEAF_BYTES]
            tower.append(leaf_hash(leaf))
            try:
                kind = read_leaf(leaf).kind.name.lower()
            except Damaged as error:
                tally.say(f"leaf {first + at // LEAF_BYTES}: {error}")
                continue
            tally.kinds[kind] = tally.kinds.get(kind, 0) + 1
    if tower.root() != checkpoint.root:
        tally.say("the leaves do not come to the root that was signed")
    return checkpoint.root


def _check_cosigned(shelf: DecisionShelf, log: NodeId, tally: Tally) -> dict[str, Any]:
    """Hold the newest cosigned checkpoint against the log; return who cosigned how much of it."""
    data = shelf.load("cosigned")
    if not data:
        return {"witnesses": [], "witnessed": 0}
    try:
        note, checkpoint = check_checkpoint(data, log)
    except (BadSignature, PeerBroke) as error:
        tally.say(f"the cosigned checkpoint is not signed by this node: {error}")
        return {"witnesses": [], "witnessed": 0}
    if checkpoint.size > shelf.durable:
        tally.say(f"witnesses saw {checkpoint.size} decisions, and only {shelf.durable} are left")
    elif shelf.root(checkpoint.size) != checkpoint.root:
        tally.say("witnesses saw another log than this")
    seen = [{"node": each.witness, "at_s": each.at_s} for each in cosignatures(note)]
    return {"witnesses": seen, "witnessed": checkpoint.size}


# -- for people -----------------------------------------------------------------------------------------------------------


def row(entry: Entry) -> dict[str, Any]:
    """Return a decision in a few words."""
    kind, what, why = entry.leaf.kind.name.lower(), "", ""
    match entry.record:
        case None:
            kind, what = "erased", "its words are gone, its proof is not"
        case ChosenRecord() as record:
            kind, what, why = _chosen(record)
        case Answered() as record:
            kind = "granted" if record.lease else "refused"
            what = f"{show(record.need.kind, record.need.amount)} {record.need.kind} to {record.holder[:8]}"
            why = record.lease or record.reason
        case Acted() as record:
            kind, what, why = record.what, record.about, record.why
        case Committed() | Revealed() as record:
            what = f"round {record.round} of draws"
        case record:
            what, why = record.lease, record.why
    return {"number": entry.number, "at_s": entry.leaf.at_s, "kind": kind, "what": what, "why": why}


def detail(entry: Entry) -> dict[str, Any]:
    """Return all that is known of a decision, with the offers that a choice was made from."""
    found = {**row(entry), "record": _plain(entry.record)}
    if isinstance(entry.record, ChosenRecord):
        chosen = choice_of(entry, entry.record)
        found["offers"] = [_plain(offer) for offer in chosen.offers]
        question = Question(chosen.needs[0], chosen.view)
        if question.work is not None:
            found["expected"] = [question.expected(offer) for offer in chosen.offers]
    return found


def _chosen(record: ChosenRecord) -> tuple[str, str, str]:
    wanted = ", ".join(f"{show(need.kind, need.amount)} {need.kind}" for need in record.needs[:3])
    if isinstance(record.answer, Refusal):
        part = max(0, record.answer.part)
        return "unmatched", wanted, explain(record.parts[part], record.answer)
    nodes = ", ".join(dict.fromkeys(choice.node[:8] for choice in record.answer))
    first = record.answer[0]
    over = f" before {first.runner_up[:8]} ({first.runner_up_score})" if first.runner_up else ""
    return "matched", f"{wanted} on {nodes}", f"score {first.score}{over}, of {first.considered}"


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, enc_hook=str, builtin_types=(bytes,)) if value is not None else None


def code_of(entry: Entry) -> str:
    """Return the hash of the code that decides from here on, where an entry says it."""
    record = entry.record
    return str(record.fields.get("code", "")) if isinstance(record, Acted) and record.what == "began" else ""
