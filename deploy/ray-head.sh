#!/bin/sh
# The head of a Ray cluster: drivers run here, trials do not, unless HEAD_CPUS says otherwise.
set -eu
exec ray start --head --block --disable-usage-stats --num-cpus="${HEAD_CPUS:-0}" \
    --port=6379 --dashboard-host=0.0.0.0 --dashboard-port=8265 --metrics-export-port=8080
