"""Resubmission: where a search that was submitted may go on."""

from __future__ import annotations

from nas.driver import extend
from nas.log import Log
from nas.recorded import current_job
from nas.remote.kept import submitted
from nas.remote.submission import ADDRESS, on_cluster
from workers.errors import UserError


def check_machines(search: str, log: Log) -> None:
    """Raise `UserError` where a search is to go on in this process, but its machines are a cluster's."""
    job = log.header(search).job
    if submitted(job) and current_job(log, search).pool.options.get("address") == ADDRESS:
        raise UserError(
            f"{search} runs on a cluster: `nas resume {search} --address http://HEAD:8265` goes on there, "
            f"`nas resume {search} --set pool=local` on this machine"
        )


def to_cluster(search: str, log: Log) -> None:
    """Give a search that was submitted the cluster's machines again, if it has gone on elsewhere meanwhile."""
    if not submitted(log.header(search).job):
        raise UserError(
            f"{search} began on this machine, and its files stay here: submit its job file, and name this search under "
            "warm_start to begin from what it has found"
        )
    pool = current_job(log, search).pool
    if on_cluster(pool) != pool:
        wanted = on_cluster(pool)
        extend(search, log, {"pool": {"name": wanted.name, **wanted.options}})
