"""Catalogue: every metric of a driver, by name, kind, labels and unit, without Prometheus's library.

Names and units follow https://prometheus.io/docs/practices/naming. Labels take values of a list that is known here, of
the job (its objectives) or of the search (its stores); a trial's number is never one. Every series has `search` beside
these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from workers.objectives import Outcome

PREFIX: Final = "nas_"
OUTCOMES: Final = tuple(str(outcome) for outcome in Outcome if outcome.charged)
OTHER: Final = "other"  # of an arm that a strategy from outside may name
ARMS: Final = ("strategy", "baseline", "enqueued", "proxy", "rescore", "final", "test", OTHER)
CAUSES: Final = ("lost", "returned", "failed")
STORES: Final = ("weights", "store")  # that children share; that replicas of a controller share; so are their folders
STATES: Final = ("running", "stopping", "finished", "stopped", "interrupted", "failed")


@final
@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: `kind` is Prometheus's, `labels` those beside `search`."""

    name: str
    kind: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def full(self) -> str:
        """The name as it is scraped."""
        return PREFIX + self.name


@final
@dataclass(frozen=True, slots=True)
class Told:
    """A metric that only some strategies have: without labels, the key of `Strategy.gauges` is its name."""

    name: str
    kind: str
    text: str


CATALOGUE: Final = (
    Metric("trials_total", "counter", "Trials that ended, by outcome and by who asked for them.", ("outcome", "arm")),
    Metric("trials_running", "gauge", "Trials that are at a worker."),
    Metric("trials_waiting", "gauge", "Trials that were asked and are at no worker, yet or again."),
    Metric("trial_duration_seconds", "histogram", "Time at workers of a trial that ended, all its attempts together."),
    Metric("trial_queue_seconds", "histogram", "Time from asking for a trial, or losing it, to giving it to a worker."),
    Metric("retries_total", "counter", "Attempts that were made again, by what became of the one before.", ("cause",)),
    Metric("trained_epochs_total", "counter", "Epochs that trials which ended were trained for."),
    Metric("device_seconds_total", "counter", "Time that trials occupied a device, attempts that were lost included."),
    Metric("best_objective", "gauge", "Best value of an objective; NaN before the first.", ("metric",)),
    Metric("baseline_objective", "gauge", "Best value that random search reached; NaN before the first.", ("metric",)),
    Metric("last_improvement_timestamp_seconds", "gauge", "When an objective was last improved (Unix); 0 before."),
    Metric("last_finished_timestamp_seconds", "gauge", "When a trial last ended (Unix); 0 before the first."),
    Metric("ask_seconds", "histogram", "Time in which the strategy gave a trial, of this driver."),
    Metric("tell_seconds", "histogram", "Time in which the strategy heard of a result, of this driver."),
    Metric("journal_commit_seconds", "histogram", "Time of a commit to the journal, of this driver."),
    Metric("slots", "gauge", "Places for trials at workers, by whether one is there.", ("state",)),
    Metric("store_shards", "gauge", "Shards of a parameter server of this search.", ("store",)),
    Metric("filesystem_free_bytes", "gauge", "Room that is left where files of the search are kept.", ("place",)),
    Metric("filesystem_size_bytes", "gauge", "Room in all where files of the search are kept.", ("place",)),
    Metric("search_state", "gauge", "1 for the state the search is in.", ("state",)),
    Metric("search_info", "gauge", "1; what is searched and how.", ("task", "space", "strategy", "pool")),
    Metric("driver_epoch", "gauge", "Number of the search's driver: how often one took it over."),
    Metric("driver_start_timestamp_seconds", "gauge", "When this driver took the search over (Unix)."),
    Metric("build_info", "gauge", "1; what the driver runs.", ("version", "python", "torch", "ray")),
)
TOLD: Final = (
    Told("budget_spent_ratio", "gauge", "Share of the budget that is spent, of the limit that is nearest to its end."),
    Told("duplicates_refused_total", "counter", "Proposals refused by this driver since they had been trained before."),
    Told("surrogate_rank_correlation", "gauge", "Spearman's rho of the last 100 predictions with what then came."),
    Told("policy_entropy_nats", "gauge", "Entropy of the controller, estimated by its last 100 children."),
    Told("policy_entropy_limit_nats", "gauge", "Entropy of a controller that has learned nothing, at most."),
    Told("policy_baseline", "gauge", "Moving average of the rewards, in their unit; the mean over replicas."),
)


def names() -> Mapping[str, str]:
    """The full name of every metric of a driver, and its kind."""
    return {PREFIX + one.name: one.kind for one in (*CATALOGUE, *TOLD)}
