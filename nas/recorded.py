"""The job and the plan of a search, as its journal has them now."""

from __future__ import annotations

from nas.job import Job
from nas.log import Log
from nas.plan import Plan
from nas.remote.kept import on_this_machine


def current_job(log: Log, search: str) -> Job:
    """The job of a search, with what was changed since it was created.

    Where the job does not say otherwise, its files are in the folder of the journal, wherever that was moved to; what
    travelled with a job that was submitted is unpacked on this machine.
    """
    job = Job.parse(on_this_machine(log, log.header(search)))
    for entry in log.entries(search, kinds=("request",)):
        if entry.body["kind"] == "extend":
            job = job.changed({key: value for key, value in entry.body.items() if key != "kind"})
    if job.artifacts.place is None and log.folder is not None:
        here = job.artifacts.model_copy(update={"place": str(log.folder.absolute())})
        job = job.model_copy(update={"artifacts": here})
    return job


def current_plan(log: Log, search: str) -> Plan:
    """The live objects of a search."""
    return Plan.of(current_job(log, search), search)
