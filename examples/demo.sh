#!/bin/sh
# A search from its job file to a folder of plain PyTorch; `make demo` runs it with .venv's `nas` in the PATH.
set -eu
cd "$(dirname "$0")/.."
NAS_HOME="$PWD/.demo"
export NAS_HOME

search=$(nas run examples/demo.yaml)
echo
nas best "$search"
echo
nas show "$search"
rm -rf .demo/export
nas export "$search" -o .demo/export
nas report "$search" -o .demo/report.html
echo
echo "The network is in .demo/export (README.md says how to load it), the report in .demo/report.html."
