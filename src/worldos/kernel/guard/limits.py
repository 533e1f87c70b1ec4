"""Bounds of the guard, with their units."""

from __future__ import annotations

from typing import Final

MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S
PPM: Final = 1_000_000

# -- sizes ----------------------------------------------------------------------------------------------------------------
COMMAND_BODY_BYTES_MAX: Final = 14 * 1024  # with its frame it fits in a fact (16 KiB)
ROLL_INLINE_BYTES_MAX: Final = 12 * 1024  # a roll that travels inside a command
ROLL_BYTES_MAX: Final = 1024 * 1024  # one that an owner sets on the machine
ASSERTION_BYTES_MAX: Final = 4 * 1024
STATEMENT_BYTES_MAX: Final = 8 * 1024
APPROVERS_MAX: Final = 2048  # 200 nations of 7, and room
WITNESSES_MAX: Final = 64
SHARES_MAX: Final = 1024
NODES_LISTED_MAX: Final = 128  # a realm this small names its nodes, and the order of a command among them is exact
TARGETS_MAX: Final = 64
WAVES_MAX: Final = 16
LABELS_MAX: Final = 8
VOUCHED_MAX: Final = 64  # nodes that one witness speaks of in one statement
LIMITS_MAX: Final = 256  # in one owner's envelope
SLEW_CREDIT_S: Final = 10  # a thing that was left alone for longer may not go further at once

# -- tables ---------------------------------------------------------------------------------------------------------------
ROLLS_MAX: Final = 64
COMMANDS_MAX: Final = 256  # that wait or were carried out, of all realms
COMMANDS_PER_SIGNER_MAX: Final = 32
ENDED_MAX: Final = 1024  # ids of commands that are over, so that they do not come again
EARLY_PER_SIGNER_MAX: Final = 16  # statements of one signer about commands that are not known here yet
EARLY_MAX: Final = 1024
EARLY_NS: Final = HOUR_S * 1_000_000_000  # so long a command is waited for; others tell again what was said of it

# -- waves ----------------------------------------------------------------------------------------------------------------
CANARIES: Final = 3  # that a first wave must have, and that must be known to be well
CANARIES_DRAWN: Final = 16  # so many are drawn where nodes are not listed: fewer than 3 come once in 60 000 commands
REPORTERS_DRAWN: Final = 64  # so many of a wave tell that they have done it, where nodes are not listed
SETTLE_S: Final = 10 * MINUTE_S  # of this life's steady clock between a command and its later waves, at the least
LIFE_S_MAX: Final = 90 * DAY_S  # from the moment a command may begin to the one at which it ends
AHEAD_S_MAX: Final = 30 * DAY_S  # so far ahead a command may be made
HASTE_GRACE_S: Final = MINUTE_S  # a command that is due without its quorum is an alarm at once, and dead after this
TICK_NS: Final = 1_000_000_000  # commands that wait are looked at this often
LOOK_AGAIN_S: Final = MINUTE_S  # a witness that could speak of too few nodes looks again after this
SICK_PART: Final = 8  # one in so many nodes of a wave may be sick without it being the command's doing
WITNESS_PART: Final = (4, 5)  # of the witnesses must say that all is well

# -- budgets --------------------------------------------------------------------------------------------------------------
NODE_BURST: Final = 8  # commands that one node carries out at once ...
NODE_PER_HOUR: Final = 8  # ... and in the long run
STOP_BURST: Final = 8  # stops by one key
STOP_PER_HOUR: Final = 4
NARROW_BURST: Final = 2  # commands by one key alone that stop services, on one node
NARROW_PER_HOUR: Final = 1
PROPOSE_BURST: Final = 16  # commands proposed by one key
PROPOSE_PER_HOUR: Final = 16
SHARE_WINDOW_S: Final = HOUR_S  # a share is for so long, then there is a fresh one
WINDOWS_KEPT: Final = 48  # what was given out of earlier windows is not compared any more

assert ROLL_INLINE_BYTES_MAX < COMMAND_BODY_BYTES_MAX, "a roll must fit in the command that brings it"
assert CANARIES_DRAWN > 4 * CANARIES, "a first wave that is drawn must hardly ever have too few"
assert REPORTERS_DRAWN <= VOUCHED_MAX, "a witness can speak of all that report"
assert COMMANDS_PER_SIGNER_MAX * 8 <= COMMANDS_MAX, "no signer alone may fill the table"
