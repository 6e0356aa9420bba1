"""An example of a package that adds a kind to Health Exporter."""
