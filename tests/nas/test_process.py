"""A process is told apart from one that is gone, and from one elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

from nas.process import Process


def test_this_process_is_not_gone() -> None:
    here = Process.here()
    assert here.pid == os.getpid()
    assert not here.gone()


def test_a_process_that_ended_is_gone_even_before_it_is_buried() -> None:
    code = "from nas.process import Process; p = Process.here(); print(p.host, p.pid, p.mark)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    host, pid, mark = child.stdout.read().split()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its number is taken, and it does nothing
    assert Process(host, int(pid), mark).gone()
    child.communicate()
    assert Process(host, int(pid), mark).gone()


def test_a_number_that_another_process_has_now_does_not_keep_the_old_one_alive() -> None:
    here = Process.here()
    assert replace(here, mark=here.mark.rpartition("/")[0] + "/1").gone()


def test_a_process_of_another_machine_may_be_alive() -> None:
    assert not Process("elsewhere", 1, "another-boot/pid:[1]/55").gone()
    assert not Process("elsewhere", 1).gone()
