# `make run` starts the exporter, `make test` runs all tests, `make help` lists all targets.
PYTHON ?= python3
# There is one environment per Python: PYTHON=python3.13 creates .venv-3.13.
VENV ?= .venv$(patsubst python%,-%,$(filter-out python python3,$(notdir $(PYTHON))))
BIN := $(VENV)/bin
TOOLS := $(VENV)-tools
# The Go module of Prometheus 3.16.0 has the version v0.316.0.
PROMETHEUS_MODULE := v0.316.0
PROMETHEUS3 := $(VENV)-prometheus3/$(PROMETHEUS_MODULE)
SBOM := dist/health-exporter.cdx.json
# Options and paths for pytest: make test ARGS="-k reload", make fast ARGS=tests/net
ARGS ?=
# Where this is set, every start of the exporter would compile all its modules, and the tests start it hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run help lint check fast test test-prometheus3 faults coverage e2e e2e-long bench soak format docs manifests dashboards dashboards-preview tools dist sbom lock clean
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp ## start the exporter with its default checks
	$(BIN)/health-exporter serve

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.* ## (.*)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '%-20s %s\n' "$$target" "$$text"; done

lint: $(VENV)/test.stamp ## lint, check types, import rules and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

check: lint ## run `make lint` and the tests of wording, in seconds
	$(BIN)/pytest tests/test_language.py tests/test_time_bounds.py

fast: lint ## run `make lint` and the tests that start no other program; ARGS go to pytest
	$(BIN)/pytest -m "not slow" --numprocesses=auto --dist=worksteal $(ARGS)

test: lint $(TOOLS)/stamp ## run `make lint` and all tests; ARGS go to pytest and can select tests
	tests/peers.sh
	$(BIN)/pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

test-prometheus3: $(VENV)/test.stamp $(PROMETHEUS3)/prometheus ## run the tests that use Prometheus with Prometheus 3, built from its Go module
	tests/peers.sh
	PATH="$(abspath $(PROMETHEUS3)):$$PATH" \
		$(BIN)/pytest -m "prometheus or prometheus3" --numprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

faults: $(VENV)/test.stamp ## inject every fault of tests/faults/rows.py, and count those that the exporter survives
	tests/peers.sh
	$(BIN)/pytest $$(PYTHONPATH=tests $(BIN)/python -m faults.rows) $(ARGS)

coverage: $(VENV)/test.stamp ## report which lines the fast tests cover; ARGS go to pytest
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

e2e: $(VENV)/test.stamp ## test the overlays on the cluster of KUBECONFIG; it needs the IMAGE (health-exporter:dev)
	$(BIN)/pytest -m "not long" tests/e2e/cluster $(ARGS)

e2e-long: $(VENV)/test.stamp ## test on the same cluster that nothing is restarted in two PERIODs (1200 s): quiet, and busy
	$(BIN)/pytest -m long tests/e2e/cluster $(ARGS)

bench: $(VENV)/test.stamp ## compare costs with other tools; ARGS=growth writes docs/capacity.md, ARGS=fleet measures the alert rules
	tests/peers.sh
	$(BIN)/python -m tests.bench $(ARGS)

soak: $(VENV)/test.stamp ## run for two hours with misbehaving targets and clients; ARGS="--duration 600" is shorter
	$(BIN)/python -m tests.soak $(ARGS)

format: $(VENV)/test.stamp ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/test.stamp ## generate the reference pages from the code
	$(BIN)/python docs/reference.py
	$(BIN)/python docs/documents.py
	$(BIN)/python docs/limits.py

manifests: ## regenerate files in k8s/, and print every overlay
	$(PYTHON) k8s/components/prometheusrule/generate.py
	for overlay in k8s/overlays/*; do echo "# $$overlay"; kubectl kustomize "$$overlay" || exit 1; echo "---"; done

dashboards: $(VENV)/test.stamp ## generate the dashboards from dashboards/source
	$(BIN)/python -m dashboards.source

PREVIEW_PARTS := dashboards/preview/node_modules/.package-lock.json

dashboards-preview: $(VENV)/test.stamp $(PREVIEW_PARTS) ## draw the dashboards from recorded data, without Grafana
	$(BIN)/python -m dashboards.preview $(PREVIEW)

$(PREVIEW_PARTS): dashboards/preview/package-lock.json
	npm ci --prefix dashboards/preview --ignore-scripts --loglevel=error
	touch $@

tools: $(TOOLS)/stamp ## install schemathesis and cyclonedx-py into an environment of their own

dist: $(VENV)/test.stamp ## build the wheel and the source archive into dist/
	$(BIN)/python -m build --no-isolation

# The packages that the Dockerfile installs, by the same pip commands. The base image is not part of it.
sbom: $(TOOLS)/stamp ## write an SBOM of the image's Python packages (CycloneDX); EXTRAS=redis,grpc includes extras
	rm -rf $(VENV)-sbom
	$(PYTHON) -m venv --without-pip $(VENV)-sbom
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
		--dest $(VENV)-sbom/packages --requirement requirements$(if $(EXTRAS),-extras).txt
	$(BIN)/pip --python $(VENV)-sbom/bin/python install --quiet --disable-pip-version-check --no-compile --no-index \
		--find-links $(VENV)-sbom/packages ".$(if $(EXTRAS),[$(EXTRAS)])"
	version=$$($(BIN)/python -c 'import exporter; print(exporter.__version__)') && \
		sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > $(VENV)-sbom/pyproject.toml
	mkdir -p $(dir $(SBOM))
	$(TOOLS)/bin/cyclonedx-py environment --pyproject $(VENV)-sbom/pyproject.toml --output-reproducible \
		--output-file $(SBOM) $(VENV)-sbom

# GOTOOLCHAIN: Debian's Go may be older than the one that Prometheus needs. `auto` installs that one from its module.
$(PROMETHEUS3)/prometheus:
	tests/peers.sh
	GOBIN="$(abspath $(PROMETHEUS3))" GOTOOLCHAIN=auto go install \
		github.com/prometheus/prometheus/cmd/promtool@$(PROMETHEUS_MODULE) \
		github.com/prometheus/prometheus/cmd/prometheus@$(PROMETHEUS_MODULE)

lock: $(VENV)/test.stamp ## pin the newest allowed versions of the dependencies, with hashes
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --output-file requirements.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra amqp --extra auth --extra dns --extra expect --extra grpc \
		--extra mysql --extra postgresql --extra redis --constraint requirements.txt \
		--output-file requirements-extras.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra dev --constraint requirements-extras.txt \
		--output-file requirements-dev.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --output-file requirements-tools.txt requirements-tools.in

clean: ## remove the environments and all caches
	rm -rf .venv .venv-* .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import platform, sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is required, this is %s: run `make PYTHON=python3.11 ...`" % platform.python_version())'
	$(PYTHON) -m venv $(VENV)
	sed -n '/^pip==/,/[^\\]$$/p' requirements-dev.txt > $(VENV)/pip.txt  # Python's own pip takes twice as long
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/pip.txt

$(VENV)/run.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# --no-compile: most of these modules are never imported, and Python compiles the others when it imports them.
$(VENV)/test.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	touch $@

# After the packages of the tests, which include another pip.
$(TOOLS)/stamp: requirements-tools.txt | $(VENV)/test.stamp
	$(PYTHON) -m venv --without-pip $(TOOLS)
	$(BIN)/pip --python $(TOOLS)/bin/python install --quiet --disable-pip-version-check --no-compile --require-hashes \
		-r requirements-tools.txt
	touch $@
