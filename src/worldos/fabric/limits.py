"""Every bound of the fabric, with its unit, and how the bounds must relate (asserted at import)."""

from __future__ import annotations

from typing import Final

from worldos.model import limits

MS: Final = 1_000_000
SECOND: Final = 1_000 * MS
KIB: Final = 1024
MIB: Final = 1024 * KIB

# -- frames ----------------------------------------------------------------------------------------
FRAME_PAYLOAD_BYTES_MAX: Final = 1 * MIB
DATA_BYTES_MAX: Final = 64 * KIB  # one DATA frame: small enough that control overtakes bulk within a millisecond
READ_BYTES: Final = 64 * KIB  # the plain bytes of a link, in a buffer used again and again
RECEIVE_BYTES: Final = 256 * KIB  # one buffer for all sockets of a process: each read is consumed before the next

# -- sessions --------------------------------------------------------------------------------------
PRIORITIES: Final = 4
INFLIGHT_BYTES_MAX: Final = 8 * MIB  # sent and not acknowledged; kept, to be sent again on another link
QUEUE_BYTES_MAX: Final = 16 * MIB  # messages that wait for a peer that cannot be reached now
QUEUE_MESSAGES_MAX: Final = 65_536
ACK_EVERY_BYTES: Final = 256 * KIB
ACK_EVERY_FRAMES: Final = 64
ACK_DELAY_NS: Final = 20 * MS  # an answer mostly carries the acknowledgement before this
SESSION_SILENT_NS_MAX: Final = 60 * SECOND  # without any link for this long a session is given up
SESSIONS_PER_LIFE: Final = 2**32  # their numbers follow each other; what is further apart is of two copies of one disk

# -- channels --------------------------------------------------------------------------------------
CHANNELS_MAX: Final = 4096  # per session
CHANNEL_WINDOW_BYTES: Final = 4 * MIB  # what a sender may have out that the receiver has not consumed
CHANNEL_PENDING_HIGH_BYTES: Final = 1 * MIB  # above: not writable
CHANNEL_PENDING_LOW_BYTES: Final = 256 * KIB  # below: writable again
CHANNEL_PENDING_BYTES_MAX: Final = 64 * MIB  # a writer that does not stop is refused here
HELLO_BYTES_MAX: Final = 64 * KIB  # the first words of a channel
REASON_BYTES_MAX: Final = 512

# -- links -----------------------------------------------------------------------------------------
HANDSHAKE_NS_MAX: Final = 3 * SECOND  # from the first byte to an authenticated link, or it is closed
HALF_OPEN_MAX: Final = 64  # strangers at the door at one time
HALF_OPEN_PER_HOST_MAX: Final = 16
LINKS_PER_PEER_MAX: Final = 8
FLUSH_BYTES: Final = 256 * KIB  # taken from a session at one time
WRITE_HIGH_BYTES: Final = 256 * KIB  # what a link may have buffered before the session stops giving
WRITE_LOW_BYTES: Final = 64 * KIB
NOTSENT_LOWAT_BYTES: Final = 128 * KIB  # what the kernel may hold unsent: control must overtake bulk

# -- liveness and paths ----------------------------------------------------------------------------
TICK_NS: Final = 50 * MS
LATE_NS: Final = 100 * MS  # a tick this late was our own pause, not the silence of others
PROBE_NS: Final = 1 * SECOND
PROBE_HEARD_NS: Final = 5 * SECOND  # one that talks by itself is asked only for its round trip
PROBE_BUSY_NS: Final = 250 * MS  # a peer with open channels is asked more often
PROBE_DOUBT_NS: Final = 200 * MS
UNACKED_ASK_NS: Final = 60 * MS  # data unacknowledged and nothing heard for this long: ask
DOUBT_NS: Final = 200 * MS  # asked, or unacknowledged data, and nothing heard for this long: look for another way
LINK_SILENT_NS_MAX: Final = 2 * SECOND  # ... for this long: the link is closed, the session is not
RTT_NOISE_US: Final = 300  # a smaller change of a round trip is not worth telling
SPARE_KEPT_NS: Final = 10 * SECOND  # a relayed link that no work needs any more is closed
TOGETHER_NS: Final = 1 * SECOND  # links that came within this time may have come the other way round at the far end
SETTLE_NS: Final = 500 * MS  # a direct link must be good for this long before traffic returns to it
FAILED_SOON_NS: Final = 10 * SECOND  # a direct link that fails this soon after the return failed soon
SETTLE_NS_MAX: Final = 30 * SECOND  # ... doubled up to this when it failed soon after
RELAYS_ASKED_AT_ONCE: Final = 3
RELAY_RETRY_NS_MIN: Final = 200 * MS
RELAY_RETRY_NS_MAX: Final = 10 * SECOND
RELAY_CHANNELS_PER_PEER_MAX: Final = 64  # spliced for one member at one time
DIAL_RETRY_NS_MIN: Final = 50 * MS
DIAL_RETRY_NS_MAX: Final = 5 * SECOND
DIAL_STAGGER_NS: Final = 100 * MS  # between the addresses of one peer
REFUSED_NS: Final = 1 * SECOND  # a refused dial and the loss of the last link this close together: it is gone
ADDRESSES_PER_PEER_MAX: Final = 8
KIN_MAX: Final = limits.KIN_MAX  # nodes of other accounts that may link
PEERS_MAX: Final = KIN_MAX + limits.MEMBERS_MAX
IDLE_TICKS: Final = 4  # those with which nothing is under way are looked after every so many ticks

# -- beacons ---------------------------------------------------------------------------------------
BEACON_FACTS_BYTES_MAX: Final = 1200
BEACON_BYTES_MAX: Final = 1460  # one datagram, never fragmented on Ethernet
BEACON_PERIOD_NS_MIN: Final = 50 * MS
BEACON_PERIOD_NS_MAX: Final = 5 * SECOND
BEACON_ANSWER_NS_MIN: Final = 50 * MS  # however many are heard, no more than one answer in this time
BEACON_CHECKS_PER_SECOND_MAX: Final = 200  # signatures of members are checked at most this often
BEACON_STRANGERS_PER_SECOND_MAX: Final = 10  # ... and of nodes that only say that they belong to our account
BEACON_STRANGERS_MAX: Final = 256  # of these, so many are remembered
BEACON_INTERFACES_MAX: Final = 16
BEACON_INTERFACES_NS: Final = 5 * SECOND  # how often is looked for new interfaces

# -- certificates ----------------------------------------------------------------------------------
LEAF_LIFE_NS: Final = 24 * 3600 * SECOND
LEAF_RENEW_NS: Final = 6 * 3600 * SECOND  # a fresh own leaf this often
ANCHORS_CHEAP: Final = 64  # up to so many are loaded anew whenever one goes
STALE_ANCHORS_MAX: Final = 256  # ... above it, when so many have gone

assert DATA_BYTES_MAX <= FRAME_PAYLOAD_BYTES_MAX
assert HELLO_BYTES_MAX <= FRAME_PAYLOAD_BYTES_MAX
assert CHANNEL_PENDING_LOW_BYTES < CHANNEL_PENDING_HIGH_BYTES < CHANNEL_PENDING_BYTES_MAX
assert ACK_EVERY_BYTES * 4 <= INFLIGHT_BYTES_MAX, "acknowledgements must come before the sender has to stop"
assert ACK_DELAY_NS * 2 < UNACKED_ASK_NS, "a healthy peer that only listens must not be doubted"
assert UNACKED_ASK_NS + DOUBT_NS + 2 * TICK_NS < 400 * MS, "a cut costs at most half a second, the relay included"
assert IDLE_TICKS * TICK_NS <= PROBE_BUSY_NS
assert DOUBT_NS < LINK_SILENT_NS_MAX < SESSION_SILENT_NS_MAX
assert LEAF_RENEW_NS * 2 < LEAF_LIFE_NS
