"""Submission: a search on its way to a cluster, until its driver there has taken it over."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from nas.home import SERVERS, home
from nas.job import Job
from nas.log import Header, Log, Superseded, refuse
from nas.plan import Plan
from nas.remote.baggage import Baggage, pack
from nas.remote.driver import REFUSED, signed
from nas.remote.job_server import AwayError, JobServer
from nas.remote.kept import archive, digest_of, keep, place, reference
from nas.remote.reach import check_reach
from workers.artifacts import Artifacts
from workers.errors import NotFoundError, UserError
from workers.invitation import Invitation
from workers.plugins import Spec
from workers.redaction import redacted, redacted_text
from workers.redaction import secrets as hidden
from workers.release import folders, release_of
from workers.trial import Json

# Nothing tells a job which Python its cluster runs. With -P a user's module named as one of ours is not taken for it.
ENTRYPOINT = 'py=$(command -v python || command -v python3); exec "${py:-python}" -P -m nas.remote.driver'
ADDRESS = "auto"  # of the cluster, for a process on it
PATIENCE = 300.0  # seconds to wait for a job that the cluster does not begin
LOOK = 0.3  # seconds between looks
SILENCE = 60.0  # seconds that a job may take from its start to its answer, while somebody drives its search
HINTS = {
    r"python: (command )?not found": "the PATH there has neither python nor python3: start Ray where its environment "
    "is activated",
    r"[Uu]nknown option:? -P": "the `python` in the PATH there is older than 3.11: start Ray where the environment of "
    "Cellwright is activated",
}
LAST = 12  # lines of a driver's log that are shown where it says nothing of its own


@final
@dataclass(frozen=True)
class Submission:
    """The search, the job that is to drive it, and the epoch of the driver before that one."""

    search: str
    job: str
    before: int
    invitation: Invitation = field(repr=False)


@final
@dataclass(frozen=True)
class Destination:
    """A cluster, where the journal is (as `nas.home` has it), and environment variables for the processes there."""

    server: JobServer
    journal: str | None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@final
@dataclass(frozen=True)
class Prepared:
    """A job that was checked for a cluster, and the files that will travel with it."""

    plan: Plan
    record: dict[str, Json]
    baggage: Baggage


def on_cluster(pool: Spec) -> Spec:
    """The pool that a job has on the cluster: `local` and `ray` are the cluster's machines there."""
    if pool.name not in ("local", "ray"):
        return pool
    return Spec("ray", {**pool.options, "address": ADDRESS})


def prepare(job: Job, address: str, journal: str | None) -> Prepared:
    """Check a job for the cluster at `address`, and pack its folder; nothing is sent or written yet."""
    plan = Plan.of(job.model_copy(update={"pool": on_cluster(job.pool)}))
    check_reach(address, _journal(journal), plan.artifacts)
    baggage = pack(_folder(job), hidden(_journal(journal)))
    return Prepared(plan, {**plan.record(), "folder": reference(baggage.digest)}, baggage)


def begin(prepared: Prepared, log: Log) -> str:
    """Create the search of a prepared job: its id. Its files are to be stored next."""
    from nas.driver import create

    return create(prepared.plan, log, prepared.record)


def store(prepared: Prepared, log: Log, search: str) -> None:
    """Store the files of a prepared job with its search, which has failed where that does not succeed."""
    with failing(log, search):
        artifacts = Artifacts.open(place(log, log.header(search)))
        try:
            keep(artifacts, search, prepared.baggage.content)
        except KeyboardInterrupt:
            _fail(log, search, "interrupted before its files were stored: submit it again")
            raise


def send(search: str, log: Log, destination: Destination, force: bool = False) -> Submission:
    """Have the cluster run a driver for a search that was submitted before, with the files that were kept of it."""
    header = log.header(search)
    if header.driven() and not force:
        raise refuse(header)
    server, journal = destination.server, _journal(destination.journal)
    artifacts = Artifacts.open(place(log, header))
    check_reach(server.address, journal, place(log, header))
    try:
        content = archive(artifacts, search, digest := digest_of(header))
    except NotFoundError as error:
        raise UserError(f"{error}, so that {search} cannot go on elsewhere: submit its job again") from error
    with tempfile.TemporaryDirectory(prefix="cellwright-") as temporary:
        folder = Path(temporary)
        modules = _copied(folder)
        nonce, sent = secrets.token_hex(16), dict(destination.environment)
        release = release_of(modules)
        invitation = Invitation(search, journal, header.created, nonce, release, digest, sent, force, header.epoch)
        artifacts.put_whole(search, invitation.greeting, nonce.encode())
        (folder / "files.zip").write_bytes(content)
        runtime_env = {
            "working_dir": str(folder / "files.zip"),
            "py_modules": [*map(str, modules), str(invitation.write(folder))],
            "env_vars": {"RAY_USAGE_STATS_ENABLED": "0"},
        }
        job = server.submit(f"nas-{search}", ENTRYPOINT, runtime_env, {"cellwright_search": search})
    return Submission(search, job, header.epoch, invitation)


def await_driver(submission: Submission, log: Log, server: JobServer, patience: float = PATIENCE) -> bool:
    """Wait until the driver has taken the search over, and has shown that it sees what is written here, and we it.

    Or until the search was stopped. False where the cluster has not begun the job within `patience` seconds.
    `UserError` says why the driver refused: another one that was sent at the same time may have been faster.
    """
    began = silent = time.monotonic()  # since when ours runs, the search is driven, and there is no answer
    while True:
        over = server.ended(submission.job)
        header = log.header(submission.search)
        taken = header.epoch > submission.before  # by ours, another that was sent, or who has stopped it
        if taken and (header.state == "stopped" or _answered(submission, header, log)):
            return True
        if over:
            raise UserError(_why(submission, server))
        now, waiting = time.monotonic(), server.pending(submission.job)
        if waiting and now > began + patience:
            return False
        silent = silent if taken and not waiting else now
        if now > silent + SILENCE:
            raise UserError(_unseen(submission, header, log))
        time.sleep(LOOK)


@contextmanager
def failing(log: Log, search: str) -> Iterator[None]:
    """Where what is done here raises `UserError`, a search that has not begun has failed, for that reason.

    Not where the cluster falls silent: it may have the job, and begin.
    """
    try:
        yield
    except AwayError:
        raise
    except UserError as error:
        _fail(log, search, redacted_text(str(error)))
        raise


def _fail(log: Log, search: str, reason: str) -> None:
    """A search that has not begun has failed."""
    with suppress(UserError, Superseded):
        if log.header(search).state == "created":
            log.release(search, log.acquire(search), "failed", reason)


def _journal(journal: str | None) -> str:
    named = home(journal)
    return named if named.startswith(SERVERS) else str(Path(named).expanduser().absolute())


def _folder(job: Job) -> Path | None:
    """The folder whose files travel; none where a job from a mapping names no module of the user's own."""
    if job.folder:
        return Path(job.folder)
    named = (job.task, job.space, job.strategy, job.pool, *job.watch)
    return Path.cwd() if any(one is not None and ":" in one.name for one in named) else None


def _copied(folder: Path) -> list[Path]:
    """Copies of our own packages in `folder`, so that what is compared is what travels."""
    modules = []
    for package in folders():
        copy = folder / package.name
        shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".*"))
        modules.append(copy)
    return modules


def _answered(submission: Submission, header: Header, log: Log) -> bool:
    """Whether the driver that the search has is the one that was sent, and its artifacts are seen here."""
    invitation = submission.invitation
    try:
        answer = Artifacts.open(place(log, header)).get_whole(submission.search, invitation.answer)
    except (UserError, OSError):  # not there yet, or the store is away for a moment
        return False
    return header.driver is not None and answer == signed(invitation, header.driver).encode()


def _unseen(submission: Submission, header: Header, log: Log) -> str:
    """What there is to say where the driver's answer is not to be seen here; the driver is asked to stop."""
    log.request(submission.search, "stop", {})
    return (
        f"what the driver on {header.driver_host} writes to {redacted(place(log, header))} cannot be read here: "
        "artifacts must be in a place that both reach; the search has been asked to stop"
    )


def _why(submission: Submission, server: JobServer) -> str:
    """Why the driver ended before it began."""
    lines = [line for line in redacted_text(server.logs(submission.job)).splitlines() if line.strip()]
    said = [line.removeprefix(REFUSED) for line in lines if line.startswith(REFUSED)]
    if said:
        return said[-1]
    text = "\n".join(lines[-LAST:])
    hint = next((f"; {hint}" for sign, hint in HINTS.items() if re.search(sign, text)), "")
    message = redacted_text(server.message(submission.job))
    return f"the driver {submission.job} ended before it began ({message}){hint}:\n{text}"
