#!/usr/bin/env bash
# xlmr-flax launch setup NAME --install WHAT [flags]: makes every worker of a slice ready for `run`; run again it changes what changed.
#   --install WHAT     a wheel here or at gs://, or git+https://HOST/REPOSITORY@COMMIT, or xlmr-flax==VERSION
#   --lock FILE        a list of pinned requirements to keep to; may be given again
#                      (by default those of the checkout that this script lies in)
#   --data gs://…      copied to the folder `data` that the runs there read
#   --weights gs://…   copied to weights/LAST-PART-OF-ITS-NAME
#   --python VERSION   3.11 or newer (3.11); the image has 3.10
#   --zone ZONE --project PROJECT --poll SECONDS --dry-run --help

set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install='' python=3.11 data=- weights=- locks=()
while [ $# -gt 0 ]; do
    if shared "$@"; then
        shift "$taken"
        continue
    fi
    case $1 in
    --install | --lock | --data | --weights | --python)
        wanted "$@"
        case $1 in
        --install) install=$2 ;;
        --lock) locks+=("$2") ;;
        --data) data=${2%/} ;;
        --weights) weights=${2%/} ;;
        --python) python=$2 ;;
        esac
        shift
        ;;
    -*) refuse "$1: no such flag; see --help" ;;
    *) name=$1 ;;
    esac
    shift
done
named
for folder in "$data" "$weights"; do
    [[ $folder == - || $folder == gs://* ]] || refuse "$folder: wanted gs://BUCKET/FOLDER, which the workers can read"
done
[ "${#locks[@]}" -gt 0 ] || locks=("$here"/../lock/{dev,aot,gcs}.txt)
files=("$here/worker.sh")
for lock in "${locks[@]}"; do [ ! -e "$lock" ] || files+=("$lock"); done
case $install in
gs://*.whl) from="gcloud storage cp $(printf %q "$install") xlmr_flax/ && " package=./${install##*/} ;;
*.whl)
    [ -e "$install" ] || refuse "$install: no such file; python -m build --wheel makes one in dist/"
    files+=("$install") from='' package=./${install##*/}
    ;;
git+*@* | *==*) from='' package="xlmr-flax @ $install" ;;
*) refuse "--install ${install:-(not given)}: wanted a wheel (*.whl), git+https://HOST/REPOSITORY@COMMIT or xlmr-flax==VERSION" ;;
esac
case $package in
./*) package="xlmr-flax[tpu,gcs] @ file://\$HOME/xlmr_flax/${package#./}" ;;
*==*) package="xlmr-flax[tpu,gcs]==${install##*==}" ;;
*) package="xlmr-flax[tpu,gcs] @ $install" ;;
esac

must_be_active
# The first connection makes a key and spreads it; without it, connecting to all at once fails for some.
for ((asked = 1; ; asked++)); do
    if cloud tpu-vm ssh "${nodes[0]}" --worker=0 --command='mkdir -p xlmr_flax' 2>"$answers/error"; then break; fi
    say "worker 0 does not answer yet ($asked of $patience): $(tail -n 1 "$answers/error")"
    [ "$asked" -lt "$patience" ] || exit 1
    sleep "$poll"
done
constraints=''
for file in "${files[@]}"; do
    [[ $file != *.txt ]] || constraints+=" --constraint ${file##*/}"
done
if ! on_all 'mkdir -p xlmr_flax' || ! copy_to_all xlmr_flax/ "${files[@]}" ||
    ! on_all "${from}bash xlmr_flax/worker.sh setup $python $data $weights$constraints \"$package\""; then
    told 5
    say "$name is not set up on every worker; see above"
    exit 1
fi
[ -n "$dry" ] || told 1
