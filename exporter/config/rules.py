"""Rules about several fields or checks, checked on a document's plain data.

They are not validators of the models, because pydantic runs a validator only on values that are valid by themselves,
and an error in one field must not hide another: `groups: [liveness, alive]` is wrong, and `successThreshold: 2`
next to it is wrong too. So these rules read the plain data and skip values of the wrong type, which the models report.
A rule that cannot be checked until all its fields are valid is a validator in checks.py.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from exporter.config.complaint import Complaint, Keys
from exporter.config.document import Document
from exporter.config.pasted import find_probes
from exporter.config.unknown_keys import find_nearest
from exporter.kinds import kinds
from exporter.probe.options import Spelling

# A Kubernetes label value: fits URLs, labels and lists.
NAME = Spelling(
    r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
    "must be letters, digits, '-', '_' and '.', with a letter or digit at both ends",
)
"""How the name of a check is spelled."""
ONE_LINE = Spelling(r"^[^\x00-\x1f\x7f\u0085\u2028\u2029]*$", "must be a single line, without control characters")
RUNBOOK_URL = Spelling(
    r"^(https?://[^\s/?#@]+([/?#]\S*)?)?$",
    "must be a URL that begins with http:// or https://, without spaces and without a user",
)

_KUBERNETES_ONLY = {
    "terminationGracePeriodSeconds": "keep it in the manifest's probe: only the kubelet stops the application",
}
"""Keys of a Kubernetes probe that the exporter does not use, and why."""

Violations = Iterator[tuple[Keys, str]]
"""Paths, from the root of a document or from one check, each with the message of a complaint."""


class _Names:
    """The names of the checks of all files."""

    def __init__(self, documents: Sequence[Document], *, complete: bool) -> None:
        self.complete = complete
        """Whether no file is missing, so that a name that is not here does not exist."""
        self.owners: dict[str, tuple[Document, int]] = {}
        """The first check that has a name: its document, and its index."""
        self.parents: dict[str, list[str]] = {}
        """The names that the check depends on."""
        for document in documents:
            for index, check in list_checks(document).items():
                name = check.get("name")
                if isinstance(name, str) and name not in self.owners:
                    self.owners[name] = document, index
                    self.parents[name] = list(_list_dependencies(check).values())

    def describe_place(self, name: str, document: Document) -> str:
        """Return where the check with this name is, for a complaint about a document."""
        owner, index = self.owners[name]
        line = owner.find_line(("checks", index, "name"))
        return f"on line {line}" if owner is document else f"at {owner.source}:{line}"


def find_violations(documents: Sequence[Document], *, complete: bool = True) -> Iterator[list[Complaint]]:
    """Yield the violations of these rules in each document, whatever else is wrong with it.

    `complete` means that these are all documents of the configuration.
    """
    names = _Names(documents, complete=complete)
    for document in documents:
        yield [document.make_complaint(path, message) for path, message in _check_document(document, names)]


def _check_document(document: Document, names: _Names) -> Violations:
    yield from find_probes(document.find_mapping())
    for index, check in list_checks(document).items():
        for path, message in (
            *_check_name(check, index, document, names),
            *_check_dependencies(check, document, names),
            *_check_kind(check),
            *_check_success_threshold(check),
            *_check_kubernetes_only(check),
        ):
            yield ("checks", index, *path), message


def list_checks(document: Document) -> dict[int, dict[str, Any]]:
    """Return the checks of a document that are mappings, by their position."""
    entries = document.find_mapping().get("checks")
    listed = enumerate(entries) if isinstance(entries, list) else ()
    return {index: check for index, check in listed if isinstance(check, dict)}


def _check_name(check: dict[str, Any], index: int, document: Document, names: _Names) -> Violations:
    name = check.get("name")
    if isinstance(name, str) and NAME.fits(name):
        owner, first = names.owners[name]
        if owner is not document or first != index:
            yield ("name",), f"the name is already used by the check {names.describe_place(name, document)}"


def _check_dependencies(check: dict[str, Any], document: Document, names: _Names) -> Violations:
    """Yield the dependencies that are in no file, or that lead back to the check that has them."""
    name = check.get("name")
    if not isinstance(name, str):
        return
    for position, parent in _list_dependencies(check).items():
        path = ("dependsOn", position)
        if parent not in names.owners:
            if names.complete:
                yield path, "no check has this name"
        elif parent == name:
            yield path, "a check cannot depend on itself"
        elif name in _find_ancestors(parent, names.parents):
            place = names.describe_place(parent, document)
            yield path, f"is part of a cycle: the check {place} depends on this one"


def _list_dependencies(check: dict[str, Any]) -> dict[int, str]:
    """Return the names in `dependsOn`, by their position."""
    entries = check.get("dependsOn")
    listed = enumerate(entries) if isinstance(entries, list) else ()
    return {position: name for position, name in listed if isinstance(name, str)}


def _find_ancestors(name: str, parents: dict[str, list[str]]) -> set[str]:
    """Return the name of a check and of all checks that it depends on, directly or not."""
    found: set[str] = set()
    queue = [name]
    while queue:
        check = queue.pop()
        if check not in found:
            found.add(check)
            queue += parents.get(check, ())
    return found


def _check_kind(check: dict[str, Any]) -> Violations:
    """Yield a violation unless the check has exactly one kind, with a value."""
    chosen = [key for key in check if key in kinds()]
    if len(chosen) > 1:
        yield (), f"has more than one kind, {' and '.join(chosen)}: write a separate check for each"
    elif chosen and check[chosen[0]] is None:
        yield (chosen[0],), f"is empty: write {_write_shortest_form(chosen[0])}"
    elif not chosen and not any(find_nearest(key, kinds()) for key in check) and not any(find_probes(check)):
        yield (), f"has no kind: add one of {', '.join(kinds())}"


def _write_shortest_form(kind: str) -> str:
    """Return the kind with the options that it requires, as YAML."""
    fields = kinds()[kind].model_fields.items()
    required = [f"{field.alias or name}: ..." for name, field in fields if field.is_required()]
    return f"{kind}: {{{', '.join(required)}}}" if required else f"{kind}: {{}} for its defaults"


def _check_success_threshold(check: dict[str, Any]) -> Violations:
    groups, threshold = check.get("groups"), check.get("successThreshold")
    strict = [group for group in ("liveness", "startup") if isinstance(groups, list) and group in groups]
    if strict and type(threshold) is int and threshold > 1:
        yield ("successThreshold",), f"must be 1 for a check in the group {strict[0]}, as in Kubernetes"


def _check_kubernetes_only(check: dict[str, Any]) -> Violations:
    for key in _KUBERNETES_ONLY.keys() & check.keys():
        yield (key,), _KUBERNETES_ONLY[key]
