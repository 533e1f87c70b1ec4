"""Signed notes and checkpoints: as others write them, and nothing that only looks like one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worldos.errors import BadSignature, Damaged, PeerBroke
from worldos.model.ids import NodeId
from worldos.trust.keys import DeviceKey, verify, verify_note
from worldos.trust.merkle import leaf_hash
from worldos.trust.note import (
    Note,
    check_checkpoint,
    check_cosignature,
    cosign,
    cosignatures,
    key_id,
    log_of,
    read_checkpoint,
    read_note,
    read_signature,
    sign_checkpoint,
    verify_plain,
    write_checkpoint,
    write_note,
)

A, B, C = (DeviceKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
LOG = NodeId(A.node_id)
ROOT = leaf_hash(b"one")

# The example of golang.org/x/mod/sumdb/note: another program's key, text and signature.
GO_KEY = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()

# The example of c2sp.org/tlog-cosignature.
C2SP_TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
C2SP_NOTE = (
    C2SP_TEXT + "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_a_note_that_go_signed_is_good_and_changed_by_a_letter_is_not() -> None:
    name, public = "PeterNeumann", GO_KEY[1:]
    assert GO_KEY[0] == 1
    assert key_id(name, 1, public).hex() == "c74f20a3"
    verify_plain(name, public, read_note(GO_NOTE))
    assert write_note(read_note(GO_NOTE)) == GO_NOTE
    with pytest.raises(BadSignature):
        verify_plain(name, public, read_note(GO_NOTE.replace(b"answer", b"answex")))


def test_the_checkpoint_of_the_specification_is_read_and_written_again() -> None:
    note = read_note(C2SP_NOTE)
    checkpoint = read_checkpoint(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert write_checkpoint(checkpoint) == C2SP_TEXT
    assert write_note(note) == C2SP_NOTE
    assert int.from_bytes(note.lines[1].signature[:8], "big") == 1679315147
    assert len(note.lines[1].signature) == 72


def test_a_log_signs_its_checkpoint_and_two_witnesses_cosign_it() -> None:
    told = sign_checkpoint(A, 7, ROOT)
    note, checkpoint = check_checkpoint(told, LOG)
    assert (checkpoint.size, checkpoint.root, log_of(told)) == (7, ROOT, LOG)
    both = Note(note.text, (*note.lines, *(read_signature(cosign(key, note.text, 1000)) for key in (B, C))))
    again, _ = check_checkpoint(write_note(both), LOG)
    assert [(seen.witness, seen.at_s) for seen in cosignatures(again)] == sorted((k.node_id, 1000) for k in (B, C))


def test_a_cosignature_is_of_one_text_one_second_and_one_key() -> None:
    note, _ = check_checkpoint(sign_checkpoint(A, 7, ROOT), LOG)
    line = read_signature(cosign(B, note.text, 1000))
    other, _ = check_checkpoint(sign_checkpoint(A, 8, ROOT), LOG)
    later = line._replace(signature=(1001).to_bytes(8, "big") + line.signature[8:])
    for text, wrong in ((other.text, line), (note.text, later), (note.text, line._replace(key=bytes(4)))):
        with pytest.raises(BadSignature):
            check_cosignature(text, wrong)
        assert cosignatures(Note(text, (wrong,))) == ()
    with pytest.raises((BadSignature, PeerBroke)):
        check_cosignature(note.text, line._replace(name="worldos/witness/" + C.node_id))


def test_a_checkpoint_that_another_log_signed_is_refused() -> None:
    with pytest.raises(PeerBroke):
        check_checkpoint(sign_checkpoint(B, 7, ROOT), LOG)
    forged = sign_checkpoint(B, 7, ROOT).replace(B.node_id.encode(), A.node_id.encode())
    with pytest.raises(BadSignature):
        check_checkpoint(forged, LOG)


def test_a_witness_of_a_log_never_signs_what_counts_as_a_checkpoint_of_its_own() -> None:
    with pytest.raises(ValueError, match="zero byte"):
        A.sign_note(b"worldos/statement\0x")
    with pytest.raises(BadSignature):
        verify_note(A.public, b"worldos/domain\0x", A.sign("domain", b"x"))
    verify(A.public, "domain", b"x", A.sign("domain", b"x"))


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"text\n",
        b"text\n\n",
        GO_NOTE[:-1],
        GO_NOTE + b"no signature\n",
        GO_NOTE.replace("— ".encode(), b"- "),
        GO_NOTE.replace(b"PeterNeumann", b"Peter Neumann"),
        GO_NOTE.replace(b"PeterNeumann", b"Peter+Neumann"),
        GO_NOTE.replace(b"wJnAM=", b"wJnAN="),
        GO_NOTE.replace(b"wJnAM=", b"wJnA!="),
        GO_NOTE.replace(b"answer", b"an\rwer"),
        GO_NOTE.replace(b"answer", b"an\xffwer"),
        b"x" * 9000 + GO_NOTE,
        GO_NOTE + GO_NOTE.split(b"\n\n")[1] * 40,
    ],
)
def test_what_is_no_note_is_refused(bad: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_note(bad)


@pytest.mark.parametrize(
    "bad",
    [
        "log\n7\n",
        "log\n07\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n-7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n\u0667\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n" + "9" * 40 + "\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "log\n7\nCsUY\n",
        "\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(bad: str) -> None:
    with pytest.raises(PeerBroke):
        read_checkpoint(bad)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_garbage_is_refused_and_breaks_nothing(data: bytes) -> None:
    for door in (read_note, lambda d: check_checkpoint(d, LOG), log_of):
        with pytest.raises((PeerBroke, Damaged)):
            door(data)
