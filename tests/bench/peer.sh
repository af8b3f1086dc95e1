#!/usr/bin/env bash
# Runs the gate as a peer of a benchmark harness that hands over its settings in the environment:
# BOOTSTRAP, TOPIC_PREFIX, GROUP_ID, PARTITIONS. Topics that the harness has not made are created.
# The argument names a folder beside this file with other policies than `policies`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
sluicegate=$here/../../.venv/bin/sluicegate
# its own four topics have other settings than ours: that is said, and no reason to stop
"$sluicegate" topics apply --bootstrap "$BOOTSTRAP" --prefix "$TOPIC_PREFIX" --partitions "$PARTITIONS" || [ $? -eq 1 ]
exec "$sluicegate" worker --bootstrap "$BOOTSTRAP" --prefix "$TOPIC_PREFIX" --group "$GROUP_ID" \
    --roles gate --policies "$here/${1:-policies}" --window-ids 250000 --no-cloudevents --metrics-port 0
