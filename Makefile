# Every target makes what it needs: a virtual environment in .venv with the pinned versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo poet test test-slow test-floors check format bench figures rooms docs clean

help:
	@echo "make demo               train an agent on generated bandits, evaluate it, write demo/report.html"
	@echo "make poet               evolve cart-poles and obstacle courses with their agents, write poet/*/report.html"
	@echo "make test               run the tests on all cores (make test-slow: the slow ones too)"
	@echo "make test-floors        run the tests of the faces with the oldest Gymnasium, PettingZoo and MuJoCo allowed"
	@echo "make check              lint, formatting, types, import layers"
	@echo "make bench NAME=...     run one benchmark; without NAME those of the speed table, and print it"
	@echo "make figures            write docs/figures.md and the README's figures from the recorded results"
	@echo "make docs               build the site of the documentation in site/ (python -m http.server -d site shows it)"
	@echo "make rooms              write the table of rooms and arrows in docs/architecture.md"

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -e '.[dev]' -c constraints.txt
	touch $@

demo: $(STAMP)
	rm -rf demo
	$(BIN)/taskgen train rl2-bandit --seed 0 --run demo

poet: $(STAMP)
	rm -rf poet
	$(BIN)/taskgen train poet-cartpole --seed 0 --run poet/cartpole
	$(BIN)/taskgen train poet-walker --seed 0 --run poet/walker

test: $(STAMP)
	$(BIN)/python -m pytest -n auto

test-slow: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not cuda"

# The oldest versions that pyproject.toml allows of what other people's libraries pin.
FLOORS := gymnasium==1.2.2 pettingzoo==1.26.1 mujoco==3.3.0
test-floors: $(STAMP)
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target $(VENV)/floors $(FLOORS)
	PYTHONPATH=$(VENV)/floors $(BIN)/python -m pytest tests/taskgen/faces/test_requests.py tests/taskgen/faces/test_env.py \
		-k "not builtin and not diverging and not objects"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)
ifdef NAME
	$(BIN)/python -m benchmarks.$(NAME)
else
	$(BIN)/python -m benchmarks.speed
endif

figures: $(STAMP)
	$(BIN)/python -m benchmarks.table

rooms: $(STAMP)
	$(BIN)/python -m tests.architecture.arrows

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --config-file website/mkdocs.yml
	@echo "site/index.html; with search: $(BIN)/python -m http.server -d site"

clean:
	rm -rf build dist demo poet site .pytest_cache .ruff_cache .import_linter_cache .hypothesis
