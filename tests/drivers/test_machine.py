from __future__ import annotations

import os
import socket

import psutil
from hypothesis import given
from hypothesis import strategies as st

from worldos.drivers.machine import Machine, local_name, printable
from worldos.drivers.survey import LOCAL_NAME
from worldos.model.limits import NAME_CHARS_MAX


def test_what_is_not_there_is_an_answer_and_no_error(tmp_path):
    machine = Machine(str(tmp_path))
    assert machine.text("/sys/absent") == ""
    assert machine.number("/sys/absent") is None
    assert machine.names("/sys/absent") == []
    assert machine.target("/sys/absent") == ""
    assert not machine.exists("/sys/absent")
    assert machine.space(str(tmp_path / "absent")) == (0, 0)


def test_a_folder_read_as_a_file_is_empty(tmp_path):
    assert Machine(str(tmp_path)).text("/") == ""


def test_a_pipe_that_nobody_writes_to_does_not_stop_us(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert Machine(str(tmp_path)).text("/pipe") == ""


def test_only_the_start_of_a_long_file_is_read(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 100_000)
    assert Machine(str(tmp_path)).text("/long", 10) == "x" * 10


def test_a_number_is_read_and_words_are_none(tmp_path):
    (tmp_path / "n").write_text("-1\n")
    (tmp_path / "w").write_text("unknown\n")
    machine = Machine(str(tmp_path))
    assert (machine.number("/n"), machine.number("/w")) == (-1, None)


@given(st.text())
def test_foreign_text_comes_out_short_and_printable(text):
    line = printable(text)
    assert len(line) <= NAME_CHARS_MAX
    assert line.isprintable()
    assert line == line.strip()


@given(st.text())
def test_any_name_becomes_one_that_can_stand_in_an_address(text):
    assert LOCAL_NAME.fullmatch(local_name(text))


def test_bytes_that_are_no_text_still_make_a_line(tmp_path):
    (tmp_path / "name").write_bytes(b"Cam\xff\x00era\x1b[31m\n")
    assert Machine(str(tmp_path)).line("/name") == "Cam\N{REPLACEMENT CHARACTER} era [31m"


def test_the_real_machine_answers(real):
    assert real.cpus() >= 1
    assert real.space("/")[0] > 0
    assert real.system()[0] == "Linux"


def test_addresses_are_those_that_psutil_sees(real):
    families = (socket.AF_INET, socket.AF_INET6)
    expected = {
        link: sorted(a.address.partition("%")[0] for a in found if a.family in families)
        for link, found in psutil.net_if_addrs().items()
    }
    assert {link: sorted(found) for link, found in real.addresses().items()} == {k: v for k, v in expected.items() if v}
    assert expected


def test_lines_that_are_no_addresses_are_passed_over(tmp_path):
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/if_inet6").write_text("\nfe80 1\n20010db8000000000000000000000001 02 40 00 80 eth7\n")
    assert Machine(str(tmp_path)).addresses()["eth7"] == ("2001:db8::1",)
