"""A file of another tool -> a configuration. The file itself says which tool it belongs to."""

from collections.abc import Sequence

from exporter.config.document import Document
from exporter.manifests import notes
from exporter.manifests.blackbox import convert_modules
from exporter.manifests.component import NOTE, write_patch
from exporter.manifests.configuration import examine
from exporter.manifests.conversion import Conversion
from exporter.manifests.original import restore
from exporter.manifests.probes import convert_probes, find_probes
from exporter.manifests.tree import find, find_text, refuse
from exporter.manifests.workloads import Workload, find_only_workload, read


def convert(
    content: bytes, source: str, containers: Sequence[str], scrapes: tuple[str, bytes] | None, targets: Sequence[str]
) -> Conversion:
    """Return the configuration that replaces the probes of a manifest, or modules of blackbox_exporter.

    `scrapes` is the name and the content of Prometheus' configuration, which has the targets of the modules, and
    `targets` has more of them. Raises ConfigError.
    """
    documents = read(content, source)
    if len(documents) == 1 and find(documents[0], "modules") is not None and not find_text(documents[0], "kind"):
        prometheus = Document.parse(scrapes[1], scrapes[0]) if scrapes else None
        return convert_modules(Document.parse(content, source), prometheus, targets)
    if scrapes or targets:
        raise refuse(source, None, "has no modules of blackbox_exporter, so it needs no targets")
    return _convert_probes(find_only_workload(documents, source), containers)


def _convert_probes(workload: Workload, names: Sequence[str]) -> Conversion:
    """Convert the probes of the container to watch."""
    restored = restore(workload)
    try:
        container = workload.find_container(names)
    except LookupError as reason:
        raise workload.refuse(None, str(reason)) from None
    probes = find_probes(workload, container)
    conversion = convert_probes(workload, container, probes)
    if conversion is None:
        raise workload.refuse(container, notes.explain_missing(container, probes))
    warnings = map(workload.note, (*restored.notes, *notes.warn_exec(probes)))
    patch = write_patch(workload, probes, examine(conversion.text.encode(), workload.source))
    hints = [workload.note(NOTE)] if patch else []
    return Conversion(conversion.text + patch, (*warnings, *conversion.notes, *hints))
