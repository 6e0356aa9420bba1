"""An example package that adds a kind of check to Health Exporter."""
