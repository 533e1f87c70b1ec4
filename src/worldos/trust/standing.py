"""Standing: which entries of a key log count. A pure function of the set of entries, whatever the order they came in.

An entry counts when its warrant counts and no removal that counts *strikes* it. A removal strikes an entry signed by
the removed device when its signer had not seen that entry, and when the warrant of that entry is not a later
re-admission (one that had seen the removal). Nothing strikes what the recovery key signs.

Two entries may strike each other: A puts out B while B, cut off, puts out A. Nobody can tell which was first, since a
time in an entry would only be a claim. What hangs on such a circle is *open*, and the rule is the safe one: an open
removal counts, an open admission does not. So whatever a device signs after it was put out can bring no device back,
itself least of all: what was void stays void, and every removal that counted still counts. What it can do,
back-dating, is put out others together with itself, as it could before; the recovery words admit those again, and
against a removal that the recovery key signed it can do nothing at all.

Method: label each entry as counting or void as far as that follows (the grounded labelling); the rest is open. Sets
of entries are the bits of an int, at the places where the entries came in. Source: P. M. Dung, "On the acceptability
of arguments and its fundamental role in nonmonotonic reasoning, logic programming and n-person games", Artificial
Intelligence 77 (1995).
"""

from __future__ import annotations

from collections.abc import Iterator

from worldos.trust.history import History


def standing(history: History) -> int:
    """Return the set of entries that count; each edge of who strikes or warrants whom is looked at once."""
    everything = (1 << len(history.entries)) - 1
    if not history.removals:
        return everything
    strikers = [history.strikers(place) for place in range(len(history.entries))]
    hanging = _hanging(strikers, history.warrants)
    counts, void, waiting = 0, 0, list(bits(everything))
    while waiting:
        place = waiting.pop()
        bit, warrant = 1 << place, 1 << history.warrants[place]
        if (counts | void) & bit:
            continue
        if warrant & void or strikers[place] & counts:
            void |= bit
        elif place == 0 or (warrant & counts and not strikers[place] & ~void):
            counts |= bit
        else:
            continue
        waiting.extend(bits(hanging[place] & ~(counts | void)))
    return counts | (history.removal_places & ~void)


def _hanging(strikers: list[int], warrants: list[int]) -> list[int]:
    """Return for each entry those whose label depends on it."""
    hanging = [0] * len(strikers)
    for place, struck_by in enumerate(strikers):
        for other in (*bits(struck_by), warrants[place]):
            hanging[other] |= 1 << place
    return hanging


def bits(places: int) -> Iterator[int]:
    """Go through a set, lowest place first."""
    while places:
        lowest = places & -places
        yield lowest.bit_length() - 1
        places ^= lowest
