# The README's commands. Paths are relative, so that a folder with spaces in its name works.
#   make demo   the main job on the built-in subject     make test   all tests
#   make lint   style and types                          make clean  forget the virtual environment
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed

.PHONY: demo test lint clean
.DELETE_ON_ERROR:

demo: $(STAMP)
	$(RUN) -m studio.cli.main demo

test: $(STAMP)
	$(RUN) -m pytest

lint: $(STAMP)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV)

# Installed again only when what is to be installed has changed; an environment whose Python is gone is made anew.
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" && "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || \
		{ echo "Python 3.10 or newer was not found; install it or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(RUN) -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV) || \
		{ echo "cannot make a virtual environment; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV) (once; a few minutes) …"
	@$(RUN) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
