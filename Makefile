# Two commands: `make run` starts the exporter, `make test` checks everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test e2e bench format docs manifests dashboards-preview lock clean
.DELETE_ON_ERROR:

run: $(VENV)/run.stamp ## start the exporter on its built-in default
	$(BIN)/health-exporter serve

test: $(VENV)/test.stamp ## lint, types, import rules and all tests
	tests/peers.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest

e2e: $(VENV)/test.stamp ## the manifests on the cluster of KUBECONFIG, with the image IMAGE (health-exporter:dev) there
	$(BIN)/pytest tests/e2e/cluster

bench: $(VENV)/test.stamp ## figures beside blackbox_exporter's, in one run
	tests/peers.sh
	$(BIN)/python -m tests.bench

format: $(VENV)/test.stamp ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/test.stamp ## write the reference pages from the code
	$(BIN)/python docs/reference.py

manifests: ## write what is generated in k8s/, and print every overlay
	$(PYTHON) k8s/components/prometheusrule/generate.py
	for each in k8s/overlays/*; do echo "# $$each"; kubectl kustomize "$$each" || exit 1; echo "---"; done

PREVIEW_PARTS := dashboards/preview/node_modules/.package-lock.json

dashboards-preview: $(VENV)/test.stamp $(PREVIEW_PARTS) ## draw the dashboards from real data, without Grafana
	$(BIN)/python -m dashboards.preview $(PREVIEW)

$(PREVIEW_PARTS): dashboards/preview/package-lock.json
	npm ci --prefix dashboards/preview --ignore-scripts --loglevel=error
	touch $@

lock: $(VENV)/test.stamp ## pin the dependencies' newest allowed versions, with hashes
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --output-file requirements.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra auth --extra dns --extra expect --extra grpc \
		--extra mysql --extra postgresql --extra redis --constraint requirements.txt \
		--output-file requirements-extras.txt pyproject.toml
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --allow-unsafe --no-header \
		--no-emit-index-url --no-emit-find-links --extra build --extra dev --constraint requirements-extras.txt \
		--output-file requirements-dev.txt pyproject.toml

clean: ## remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, set PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@
