"""`inject`, `uninject` and `convert`: from a Kubernetes manifest to another, or to a configuration."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exporter import __version__
from exporter.cli.parts import File, Refused, read_input
from exporter.console import echo

if TYPE_CHECKING:
    from exporter.manifests.conversion import Conversion

_manifest = click.argument("manifest", type=File(), metavar="[FILE|-]", default="-")
_container = click.option(
    "--container",
    "containers",
    multiple=True,
    metavar="NAME",
    help="Container to watch. Can be repeated: the first that a pod has counts. Default: the annotation "
    "kubectl.kubernetes.io/default-container, or the only one.",
)


@click.command(short_help="Add the exporter to the workloads of a Kubernetes manifest.")
@_manifest
@_container
@click.option(
    "--config.file",
    "config_file",
    type=File(),
    metavar="FILE",
    help="Configuration with the application's checks. Default: the probes of the container become checks.",
)
@click.option(
    "--image",
    default="",
    metavar="IMAGE",
    help=f"Image of the exporter, with your registry. Default: the present one, or health-exporter:{__version__}.",
)
@click.option("--native", is_flag=True, help="Add a native sidecar, an init container; requires Kubernetes 1.29.")
def inject(manifest: Path, containers: Sequence[str], config_file: Path | None, image: str, native: bool) -> int:
    """Add the exporter to the workloads of a Kubernetes manifest, and print the result.

    \b
    health-exporter inject web.yaml --image registry.example/health-exporter:0.1.0 > web-health.yaml
    kubectl get deployment web -o yaml |
      health-exporter inject --image registry.example/health-exporter:0.1.0 |
      kubectl apply -f -
    helm template web ./chart |
      health-exporter inject --image registry.example/health-exporter:0.1.0 |
      kubectl apply -f -

    The probes of the container become checks, in a ConfigMap. The container's new probes query the exporter, which
    runs in a container of its own. A restart takes about as long as before; the notes on standard error show the times.
    The other objects of the file stay as they are, only comments are lost. The kinds of workloads are Deployment,
    StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job, CronJob and Pod.

    An exec probe runs in the application's container, so it stays. With --config.file, your own checks replace the
    probes of the groups that they are in.

    A second inject has no further effect, except to update what the first one has added. It keeps the image, and what
    you have added to the exporter's container: resources, variables and mounts. `uninject` restores the original.

    \b
    Exit codes:
      0   the manifest with the exporter is on standard output
      2   invalid manifest, configuration or command line
    """
    from exporter.manifests.inject import Settings
    from exporter.manifests.inject import inject as inject_exporter

    if str(manifest) == str(config_file) == "-":
        raise click.UsageError("the manifest and the configuration cannot both be standard input")
    given = Settings(containers, image, native, read_input(config_file) if config_file else None)
    return _print_conversion(manifest, lambda content, source: inject_exporter(content, source, given))


@click.command(short_help="Undo inject.")
@_manifest
def uninject(manifest: Path) -> int:
    """Remove what `inject` has added to a Kubernetes manifest, restore its probes, and print the result.

    \b
    kubectl get deployment web -o yaml | health-exporter uninject | kubectl apply -f -

    The ConfigMap stays in the cluster; a note on standard error has the command that deletes it.

    \b
    Exit codes:
      0   the original manifest is on standard output
      2   invalid manifest or command line, or nothing to undo
    """
    from exporter.manifests.inject import uninject as remove_exporter

    return _print_conversion(manifest, remove_exporter)


@click.command(short_help="Convert probes of a manifest, or modules of blackbox_exporter.")
@click.argument("source", type=File(), metavar="[FILE|-]", default="-")
@_container
@click.option(
    "--prometheus.config",
    "scrapes",
    type=File(),
    metavar="FILE",
    help="Configuration of Prometheus, for the targets of its static_configs.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="[MODULE=]TARGET",
    help="Target of a module. Can be repeated. Without MODULE, the only one in the file, or http_2xx.",
)
def convert(source: Path, containers: Sequence[str], scrapes: Path | None, targets: Sequence[str]) -> int:
    """Print the configuration that replaces the probes of a Kubernetes manifest, or modules of blackbox_exporter.

    \b
    kubectl get deployment web -o yaml | health-exporter convert > health.yml
    health-exporter convert web.yaml --container web
    health-exporter convert blackbox.yml --prometheus.config prometheus.yml
    health-exporter convert blackbox.yml --target http_2xx=https://shop.example/

    Notes on standard error list what is left out or changed. Secrets are not copied from modules.

    \b
    Exit codes:
      0   the configuration is on standard output
      2   invalid file or command line, or nothing to convert
    """
    from exporter.manifests.convert import convert as convert_file

    prometheus = read_input(scrapes) if scrapes else None
    return _print_conversion(source, lambda content, name: convert_file(content, name, containers, prometheus, targets))


def _print_conversion(path: Path, convert: "Callable[[bytes, str], Conversion]") -> int:
    """Print the conversion of a file or of standard input, and the notes about it on standard error."""
    from exporter.config.complaint import ConfigError

    source, content = read_input(path)
    try:
        conversion = convert(content, source)
    except ConfigError as error:
        raise Refused(str(error)) from None
    for note in conversion.notes:
        echo(str(note), sys.stderr)
    try:
        sys.stdout.buffer.write(conversion.text.encode())  # UTF-8, whatever the locale
        sys.stdout.flush()
    except OSError as error:
        raise Refused(f"the result could not be written: {error.strerror}") from None
    return 0
