"""Standing: which entries of a key log count. A pure function of the set of entries, whatever the order they came in.

An entry counts when its warrant counts and no removal that counts *strikes* it. A removal strikes an entry signed by
the removed device when its signer had not seen that entry, and when the warrant of that entry is not a later
re-admission (one that had seen the removal). Nothing strikes what the recovery key signs.

Two entries may strike each other: A puts out B while B, cut off, puts out A. Nobody can tell which was first, since a
time in an entry is only a claim, so the rule is the safe one: in such a circle *all removals count and no admission
does*. A device that was put out can so take the one that put it out down with it, and can never bring itself back. A
third device, or the recovery words, admit the other again.

Method: label entries as counting or void as far as that follows (the grounded labelling); what remains hangs on
circles; settle the circles that hang on no other; repeat. Sets of entries are the bits of an int, at the places where
the entries came in. Source: P. M. Dung, "On the acceptability of arguments", Artificial Intelligence 77 (1995); the
rule for circles is ours.
"""

from __future__ import annotations

from collections.abc import Iterator

from worldos.trust.history import History


def standing(history: History) -> int:
    """Return the set of entries that count."""
    everything = (1 << len(history.entries)) - 1
    if not history.removals:
        return everything
    labels = _Labels(history, everything)
    labels.settle()
    while labels.open:
        labels.break_circles()
        labels.settle()
    return labels.counts


class _Labels:
    """The labelling on its way: each entry counts, is void, or is still open."""

    def __init__(self, history: History, everything: int) -> None:
        self.history = history
        self.open = everything
        self.counts = 0
        self.void = 0
        self.strikers = [history.strikers(place) for place in range(len(history.entries))]

    def settle(self) -> None:
        """Label all that follows from the labels there are."""
        before = -1
        while before != self.open:
            before = self.open
            for place in bits(before):
                warrant = 1 << self.history.warrants[place]
                if warrant & self.void or self.strikers[place] & self.counts:
                    self._label_void(1 << place)
                elif place == 0 or (warrant & self.counts and not self.strikers[place] & ~self.void):
                    self._label_counts(1 << place)

    def break_circles(self) -> None:
        """Settle the circles that hang on no other: their removals count, their admissions do not."""
        reach = self._reach()
        free = 0
        for place in reach:
            if all(reach[other] >> place & 1 for other in bits(reach[place])):
                free |= 1 << place
        assert free, "what is open hangs on a circle"
        self._label_counts(free & self.history.removal_places)
        self._label_void(free & ~self.history.removal_places)

    def _reach(self) -> dict[int, int]:
        """Return for each open entry all the open entries that it hangs on, near and far (Warshall's closure)."""
        reach = {
            place: (self.strikers[place] | 1 << self.history.warrants[place]) & self.open for place in bits(self.open)
        }
        for middle in bits(self.open):
            through = reach[middle]
            for place, known in reach.items():
                if known >> middle & 1:
                    reach[place] = known | through
        return reach

    def _label_counts(self, places: int) -> None:
        self.counts |= places
        self.open &= ~places

    def _label_void(self, places: int) -> None:
        self.void |= places
        self.open &= ~places


def bits(places: int) -> Iterator[int]:
    """Go through a set, lowest place first."""
    while places:
        lowest = places & -places
        yield lowest.bit_length() - 1
        places ^= lowest
