# Everything a newcomer runs; .venv is made by itself. Only (un)install-... ask for root.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test faults torture lint bench accuracy wheels clean
.PHONY: install-device uninstall-device install-server uninstall-server

BIN := .venv/bin
READY := .venv/.ready
# A value for the shell, whatever quotes are in it.
quoted = '$(subst ','\'',$(1))'
# --name 'value' where a value was given.
option = $(if $(2),--$(1) $(call quoted,$(2)))

help: ## List these commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26
	@echo
	@echo 'For the demonstration:'
	@echo '  make demo MAINS="voltage=127 current=4.2 pf=0.9 export"   a steady mains socket'
	@echo '  make demo WAVEFORM=file.npz                               a recording (.npz or .csv)'
	@echo '  make demo PORT=8090 SECONDS=60                            port; end after so long'

demo: $(READY) ## Server, meter and customer on this machine, the LCD in this terminal
	@$(BIN)/python -m demo $(call option,mains,$(MAINS)) $(call option,waveform,$(WAVEFORM)) \
		$(call option,port,$(PORT)) $(call option,seconds,$(SECONDS))

test: $(READY) ## All tests but those of faults
	$(BIN)/pytest -q --durations=5 --ignore=tests/crash

faults: $(READY) ## Power cuts, kills, full disks, bad networks: a few of each (root for some)
	$(BIN)/pytest -q tests/crash --durations=10

torture: $(READY) ## The faults of docs/reliability.md as often as promised (an hour; root for some)
	$(BIN)/pytest -q -s --torture tests/crash tests/test_record_chain.py --durations=20

lint: $(READY) ## Style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) ## Run every measurement in bench/
	@set -e; for measurement in bench/bench_*.py; do \
		if [ -e "$$measurement" ]; then echo "== $$measurement"; $(BIN)/python "$$measurement"; \
		else echo 'bench/ holds no bench_*.py yet'; fi; \
	done

accuracy: $(READY) ## Errors at the standards' load points, other meters beside (FULL=1: whole days)
	@$(BIN)/python -c 'import matplotlib, pqopen' 2>/dev/null || \
		$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[accuracy]'
	@$(BIN)/python -m bench.accuracy $(if $(FULL),--full)

wheels: $(READY) ## Does every dependency of the meter come as a wheel for a Raspberry Pi?
	@$(BIN)/python tools/wheels.py

install-device: ## Meter into /opt/meterd, with sudo (DESTDIR= ASSUME_YES=1 SERIAL=)
	@tools/install.sh $@

uninstall-device: ## Take the meter's programs away; data, configuration and keys stay
	@tools/install.sh $@

install-server: ## Server into /opt/meterd, with sudo (DESTDIR=)
	@tools/install.sh $@

uninstall-server: ## Take the server's programs away; its data stays
	@tools/install.sh $@

clean: ## Remove all that these commands made, .venv included
	rm -rf .venv build demo-state meterd.egg-info .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A Python that was replaced leaves a .venv that no longer runs: made anew.
$(READY): setup.cfg pyproject.toml
	@python=$$(PYTHON=$(call quoted,$(PYTHON)) tools/preflight.sh) || exit 1; \
	if ! $(BIN)/python -m pip --version >/dev/null 2>&1; then \
		echo "Making .venv with $$python"; "$$python" -m venv --clear .venv || exit 1; fi
	@echo 'Installing into .venv (once; some minutes, on a Raspberry Pi more)'
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off \
		-e '.[server,test,dev]'
	@touch $@
