"""A cloud in a folder: plays gcloud, and uv on its workers; every worker is a folder that commands really run in.

`plan.json` says what happens: `workers` of a slice, `states` that a queued resource goes through as it is asked about,
`deaf` connections that fail at first, `taken_after` so many looks at a log (once for each `taken` slice). Most of the
time of a process so short goes into imports: hence the few.
"""

import json
import os
import sys
from pathlib import Path

CLOUD = Path(os.environ["STAND_IN"])
PLAN, RESOURCE = CLOUD / "plan.json", CLOUD / "resource.json"


def main(program, words):
    with (CLOUD / "calls").open("a") as calls:
        calls.write(json.dumps([program, *words]) + "\n")
    if program == "uv":
        return uv(words)
    if words[0] == "storage":
        return storage(words[1:])
    group, verb, name, *rest = words[2:]
    if verb == "scp":  # its first word is a flag
        return scp([name, *rest])
    flags = dict(word.lstrip("-").partition("=")[::2] for word in rest if word.startswith("--"))
    return globals()[verb](group, name, flags)


def create(group, name, flags):
    nodes = [f"{name}-{n}" for n in range(int(flags["node-count"]))] if "node-count" in flags else [name]
    write(RESOURCE, {"group": group, "nodes": nodes, "type": flags["accelerator-type"], "asked": 0, "looks": 0})
    return 0


def describe(group, name, flags):
    resource = read(RESOURCE)
    if "acceleratorType" in flags["format"]:
        print(resource["type"])
        return 0
    if not resource or resource["group"] != group:
        print(f"ERROR: (gcloud.compute.tpus) NOT_FOUND: Resource '{name}' was not found", file=sys.stderr)
        return 1
    states = resource.get("states") or read(PLAN).get("states") or ["ACTIVE" if group != "tpu-vm" else "READY"]
    state = states[min(resource["asked"], len(states) - 1)]
    write(RESOURCE, resource | {"asked": resource["asked"] + 1})
    print(state if group == "tpu-vm" else f"{state}\t{';'.join(resource['nodes'])}")
    return 0


def delete(group, name, flags):
    RESOURCE.unlink()
    os.system(f"rm -rf {CLOUD / 'workers'}")
    return 0


def ssh(group, name, flags):
    plan, resource = read(PLAN), read(RESOURCE)
    if plan.get("deaf"):
        write(PLAN, plan | {"deaf": plan["deaf"] - 1})
        print("ssh: connect to host 10.0.0.1 port 22: Connection refused", file=sys.stderr)
        return 255
    if "worker.sh follow" in flags["command"] and plan.get("taken"):
        if resource["looks"] >= plan["taken_after"]:
            write(PLAN, plan | {"taken": plan["taken"] - 1})
            write(RESOURCE, resource | {"states": ["ACTIVE", "SUSPENDED"], "asked": 0, "looks": -1})
            return 255
        write(RESOURCE, resource | {"looks": resource["looks"] + 1})
    if resource.get("states"):
        return 255
    workers = range(plan["workers"]) if flags["worker"] == "all" else [int(flags["worker"])]
    os.environ["COMMAND"], worst = flags["command"], 0
    for worker in workers:
        os.environ |= {"HOME": str(home_of(name, worker)), "WORKER": str(worker), "NODE": name}
        to = f"> {flags['output-directory']}/{worker}.log 2>&1" if "output-directory" in flags else ""
        code = os.waitstatus_to_exitcode(os.system(f'cd "$HOME" && exec bash -c "$COMMAND" {to} </dev/null 3>&-'))
        worst = worst or code
    return worst


def scp(words):
    files = [Path(word) for word in words if not word.startswith("--")]
    *sources, target = files
    name, _, folder = str(target).partition(":")
    for worker in range(read(PLAN)["workers"]):
        for source in sources:
            os.system(f"cp -r {source} {home_of(name, worker) / folder}/")
    return 0


def storage(words):
    if words[0] == "ls":
        print(*sorted(str(path) for path in (CLOUD / "bucket").rglob("*")), sep="\n")
    return 0


def uv(words):
    if words[:2] == ["pip", "install"] and os.environ["WORKER"] == read(PLAN).get("no_disk"):
        print("error: No space left on device", file=sys.stderr)
        return 1
    if words[0] == "venv":
        for name, text in (("xlmr-flax", 'exec bash "$STAND_IN/program" "$@"'), ("python", "echo ready")):
            path = Path(words[-1]) / "bin" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"#!/usr/bin/env bash\n{text}\n")
            path.chmod(0o755)
    return 0


def home_of(node, worker):
    home = CLOUD / "workers" / f"{node}.{worker}"
    home.mkdir(parents=True, exist_ok=True)
    return home


def read(path):
    return json.loads(path.read_text()) if path.exists() else {}


def write(path, value):
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
