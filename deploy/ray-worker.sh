#!/bin/sh
# A worker of the Ray cluster at RAY_HEAD (host:port); it ends when its node is dead to the head, to be started again.
set -eu
exec ray start --address="${RAY_HEAD:?host:port of the head}" --block --disable-usage-stats --metrics-export-port=8080
