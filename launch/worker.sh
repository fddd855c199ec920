#!/usr/bin/env bash
# worker.sh VERB …: what setup, run and logs have done on each worker; it lies in ~/xlmr_flax there.
#   setup PYTHON DATA WEIGHTS PACKAGE…   an environment with the package, and copies of gs:// folders ('-': none)
#   start WORD…                          starts `xlmr-flax run WORD…` so that it outlives this connection
#   status                               idle 0 0, running 0 BYTES, gone 1 BYTES or ended CODE BYTES; BYTES of the log
#   follow BYTES                         the same line, and what the log has beyond so many bytes
#   ending                               the same line, and the last lines of the log
#   stop                                 asks the run to save and end (75)
#   progress RUNS                        a sum that changes when something more was saved or scored

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
job=$PWD/job
mkdir -p "$job"

setup() {
    local python=$1 data=$2 weights=$3
    shift 3
    # The image's own Python is 3.10; uv takes what is installed, or else fetches a build of the version asked for.
    export PATH=$HOME/.local/bin:$PATH
    command -v uv >/dev/null || python3 -m pip install --user --quiet uv==0.13.9
    [ -x .venv/bin/python ] || uv venv --quiet --python "$python" .venv
    uv pip install --quiet --python .venv/bin/python "$@"
    [ "$data" = - ] || { mkdir -p data && gcloud storage rsync --recursive "$data" data; }
    [ "$weights" = - ] || { mkdir -p weights && gcloud storage rsync --recursive "$weights" "weights/$(basename "$weights")"; }
    .venv/bin/python -c 'import platform, xlmr_flax; print("ready: xlmr_flax", xlmr_flax.__version__, "on Python", platform.python_version())'
}

start() {
    local words
    words=$(printf '%q ' "$@")
    if is_running; then
        [ "$words" = "$(cat "$job/words")" ] || { echo "another run is under way here: xlmr-flax run $(cat "$job/words")" && exit 2; }
        echo "it is running already"
        return
    fi
    [ ! -e "$job/log" ] || mv "$job/log" "$job/log.before"
    rm -f "$job/code"
    echo "$words" >"$job/words"
    # shellcheck disable=SC2016 # expanded in there
    setsid nohup bash -c '"${@:2}"; code=$?; echo $code >"$1/code.part"; mv "$1/code.part" "$1/code"' \
        run "$job" .venv/bin/xlmr-flax run "$@" >"$job/log" 2>&1 </dev/null &
    echo $! >"$job/pid"
    echo started
}

is_running() { [ -e "$job/pid" ] && [ ! -e "$job/code" ] && kill -0 "$(cat "$job/pid")" 2>/dev/null; }

status() {
    local size=0
    [ ! -e "$job/log" ] || size=$(stat -c %s "$job/log")
    if [ -e "$job/code" ]; then
        echo "ended $(cat "$job/code") $size"
    elif is_running; then
        echo "running 0 $size"
    elif [ -e "$job/pid" ]; then
        echo "gone 1 $size" # with its shell: no code was written
    else
        echo "idle 0 0"
    fi
}

follow() {
    local now
    now=$(status)
    echo "$now"
    tail -c "+$(($1 + 1))" "$job/log" | head -c "$((${now##* } - $1))"
}

ending() {
    status
    [ ! -e "$job/log" ] || tail -n 5 "$job/log"
}

stop() { ! is_running || pkill -TERM -P "$(cat "$job/pid")"; }

progress() {
    case $1 in
    gs://*) gcloud storage ls "$1/phases/**" "$1/evals/*/scores.json" 2>/dev/null || true ;;
    *) find "$1/phases" "$1/evals" 2>/dev/null || true ;;
    esac | { grep -oE '.*(/DONE|/scores\.json|/checkpoints/(retry-[0-9]+/)?training/[0-9]+)(/|$)' || true; } | sort -u | cksum
}

"$@"
