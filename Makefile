# make compare   the main job, from nothing to a table and an HTML report
# make explain PHOTO=cat.jpg   one photo: what the classifier says and where it looked
# make test      lint, types and unit tests
# make parity    against torch, captum and others, in an environment of its own
# make real      against real weights and photos, in the folder that SALBOX_SHARED names
# make slow      whole runs of scripts and whatever takes long, among them the check for an accelerator in its small form
# make docs      the site in runs/site, links checked, and its tutorials run as notebooks
# make benchmark speed, as ratios

PYTHON ?= python3
PIP = -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
HOW = --numprocesses 2 --dist worksteal --durations 10
# Each worker imports what it collects from: not what other targets run.
ELSEWHERE = --ignore tests/real --ignore tests/parity --ignore tests/gpu --ignore tests/docs --ignore tests/campaigns
# What Python compiles is kept for the next stage, and for the processes that tests start, whatever the shell says.
export PYTHONDONTWRITEBYTECODE =
ARGS ?=

.PHONY: compare explain test parity real slow docs benchmark clean

compare: .venv/.ready
	.venv/bin/python -m scripts.compare $(ARGS)

explain: .venv/.photos
	.venv/bin/python -m scripts.explain $(PHOTO) $(ARGS)

test: .venv/.tested
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest $(HOW) $(ELSEWHERE) -m "not parity and not real and not gpu and not slow and not docs" $(ARGS)

parity: .venv-parity/.ready .venv-pair/.ready
	SALBOX_CHECKED=few PAIR_PYTHON=$(CURDIR)/.venv-pair/bin/python .venv-parity/bin/pytest $(HOW) -m "parity and not slow" tests/parity $(ARGS)

real: .venv/.tested
	XLA_FLAGS= SALBOX_CHECKED=few .venv/bin/pytest $(HOW) -m real tests/real $(ARGS)

slow: .venv/.tested
	SALBOX_CHECKED=few .venv/bin/pytest $(HOW) $(ELSEWHERE) -m slow $(ARGS)

docs: .venv/.documented
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --quiet
	.venv/bin/pytest --numprocesses 2 -m docs tests/docs $(ARGS)

benchmark: .venv-parity/.ready
	.venv-parity/bin/python -m scripts.benchmark gradient
	.venv-parity/bin/python -m scripts.benchmark occlusion
	.venv-parity/bin/python -m scripts.benchmark fit

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable .
	touch $@

.venv/.photos: .venv/.ready
	.venv/bin/python $(PIP) --editable ".[photos]"
	touch $@

.venv/.tested: pyproject.toml constraints.txt  # with all that .ready has, in one installation
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP) --editable ".[test]"
	touch .venv/.ready $@

.venv/.documented: .venv/.tested
	.venv/bin/python $(PIP) --editable ".[docs]"
	touch $@

.venv-parity/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python $(PIP) --editable ".[test,parity,keras]"
	touch $@

.venv-pair/.ready: constraints.txt  # PAIR's package has the name of ours, and so an environment of its own
	$(PYTHON) -m venv .venv-pair
	.venv-pair/bin/python $(PIP) saliency==0.2.1
	touch $@

clean:
	rm -rf .venv .venv-parity .venv-pair .jax_cache runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
