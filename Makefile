# The template's workshop. `make demo` and `make test` need Python 3.11 or newer, git and make, and nothing else.
PYTHON ?= python3
PROJECT := <<cookiecutter.project>>
BIN := $(CURDIR)/.venv/bin
LOCK := requirements/dev.txt
# Several tests fit at once when idle threads sleep.
FUZZ_MINUTES ?= 10
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --custom-compile-command 'make lock' $(UPGRADE)
PYTEST := OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses auto --no-loadscope-reorder

export PATH := $(BIN):$(PATH)
# Tests are thousands of processes: none shall compile again what another has compiled.
unexport PYTHONDONTWRITEBYTECODE
# Before them, so that no file appears in the template's folder while another process bakes from it.
COMPILE := $(BIN)/python -m compileall -q -j 0 '$(PROJECT)/bots' '$(PROJECT)/pipeline' '$(PROJECT)/serving'

.DEFAULT_GOAL := help
.PHONY: help setup demo watch check test fuzz lint bench picture lock

help: ## List these words
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

setup: ## Install the tools into .venv, each checked by hash; nothing to do when the lock is the same
	@$(BIN)/python -c '' 2>/dev/null || rm -rf .venv
	@cmp -s $(LOCK) .venv/lock || { \
		$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'ERROR: Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12' >&2; exit 1; }; \
		echo 'Installing the tools into .venv (once; about a gigabyte and a half)' \
		&& $(PYTHON) -m venv .venv \
		&& $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
			-r '$(PROJECT)/requirements/uv.txt' \
		&& $(BIN)/uv pip sync --python $(BIN)/python --require-hashes --compile-bytecode $(LOCK) \
		&& cp $(LOCK) .venv/lock; }

demo: setup ## Bake a project, train it on real flights, change the model, review the change
	@$(BIN)/python -m demo

watch: setup ## Replay four months of production day by day: the page, the issue, the retrain pull request
	@$(BIN)/python -m demo.watch

check: lint ## After every edit: lint and the fast tests, in less than five minutes
	@$(COMPILE)
	@$(PYTEST) -m 'not slow and not docker and not act and not browser'

test: setup ## Run the whole test suite
	@$(COMPILE)
	@$(PYTEST)

fuzz: setup ## Try what strangers may write for FUZZ_MINUTES=10: cases, minutes and crashes as a table
	@FUZZ_MINUTES='$(FUZZ_MINUTES)' $(BIN)/python -m tests.fuzz

lint: setup ## Check style, formatting, types, workflows, shell and paths
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/yamllint --strict .
	@$(BIN)/zizmor --offline --quiet --no-progress .github
	@$(BIN)/zizmor --offline --quiet --no-progress --persona pedantic --config '$(PROJECT)/.github/zizmor.yml' '$(PROJECT)/.github'
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml '$(PROJECT)'/.github/workflows/*.yaml
	@$(BIN)/check-jsonschema --builtin-schema vendor.github-actions '$(PROJECT)'/.github/actions/*/action.yaml
	@$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yaml '$(PROJECT)/.github/dependabot.yaml'
	@$(BIN)/shellcheck .ci/run
	@$(BIN)/python -m pytest --quiet tests/template/test_paths.py

bench: setup ## Measure what must be fast
	@for script in $$(ls benchmarks/*.py | grep --invert-match models.py); do $(BIN)/python "$$script" || exit 1; done

models: setup ## Try the estimators that people use, and hold what each can do against docs/models.md of the project
	@$(BIN)/python benchmarks/models.py --check

picture: setup ## Draw the pictures of the pages anew, from what `make demo` and `make watch` made
	@$(BIN)/python -m demo.picture

lock: setup ## Lock the versions that requirements/*.in ask for, here and in the generated project
	@$(MAKE) --no-print-directory -C '$(PROJECT)' lock UV=$(BIN)/uv UPGRADE='$(UPGRADE)'
	@$(RESOLVE) requirements/dev.in \
		--constraints '$(PROJECT)/requirements/dev.txt' --output-file $(LOCK)
	@$(RESOLVE) '$(PROJECT)/requirements/models/torch.in' \
		--constraints '$(PROJECT)/requirements/dev.txt' --output-file '$(PROJECT)/requirements/models/torch.txt'
	@rm -rf .own && cp -R '$(PROJECT)/requirements' .own && cp '$(PROJECT)/own/requirements/pipeline.in' .own/ \
		&& for room in pipeline review dev; do \
			$(RESOLVE) .own/$$room.in --constraints '$(PROJECT)/requirements/dev.txt' --output-file .own/$$room.txt \
				&& cp .own/$$room.txt '$(PROJECT)/own/requirements/' || exit 1; done
	@rm -r .own
