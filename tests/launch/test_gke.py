"""Manifests: pods, jobs and config maps by Kubernetes' own schemas, the rest by what its documentation requires."""

import shlex
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from xlmr_flax import cli
from xlmr_flax.config.load import read_toml
from xlmr_flax.launch import gke

ROOT = Path(__file__).resolve().parents[2]
BUCKETS = ("--runs", "gs://b/runs", "--data", "gs://b/data", "--cache", "gs://b/cache")
KUBERNETES = "1.34"
STUDY = """
name = "seeds"
base = "../one.toml"
[axes]
"seed" = [0, 1]
"""


@pytest.fixture
def render(monkeypatch, capsys):
    """The documents that the command prints, or what it says instead."""

    def rendered(*words):
        monkeypatch.setattr(sys, "argv", ["xlmr-flax", "launch", "gke", *words, "--image", "r/p/x:1"])
        try:
            cli.main()
        except SystemExit as end:
            said = capsys.readouterr()
            if end.code:
                return end.code, said.err
            return list(yaml.safe_load_all(said.out))
        raise AssertionError("the program did not end")

    return rendered


@pytest.fixture
def study(tmp_path):
    (tmp_path / "studies").mkdir()
    (tmp_path / "one.toml").write_text((ROOT / "configs/xlmr_large/mnli_xnli.toml").read_text())
    path = tmp_path / "studies" / "seeds.toml"
    path.write_text(STUDY)
    return path


def valid(kind, spec, version="v1", **more):
    document = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec, **more}
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def mounted(maps, pod):
    """The files that a pod's volume shows, by path."""
    (volume,) = pod["volumes"]
    assert volume["configMap"]["name"] == maps["metadata"]["name"]
    return {item["path"]: maps["data"][item["key"]] for item in volume["configMap"]["items"]}


def test_an_experiment_is_a_jobset_whose_hosts_are_those_of_the_slices(render):
    config = str(ROOT / "configs/xlmr_large/mnli_xnli.toml")
    maps, jobs = render(
        config, "seed=1", *BUCKETS, "--topology", "v5e:4x4", "--slices", "2", "--spot", "--service-account", "trainer",
        "--libtpu-args", "recommended", "--restarts", "7",
    )  # fmt: skip
    kubernetes_validate.validate(maps, KUBERNETES, strict=True)
    assert (jobs["apiVersion"], jobs["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobs["metadata"]["annotations"] == {
        "alpha.jobset.sigs.k8s.io/exclusive-topology": "cloud.google.com/gke-nodepool"
    }
    (replicated,) = jobs["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    valid("Job", job, "batch/v1")
    pod = job["template"]["spec"]
    valid("Pod", pod)
    assert (replicated["replicas"], job["parallelism"], job["completions"]) == (2, 4, 4)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": "4x4",
        "cloud.google.com/gke-spot": "true",
    }
    assert pod["serviceAccountName"] == "trainer"
    (container,) = pod["containers"]
    assert container["resources"]["limits"] == container["resources"]["requests"] == {"google.com/tpu": 4}
    assert container["command"] == ["xlmr-flax", "run", "/configs/mnli_xnli.toml", "seed=1", *BUCKETS]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["JAX_COMPILATION_CACHE_DIR"] == "gs://b/cache/compiled"
    assert environment["LIBTPU_INIT_ARGS"].startswith("--xla_tpu_")
    assert mounted(maps, pod) == {"mnli_xnli.toml": Path(config).read_text()}


def test_bad_input_and_failed_training_are_not_run_again_and_the_rest_is(render):
    _, jobs = render(str(ROOT / "configs/xlmr_large/mnli_xnli.toml"), *BUCKETS)
    policy, job = jobs["spec"]["failurePolicy"], jobs["spec"]["replicatedJobs"][0]["template"]["spec"]
    # https://jobset.sigs.k8s.io/docs/tasks/failure_policy: rules in order, a name each; what matches none restarts all
    assert policy["rules"] == [
        {"name": "notAgain", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}
    ]
    assert policy["maxRestarts"] == 100
    assert job["backoffLimit"] == 0
    (rule,) = job["podFailurePolicy"]["rules"]
    assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2, 3])
    assert rule["onExitCodes"]["containerName"] == job["template"]["spec"]["containers"][0]["name"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # as a podFailurePolicy requires
    assert "tolerations" not in job["template"]["spec"]


def test_a_study_is_a_rayjob_whose_workers_are_slices(render, study):
    maps, job = render(str(study), *BUCKETS, "--topology", "v6e:4x4", "--slices", "5", "--spot")
    kubernetes_validate.validate(maps, KUBERNETES, strict=True)
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    for group in (head, workers):
        assert set(group["rayStartParams"]) <= {"num-cpus"}
        valid("Pod", group["template"]["spec"])
        assert mounted(maps, group["template"]["spec"]) == {
            "studies/seeds.toml": STUDY, "one.toml": (study.parents[1] / "one.toml").read_text()
        }  # fmt: skip
    assert (workers["numOfHosts"], workers["minReplicas"], workers["maxReplicas"]) == (4, 0, 5)
    assert workers["template"]["spec"]["containers"][0]["resources"]["limits"]["google.com/tpu"] == 4
    assert "google.com/tpu" not in head["template"]["spec"]["containers"][0]["resources"]["limits"]
    shell, _, script = shlex.split(job["spec"]["entrypoint"])
    words = ("xlmr-flax run /configs/studies/seeds.toml", *BUCKETS, "--executor ray --address auto --topology")
    assert shell == "bash"
    assert script == f"until {' '.join(words)} v6e:4x4; do code=$?; [ $code = 75 ] || exit $code; done"
    assert (job["spec"]["backoffLimit"], job["spec"]["shutdownAfterJobFinishes"]) == (0, True)
    locked = [line.partition("==") for line in (ROOT / "lock/ray.txt").read_text().splitlines()]
    assert cluster["rayVersion"] == next(version for name, _, version in locked if name == "ray")


@pytest.mark.parametrize(
    ("topology", "label", "chips", "hosts"),
    [
        ("v5e:2x4", "tpu-v5-lite-podslice", 8, 1),
        ("v5e:4x8", "tpu-v5-lite-podslice", 4, 8),
        ("v4-32", "tpu-v4-podslice", 4, 4),
        ("v5p:2x2x1", "tpu-v5p-slice", 4, 1),
        ("v6e:1x1", "tpu-v6e-slice", 1, 1),
    ],
)
def test_each_slice_has_the_hosts_that_gke_gives_it(render, topology, label, chips, hosts):
    _, jobs = render(str(ROOT / "configs/xlmr_large/mnli_xnli.toml"), *BUCKETS, "--topology", topology)
    job = jobs["spec"]["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]
    assert pod["nodeSelector"]["cloud.google.com/gke-tpu-accelerator"] == label
    assert (pod["containers"][0]["resources"]["limits"]["google.com/tpu"], job["completions"]) == (chips, hosts)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--runs", "gs://b/r", "--data", "data", "--cache", "gs://b/c"], "pods see buckets alone; give gs://BUCKET/"),
        ([*BUCKETS, "--topology", "v3:4x4"], "--topology v3:4x4: GKE has v4, v5e, v5p, v6e, tpu7x"),
        (
            [*BUCKETS, "--topology", "v4-8", "--libtpu-args", "recommended"],
            "nothing is recommended for v4; name the arg",
        ),
        ([*BUCKETS, "--name", "1"], "--name 1: wanted letters, digits and hyphens, the first a letter"),
    ],
)
def test_what_gke_cannot_do_is_said(render, words, text):
    code, said = render(str(ROOT / "configs/xlmr_large/mnli_xnli.toml"), *words)
    assert (code, text in said) == (2, True), said


def test_a_config_is_carried_whatever_is_in_it(render, tmp_path):
    config = tmp_path / "odd.toml"
    text = (ROOT / "configs/xlmr_large/mnli_xnli.toml").read_text()
    config.write_text(
        "  # begins with a space: {{ braces }} — “quotes”\n" + text.replace('"mnli_xnli"', '"My_Name"', 1)
    )
    maps, jobs = render(str(config), *BUCKETS)
    assert maps["data"]["config-0.toml"] == config.read_text()
    assert read_toml(config)["name"] == "My_Name"
    assert jobs["metadata"]["name"] == "my-name"


def test_the_recommended_arguments_are_those_of_the_generation():
    for generation in ("v5e", "v5p", "v6e"):
        assert all(word.startswith("--xla_") for word in gke.libtpu_args("recommended", generation).split())
    assert gke.libtpu_args("--xla_x=1", "v4") == "--xla_x=1"
