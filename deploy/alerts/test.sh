#!/usr/bin/env bash
# Checks the alert rules and runs their tests with promtool: the one that is installed, if it knows all that the rules use
# (keep_firing_for: 2.42), else one that Go builds once from its module, at this version.
set -euo pipefail
cd "$(dirname "$0")"
version=v0.316.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sluicegate/promtool-$version

knows_enough() {
    local said
    said=$(promtool --version 2>&1) || return 1
    [[ $said =~ version\ ([0-9]+)\.([0-9]+) ]] && ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] >= 2042))
}

if knows_enough; then
    promtool=promtool
else
    promtool=$cache/promtool
    if [ ! -x "$promtool" ]; then
        if ! command -v go >/dev/null; then
            echo "test-alerts: Go is needed once, to build promtool $version; or install promtool 2.42 or newer (Debian: apt-get install prometheus), or put it into $cache" >&2
            exit 2
        fi
        echo "building promtool $version into $cache (some minutes, once)"
        GOBIN=$cache GOFLAGS=-mod=mod go install "github.com/prometheus/prometheus/cmd/promtool@$version"
    fi
fi
"$promtool" check rules ./*.rules.yaml
"$promtool" test rules ./*.test.yaml
