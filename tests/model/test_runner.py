"""What is asked of a log is checked as it is read."""

from __future__ import annotations

import msgspec
import pytest

from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import Attempt

AT = Attempt("job1", 3, 1)


def test_a_question_is_read_as_it_was_said() -> None:
    ask = LogAsk(request=1, attempt=AT, offset=10)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(ask), type=LogAsk) == ask


def test_a_log_is_asked_for_in_pieces() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(
            msgspec.msgpack.encode(LogAsk(request=1, attempt=AT, offset=0, size=1 << 30)), type=LogAsk
        )


def test_a_piece_has_its_bound() -> None:
    large = msgspec.msgpack.encode(LogPiece(offset=0, data=bytes(1 << 19)))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(large, type=LogPiece)
