"""The names of samples, as `Exporter.metrics` returns them."""


def sample(family: str, check: str, kind: str = "httpGet", **labels: str) -> str:
    """The name of a check's sample: `sample("up", "web")`."""
    pairs = {"check": check, "kind": kind, **labels}
    return f"health_check_{family}{{" + ",".join(f'{name}="{value}"' for name, value in pairs.items()) + "}"
