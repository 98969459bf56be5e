"""The process in which gradients of replicas are computed: `python -m nas.controllers.host`.

It is told where the store is and what the controller looks like, then lessons; after each it says that it is `done`,
or how it `failed`. It ends with its driver.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict

from nas.controllers.controller import Controller
from nas.controllers.learner import Learner
from nas.controllers.learning import Learning
from nas.controllers.lesson import Lesson
from nas.controllers.stores import joined
from nas.strategy import Setting
from search_spaces.decision_json import decision_from_json, decision_to_json
from search_spaces.decisions import Decisions
from workers.errors import UserError
from workers.line_process import LineDriver
from workers.trial import Json


def setting(folder: str, told: Setting, learning: Learning) -> dict[str, Json]:
    """What a host is told first: where the store is, and what of the search it needs."""
    table = {name: decision_to_json(decision) for name, decision in told.decisions.items()}
    return {"folder": folder, "driver": told.driver, "decisions": table, "learning": asdict(learning)}


def main() -> None:
    """Serve a driver for as long as it lives."""
    driver = LineDriver()
    told = driver.hear()
    decisions = Decisions({name: decision_from_json(record) for name, record in told["decisions"].items()})
    learning = Learning(**told["learning"])
    with closing(joined(told["folder"])) as store:
        learner = Learner(Controller(decisions, learning), store, learning, told["driver"])
        while True:
            lesson = Lesson.from_json(driver.hear())
            try:
                learner.learn(0, lesson)
                driver.say("done", "0")
            except UserError as error:
                driver.say("failed", json.dumps(str(error)))


if __name__ == "__main__":
    main()
