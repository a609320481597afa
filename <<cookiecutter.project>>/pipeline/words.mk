# The words of make that belong to this pipeline.
DATA ?=
TARGET ?=
QUERY ?=
# As they were given: a $ in an address is no variable of make's.
override DATA := $(value DATA)
override TARGET := $(value TARGET)
override QUERY := $(value QUERY)
export DATA TARGET QUERY

.PHONY: onboard refresh

onboard: ## Describe your table, train a first model on it, bring both as a pull request: make onboard DATA=table.csv TARGET=column
	@[ -n "$$DATA" ] || { echo 'ERROR: onboard: say which table: make onboard DATA=table.csv' >&2; exit 2; }
	@$(MAKE) --no-print-directory setup
	@$(BIN)/python -m pipeline onboard "$$DATA" $${TARGET:+"--target=$$TARGET"} $${QUERY:+"--query=$$QUERY"}
	@$(BIN)/python -m bots propose

refresh: setup ## Fetch the data anew from its source, then bring the model up to date
	@$(BIN)/dvc repro --force --single-item acquire
	@$(BIN)/dvc repro
