"""Latency budgets chosen from evidence: what the topics recorded, replayed through the same core."""
