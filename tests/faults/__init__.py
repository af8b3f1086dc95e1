"""Faults on a real Kafka under load, judged by `sluicegate audit`: nothing missing, nothing twice."""
