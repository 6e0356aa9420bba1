# Health Exporter in a container. By default the image contains the core; EXTRAS adds extras:
#   docker build --build-arg EXTRAS=redis,grpc -t health-exporter .
# BASE can be any image with Python 3.11 or newer, the module venv, and pip. By default, it is the stage `official`: the
# official image, pinned by its digest. Dependabot updates the digest, and the release checks it.
ARG BASE=official

FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS official

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml requirements.txt requirements-extras.txt ./
ARG EXTRAS=""
# pip only warns about an unknown extra; this step fails.
RUN python3 -c 'import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
        unknown = {extra.strip() for extra in sys.argv[1].split(",") if extra} - {*project["optional-dependencies"]}; \
        sys.exit(f"EXTRAS: unknown extras: {sorted(unknown)}" if unknown else 0)' "${EXTRAS}"
# Downloads only files with a hash in the requirements, without running code from packages. One file lists all extras:
# if EXTRAS is set, all of them are downloaded, but only the named ones are installed. Pass settings for pip, such as an
# index with a password, as a secret, which does not stay in the image: --secret id=pip.conf,src=pip.conf
RUN --mount=type=secret,id=pip.conf \
    PIP_CONFIG_FILE=/run/secrets/pip.conf pip download --quiet --no-cache-dir --disable-pip-version-check \
        --no-deps --only-binary :all: --require-hashes \
        --dest /packages --requirement "requirements${EXTRAS:+-extras}.txt"
COPY README.md LICENSE ./
COPY exporter exporter
# The bytecode depends on the content of the source, not on its modification time, so it is the same in every build.
# hadolint ignore=DL3013  # /packages contains exactly one version of each package
RUN python3 -m venv --without-pip /opt/health-exporter \
    && pip --python /opt/health-exporter/bin/python install --quiet --no-cache-dir --disable-pip-version-check \
        --no-index --find-links /packages --no-compile ".${EXTRAS:+[${EXTRAS}]}" \
    && /opt/health-exporter/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/health-exporter/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="health-exporter" \
      org.opencontainers.image.description="Runs health checks on its own schedule and serves Kubernetes probes and Prometheus from the same results." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0"
# The official image has no bytecode for the standard library, and a read-only root cannot cache it. Without this step,
# every start, and every `ask` in an exec probe, would compile it again.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash -x 'packages|idlelib|turtledemo|lib2to3|/tests?/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/health-exporter /opt/health-exporter
ENV PATH=/opt/health-exporter/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
# Numeric, so that Kubernetes can verify that it is not root (runAsNonRoot).
USER 65532:65532
WORKDIR /
EXPOSE 4584
STOPSIGNAL SIGTERM
# Checks the exporter itself, like its own livenessProbe. The results of its checks are the application's health.
# Variables such as HEALTH_EXPORTER_ASK_URL configure it for TLS and passwords.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["health-exporter", "ask", "exporter"]
ENTRYPOINT ["health-exporter"]
CMD ["serve"]
