#!/usr/bin/env bash
# xlmr-flax launch delete NAME [flags]: gives a slice, or a queued resource with its slices, back; its disks go with it.
#   --zone ZONE --project PROJECT --dry-run --help

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    -*) refuse "$1: no such flag; see --help" ;;
    *) name=$1 ;;
    esac
    shift
done
named
look || exit 1
if [ "$state" = ABSENT ]; then
    say "$name: there is no such slice and no such queued resource${where[*]:+ (${where[*]})}"
elif [ "$kind" = direct ]; then
    cloud tpu-vm delete "$name" --quiet >&2
else
    cloud queued-resources delete "$name" --force --quiet >&2
fi
