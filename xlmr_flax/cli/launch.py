"""Runs on Cloud TPU slices and on GKE."""

import sys
from typing import Annotated

import typer

from xlmr_flax import api
from xlmr_flax.cli.options import Config, Overrides

app = typer.Typer(
    no_args_is_help=True, help="Run on Cloud TPU slices and on GKE; COMMAND --help tells the flags of each."
)


@app.command(name="gke")
def launch_gke(
    config: Config,
    image: Annotated[str, typer.Option(help="The container image that launch/Dockerfile makes.", show_default=False)],
    overrides: Overrides = None,
    topology: Annotated[
        str, typer.Option(help="The slice: v5e:4x4 and the like, or the cloud's name, such as v5litepod-16.")
    ] = "v5e:2x4",
    slices: Annotated[
        int, typer.Option(help="How many such slices together; for a study, how many at most at a time.")
    ] = 1,
    name: Annotated[str | None, typer.Option(help="What it is called; by default as the config.")] = None,
    spot: Annotated[bool, typer.Option("--spot", help="On spot machines.")] = False,
    service_account: Annotated[
        str | None, typer.Option(help="The Kubernetes service account that may use the buckets.")
    ] = None,
    libtpu_args: Annotated[
        str | None, typer.Option(help="recommended, or arguments for LIBTPU_INIT_ARGS; host.json records them.")
    ] = None,
    restarts: Annotated[int, typer.Option(help="How often a JobSet starts again after interruptions.")] = 100,
    runs: Annotated[str, typer.Option(envvar="XLMR_FLAX_RUNS", help="gs:// that runs are kept in.")] = "runs",
    data: Annotated[str, typer.Option(envvar="XLMR_FLAX_DATA", help="gs:// with the tasks' files.")] = "data",
    cache: Annotated[str, typer.Option(envvar="XLMR_FLAX_CACHE", help="gs:// for encoded examples.")] = "cache",
) -> None:
    """Print manifests for GKE: a JobSet for an experiment, a RayJob for a study. Pipe them to kubectl apply -f -."""
    from xlmr_flax.launch.gke import Place, manifest
    from xlmr_flax.plan.chips import slice_of

    where = Place(
        image, slice_of(topology, slices), runs, data, cache, name, spot, service_account, libtpu_args, restarts
    )
    print(manifest(api.graph_of(config, overrides or []), config, overrides or [], where))  # noqa: T201


def scripts() -> None:
    """A command for each launch script, which has flags and help of its own."""
    from xlmr_flax.launch.scripts import SCRIPTS, run_script

    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    words = sys.argv[3:]  # with the -- that typer would take for itself

    def add(name: str, help_: str) -> None:
        @app.command(name=name, help=help_, context_settings=passed_on, add_help_option=False)
        def command() -> None:
            raise typer.Exit(run_script(name, words))

    for name, help_ in SCRIPTS.items():
        add(name, help_)
    app.registered_commands.sort(key=lambda one: one.name == "gke")  # after the way that begins with create
