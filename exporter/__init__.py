"""Health Exporter runs health checks and serves the results to Kubernetes probes, Prometheus and people.

Applications and plugins import everything they need from here. Names are loaded on first use, because
`health-exporter ask` runs every few seconds in exec probes and needs none of them.
"""

__version__ = "0.1.0"
__all__ = [
    "BasicAuth",
    "ConfigError",
    "Count",
    "Deadline",
    "Group",
    "HealthExporter",
    "Host",
    "Measurement",
    "Options",
    "Outcome",
    "Port",
    "Probe",
    "ProbeError",
    "Ratio",
    "Reason",
    "Seconds",
    "Secret",
    "Severity",
    "Spelling",
    "Status",
    "Text",
    "__version__",
]

TYPE_CHECKING = False  # type checkers treat it as true; importing typing would cost every exec probe

if TYPE_CHECKING:
    from exporter.config.complaint import ConfigError
    from exporter.embedded.health_exporter import HealthExporter
    from exporter.model import Deadline, Group, Measurement, Outcome, ProbeError, Reason, Severity, Status
    from exporter.probe.check import Probe
    from exporter.probe.options import Count, Host, Options, Port, Ratio, Seconds, Spelling, Text
    from exporter.probe.secret import BasicAuth, Secret
else:
    _MODULES = {
        "config.complaint": ("ConfigError",),
        "embedded.health_exporter": ("HealthExporter",),
        "model": ("Deadline", "Group", "Measurement", "Outcome", "ProbeError", "Reason", "Severity", "Status"),
        "probe.check": ("Probe",),
        "probe.options": ("Count", "Host", "Options", "Port", "Ratio", "Seconds", "Spelling", "Text"),
        "probe.secret": ("BasicAuth", "Secret"),
    }
    _HOMES = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name: str) -> object:
        """Import a public name on first use."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        """Return the public names, including those that are not loaded yet."""
        return sorted(__all__)
