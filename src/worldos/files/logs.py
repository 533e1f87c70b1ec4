"""Logs in stores: appended until enough devices have them on disk, read from all who have them.

An entry counts as kept when it is durable on k + 1 >= 2 devices, or on all that answer if those are fewer. What this machine's
own store keeps is kept first: so a number of our log that any store has seen is never used again for other bytes, even if
we die in between. Where this machine has no store, the entries lie in the home until they are kept elsewhere.
Every entry that comes from a store is checked here: its log, its signature, its signer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from worldos.errors import Unreachable, WorldError
from worldos.files.limits import ANSWER_S, ENTRY_DEVICES, HERE_S, STALLED_S
from worldos.files.stores import Store, answers
from worldos.store.entry import Entry, check_entry

LOG_BYTES_AT_ONCE = 4 << 20
SPARE_STORES = 1


def append(
    stores: Sequence[Store],
    entries: Sequence[Entry],
    *,
    devices: int = ENTRY_DEVICES,
    before_others: Callable[[], None] | None = None,
) -> int:
    """Append entries durably; return on how many devices they are. Raise what stores said where none keeps them.

    ``before_others`` is called where this machine's own store does not have them and others are about to.
    """
    here = [store for store in stores if store.at.here and not store.doubted]
    others = [store for store in stores if store not in here]
    outcome = _Outcome()
    kept = _append_at(here, entries, 1, HERE_S, outcome) if here else 0
    if kept < devices and others:
        if not kept and before_others is not None:
            before_others()
        for wave in _waves(others, devices - kept):
            kept += _append_at(wave, entries, devices - kept, ANSWER_S, outcome)
            if kept >= devices:
                _tell(others[len(wave) :], entries)
                break
    if not kept:
        raise outcome.why()
    return kept


class _Outcome:
    """What stores said that did not keep it, and whether one that said nothing may have it all the same."""

    def __init__(self) -> None:
        self.failures: list[WorldError] = []
        self.unsure = False

    def why(self) -> WorldError:
        """Return what to say: Unreachable, whatever else was said, where it may be kept somewhere."""
        hint = "see them with: wos storage status"
        if self.unsure:
            return Unreachable("the stores do not answer", hint=hint)
        refused = [error for error in self.failures if not isinstance(error, Unreachable)]
        return refused[0] if refused else NothingSent("no store can be reached", hint=hint)


class NothingSent(Unreachable):
    """No store could be reached, so none has anything of it."""


def _tell(stores: Sequence[Store], entries: Sequence[Entry]) -> None:
    """Let the rest have it too, so that it is seen everywhere at once; nobody waits for that, nor for their disks."""
    for store in stores:
        if not store.doubted:
            store.ask(lambda link: link.append(entries, durable=False))


def _waves(stores: Sequence[Store], needed: int) -> list[Sequence[Store]]:
    """Ask one more than is needed at first, and the others to sync it only if that was not enough."""
    first = needed + SPARE_STORES
    return [wave for wave in (stores[:first], stores[first:]) if wave]


def _append_at(
    stores: Sequence[Store], entries: Sequence[Entry], needed: int, within_s: float, outcome: _Outcome
) -> int:
    """Send to all of these; return when enough have it, and do not wait long for the others."""
    begun_s = time.monotonic()
    asked: dict[Future[int], Store] = {store.ask(lambda link: link.append(entries)): store for store in stores}
    open_, kept = set(asked), 0
    unsent = {future for future in asked if future.done() and future.exception() is not None}  # no link was to be had
    needed = min(needed, sum(1 for store in stores if not store.doubted) or 1)
    while open_ and kept < needed:
        patience_s = max([STALLED_S, *(2 * asked[future].hedge_s for future in open_)]) if kept else within_s
        done, open_ = wait(open_, max(0.0, begun_s + patience_s - time.monotonic()), FIRST_COMPLETED)
        for future in done:
            error = future.exception()
            if error is None:
                kept += 1
            elif isinstance(error, WorldError):
                outcome.failures.append(error)
                outcome.unsure |= isinstance(error, Unreachable) and future not in unsent
        if not done:
            for future in open_:
                asked[future].doubt()
            break
    outcome.unsure |= bool(open_)
    return kept


def last(stores: Sequence[Store], logs: Sequence[bytes], *, thorough: bool = False) -> dict[bytes, Entry]:
    """Return the last entry of each log as far as stores know; ``thorough``: all stores are waited for, not the first."""

    def enough(told: dict[str, tuple[Entry, ...]]) -> bool:
        found = {entry.log for entries in told.values() for entry in entries}
        return not thorough and len(found) == len(logs)

    told = answers(stores, lambda link: link.last(logs), within_s=ANSWER_S, enough=enough)
    wanted, best = set(logs), dict[bytes, Entry]()
    for entries in told.values():
        for entry in entries:
            if entry.log not in wanted or (entry.log in best and best[entry.log].seq >= entry.seq):
                continue
            with contextlib.suppress(WorldError):  # a store that lies is one store less
                check_entry(entry)
                best[entry.log] = entry
    return best


def read_new(
    stores: Sequence[Store], after: Mapping[tuple[bytes, bytes], int], *, patience_s: float = 0.0
) -> dict[bytes, list[Entry]]:
    """Read what stores have of logs beyond a number: ``after`` maps (log, public key) to it. Checked; by log, in order.

    Who does not answer in its usual time, or in ``patience_s`` if that is longer, is passed over: others have it too.
    """
    found: dict[bytes, dict[int, Entry]] = {}
    for (log, public), entries in _read_logs(stores, after, patience_s).items():
        rows = found.setdefault(log, {})
        for entry in entries:
            if entry.log != log or entry.public != public or entry.register or entry.seq in rows:
                continue
            with contextlib.suppress(WorldError):  # a store that lies is one store less
                check_entry(entry)
                rows[entry.seq] = entry
    return {log: [entry for _, entry in sorted(rows.items())] for log, rows in found.items() if rows}


def _read_logs(
    stores: Sequence[Store], after: Mapping[tuple[bytes, bytes], int], patience_s: float
) -> dict[tuple[bytes, bytes], list[Entry]]:
    begun_s = time.monotonic()
    asked: dict[Future[tuple[Entry, ...]], tuple[Store, tuple[bytes, bytes], int]] = {}

    def ask(store: Store, which: tuple[bytes, bytes], last: int) -> None:
        future = store.ask(lambda link: link.read_log(which[0], last + 1, LOG_BYTES_AT_ONCE))
        asked[future] = (store, which, last)

    for store in stores:
        for which, last in after.items():
            ask(store, which, last)
    found: dict[tuple[bytes, bytes], list[Entry]] = {}
    answered: set[str] = set()
    while asked:
        late_s = max(patience_s, *(store.hedge_s for store, _, _ in asked.values())) if answered else ANSWER_S
        done, _ = wait(asked, max(0.0, begun_s + late_s - time.monotonic()), FIRST_COMPLETED)
        for future in done:
            store, which, last = asked.pop(future)
            if future.exception() is not None:
                continue
            answered.add(store.at.node)
            entries = future.result()
            found.setdefault(which, []).extend(entries)
            if entries and entries[-1].seq > last:
                begun_s = time.monotonic()
                ask(store, which, entries[-1].seq)
        if not done:
            for store, _, _ in asked.values():
                store.doubt()
            break
    return found
