"""Grafana: the dashboard of a search, written from here: `python -m nas.metrics.grafana [FILE]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from nas.metrics.panels import BAD, CALM, GOOD, ODD, SOURCE, Panel, Query, Row, laid_out
from workers.trial import Json

HERE: Final = 'search="$search"'
OUTCOMES: Final = {"completed": GOOD, "failed": BAD, "infeasible": ODD}
STATES: Final = {"running": GOOD, "stopping": ODD, "finished": CALM, "stopped": CALM, "interrupted": ODD, "failed": BAD}


def of(name: str, *labels: str) -> str:
    """The series of this search under a name."""
    return f"{name}{{{', '.join((HERE, *labels))}}}"


def percentiles(name: str, by: str = "le") -> tuple[Query, ...]:
    """The median and the 99th percentile of a histogram, of late."""
    rate = f"sum by ({by}) (rate({of(name + '_bucket')}[$__rate_interval]))"
    return tuple(Query(f"histogram_quantile({q}, {rate})", f"p{round(100 * q)}") for q in (0.5, 0.99))


def stat(title: str, text: str, expression: str, unit: str = "short", **more: Json) -> Panel:
    """One number, or the names of what there is `now`."""
    query = Query(expression, more.pop("legend", ""), more.pop("now", False))
    return Panel(title, text, (query,), "stat", unit, more.pop("width", 3), 4, **more)


def named(title: str, text: str, expression: str, legend: str, **more: Json) -> Panel:
    """The names of the series that there are now."""
    return stat(title, text, expression, legend=legend, now=True, options={"textMode": "name"}, **more)


ENDED: Final = of("nas_trials_total")
FAILED: Final = of("nas_trials_total", 'outcome="failed"')
OVERVIEW: Final = Row(
    "Overview",
    (
        named(
            "State", "What the search is doing, by its driver.", f"{of('nas_search_state')} == 1", "{{state}}",
            limits=((None, GOOD),), nothing="no driver",
        ),
        stat("Ended", "Trials that have a result.", f"sum({ENDED})"),
        stat("Running", "Trials that are at a worker now.", of("nas_trials_running"), now=True),
        stat(
            "Failed", "Share of the trials that failed.",
            f"sum({FAILED}) / (sum({ENDED}) > 0)", "percentunit",
            limits=((None, GOOD), (0.2, ODD), (0.5, BAD)),
        ),
        stat("Budget", "Share of the nearest limit that is spent.", of("nas_budget_spent_ratio"), "percentunit"),
        stat(
            "Last result", "How long ago a trial ended.",
            f"time() - ({of('nas_last_finished_timestamp_seconds')} > 0)", "s", now=True,
        ),
        stat(
            "Last improvement", "How long ago something better was found.",
            f"time() - ({of('nas_last_improvement_timestamp_seconds')} > 0)", "s", now=True,
        ),
        stat("Device time", "Time that trials occupied devices, all together.", of("nas_device_seconds_total"), "s"),
        named(
            "Alerts", "Those of rules.yml that fire; docs/watching.md says of each what to do.",
            of("ALERTS", 'alertname=~"Nas.+"', 'alertstate="firing"'), "{{alertname}}",
            width=24, limits=((None, BAD),), nothing="none fires",
        ),
    ),
)  # fmt: skip
PROGRESS: Final = Row(
    "Progress",
    (
        Panel(
            "Best so far", "The best value of each objective, beside the best that random search found.",
            (
                Query(of("nas_best_objective"), "{{metric}}"),
                Query(of("nas_baseline_objective"), "{{metric}}, random"),
            ),
            width=16, height=10,
        ),
        Panel(
            "Trials per minute", "Results, by how the trials ended.",
            (Query(f"60 * sum by (outcome) (rate({ENDED}[$__rate_interval]))", "{{outcome}}"),),
            height=10, stacked=True, colours=OUTCOMES,
        ),
    ),
)  # fmt: skip
TRIALS: Final = Row(
    "Trials",
    (
        Panel(
            "Who asked", "Trials that ended, by who asked for them.",
            (Query(f"sum by (arm) ({ENDED}) > 0", "{{arm}}"),), stacked=True,
        ),
        Panel("Duration", "Time of trials at workers.", percentiles("nas_trial_duration_seconds"), unit="s"),
        Panel("Queue", "Time until a trial is at a worker.", percentiles("nas_trial_queue_seconds"), unit="s"),
        Panel(
            "Made again", "Attempts in the last quarter of an hour that had to be made again, and why.",
            (Query(f"increase({of('nas_retries_total')}[15m])", "{{cause}}"),), stacked=True,
            colours={"lost": BAD, "returned": CALM, "failed": ODD},
        ),
        Panel(
            "Epochs per minute", "Training, counted when trials end.",
            (Query(f"60 * rate({of('nas_trained_epochs_total')}[$__rate_interval])", "epochs"),),
        ),
        Panel("Waiting", "Trials that were asked and are at no worker.", (Query(of("nas_trials_waiting"), "waiting"),)),
    ),
)  # fmt: skip
STRATEGY: Final = Row(
    "Strategy",
    (
        Panel(
            "Surrogate", "Rank correlation of its last 100 predictions with what came: 1 is perfect, 0 is chance.",
            (Query(of("nas_surrogate_rank_correlation"), "rank correlation"),), width=6,
        ),
        Panel(
            "Controller's entropy", "How undecided it is, in nats; at the limit it knows nothing.",
            (
                Query(of("nas_policy_entropy_nats"), "entropy"),
                Query(of("nas_policy_entropy_limit_nats"), "limit"),
            ),
            width=6, colours={"limit": "gray"},
        ),
        Panel(
            "Controller's baseline", "Moving average of the rewards.",
            (Query(of("nas_policy_baseline"), "baseline"),), width=6,
        ),
        Panel(
            "Refused", "Proposals per minute that had been trained before.",
            (Query(f"60 * rate({of('nas_duplicates_refused_total')}[$__rate_interval])", "duplicates"),), width=6,
        ),
        Panel("Ask", "Time in which the strategy gives a trial.", percentiles("nas_ask_seconds"), unit="s", width=12),
        Panel("Tell", "Time in which it hears of a result.", percentiles("nas_tell_seconds"), unit="s", width=12),
    ),
)  # fmt: skip
DRIVER: Final = Row(
    "Driver",
    (
        stat("Driver", "How often a driver took the search over.", of("nas_driver_epoch"), width=6),
        stat(
            "Since", "How long this driver has driven.", f"time() - {of('nas_driver_start_timestamp_seconds')}", "s",
            now=True, width=6,
        ),
        named("Search", "Its strategy.", of("nas_search_info"), "{{strategy}}", width=6),
        named("Version", "Of Cellwright.", of("nas_build_info"), "{{version}}", width=6),
        Panel(
            "Slots", "Places for trials at workers.", (Query(of("nas_slots"), "{{state}}"),), stacked=True,
            colours={"busy": GOOD, "idle": "gray"},
        ),
        Panel("Commits", "Time of a commit to the journal.", percentiles("nas_journal_commit_seconds"), unit="s"),
        Panel(
            "Room", "What is left on the disks of journal and artifacts.",
            (
                Query(of("nas_filesystem_free_bytes"), "{{place}}"),
                Query(of("nas_filesystem_size_bytes"), "{{place}}, in all"),
            ),
            unit="bytes",
        ),
    ),
)  # fmt: skip
STORE: Final = Row(
    "Parameter servers",
    (
        Panel(
            "Shards", "1 for a shard that answers; how many there should be.",
            (
                Query(of("nas_store_up"), "{{store}} {{shard}}"),
                Query(f"{of('nas_store_shards')} > 0", "{{store}}, in all"),
            ),
        ),
        Panel(
            "Pushes per second", "By what became of them.",
            (Query(f"sum by (outcome) (rate({of('nas_store_pushes_total')}[$__rate_interval])) > 0", "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Pulls per second", "Answered.",
            (Query(f"sum by (store) (rate({of('nas_store_pulls_total')}[$__rate_interval]))", "{{store}}"),),
        ),
        Panel("Time of a push", "In the shard.", percentiles("nas_store_push_seconds"), unit="s"),
        Panel("Staleness", "Updates since a gradient's parameters.", percentiles("nas_store_staleness_updates")),
        Panel(
            "Recoveries", "How often shards came back after their processes had died.",
            (Query(of("nas_store_recoveries_total"), "{{store}} {{shard}}"),),
        ),
    ),
    folded=True,
)  # fmt: skip
CLUSTER: Final = Row(
    "Cluster (Ray)",
    (
        Panel(
            "CPU", "Of every node.",
            (Query("ray_node_cpu_utilization", "{{instance}}"),), unit="percent",
        ),
        Panel(
            "Memory", "Of every node.",
            (Query("ray_node_mem_used / ray_node_mem_total", "{{instance}}"),), unit="percentunit",
        ),
        Panel(
            "GPUs", "Of every node.",
            (Query("ray_node_gpus_utilization", "{{instance}} {{GpuIndex}}"),), unit="percent",
        ),
    ),
    folded=True,
)  # fmt: skip
ROWS: Final = (OVERVIEW, PROGRESS, TRIALS, STRATEGY, DRIVER, STORE, CLUSTER)


def dashboard() -> dict[str, Json]:
    """Everything, as Grafana imports it."""
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    search = {
        "name": "search",
        "type": "query",
        "label": "Search",
        "datasource": dict(SOURCE),
        "query": {"query": "label_values(nas_driver_epoch, search)", "refId": "search"},
        "refresh": 2,
        "sort": 1,
    }
    took_over = {
        "name": "A driver took over",
        "datasource": dict(SOURCE),
        "expr": f"1000 * {of('nas_driver_start_timestamp_seconds')}",
        "useValueForTime": True,  # in milliseconds: where it happened, whatever the resolution
        "enable": True,
        "iconColor": ODD,
        "titleFormat": "A driver took over",
    }
    return {
        "uid": "cellwright",
        "title": "Cellwright: a search",
        "tags": ["cellwright"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, search]},
        "annotations": {"list": [took_over]},
        "panels": laid_out(ROWS),
    }


def text() -> str:
    """The dashboard as its file has it."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main() -> None:
    """Write the dashboard to a file, or show it."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text())
    else:
        sys.stdout.write(text())


if __name__ == "__main__":
    main()
