#!/usr/bin/env bash
# xlmr-flax launch logs NAME [flags]: brings every worker's log here and shows the end of each.
#   --to FOLDER    where they go (logs), as FOLDER/NODE/WORKER.log
#   --follow       shows worker 0's as it grows, and ends with the run's exit code
#   --zone ZONE --project PROJECT --poll SECONDS --dry-run --help

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

to=logs following=''
while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    --follow) following=yes ;;
    --to)
        wanted "$@"
        to=$2
        shift
        ;;
    -*) refuse "$1: no such flag; see --help" ;;
    *) name=$1 ;;
    esac
    shift
done
named
must_be_active
if [ -n "$following" ] && [ -z "$dry" ]; then
    follow
    verdict
    exit
fi
on_all 'cat xlmr_flax/job/log' || say "some worker has no log, or does not answer"
[ -z "$dry" ] || exit 0
for node in "${nodes[@]}"; do
    rm -f "$answers/$node/gcloud"
    mkdir -p "$to/$node"
    cp "$answers/$node"/*.log "$to/$node/"
done
told 3
say "$to: $(find "$to" -name '*.log' | wc -l) logs"
