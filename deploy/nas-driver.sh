#!/bin/sh
# Drive the search NAME of a job file to its end: begin it, or go on with it where an earlier try began it.
set -eu
name=${1:?the name of the search}
job=${2:?its job file}
code=0
nas status "$name" > /dev/null || code=$?
case $code in
    0) exec nas resume "$name" ;;
    3) exec nas run "$job" --set name="$name" --set pool=ray ;; # there is no such search yet
    *) exit "$code" ;;                                          # the journal cannot be read, say
esac
