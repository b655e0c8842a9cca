# Everything on a fresh machine: `make demo` to see it work, `make test` to check it.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: demo test long kernels lint clean

demo: $(INSTALLED)
	$(BIN)/tanet demo

test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest

# Tests that take minutes: 10,000 damaged files, trainings killed at random moments, every frame of every kind of file.
long: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m long tests

# The fused kernels' tests in Triton's interpreter, where there is no GPU. Triton lies beside the environment, since
# torch.compile would use it.
kernels: $(INSTALLED) build/triton
	TRITON_INTERPRET=1 OMP_NUM_THREADS=1 PYTHONPATH=build/triton $(BIN)/pytest tests/ops/*_triton.py
	OMP_NUM_THREADS=1 PYTHONPATH=build/triton $(BIN)/pytest tests/ops/test_shared_memory_triton.py

build/triton:
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --target $@ triton==3.7.1

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

$(INSTALLED): pyproject.toml constraints.txt
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf .venv demo runs build *.egg-info .pytest_cache .ruff_cache
