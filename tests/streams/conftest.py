"""Hypothesis is deterministic here by default; `HYPOTHESIS_PROFILE=long` searches on, with a new seed each time."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "default", derandomize=True, deadline=None, database=None, max_examples=100, suppress_health_check=SLOW_IS_FINE
)
settings.register_profile("long", deadline=None, max_examples=3_000, suppress_health_check=SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
