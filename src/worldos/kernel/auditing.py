"""Auditing of providers: who is checked how often, who is out, and how large a bond makes cheating a loss.

The first jobs of a provider are all done twice and compared (probation); after that a share of them, drawn by a number that
the provider cannot know beforehand, less with each check that was passed and never below a floor. One wrong answer ends it: the
provider is out, and its bond is forfeit. Who cheats in a share of its jobs then gains, for each cheat that is not looked at, what
a job saves, and loses its bond with the first that is: with ``bond_needed`` that is a loss on average from the first cheat on,
whoever waits however long before. Shares in millionths, money in micro-WOSCoin. Source: trust research 3.6; BOINC's probation.
"""

from __future__ import annotations

from typing import Final

import msgspec

from worldos.model.ids import NodeId

PROBATION_CHECKS: Final = 10
RATE_MAX_PPM: Final = 500_000  # right after probation
RATE_MIN_PPM: Final = 50_000  # how seldom anybody is checked
RATE_FALL: Final = 20  # each passed check takes away this part of the rate
BOND_MARGIN: Final = 2  # a bond is so many times what just makes cheating pay nothing
PROVIDERS_MAX: Final = 65_536
MILLION: Final = 1_000_000

assert RATE_MIN_PPM < RATE_MAX_PPM <= MILLION


class Record(msgspec.Struct, kw_only=True):
    """What is known of one provider."""

    checks: int = 0
    jobs: int = 0
    rate_ppm: int = MILLION
    out: str = ""  # why, if it is


class Auditing(msgspec.Struct, kw_only=True):
    """The records of all providers that this place gave jobs to, ``most`` of them."""

    records: dict[NodeId, Record] = {}
    most: int = PROVIDERS_MAX

    def wants_check(self, provider: NodeId, dice: int) -> bool:
        """Tell whether this job is to be checked; ``dice`` is uniform below a million and drawn after the job was done."""
        record = self._record(provider)
        record.jobs += 1
        return record.checks < PROBATION_CHECKS or dice % MILLION < record.rate_ppm

    def checked(self, provider: NodeId, *, is_right: bool) -> bool:
        """Take in what a check found; return whether the provider's bond is forfeit now."""
        record = self._record(provider)
        record.checks += 1
        if not is_right:
            was_in = not record.out
            record.out = f"a wrong answer in check {record.checks}"
            return was_in
        if record.checks == PROBATION_CHECKS:
            record.rate_ppm = RATE_MAX_PPM
        elif record.checks > PROBATION_CHECKS:
            record.rate_ppm = max(RATE_MIN_PPM, record.rate_ppm - record.rate_ppm // RATE_FALL)
        return False

    def failed(self, provider: NodeId) -> None:
        """Take in that it could not do what others could: no lie, but its record begins anew."""
        record = self._record(provider)
        record.checks, record.rate_ppm = 0, MILLION

    def doubted(self, provider: NodeId) -> None:
        """Check a provider as often as one that is new again: its meter, or what others say, gave reason."""
        record = self._record(provider)
        record.rate_ppm = RATE_MAX_PPM

    def is_new(self, provider: NodeId) -> bool:
        """Tell whether all that a provider does is checked, whatever the dice say."""
        return provider not in self.records or self.records[provider].checks < PROBATION_CHECKS

    def is_out(self, provider: NodeId) -> bool:
        """Tell whether a provider gets no more jobs."""
        return provider in self.records and bool(self.records[provider].out)

    def _record(self, provider: NodeId) -> Record:
        """Return the record of a provider; a new one is on probation. The one with the fewest jobs makes room."""
        if provider not in self.records:
            if len(self.records) >= self.most:
                least = min(
                    self.records, key=lambda each: (bool(self.records[each].out), self.records[each].jobs, each)
                )
                del self.records[least]
            self.records[provider] = Record()
        return self.records[provider]


def bond_needed(gain: int, rate_ppm: int = RATE_MIN_PPM) -> int:
    """Return the bond with which a cheat that saves ``gain`` is a loss on average, with a margin.

    A cheat is seen with probability s: it brings (1 - s) gain and costs s bond.
    """
    return BOND_MARGIN * gain * (MILLION - rate_ppm) // rate_ppm
