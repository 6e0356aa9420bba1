"""Health Exporter: runs health checks and answers probes, Prometheus and people from one evaluation."""

__version__ = "0.1.0"
__all__ = [
    "Deadline",
    "HealthExporter",
    "Measurement",
    "Outcome",
    "ProbeError",
    "Reason",
    "Status",
    "__version__",
]

TYPE_CHECKING = False  # type checkers take it for true; the import of typing would cost every exec probe

if TYPE_CHECKING:
    from exporter.embed import HealthExporter
    from exporter.model import Deadline, Measurement, Outcome, ProbeError, Reason, Status
else:

    def __getattr__(name: str) -> object:
        """What an application imports, on demand: `health-exporter ask` needs none of it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module("exporter.embed" if name == "HealthExporter" else "exporter.model"), name)
