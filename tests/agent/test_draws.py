"""Draws: fixed before anybody could know them, and made again by everybody afterwards."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from worldos.agent.draws import NO_BEACON, ROUND_DRAWS, UNKNOWN_DRAWS, Draws, beacon_of, check_round, draws_of
from worldos.errors import BadSignature, Damaged, PeerBroke
from worldos.kernel.records import Committed, Revealed
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey
from worldos.trust.note import Note, cosign, read_note, read_signature, sign_checkpoint, write_note

A, W = DeviceKey.from_seed(b"a" * 32), DeviceKey.from_seed(b"w" * 32)
LOG = NodeId(A.node_id)


def cosigned(size: int, witness: DeviceKey = W) -> bytes:
    note = read_note(sign_checkpoint(A, size, bytes(32)))
    return write_note(Note(note.text, (*note.lines, read_signature(cosign(witness, note.text, 5)))))


def one_round(draws: Draws, count: int) -> tuple[Committed, list[int], Revealed]:
    """Commit to the rounds at leaves 0 and 1, take up the second with a witness's word, draw, and end it."""
    commitments = {committed.round: committed for committed in draws.commitments()}
    for leaf, number in enumerate(sorted(commitments)):
        draws.committed(number, leaf)
    draws.witnessed(cosigned(2), 2)
    drawn = [draws.draw() for _ in range(count)]
    (fresh,) = draws.commitments()
    draws.committed(fresh.round, 9)
    draws.now.draws = max(draws.now.draws, ROUND_DRAWS)
    (over,) = draws.witnessed(cosigned(10), 10)
    return commitments[over.round], drawn, over


def test_every_draw_of_a_round_is_made_again_from_what_was_revealed() -> None:
    committed, drawn, over = one_round(Draws(None), 20)
    assert check_round(LOG, committed, 1, over)
    again = draws_of(over, 30)
    assert [again[nonce] for nonce in drawn] == list(range(1, 21))
    assert all(0 <= nonce < 2**63 for nonce in drawn)


def test_without_a_witness_draws_are_its_own_word_and_said_to_be() -> None:
    draws = Draws(None)
    committed = draws.commitments()[0]
    draws.committed(1, 0)
    draws.committed(2, 1)
    drawn = draws.draw()
    (over,) = draws.witnessed(cosigned(2), 2)
    assert over.beacon == NO_BEACON
    assert not check_round(LOG, committed, 0, over)
    assert drawn in draws_of(over, 5)


def test_a_cosignature_that_is_older_than_the_commitment_gives_no_beacon() -> None:
    draws = Draws(None)
    assert draws.witnessed(cosigned(2), 2) == []  # nothing is committed to yet
    draws.committed(1, 5)
    draws.committed(2, 6)
    assert draws.witnessed(cosigned(6), 6) == []
    assert draws.witnessed(cosigned(7), 7)


@pytest.mark.parametrize(
    "forged",
    [
        {"secret": bytes(32)},
        {"beacon": bytes([1]) * 32},
        {"note": cosigned(1), "beacon": beacon_of(cosigned(1))},
        {"note": sign_checkpoint(A, 9, bytes(32)), "beacon": beacon_of(sign_checkpoint(A, 9, bytes(32)))},
        {"note": b"no note", "beacon": beacon_of(b"no note")},
        {"round": 77},
    ],
)
def test_a_round_that_was_made_up_is_found(forged: dict) -> None:
    committed, _, over = one_round(Draws(None), 1)
    with pytest.raises((Damaged, BadSignature, PeerBroke)):
        check_round(LOG, committed, 1, msgspec.structs.replace(over, **forged))


def test_a_log_that_cosigns_itself_has_no_witness() -> None:
    committed, _, over = one_round(Draws(None), 1)
    own = cosigned(5, A)
    assert not check_round(LOG, committed, 1, msgspec.structs.replace(over, note=own, beacon=beacon_of(own)))


def test_the_secrets_of_a_life_that_was_cut_short_are_revealed_in_the_next(tmp_path: Path) -> None:
    first = Draws(tmp_path / "draws")
    commitments = first.commitments()
    drawn = first.draw()
    second = Draws(tmp_path / "draws")
    over = second.reveal_unfinished()
    assert [sha256(each.secret).digest() for each in over] == [each.commitment for each in commitments]
    assert over[0].draws == UNKNOWN_DRAWS
    assert drawn in draws_of(over[0], 3)
    assert {r.round for r in second.commitments()}.isdisjoint(each.round for each in over)
    (tmp_path / "draws").write_bytes(b"garbage")
    assert Draws(tmp_path / "draws").reveal_unfinished() == []
