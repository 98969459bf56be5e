"""Optuna's samplers: what they may be told, the study that they read, and how they are asked without being changed."""
