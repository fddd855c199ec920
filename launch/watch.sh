#!/usr/bin/env bash
# xlmr-flax launch watch NAME --type TYPE --install WHAT [flags] CONFIG [what xlmr-flax run takes]: does what create,
# setup and run do until the run is done. A slice that is taken away is replaced, and the run goes on from what it saved,
# which is why --runs has to be in a bucket. Start it where it may stay (tmux on a small VM); started again it takes up what it
# finds.
#   --tries N          ends after so many failures in a row that got nothing new saved or scored (3)
#   --keep             leaves the slice there in the end; by default it is given back when the run is done
#   of create:         --type --slices --spot --reserved --direct --image
#   of setup:          --install --lock --data --weights --python
#   of run:            --libtpu-args
#   --zone ZONE --project PROJECT --poll SECONDS --dry-run --help
# Run again: after a slice was lost, and after exit code 75. Never: after 2 and 3. Else: --tries.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

tries=3 keep='' creating=() setting=() running=() words=()
while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    --keep) keep=yes ;;
    --spot | --reserved | --direct) creating+=("$1") ;;
    --tries | --type | --slices | --image | --install | --lock | --data | --weights | --python | --libtpu-args)
        wanted "$@"
        case $1 in
        --tries) tries=$2 ;;
        --type | --slices | --image) creating+=("$1" "$2") ;;
        --libtpu-args) running+=("$1" "$2") ;;
        *) setting+=("$1" "$2") ;;
        esac
        shift
        ;;
    -*) refuse "$1: no such flag; see --help" ;;
    *)
        if [ -n "$name" ]; then
            words=("$@")
            break
        fi
        name=$1
        ;;
    esac
    shift
done
named
[ "${#words[@]}" -gt 0 ] || refuse "wanted a CONFIG to run; see --help"
runs=$(value_of --runs "${words[@]}")
[[ $runs == gs://* ]] || refuse "--runs ${runs:-(not given)}: wanted gs://BUCKET/FOLDER, since a slice's disks go with it"

script() {
    local which=$1
    shift
    "$here/$which.sh" "$name" "${where[@]}" --poll "$poll" ${dry:+--dry-run} "$@"
}

# What has been saved so far, as a sum; without an answer, the one before.
saved() {
    look && is_active &&
        gcloud compute tpus tpu-vm ssh "${nodes[0]}" "${where[@]}" --worker=0 \
            --command="bash xlmr_flax/worker.sh progress $(printf %q "$runs")" 2>/dev/null || echo "${before:-}"
}

failures=0 ready='' before=''
while :; do
    code=0
    look || { sleep "$poll" && continue; }
    if [ -z "$dry" ] && [ "$state" != ABSENT ] && is_lost; then
        say "$name is $state; another one takes its place"
        script delete || sleep "$poll"
        ready=''
        continue
    fi
    if [ -n "$dry" ] || ! is_active; then
        ready=''
        script create "${creating[@]}" || code=$?
        if [ "$code" = "$again" ]; then continue; fi
    fi
    if [ "$code" = 0 ] && [ -z "$ready" ]; then
        script setup "${setting[@]}" || code=$?
        if [ "$code" = 0 ]; then ready=yes; fi
    fi
    if [ "$code" = 0 ]; then
        before=$(saved)
        script run "${running[@]}" "${words[@]}" || code=$?
    fi
    [ -z "$dry" ] || exit "$code"
    case $code in
    0)
        say "done"
        [ -n "$keep" ] || script delete
        exit 0
        ;;
    2 | 3)
        say "exit code $code: running it again would not help; $name is still there"
        exit "$code"
        ;;
    "$again") say "exit code $code: running it again" ;;
    *)
        if look && is_lost; then continue; fi
        if [ -n "$before" ] && [ "$(saved)" != "$before" ]; then failures=0; fi
        failures=$((failures + 1))
        if [ "$failures" -ge "$tries" ]; then
            say "exit code $code, $failures times without anything new saved: given up; $name is still there"
            exit "$code"
        fi
        say "exit code $code: running it again ($failures of $tries without anything new saved)"
        ;;
    esac
    sleep "$poll"
done
