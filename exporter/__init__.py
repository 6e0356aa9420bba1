"""Health Exporter: runs health checks and answers probes, Prometheus and people from one evaluation."""

__version__ = "0.1.0"
