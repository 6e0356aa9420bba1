# Health Exporter in a container. Built with no further word it has the core; extras are named in EXTRAS:
#   docker build --build-arg EXTRAS=redis,grpc -t health-exporter .
# BASE is any image with Python 3.11 or newer, its module venv, and pip.
ARG BASE=python:3.13-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml requirements.txt requirements-extras.txt ./
ARG EXTRAS=""
# For pip an extra that is not there is only a warning.
RUN python3 -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        unknown = {each.strip() for each in sys.argv[1].split(",") if each} - {*project["optional-dependencies"]}; \
        sys.exit(f"EXTRAS: there is no {sorted(unknown)}" if unknown else 0)' "${EXTRAS}"
# Only files whose hash is written down here, and no code of a package runs while it is fetched. One list holds all the
# extras: all are fetched as soon as one is asked for, and that one is installed. Where pip needs settings of its own, an
# index with a password for example, they come as a secret, of which nothing stays: --secret id=pip.conf,src=pip.conf
RUN --mount=type=secret,id=pip.conf \
    PIP_CONFIG_FILE=/run/secrets/pip.conf pip download --quiet --no-cache-dir --disable-pip-version-check \
        --no-deps --only-binary :all: --require-hashes \
        --dest /packages --requirement "requirements${EXTRAS:+-extras}.txt"
COPY README.md LICENSE ./
COPY exporter exporter
# Bytecode goes by the content and not by the time of its source, so that it is the same in every build.
# hadolint ignore=DL3013  # what it installs is in /packages, in one version each
RUN python3 -m venv --without-pip /opt/health-exporter \
    && pip --python /opt/health-exporter/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
        --no-index --find-links /packages --no-compile ".${EXTRAS:+[${EXTRAS}]}" \
    && /opt/health-exporter/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/health-exporter/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="health-exporter" \
      org.opencontainers.image.description="Runs health checks on its own schedule and answers Kubernetes probes and Prometheus from one evaluation." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The official image has its standard library without bytecode, and on a read-only root none is ever written: every start,
# and every `ask` of an exec probe, would compile it again.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash -x 'packages|idlelib|turtledemo|lib2to3|/tests?/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/health-exporter /opt/health-exporter
ENV PATH=/opt/health-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# Numeric, so that Kubernetes can see that it is not root (runAsNonRoot).
USER 65532:65532
WORKDIR /
EXPOSE 4584
STOPSIGNAL SIGTERM
# About the exporter itself, as its own livenessProbe is: what the checks say is the application's health.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["health-exporter", "ask", "exporter"]
ENTRYPOINT ["health-exporter"]
CMD ["serve"]
