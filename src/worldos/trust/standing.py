"""Standing: which entries of a key log count. A pure function of the set of entries, whatever the order they came in.

An entry counts when its warrant counts and no removal that counts *strikes* it. A removal of a key strikes what this
key signed and the remover had not seen, unless that weighed more than the removal, or its warrant is a later
re-admission (one that had seen the removal). It also strikes what the key admitted and the remover *had* seen, while
that was young (the veto): a thief that lets its own device in shortly before it is put out gains nothing. Not so if the
key removes itself, if the remover comes from that admission, or if it says that it keeps it.

Between recovery keys, which have nobody above them, a removal or a replacement that was known for 72 hours stands
against one that nobody knew then: old words from the bin do not undo what took their place.

Two entries may strike each other: A puts out B while B, cut off, puts out A. Nobody can tell which was first. What
hangs on such a circle is *open*, and the rule is the safe one: an open removal counts, an open admission does not. So
whatever a device signs after it was put out can bring no device back, itself least of all: what was void stays void,
and every removal that counted still counts. What it can do, back-dating, is put out others of its weight together with
itself, as it could before; who weighs more admits those again, and against a removal by one of those it can do nothing.

Method: label each entry as counting or void as far as that follows (the grounded labelling); the rest is open. Sets
of entries are the bits of an int, at the places where the entries came in. Source: P. M. Dung, "On the acceptability
of arguments and its fundamental role in nonmonotonic reasoning, logic programming and n-person games", Artificial
Intelligence 77 (1995).
"""

from __future__ import annotations

from worldos.trust.history import History, bits


def standing(history: History) -> int:
    """Return the set of entries that count, the open removals among them."""
    counts, void = grounded(history)
    return counts | (history.removal_places & ~void)


def grounded(history: History) -> tuple[int, int]:
    """Return what counts and what is void for sure; each edge of who strikes or warrants whom is looked at once."""
    everything = (1 << len(history.entries)) - 1
    if not history.removals:
        return everything, 0
    strikers = [history.strikers(place) for place in range(len(history.entries))]
    hanging = _hanging(strikers, history.warrants)
    counts, void, waiting = 0, history.idle, list(bits(everything))
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
    return counts, void


def _hanging(strikers: list[int], warrants: list[int]) -> list[int]:
    """Return for each entry those whose label depends on it."""
    hanging = [0] * len(strikers)
    for place, struck_by in enumerate(strikers):
        for other in (*bits(struck_by), warrants[place]):
            hanging[other] |= 1 << place
    return hanging
