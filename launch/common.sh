# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that take this in use what it sets
# What the scripts beside this one share: flags, the cloud command that each runs and shows, what state a slice is in.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
name='' dry='' poll=15 where=() kind='' state='' nodes=()
again=75   # the exit code that asks for the same command again
patience=20 # so often in a row a worker may not answer
answers=$(mktemp -d)
trap 'rm -rf "$answers"' EXIT
exec 3>&2 # what is said is said aloud, also where a command's errors are kept for later

say() { printf '%s\n' "$*" >&3; }

# The header of a script is its help.
help() { sed -n '2,/^$/s/^# \{0,1\}//p' "$0"; }

refuse() {
    say "$*"
    exit 2
}

# Takes one flag that all scripts have, and leaves in `taken` how many words it was; none: it is not one of them.
shared() {
    taken=2
    case $1 in
    --zone | --project)
        wanted "$@"
        where+=("$1=$2")
        ;;
    --poll)
        wanted "$@"
        poll=$2
        ;;
    --dry-run) dry=yes taken=1 ;;
    -h | --help)
        help
        exit 0
        ;;
    *) return 1 ;;
    esac
}

wanted() { [ $# -ge 2 ] || refuse "$1: wanted a value; see --help"; }

# What the words of a command give to a flag, the last time that it stands there; nothing where it does not.
value_of() {
    local flag=$1 word before='' found=''
    shift
    for word in "$@"; do
        case $word in "$flag="*) found=${word#*=} ;; esac
        [ "$before" != "$flag" ] || found=$word
        before=$word
    done
    printf '%s' "$found"
}

named() {
    [ -n "$name" ] || refuse "wanted the slice's NAME; see --help"
    [ -n "$dry" ] || command -v gcloud >/dev/null ||
        refuse "gcloud is not here; see https://cloud.google.com/sdk/docs/install"
}

# Shows a command as it could be typed, and runs it unless this is a dry run.
cloud() {
    local words=(gcloud compute tpus "$@" "${where[@]}")
    say "+$(printf ' %q' "${words[@]}")"
    [ -n "$dry" ] || "${words[@]}"
}

# What the cloud has under the name: kind (queued or direct), state (ABSENT: nothing) and the nodes, one for each slice.
look() {
    local format='value(state.state,tpu.nodeSpec[].nodeId)' found
    nodes=("$name")
    [ -z "$dry" ] || return 0
    if found=$(gcloud compute tpus queued-resources describe "$name" "${where[@]}" --format="$format" 2>"$answers/error"); then
        kind=queued state=${found%%$'\t'*}
        IFS=';' read -r -a nodes <<<"${found##*$'\t'}"
    elif missing && found=$(gcloud compute tpus tpu-vm describe "$name" "${where[@]}" --format='value(state)' 2>"$answers/error"); then
        kind=direct state=$found
    elif missing; then
        kind='' state=ABSENT
    else
        cat "$answers/error" >&2
        return 1
    fi
}

missing() { grep -qi 'not.found' "$answers/error"; }

is_active() { [[ $state == ACTIVE || $state == READY ]]; }
is_lost() { [[ $state =~ ^(SUSPEND|FAILED|DELETING|PREEMPTED|TERMINATED|STOPP|ABSENT) ]]; }

must_be_active() {
    look || exit 1
    [ -n "$dry" ] || is_active || refuse "$name is $state, not ready: xlmr-flax launch create $name waits for it"
}

# Runs a command on every worker of every slice at once; what each says goes to answers/NODE/N.log.
on_all() {
    local node running=() code=0
    for node in "${nodes[@]}"; do
        rm -rf "${answers:?}/$node"
        mkdir -p "$answers/$node"
        cloud tpu-vm ssh "$node" --worker=all --output-directory="$answers/$node" --command="$1" \
            >"$answers/$node/gcloud" 2>&1 &
        running+=($!)
    done
    for node in "${running[@]}"; do wait "$node" || code=$?; done
    return "$code"
}

# What each worker said last, beside its name.
told() {
    local node file
    for node in "${nodes[@]}"; do
        for file in "$answers/$node"/*; do tail -n "$1" "$file" | sed "s|^|[$node $(basename "$file" .log)] |" >&3; done
    done
}

# Copies files to a folder on every worker.
copy_to_all() {
    local folder=$1 node
    shift
    for node in "${nodes[@]}"; do cloud tpu-vm scp --recurse "$@" "$node:$folder" --worker=all --quiet >&2 || return; done
}

# Prints worker 0's log as it grows, until its run has ended; what cannot be reached is asked again.
follow() {
    local from=0 silent=0 what=running
    say "following worker 0 of ${nodes[0]}; Ctrl-C ends this and not the run"
    while [ "$what" = running ]; do
        if gcloud compute tpus tpu-vm ssh "${nodes[0]}" "${where[@]}" --worker=0 \
            --command="bash xlmr_flax/worker.sh follow $from" >"$answers/new" 2>"$answers/error"; then
            read -r what _ from <"$answers/new"
            tail -n +2 "$answers/new"
            silent=0
        elif look && is_lost; then
            say "$name is $state: the slice was taken away; what the run saved outside of it is safe"
            return "$again"
        else
            silent=$((silent + 1))
            say "worker 0 of ${nodes[0]} does not answer ($silent of $patience): $(tail -n 1 "$answers/error")"
            if [ "$silent" -ge "$patience" ]; then
                say "the run may go on there: xlmr-flax launch logs $name --follow"
                return "$again"
            fi
        fi
        [ "$what" != running ] || sleep "$poll"
    done
}

# The exit code of a run that has ended on worker 0: what no other run mends comes first, then what none may mend.
verdict() {
    local node file what code worst=0 asked
    for ((asked = 1; asked <= patience; asked++)); do
        if on_all 'bash xlmr_flax/worker.sh ending' && ! grep -q '^running' "$answers"/*/*.log; then break; fi
        sleep "$poll"
    done
    for node in "${nodes[@]}"; do
        for file in "$answers/$node"/[0-9]*.log; do
            read -r what code _ <"$file"
            say "worker $(basename "$file" .log) of $node: $what, exit code $code"
            [ "$code" = 0 ] || { tail -n +2 "$file" | sed 's/^/    /' >&3; }
            if [ "$(rank "$code")" -gt "$(rank "$worst")" ]; then worst=$code; fi
            [ "$what" = ended ] || worst=1
        done
    done
    return "$worst"
}

rank() {
    case $1 in
    2) echo 4 ;;
    3) echo 3 ;;
    0) echo 0 ;;
    "$again") echo 1 ;;
    *) echo 2 ;;
    esac
}
