"""Manifests for GKE: a JobSet that runs an experiment on slices, and a RayJob that computes a study on several.

Plain YAML from the templates in launch/gke; the config and the file that it is based on travel in a ConfigMap.
"""

import math
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from xlmr_flax.config.load import read_toml
from xlmr_flax.errors import InputError
from xlmr_flax.graph.build import Graph
from xlmr_flax.launch.scripts import folder
from xlmr_flax.plan.chips import Slice
from xlmr_flax.storage.places import is_remote

MOUNT = "/configs"
RAY_VERSION = "2.60.0"  # of lock/ray.txt, which the image has
MOST_BYTES = 2**20  # of a ConfigMap
# What nodes of a generation are labelled: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus
ACCELERATORS = {
    "v4": "tpu-v4-podslice",
    "v5e": "tpu-v5-lite-podslice",
    "v5p": "tpu-v5p-slice",
    "v6e": "tpu-v6e-slice",
    "tpu7x": "tpu7x",
}
CHIPS_A_HOST = 4  # of a slice that spans hosts
CHIPS_ALONE = {"v5e": 8, "v6e": 8}  # of the largest slice on one host


class Place(NamedTuple):
    """Where and how it is to run."""

    image: str
    slice: Slice  # its number of slices: of a study, at most so many at a time
    runs: str  # gs://
    data: str
    cache: str
    name: str | None = None
    spot: bool = False
    service_account: str | None = None
    libtpu_args: str | None = None
    restarts: int = 100


class File(NamedTuple):
    """A file of the ConfigMap: its key, and where it is to lie."""

    key: str
    path: str
    text: str


def manifest(graph: Graph, config: Path, overrides: Sequence[str], place: Place) -> str:
    """The YAML: a JobSet for an experiment, a RayJob for a study.

    Raises InputError where pods could not reach the folders, or GKE has no such slices.
    """
    for option, where in (("--runs", place.runs), ("--data", place.data), ("--cache", place.cache)):
        if not is_remote(where):
            raise InputError(f"{option} {where}: pods see buckets alone; give gs://BUCKET/FOLDER")
    generation = place.slice.generation
    if generation not in ACCELERATORS:
        raise InputError(f"--topology {place.slice.name}: GKE has {', '.join(ACCELERATORS)}")
    files = _files(config)
    folders = ("--runs", place.runs, "--data", place.data, "--cache", place.cache)
    command = ["xlmr-flax", "run", f"{MOUNT}/{files[0].path}", *overrides, *folders]
    if graph.studied:
        command += ["--executor", "ray", "--address", "auto", "--topology", place.slice.name]
    chips, hosts = _hosts(place.slice)
    loader = jinja2.FileSystemLoader(folder() / "gke")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)
    # "/" and "'" as they are: what goes into YAML goes into no page
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return environment.get_template("rayjob.yaml.j2" if graph.studied else "jobset.yaml.j2").render(
        name=_name(place.name or graph.experiment.name),
        image=place.image,
        command=command,
        entrypoint=_again_on_75(command),
        environment=_environment(place),
        files=files,
        mount=MOUNT,
        accelerator=ACCELERATORS[generation],
        shape=place.slice.shape,
        slice=place.slice.name,
        slices=place.slice.slices,
        chips=chips,
        hosts=hosts,
        spot=place.spot,
        service_account=place.service_account,
        restarts=place.restarts,
        ray_version=RAY_VERSION,
    )


def _again_on_75(command: Sequence[str]) -> str:
    """A driver that was interrupted takes up what it saved."""
    return f"bash -c {shlex.quote(f'until {shlex.join(command)}; do code=$?; [ $code = 75 ] || exit $code; done')}"


def _files(config: Path) -> list[File]:
    """The config first, and then what it is based on, each at its place relative to the other."""
    paths = [config.resolve()]
    base = read_toml(config).get("base")
    if isinstance(base, str):
        paths.append((config.parent / base).resolve())
    top = Path(os.path.commonpath([path.parent for path in paths]))
    files = [
        File(f"config-{n}.toml", path.relative_to(top).as_posix(), path.read_text(encoding="utf-8"))
        for n, path in enumerate(paths)
    ]
    if sum(len(file.text.encode()) for file in files) > MOST_BYTES:
        raise InputError(f"{config}: more than a ConfigMap holds (1 MiB)")
    return files


def _hosts(of: Slice) -> tuple[int, int]:
    """The chips of a host and the hosts of a slice."""
    chips = math.prod(of.sizes)
    each = min(chips, CHIPS_A_HOST)
    if chips <= CHIPS_ALONE.get(of.generation, CHIPS_A_HOST):
        each = chips
    return each, chips // each


def _environment(place: Place) -> dict[str, str]:
    """What one host has compiled serves all, and the next slice."""
    found: dict[str, str] = {"JAX_COMPILATION_CACHE_DIR": f"{place.cache}/compiled"}
    if place.libtpu_args:
        found["LIBTPU_INIT_ARGS"] = libtpu_args(place.libtpu_args, place.slice.generation)
    return found


def libtpu_args(asked: str, generation: str) -> str:
    """LIBTPU_INIT_ARGS as they are asked for; `recommended`: those of the generation."""
    if asked != "recommended":
        return asked
    lines = (folder() / "libtpu.txt").read_text(encoding="utf-8").splitlines()
    known: dict[str, Any] = dict(line.split(" ", 1) for line in lines if not line.startswith("#"))
    if generation not in known:
        raise InputError(f"--libtpu-args recommended: nothing is recommended for {generation}; name the arguments")
    return known[generation]


def _name(text: str) -> str:
    """A name as Kubernetes takes them; JobSet makes longer ones of it, for at most 63 letters in all."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    if not name or not name[0].isalpha():
        raise InputError(f"--name {text}: wanted letters, digits and hyphens, the first a letter")
    return name
