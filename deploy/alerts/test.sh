#!/usr/bin/env bash
# Checks the alert rules and runs their tests with promtool, which is built once from its Go module, at this version.
set -euo pipefail
cd "$(dirname "$0")"
version=v0.316.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate/promtool-$version
if [ ! -x "$cache/promtool" ]; then
    if ! command -v go >/dev/null; then
        echo "test-alerts: Go is needed once, to build promtool $version; install it, or put promtool into $cache" >&2
        exit 2
    fi
    echo "building promtool $version into $cache (some minutes, once)"
    GOBIN=$cache GOFLAGS=-mod=mod go install "github.com/prometheus/prometheus/cmd/promtool@$version"
fi
"$cache/promtool" check rules ./*.rules.yaml
"$cache/promtool" test rules ./*.test.yaml
