"""The launch scripts: what they ask of the cloud, what a user sees, and with which code they end."""

import re
import shutil

import pytest

SCRIPTS = ("create", "setup", "run", "watch", "logs", "delete")
WATCH = ("watch", "pod", "--type", "v5litepod-16", "--spot", "--install", "x-1.whl", "configs/a.toml")
BUCKET = ("--runs", "gs://b/runs")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_explains_itself_and_refuses_what_it_does_not_know(cloud, script):
    told = cloud.run(script, "--help", poll="")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"xlmr-flax launch {script} NAME ")
    assert "--dry-run" in told.stdout
    odd = cloud.run(script, "pod", "--sopt")
    assert (odd.returncode, odd.stdout, odd.stderr) == (2, "", "--sopt: no such flag; see --help\n")
    assert cloud.run(script, "--zone").stderr == "--zone: wanted a value; see --help\n"
    assert cloud.run(script).stderr == "wanted the slice's NAME; see --help\n"
    assert cloud.calls() == []


def test_a_dry_run_shows_the_commands_and_runs_none(cloud):
    wanted = {
        ("create", "pod", "--type", "v4-32", "--zone", "z"): (
            "+ gcloud compute tpus queued-resources create pod --node-id=pod --accelerator-type=v4-32 "
            "--runtime-version=tpu-ubuntu2204-base --zone=z"
        ),
        ("create", "pod", "--type", "v5p-8", "--spot", "--direct"): (
            "+ gcloud compute tpus tpu-vm create pod --accelerator-type=v5p-8 --version=v2-alpha-tpuv5 --spot"
        ),
        ("create", "pod", "--type", "v6e-8", "--reserved", "--slices", "2", "--", "--network=n"): (
            "+ gcloud compute tpus queued-resources create pod --node-count=2 --node-prefix=pod "
            "--accelerator-type=v6e-8 --runtime-version=v2-alpha-tpuv6e --reserved --network=n"
        ),
        ("run", "pod", "configs/a.toml", "seed=1"): "worker.sh\\ start\\ configs/a.toml\\ seed=1",
        ("setup", "pod", "--install", "git+https://h/r@0123"): "xlmr-flax\\[tpu\\,gcs\\]\\ @\\ git+https://h/r@0123",
        ("logs", "pod"): "--command=cat\\ xlmr_flax/job/log",
        ("delete", "pod"): "+ gcloud compute tpus queued-resources delete pod --force --quiet",
        (*WATCH, *BUCKET): "+ gcloud compute tpus queued-resources create pod --node-id=pod",
    }
    for words, text in wanted.items():
        done = cloud.run(words[0], "--dry-run", *words[1:])
        assert done.returncode == 0, done.stderr
        assert text in done.stderr
    assert cloud.calls() == []


def test_a_queued_resource_is_waited_for_and_each_state_told_once(cloud):
    cloud.plan(states=["ACCEPTED", "WAITING_FOR_RESOURCES", "WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    done = cloud.run("create", "pod", "--type", "v5litepod-16", "--slices", "2", "--spot")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[1:] == [
        "pod: ACCEPTED", "pod: WAITING_FOR_RESOURCES", "pod: PROVISIONING", "pod: ACTIVE, 2 slice(s): pod-0 pod-1",
    ]  # fmt: skip
    again = cloud.run("create", "pod", "--type", "v5litepod-16", "--slices", "2", "--spot")
    assert again.stderr == "pod: ACTIVE, 2 slice(s): pod-0 pod-1\n"
    assert len(cloud.calls("create")) == 1


def test_what_never_becomes_active_stays_in_the_queue_or_is_said_to_have_failed(cloud):
    cloud.plan(states=["WAITING_FOR_RESOURCES"])
    done = cloud.run("create", "pod", "--type", "v5litepod-16", "--wait", "0")
    assert done.returncode == 75
    assert done.stderr.splitlines()[-1] == (
        "pod is WAITING_FOR_RESOURCES after 0 minutes and stays in the queue: "
        "run the same command to go on waiting, or xlmr-flax launch delete pod"
    )
    not_yet = cloud.run("run", "pod", "configs/a.toml")
    assert not_yet.returncode == 2
    assert not_yet.stderr == "pod is WAITING_FOR_RESOURCES, not ready: xlmr-flax launch create pod waits for it\n"
    cloud.plan(states=["FAILED"])
    failed = cloud.run("create", "pod", "--type", "v5litepod-16")
    assert failed.returncode == 1
    assert "pod is FAILED and will not come back: xlmr-flax launch delete pod, then create it again" in failed.stderr


def test_a_slice_is_given_back_and_a_second_time_there_is_none(pod):
    assert pod.run("delete", "pod").returncode == 0
    again = pod.run("delete", "pod", "--zone", "z")
    assert (again.returncode, again.stderr) == (
        0, "pod: there is no such slice and no such queued resource (--zone=z)\n"
    )  # fmt: skip
    assert len(pod.calls("delete")) == 1


def test_every_worker_is_set_up_with_pinned_things_though_ssh_is_slow(cloud):
    cloud.plan(deaf=2)
    assert cloud.run("create", "pod", "--type", "v5litepod-16").returncode == 0
    words = ("setup", "pod", "--install", "x-1.whl", "--data", "gs://b/data/", "--weights", "gs://b/xlmr")
    done = cloud.run(*words)
    assert done.returncode == 0, done.stderr
    assert "worker 0 does not answer yet (2 of 20): ssh: connect to host 10.0.0.1" in done.stderr
    assert done.stderr.splitlines()[-2:] == ["[pod 0] ready", "[pod 1] ready"]
    installed = cloud.calls("uv", "install")
    assert len(installed) == 2
    for n, call in enumerate(installed):
        home = cloud.state / "workers" / f"pod.{n}" / "xlmr_flax"
        assert call[-1] == f"xlmr-flax[tpu,gcs] @ file://{home}/x-1.whl"
        assert [word for word in call if word.endswith(".txt")] == ["dev.txt", "aot.txt", "gcs.txt"]
        assert all((home / name).is_file() for name in ("x-1.whl", "dev.txt", "worker.sh"))
    assert [call[-2:] for call in cloud.calls("rsync")] == [
        ["gs://b/data", "data"],
        ["gs://b/xlmr", "weights/xlmr"],
    ] * 2
    assert cloud.run(*words).returncode == 0
    assert len(cloud.calls("uv", "venv")) == 2


def test_a_worker_that_cannot_be_set_up_is_named_with_what_it_said(cloud):
    cloud.plan(no_disk="1")
    assert cloud.run("create", "pod", "--type", "v5litepod-16").returncode == 0
    done = cloud.run("setup", "pod", "--install", "x-1.whl")
    assert done.returncode == 1
    assert "[pod 1] error: No space left on device" in done.stderr
    assert done.stderr.endswith("pod is not set up on every worker; see above\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--install", "git+https://h/r"], "wanted a wheel (*.whl), git+https://HOST/REPOSITORY@COMMIT or xlmr-flax=="),
        (["--install", "absent.whl"], "absent.whl: no such file; python -m build --wheel makes one in dist/"),
        (["--install", "x-1.whl", "--data", "data"], "data: wanted gs://BUCKET/FOLDER, which the workers can read"),
    ],
)
def test_what_is_not_pinned_or_not_there_is_not_installed(cloud, words, text):
    done = cloud.run("setup", "pod", *words)
    assert (done.returncode, cloud.calls()) == (2, [])
    assert text in done.stderr


def test_the_same_command_runs_on_every_worker_of_every_slice_and_the_log_is_shown_as_it_grows(cloud):
    cloud.run("create", "pod", "--type", "v5litepod-16", "--slices", "2")
    assert cloud.run("setup", "pod", "--install", "x-1.whl").returncode == 0
    cloud.program(
        'echo "$(pwd | xargs basename) $* $(cat configs/a.toml) $LIBTPU_INIT_ARGS · $JAX_COMPILATION_CACHE_DIR"; '
        'sleep 0.2; echo "table of $NODE.$WORKER"'
    )
    done = cloud.run(
        "run", "pod", "--libtpu-args", "recommended", "configs/a.toml", "note=a b", "--cache", "gs://b/cache",
        poll="0.05",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("xlmr_flax run configs/a.toml note=a b --cache gs://b/cache name = 'a' --xla_tpu_")
    assert first.endswith("· gs://b/cache/compiled")
    assert second == "table of pod-0.0"
    ended = [line for line in done.stderr.splitlines() if line.startswith("worker")]
    assert sorted(ended) == [f"worker {w} of pod-{n}: ended, exit code 0" for w, n in ((0, 0), (0, 1), (1, 0), (1, 1))]
    logs = cloud.run("logs", "pod")
    assert logs.stderr.splitlines()[-1] == "logs: 4 logs"
    assert (cloud.folder / "logs/pod-1/1.log").read_text().endswith("table of pod-1.1\n")
    assert "[pod-1 1] table of pod-1.1" in logs.stderr


@pytest.mark.parametrize(("codes", "code"), [("75 2", 2), ("75 137", 137), ("75 3", 3), ("0 1", 1)])
def test_the_exit_code_is_that_which_tells_most(pod, codes, code):
    pod.program(f'codes=({codes}); echo "why $WORKER"; exit ${{codes[$WORKER]}}')
    done = pod.run("run", "pod", "configs/a.toml")
    assert done.returncode == code
    assert f"worker 1 of pod: ended, exit code {codes.split()[1]}\n    why 1\n" in done.stderr


def test_a_run_outlives_the_command_that_started_it_and_is_taken_up_again(pod):
    pod.program('echo begun; until [ -e "$STAND_IN/go" ]; do sleep 0.02; done; echo finished')
    detached = pod.run("run", "pod", "--detach", "configs/a.toml", "seed=1")
    assert (detached.returncode, detached.stdout) == (0, "")
    other = pod.run("run", "pod", "configs/a.toml", "seed=2")
    assert other.returncode == 2
    assert "[pod 0] another run is under way here: xlmr-flax run configs/a.toml seed=1" in other.stderr
    (pod.state / "go").write_text("")
    again = pod.run("run", "pod", "configs/a.toml", "seed=1", poll="0.02")
    assert again.stdout.splitlines()[-2:] == ["begun", "finished"]
    assert pod.run("logs", "pod", "--follow").stdout == "begun\nfinished\n"


def test_a_run_is_asked_to_save_and_to_end(pod):
    pod.program('trap "echo saved; exit 75" TERM; echo begun; while :; do sleep 0.02; done')
    assert pod.run("run", "pod", "--detach", "configs/a.toml").returncode == 0
    assert pod.run("run", "pod", "--stop").returncode == 0
    done = pod.run("logs", "pod", "--follow", poll="0.02")
    assert (done.returncode, done.stdout) == (75, "begun\nsaved\n")


def test_a_config_that_is_not_here_is_told_before_anything_is_copied(cloud):
    done = cloud.run("run", "pod", "configs/b.toml")
    assert (done.returncode, done.stderr) == (2, "configs/b.toml: no such config file; see --help\n")
    assert "wanted a path below this folder" in cloud.run("run", "pod", f"{cloud.folder}/configs/a.toml").stderr
    assert cloud.calls() == []


def test_watch_replaces_a_slice_that_was_taken_away_and_ends_when_the_run_is_done(cloud):
    cloud.plan(taken=1, taken_after=1, workers=1)
    cloud.program('if [ "$(grep -c queued-resources.*create "$STAND_IN/calls")" -lt 2 ]; then sleep 9; fi; echo table')
    done = cloud.run(*WATCH, *BUCKET, poll="0.02")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "table\n"
    assert done.stderr.count("the slice was taken away; what the run saved outside of it is safe") == 1
    assert done.stderr.count("pod is SUSPENDED; another one takes its place") == 1
    assert [len(cloud.calls(verb)) for verb in ("create", "delete")] == [2, 2]
    assert all("--spot" in call for call in cloud.calls("create"))
    assert len(cloud.calls("uv", "venv")) == 2
    assert done.stderr.splitlines()[-1].startswith("+ gcloud compute tpus queued-resources delete pod")


def starts(cloud):
    """How often a run was started, which on a slice is one call for all workers."""
    return sum("worker.sh start" in " ".join(call) for call in cloud.calls("ssh"))


def test_watch_runs_again_on_75(cloud):
    cloud.program(
        'echo x >> "$STAND_IN/tries.$WORKER"; [ "$(wc -l < "$STAND_IN/tries.$WORKER")" -ge 3 ] && exit 0; exit 75'
    )
    done = cloud.run(*WATCH[:2], "--keep", *WATCH[2:], *BUCKET)
    assert starts(cloud) == 3
    assert done.returncode == 0
    assert done.stderr.count("exit code 75: running it again") == 2
    assert cloud.calls("delete") == []


@pytest.mark.parametrize("code", [2, 3])
def test_watch_never_runs_again_on_2_or_3(cloud, code):
    cloud.plan(workers=1)
    cloud.program(f"exit {code}")
    done = cloud.run(*WATCH, *BUCKET)
    assert done.returncode == code
    assert starts(cloud) == 1
    assert done.stderr.endswith(f"exit code {code}: running it again would not help; pod is still there\n")
    assert cloud.calls("delete") == []


def test_watch_gives_up_after_some_failures_without_progress(cloud):
    cloud.plan(workers=1)
    cloud.program("exit 1")
    done = cloud.run(WATCH[0], "--tries", "2", *WATCH[1:], *BUCKET)
    assert (done.returncode, starts(cloud)) == (1, 2)
    assert done.stderr.endswith("exit code 1, 2 times without anything new saved: given up; pod is still there\n")


def test_watch_goes_on_as_long_as_failing_runs_save_something(cloud):
    folder = "$STAND_IN/bucket/phases/nli-0/checkpoints/training"
    cloud.program(
        f'n=$(ls {folder} 2>/dev/null | wc -l); [ "$WORKER" = 1 ] || mkdir -p {folder}/$((n + 1)); '
        '[ "$n" -ge 2 ] && exit 0; exit 1'
    )
    done = cloud.run(WATCH[0], "--tries", "2", *WATCH[1:], *BUCKET)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("exit code 1: running it again (1 of 2 without anything new saved)") == 2


def test_watch_wants_the_runs_in_a_bucket(cloud):
    done = cloud.run(*WATCH)
    assert (done.returncode, cloud.calls()) == (2, [])
    assert done.stderr == (
        "--runs (not given): wanted gs://BUCKET/FOLDER, since a slice's disks go with it\n"
    )  # fmt: skip


def test_without_gcloud_a_script_says_where_to_get_it(cloud):
    cloud.env["PATH"] = re.sub("^[^:]*", "", cloud.env["PATH"])
    if shutil.which("gcloud", path=cloud.env["PATH"]):
        cloud.env["PATH"] = str(cloud.folder)
        (cloud.folder / "dirname").symlink_to(shutil.which("dirname"))
        for tool in ("mktemp", "rm", "bash", "env"):
            (cloud.folder / tool).symlink_to(shutil.which(tool))
    done = cloud.run("create", "pod", "--type", "v4-8")
    assert (done.returncode, done.stderr) == (2, "gcloud is not here; see https://cloud.google.com/sdk/docs/install\n")
