"""``wos account``: who can act as me; approve, remove, new words, guardians, holders; with an agent and without."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest
from tests.agent.agents import running, running_pair, same_account, until
from tests.cli.conftest import command, environ, fails, wos

from worldos.agent import home as homes
from worldos.agent import together
from worldos.agent.start import make_account, stored_log
from worldos.home import Home
from worldos.kernel.belonging import log_entries
from worldos.trust.approvals import Quorum, Seat
from worldos.trust.keys import DeviceKey
from worldos.trust.sayings import set_guardians
from worldos.trust.words import seed_from_words


def home_of(path: Path, name: str = "desk") -> tuple[Home, str]:
    path.mkdir(mode=0o700)
    return Home(path), make_account(Home(path), name)


def typed(home: Home, given: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with this on standard input."""
    return subprocess.run(
        command(*arguments), env=environ(home), input=given, capture_output=True, text=True, timeout=60, check=False
    )


def done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def shown(home: Home) -> dict[str, dict[str, object]]:
    rows = json.loads(done(wos(home, "account", "show", "--json")))["actors"]
    return {str(row["name"]): row for row in rows}


def offer_of(home: Home) -> str:
    """What ``wos account guardian offer`` prints."""
    log = stored_log(home)
    assert log is not None
    return together.offer_text(log.account, log.members().active[0].node, "a device")


def vote_of(home: Home, asked: dict[str, str]) -> str:
    """What ``wos account guardian approve`` prints."""
    return together.vote_text(homes.open_key(home), together.read_asked(asked["text"])) + "\n"


def test_one_list_says_who_can_act_and_how_the_account_comes_back(tmp_path: Path) -> None:
    home, _ = home_of(tmp_path / "a")
    said = done(wos(home, "account", "show"))
    assert "24 words" in said
    assert "desk (here)" in said
    assert "comes back by the 24 recovery words: wos account recover" in said
    assert [row["weight"] for row in shown(home).values()] == [10, 1]
    with running(home, listen="") as agent:
        assert "desk (here)" in done(wos(agent.home, "account", "show"))


def test_words_take_the_place_of_others(tmp_path: Path) -> None:
    home, words = home_of(tmp_path / "a")
    new = json.loads(done(typed(home, words, "account", "rekey", "--json")))["words"]
    fails(typed(home, words, "account", "rekey"), 3, "removed from the account, or replaced")
    done(wos(home, "account", "save", str(tmp_path / "log")))
    bare = Home(tmp_path / "b")
    fails(typed(bare, words, "account", "recover", "--log", str(tmp_path / "log")), 3, "replaced by newer ones")
    done(typed(bare, new, "account", "recover", "--name", "fresh", "--log", str(tmp_path / "log")))
    assert {"desk", "fresh"} <= shown(bare).keys()
    assert not shown(bare)["fresh"]["young"]


def test_a_file_that_is_no_key_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"nonsense")
    fails(typed(Home(tmp_path / "b"), "", "account", "recover", "--log", str(tmp_path / "log")), 2, "damaged")
    fails(typed(Home(tmp_path / "b"), "", "account", "recover", "--log", str(tmp_path / "none")), 2, "no key log")


def test_guardians_bring_an_account_back_on_a_bare_machine(tmp_path: Path) -> None:
    home, words = home_of(tmp_path / "a")
    friends = [home_of(tmp_path / name, name)[0] for name in ("ann", "ben", "cid")]
    offers = [done(wos(friends[0], "account", "guardian", "offer")).strip(), *map(offer_of, friends[1:])]
    fails(typed(home, words, "account", "guardian", "add", offers[0], "--need", "2"), 2, "cannot be reached")
    own = done(wos(home, "account", "guardian", "offer")).strip()
    fails(typed(home, words, "account", "guardian", "add", own, *offers), 2, "somebody else")
    done(typed(home, words, "account", "guardian", "add", *offers, "--need", "2"))
    assert "2 of" in done(wos(home, "account", "guardian", "list"))
    done(wos(home, "account", "save", str(tmp_path / "log")))

    bare = Home(tmp_path / "b")
    asked = json.loads(
        done(wos(bare, "account", "recover", "--name", "new", "--guardians", str(tmp_path / "log"), "--json"))
    )
    assert asked["asks"] == [f"let the device 'new' ({asked['digits']}) act for the account"]
    fails(
        wos(friends[0], "account", "guardian", "approve", asked["text"]),
        2,
        "nobody is here to compare",
        asked["digits"],
    )
    votes = [
        done(wos(friends[0], "account", "guardian", "approve", "--yes", asked["text"])),
        vote_of(friends[1], asked),
    ]
    fails(typed(bare, votes[0] * 2, "account", "answers"), 3, "a weight of 1 of different owners; 2 are needed")
    done(typed(bare, "".join(votes), "account", "answers"))
    assert {"desk", "new"} <= shown(bare).keys()
    fails(typed(bare, "".join(votes), "account", "answers"), 2, "nothing was asked")
    done(typed(home, words, "account", "guardian", "remove", "--yes"))
    assert "nobody" in done(wos(home, "account", "guardian", "list"))


def guarded(tmp_path: Path) -> tuple[Home, list[Home]]:
    """A home whose account any two of its two friends can bring back."""
    home, words = home_of(tmp_path / "a")
    friends = [home_of(tmp_path / name, name)[0] for name in ("ann", "ben")]
    log = stored_log(home)
    assert log is not None
    seats = []
    for friend in friends:
        theirs = stored_log(friend)
        assert theirs is not None
        seats.append(Seat(account=theirs.account, key=theirs.members().active[0].node))
    quorum = Quorum(threshold=2, seats=tuple(sorted(seats, key=lambda seat: seat.key)))
    log.merge([set_guardians(log, DeviceKey.from_seed(seed_from_words(words)), quorum)])
    homes.write_keylog(home, log_entries(log, log.entries))
    return home, friends


def test_guardians_give_new_words_and_put_a_device_out(tmp_path: Path) -> None:
    home, friends = guarded(tmp_path)
    run = wos(home, "account", "rekey", "--together", "--json")
    asked = json.loads(done(run))
    assert asked["asks"] == ["put new recovery words in the place of the old"]
    assert any(len(line.split()) == 24 for line in run.stderr.splitlines())
    votes = [vote_of(friend, asked) for friend in friends]
    done(typed(home, "".join(votes), "account", "answers"))
    rows = json.loads(done(wos(home, "account", "show", "--json")))["actors"]
    assert sorted(row["weight"] for row in rows if row["kind"] == "recovery words") == [9, 10]
    asked = json.loads(done(wos(home, "account", "remove", "desk", "--together", "-y", "--json")))
    votes = [vote_of(friend, asked) for friend in friends]
    done(typed(home, "".join(votes), "account", "answers"))
    assert "desk" not in shown(home)


def test_several_holders_make_an_account_and_move_it(tmp_path: Path) -> None:
    holders = [home_of(tmp_path / name, name)[0] for name in ("ann", "ben", "cid")]
    offers = [offer_of(holder) for holder in holders]
    firm = Home(tmp_path / "firm")
    flags = [part for offer in offers for part in ("--holder", offer)]
    asked = json.loads(done(wos(firm, "account", "create", "the firm", *flags, "--threshold", "2", "--json")))
    assert asked["asks"][0] == "begin the account 'the firm', moved by 2 of 3"
    votes = [vote_of(holder, asked) for holder in holders[1:]]
    done(typed(firm, "".join(votes), "account", "answers"))
    rows = shown(firm)
    assert rows["the firm"]["kind"] == "holders"
    assert rows["the firm"]["weight"] == 10
    log = stored_log(firm)
    assert log is not None
    assert len(log.members().active) == 1
    with running(firm, listen=""):
        assert "the firm" in done(wos(firm, "account", "show"))
    fails(wos(holders[0], "account", "create", "x", *flags), 3, "belongs to an account")


@pytest.mark.parametrize("text", ["", "nonsense", "wosagree1aaaa", "wosagree1" + "a" * 40_000, "wosagree1é"])
def test_what_nobody_asked_is_not_signed(tmp_path: Path, text: str) -> None:
    home, _ = home_of(tmp_path / "a")
    fails(wos(home, "account", "guardian", "approve", "--yes", text), 2, "")


def test_a_device_by_a_device_is_young_until_the_words_approve(folder: Path) -> None:
    with running_pair(folder) as (first, second):
        rows = shown(first.home)
        assert {"desk", "attic"} <= rows.keys()
        young = [name for name, row in rows.items() if row["young"]]
        said = done(wos(first.home, "account", "show"))
        assert bool(young) == ("young:" in said)
        run = wos(first.home, "account", "remove", "attic", "-y")
        assert "put out: attic" in done(run)
        until(lambda: second.wait() == 0, "it has stopped")
        fails(wos(first.home, "account", "remove", "desk", "-y"), 2, "wos leave")
        fails(wos(first.home, "account", "remove", "nobody", "-y"), 2, "no key is called")


def test_two_running_devices_forget_what_a_snapshot_stands_for(folder: Path) -> None:
    first_home, second_home = Home(folder / "a"), Home(folder / "b")
    for home in (first_home, second_home):
        home.path.mkdir(mode=0o700)
    words = make_account(first_home, "desk")
    same_account(first_home, second_home, words)
    with contextlib.ExitStack() as both:
        first = both.enter_context(running(first_home))
        status = first.ask("status")
        homes.write_remembered(second_home, homes.Remembered(peers={status["node"]: tuple(status["listens"])}))
        second = both.enter_context(running(second_home))
        until(lambda: first.ask("status")["nodes_linked"] == 1, "they are linked", 20)
        before = first.ask("account_show")["entries"]
        assert "the key log had" in done(typed(first_home, words, "account", "compact"))
        for agent in (first, second):
            until(
                lambda agent=agent: any(line["name"] == "key log compacted" for line in agent.ask("log")),
                "it forgot",
                30,
            )
        assert first.ask("account_show")["entries"] <= before + 1
        assert {row["name"] for row in second.ask("account_show")["actors"]} == {"24 words", "desk", "attic"}
    assert {"24 words", "desk", "attic"} <= shown(first_home).keys()
