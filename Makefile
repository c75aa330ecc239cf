# syncd: everything a person or CI does with a checkout. `make` alone prints the list.
# Each target sets up what it needs by itself: .venv is made from the locked requirements, once.
.DEFAULT_GOAL := help
.PHONY: help demo run test coverage check lint bench conformance soak systemd docs wheel deb lock clean screenshots

PYTHON_BIN := .venv/bin/python
# Whole paths wait more than they reckon: three at a time for each of two processors, and one.
JOBS ?= 7
# Which tests: make test T=tests/limits
T ?= tests
# Which YAML: make run CONFIG=/etc/syncd
CONFIG ?= config
# More words for the program: make demo ARGS=--help
ARGS ?=

# An environment that was made in another folder does not work in this one.
$(shell [ "$$(cat .venv/.made-in 2>/dev/null)" = "$$(pwd)" ] || rm -f .venv/.demo .venv/.dev)

help: ## This list
	@printf 'syncd: one daemon that keeps a copy of your partners'"'"' data in your own PostgreSQL\n\n'
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@printf '\nNeeds Python 3.11 to 3.13; everything else is set up on first use (a minute or two).\n'

demo: .venv/.demo ## See it work: embedded PostgreSQL, eight simulated partners, a live import and a story; leaves nothing behind
	@$(PYTHON_BIN) -m syncd demo $(ARGS)

run: .venv/.demo ## Run the daemon on config/ with an embedded PostgreSQL (CONFIG=, ARGS=)
	@$(PYTHON_BIN) -m syncd run --config '$(CONFIG)' --embedded --state-dir .state $(ARGS)

test: .venv/.dev ## Run all tests (T=tests/limits for some, JOBS=2, COVERAGE=1 to measure branches)
	@$(PYTHON_BIN) $(if $(COVERAGE),-m coverage run) -m pytest '$(T)' -rfEs -n $(JOBS) --dist loadgroup -m 'not soak' $(ARGS)

coverage: .venv/.dev ## Report what `make test COVERAGE=1` measured; fails under 80 %
	@$(PYTHON_BIN) -m coverage combine --quiet
	@$(PYTHON_BIN) -m coverage report --fail-under=80

check: lint ## Lint, format, strict types, no secrets, the floors, the documents: what must hold before a commit
	@$(PYTHON_BIN) -m pytest -q tests/test_floors.py tests/test_docs.py

lint: .venv/.dev ## Of that what `make test` does not run as well: lint, format, strict types, no secrets
	@$(PYTHON_BIN) -m ruff check .
	@$(PYTHON_BIN) -m ruff format --check .
	@$(PYTHON_BIN) -m mypy
	@$(PYTHON_BIN) .ci/scan.py

bench: .venv/.dev .venv-bench/.made ## Measure speed and memory against a bare script and dlt (ARGS='--records 20000 --repeats 1')
	@$(PYTHON_BIN) -m bench.run $(ARGS)
	@$(PYTHON_BIN) -m bench.gate
	@$(PYTHON_BIN) -m bench.intake
	@$(PYTHON_BIN) -m bench.memory
	@$(PYTHON_BIN) -m bench.retention
	@$(PYTHON_BIN) -m bench.page 2>/dev/null

conformance: .venv/.dev .venv-conformance/.made ## Give every "come back later" to other tools and measure what they do (ARGS='--only dlt')
	@$(PYTHON_BIN) -m conformance.run $(ARGS)

soak: .venv/.dev ## Long campaigns: many kills, many mutations, hours of simulated weather
	@$(PYTHON_BIN) -m pytest '$(T)' -m soak $(ARGS)

systemd: deb ## Boot a Debian with a real systemd, install the package there and hold the unit to its word (root; T=..., ARGS=)
	@tests/systemd/tree .machine/tree
	@SYNCD_MACHINE_TREE=$$PWD/.machine/tree SYNCD_MACHINE_PACKAGE=$$(ls $$PWD/dist/syncd_*.deb) \
		$(PYTHON_BIN) -m pytest tests/systemd -rfEs --durations=5 $(ARGS)

docs: .venv-docs/.made ## Build the site of docs/ into site/; fails on a link that leads nowhere
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build --quiet --strict --site-dir site
	@printf 'site/index.html\n'

screenshots: .venv/.dev ## Take the pictures of docs/images/ anew, from the demo's daemon by a real browser (two minutes)
	@$(PYTHON_BIN) -m tests.browser.screenshots

wheel: .venv/.dev ## Build dist/syncd-*.whl
	@rm -f dist/syncd-*.whl
	@$(PYTHON_BIN) -m build --wheel --no-isolation --outdir dist . >/dev/null
	@ls dist/*.whl

deb: wheel ## Build dist/syncd_*.deb for this machine's release of Debian or Ubuntu
	@rm -f dist/syncd_*.deb
	@PIP='$(PYTHON_BIN) -m pip' packaging/debian/build dist/syncd-*.whl dist

lock: ## Resolve requirements/*.txt anew for Python 3.11 to 3.13 (UPGRADE=1 takes newer releases)
	@requirements/lock $(if $(UPGRADE),--upgrade)

clean: ## Remove environments, caches and built files
	rm -rf .venv .venv-bench .venv-conformance .venv-docs .venv-lock .machine site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* htmlcov .state
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: the second run is quick, a changed lock is installed. What tests need includes what the demo needs.
.venv/.dev: requirements/dev.txt requirements/install pyproject.toml
	@requirements/install .venv requirements/dev.txt project
	@pwd > .venv/.made-in
	@touch .venv/.demo .venv/.dev

.venv/.demo: requirements/demo.txt requirements/install pyproject.toml
	@requirements/install .venv requirements/demo.txt project
	@pwd > .venv/.made-in
	@touch .venv/.demo

.venv-conformance/.made: requirements/conformance.txt requirements/install
	@requirements/install .venv-conformance requirements/conformance.txt
	@touch .venv-conformance/.made

.venv-docs/.made: requirements/docs.txt requirements/install
	@requirements/install .venv-docs requirements/docs.txt
	@touch .venv-docs/.made

.venv-bench/.made: requirements/bench.txt requirements/install
	@requirements/install .venv-bench requirements/bench.txt
	@touch .venv-bench/.made
