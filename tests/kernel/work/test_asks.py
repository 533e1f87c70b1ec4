"""An ask is looked after when it is due: to be asked again, or given up."""

from __future__ import annotations

from worldos.kernel.work.asks import Asked, Reply
from worldos.model.limits import NEVER_NS
from worldos.model.work_wire import WorkAsk


def test_an_ask_that_nobody_has_yet_waits_for_no_one_node() -> None:
    asked = Asked(number=1, words=WorkAsk(number=0, look="queues"), until_ns=5)
    assert (asked.at, asked.peer, asked.again_ns) == ("", "", NEVER_NS)
    assert asked.parts is not Asked(number=2, words=asked.words, until_ns=5).parts, "each has parts of its own"


def test_a_reply_is_an_answer_or_says_why_there_is_none() -> None:
    assert not Reply(1, b"data").error
    assert Reply(1, error="Unreachable", why="no majority", hint="wait").data == b""
