# Everything that the project does, one target each. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help report test docs lab data benchmarks mutants fuzz image slides clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

report: .venv/installed ## run every notebook on the embedded data: reports/index.html
	$(BIN)/imagelab notebooks -o reports

test: .venv/installed-test ## all tests that this machine can run; says what it skipped and why
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile

docs: .venv/installed-test ## the documentation site: reports/docs/index.html
	$(BIN)/python -m sphinx -q -W -b html docs reports/docs
	$(BIN)/imagelab notebooks -o reports/docs/lessons

lab: .venv/installed ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

slides: .venv/installed ## slides of the lessons with reveal.js, offline: reports/slides (ARGS=04_layer_cleanup for one)
	$(BIN)/pip download --quiet --no-deps --dest .venv/reveal sphinx-revealjs
	$(BIN)/python -m zipfile -e .venv/reveal/sphinx_revealjs-*.whl .venv/reveal
	$(BIN)/python tools/slides.py .venv/reveal/sphinx_revealjs/_static/revealjs reports/slides $(ARGS)

data: .venv/installed ## build the recipes on your engine and record them again (see data/README.md)
	$(BIN)/python data/make.py $(ARGS)
	$(BIN)/python data/build/record.py $(RECORD)

benchmarks: .venv/installed-test ## measure against dive, tarfile and friends (needs an engine)
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: .venv/installed-test ## damaged input for every reader (ARGS="--minutes 10 --seed 1 tar"); findings go to fuzz-findings/
	$(BIN)/python tools/fuzz.py $(ARGS)

mutants: .venv/installed-test ## change the arithmetic in small ways and see whether its tests notice (slow; ARGS="--sample 0.1 waste")
	$(BIN)/python tools/mutants.py $(ARGS)

image: ## build an image of imagelab itself (ARGS="--build-arg EXTRAS=[notebook]" for reports)
	docker build --tag imagelab $(ARGS) .

clean: ## delete the environment and the reports
	rm -rf .venv reports

.venv/bin/python:
	$(PYTHON) -m venv .venv || { echo "No venv module: on Debian, apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e '.[notebook,fleet]'
	@touch $@

.venv/installed-test: .venv/bin/python pyproject.toml constraints.txt
	$(INSTALL) -e '.[test]'
	@touch $@ .venv/installed
