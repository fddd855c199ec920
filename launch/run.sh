#!/usr/bin/env bash
# xlmr-flax launch run NAME [flags] CONFIG [what xlmr-flax run takes]: runs it on every worker of a slice and ends with its exit code.
# The run outlives this command, the connection and the laptop; the same command again follows it. CONFIG's topmost
# folder is copied there (configs/a/b.toml: all of configs), and the run starts beside it.
#   --detach           starts it and ends at once
#   --stop             asks the run that is under way to save and to end; no CONFIG is wanted
#   --libtpu-args ARGS `recommended`, or arguments for LIBTPU_INIT_ARGS; host.json of every phase records them
#   --zone ZONE --project PROJECT --poll SECONDS --dry-run --help
# Exit codes: 0 done; 2 bad input and 3 training failed: not to be repeated; 75 stopped or taken away: run it again.

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

detach='' stop='' arguments='' words=()
while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    --detach) detach=yes ;;
    --stop) stop=yes ;;
    --libtpu-args)
        wanted "$@"
        arguments=$2
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
if [ -n "$stop" ]; then
    must_be_active
    on_all 'bash xlmr_flax/worker.sh stop' || { told 3 && exit 1; }
    exit 0
fi
config=${words[0]:-}
[[ -n $config && -e $config ]] || refuse "${config:-CONFIG}: no such config file; see --help"
[[ $config != /* && $config != ..* ]] || refuse "$config: wanted a path below this folder, for it is copied with its topmost folder"

must_be_active
settings=()
if [ "$arguments" = recommended ]; then
    type=$(cloud tpu-vm describe "${nodes[0]}" --format='value(acceleratorType)')
    generation=${type%%-*}
    generation=${generation/v5litepod/v5e}
    arguments=$(sed -n "s/^$generation //p" "$here/libtpu.txt")
    [ -n "$dry" ] || [ -n "$arguments" ] || refuse "--libtpu-args recommended: nothing is recommended for ${type:-it}; name the arguments"
fi
[ -z "$arguments" ] || settings+=("LIBTPU_INIT_ARGS=$arguments")
cache=$(value_of --cache "${words[@]}")
# On storage that all workers and the next slice see, what one has compiled serves all.
[[ $cache != gs://* ]] || settings+=("JAX_COMPILATION_CACHE_DIR=$cache/compiled")

copy_to_all xlmr_flax/ "${config%%/*}"
if ! on_all "env$(printf ' %q' "${settings[@]}" bash xlmr_flax/worker.sh start "${words[@]}")"; then
    told 3
    exit 2
fi
[ -z "$dry$detach" ] || exit 0
follow
verdict
