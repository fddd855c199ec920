#!/usr/bin/env bash
# xlmr-flax launch create NAME --type TYPE [flags] [-- flags of gcloud]: asks for a TPU slice and waits until it can be used.
# Run again it goes on waiting for what is in the queue already.
#   --type TYPE      such as v5litepod-16, v4-32, v6e-8
#   --slices N       so many of them, joined by the data centre's network (1)
#   --spot           may be taken away at any time; watch gets another
#   --reserved       out of the project's reservation
#   --direct         now or not at all, instead of a queued resource, which waits for room
#   --image VERSION  the VMs' software; by default what Cloud TPU's documentation names for the type
#   --wait MINUTES   how long at most (60); then it ends with 75 and the request stays in the queue
#   --zone ZONE --project PROJECT --poll SECONDS --dry-run --help

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

type='' slices=1 image='' direct='' minutes=60 tier=() more=()
while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    --spot | --reserved) tier=("$1") ;;
    --direct) direct=yes ;;
    --)
        more=("${@:2}")
        break
        ;;
    --type | --slices | --image | --wait)
        wanted "$@"
        case $1 in
        --type) type=$2 ;;
        --slices) slices=$2 ;;
        --image) image=$2 ;;
        --wait) minutes=$2 ;;
        esac
        shift
        ;;
    -*) refuse "$1: no such flag; see --help" ;;
    *) name=$1 ;;
    esac
    shift
done
named
[ -n "$type" ] || refuse "--type: wanted, such as v5litepod-16"
[ -z "$direct" ] || [ "$slices" = 1 ] || refuse "--slices $slices: several slices come as a queued resource, without --direct"
case $type in # https://cloud.google.com/tpu/docs/runtimes
v5litepod-*) image=${image:-v2-alpha-tpuv5-lite} ;;
v5p-*) image=${image:-v2-alpha-tpuv5} ;;
v6e-*) image=${image:-v2-alpha-tpuv6e} ;;
*) image=${image:-tpu-ubuntu2204-base} ;;
esac

ask() {
    if [ -n "$direct" ]; then
        cloud tpu-vm create "$name" --accelerator-type="$type" --version="$image" "${tier[@]}" "${more[@]}"
        return
    fi
    local count=(--node-id="$name")
    [ "$slices" = 1 ] || count=(--node-count="$slices" --node-prefix="$name")
    cloud queued-resources create "$name" "${count[@]}" --accelerator-type="$type" --runtime-version="$image" \
        "${tier[@]}" "${more[@]}"
}

look || exit 1
if [ -n "$dry" ] || [ "$state" = ABSENT ]; then ask >&2; fi
[ -z "$dry" ] || exit 0
before=''
until look && is_active; do
    if [ "$state" != "$before" ]; then say "$name: $state"; fi
    before=$state
    if [ "$state" != ABSENT ] && is_lost; then
        say "$name is $state and will not come back: xlmr-flax launch delete $name, then create it again"
        exit 1
    fi
    if ((SECONDS >= 60 * minutes)); then
        say "$name is $state after $minutes minutes and stays in the queue: run the same command to go on waiting, or xlmr-flax launch delete $name"
        exit "$again"
    fi
    sleep "$poll"
done
say "$name: $state, ${#nodes[@]} slice(s): ${nodes[*]}"
