"""Small products on one thread: those of a controller are too small to share, and threads that wait cost more.

They also come out the same on any machine: sums depend on how many threads share them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def on_one_thread() -> Iterator[None]:
    """Let products of numpy, and of scipy where it is loaded, take one thread; as many as before afterwards.

    On two cores with other work an ask took 25 ms on two threads, 1 ms on one.
    """
    with _libraries("scipy.linalg" in sys.modules).limit(limits=1):
        yield


@cache
def _libraries(scipy: bool) -> ThreadpoolController:
    """Those of this process, which has loaded numpy by now, and scipy, which brings its own, or not.

    To look for them takes a millisecond, to set them 0.03.
    """
    return ThreadpoolController().select(user_api="blas")
