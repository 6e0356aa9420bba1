"""A file of another tool -> a configuration. The file itself says which tool it belongs to."""

from collections.abc import Sequence

from exporter.config.document import Document
from exporter.manifests.blackbox import convert_modules
from exporter.manifests.conversion import Conversion
from exporter.manifests.inject import convert_probes
from exporter.manifests.tree import find, find_text, refuse
from exporter.manifests.workloads import read


def convert(
    content: bytes, source: str, container: str, scrapes: tuple[str, bytes] | None, targets: Sequence[str]
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
    return convert_probes(content, source, container)
