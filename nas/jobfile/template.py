"""The commented job file that `nas init` writes."""

from __future__ import annotations

from typing import Final

TEMPLATE: Final = """\
# A search job. `nas validate` checks it and estimates its cost, `nas run` runs it.
# Every key but `task` may be left out; what stands behind # is the default, or an example.

name: digits

# What the networks learn, from which data, by which recipe. Your own function of decisions: my_package.my_module:train
task:
  name: image_classification
  dataset: digits               # or mnist, cifar10, ..., a folder with a folder of images per class, an .npz file
  epochs: 8                     # of one trial in the search
  learning_rate: 0.05           # any setting of the recipe may be left to the search, for example:
  # learning_rate: {range: [0.01, 0.2], log: true}
  # optimizer: {choice: [momentum, adam]}

# What can be built: for images layers, nasnet, pnas, darts; recurrent networks, GANs and the tasks that they fit are in
# docs/networks.md; or your own my_module:MySpace
space:
  name: pnas
  blocks: 3

# What to try next: surrogate (learns from all trials so far), evolution, local_search, halving (many short trainings),
# reinforce, pnas (by levels), optuna, grid, random; docs/jobs.md has their options
strategy: surrogate             # {name: evolution, population: 20}

# Metrics to optimise, the most important first; several (with evolution, halving, optuna, random) give a Pareto front.
objectives: [accuracy]          # [accuracy, parameters], or {metric: f1, direction: maximize}

# What is over a ceiling is infeasible: parameters and multiply_adds are known before anything is trained.
# constraints:
#   parameters: {max: 500000}
#   latency: {max: 0.01}        # seconds for one example, measured

# What the search may spend: trials, epochs, hours, minutes, seconds; the first that is reached ends it.
budget:
  trials: 40
  # hours: 2
  # target: 0.97               # of the first objective: a trial that is as good ends the search
  # trial_seconds: 600          # the longest that one trial may take (a longer retraining: in proportion)

# Where trials run: local (processes of this machine) or ray (a cluster, or this machine)
pool: local                     # {name: local, slots: 2}

# Whether each child has weights of its own, or all of a space of cells share those of one network: own or shared
# weights: shared

# The share of the epochs that random search gets, so that the report can compare at equal numbers; 0 for none.
baseline: 0.2

# How often a trial that failed is tried again, with another seed.
# retries: 1

# Earlier searches of the same space to begin from: their ids, or PLACE/ID
# warm_start: [digits-1]

# The best candidates are trained again, one is chosen on validation, and only that one sees the test set, once.
final:
  top: 2
  seeds: 1
  epochs: 20                    # left out: as many as in the search

# Where the history of the search and its checkpoints are; left out: $NAS_HOME, or ~/.cellwright
# journal: {place: searches, durability: full}     # a folder or postgresql://...; full survives a loss of power
# artifacts: {place: checkpoints, quota: 20 GB}

seed: 0
"""
