"""A worker process of a training that workers share: batches come in as JSON lines, what was learned goes out.

Run as `python -m workers.data_parallel.process` by `workers.data_parallel.crew`.
"""

from __future__ import annotations

from pathlib import Path

from parameter_server.store import FencedError, StoreError, UnreachableError
from workers.data_parallel.dealer import Deal
from workers.data_parallel.parallel_training import ParallelTraining
from workers.errors import DivergedError, UserError
from workers.line_process import LineDriver, encode
from workers.trial import Json


def main() -> None:
    """Serve batches until the coordinator goes away."""
    driver = LineDriver()
    told = driver.hear()
    try:
        _serve(driver, told)
    except DivergedError as failure:
        driver.say("diverged", encode(str(failure)))
    except (FencedError, UnreachableError):
        raise  # another has the place, or the next attempt may get through
    except (UserError, StoreError) as failure:
        driver.say("broken", encode(str(failure)))


def _serve(driver: LineDriver, told: Json) -> None:
    from workers.pools.process import open_workshop

    training = ParallelTraining.from_json(told["training"])
    workshop = open_workshop(training.setup)  # sets how many threads there are, before torch is imported

    from parameter_server.opened import connect
    from workers.data_parallel.member import Member
    from workers.data_parallel.network import batches_of

    store = connect(Path(told["store"]))
    member = Member(store, told["slot"], told["attempt"], batches_of(training, workshop.space, workshop.task))
    with member.beating():
        driver.say("ready", encode(member.join()))
        while True:
            dealt = driver.hear()
            if dealt is None:
                member.rest()
            else:
                driver.say("learned", encode(member.learn(Deal(**dealt)).json()))


if __name__ == "__main__":
    main()
