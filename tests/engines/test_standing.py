"""How archives stand: said by who keeps them, shown while they live, gone with them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from worldos.engines.standing import Standing, StandingFile, standings
from worldos.home import Home

HELD = """
import sys
from pathlib import Path
from worldos.engines.standing import Standing, StandingFile
from worldos.home import Home
StandingFile(Home(Path(sys.argv[1])), "shop").say(Standing(database="shop"))
print("said", flush=True)
sys.stdin.read()
"""


def test_what_was_said_last_is_shown_until_it_is_closed(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert standings(home) == []
    one, other = StandingFile(home, "b"), StandingFile(home, "a")
    assert standings(home) == []  # nothing was said yet
    one.say(Standing(database="b", waiting_bytes=5, whole_at_s=7.5, why="é" * 1000))
    one.say(Standing(database="b", waiting_bytes=6, whole_at_s=7.5, why="no store"))
    other.say(Standing(database="a"))
    shown = [Standing(database="a"), Standing(database="b", waiting_bytes=6, whole_at_s=7.5, why="no store")]
    assert standings(home) == shown
    one.close()
    other.close()
    assert standings(home) == []
    assert list((tmp_path / "engines/standing").iterdir()) == []


def test_what_a_program_said_that_was_killed_is_not_shown(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HELD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "said\n"
        assert [each.database for each in standings(Home(tmp_path))] == ["shop"]
        program.kill()
        program.wait(10)
        assert standings(Home(tmp_path)) == []
