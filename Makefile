PYTHON ?= python3
FASHION_MNIST ?= /usr/share/datasets/fashion-mnist
BIN := .venv/bin
READY := .venv/.ready
DEMO_READY := .venv/.demo-ready
DOCS_READY := .venv/.docs-ready

TORCH ?= 2.14.1
TORCHVISION ?= 0.29.1
COMPAT := .compat-$(TORCH)

.PHONY: demo test check compat site docs prove bench bench-gpu bench-input bench-accuracy clean

demo: $(DEMO_READY)  ## the main job on handwritten digits and photographs; installs only what users need
	$(BIN)/softonce demo

test: $(READY)  ## the suite, doctests included
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

check: $(READY)  ## format, lint, types, import directions, our own contract, the wheel
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/softonce check src tests examples benchmarks tools
	$(BIN)/python tools/check_wheel.py

compat: $(COMPAT)/.ready  ## losses, models and training on another torch: make compat TORCH=2.14.1 TORCHVISION=0.29.1
	OMP_NUM_THREADS=1 $(COMPAT)/bin/python -m pytest -n 2 --dist worksteal tests/losses tests/models tests/training

site: $(DOCS_READY)  ## the site in both languages, in build/site
	$(BIN)/python -m sphinx -W --keep-going -q -a docs build/site
	$(BIN)/python -m sphinx -W --keep-going -q -a -c docs -D language=ko docs/ko build/site/ko

docs: site  ## the site; every block and notebook runs, links, pictures and browser are checked
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "site or not site" tests/docs tests/serving/test_page.py

prove: $(READY)  ## the long proofs: minutes to an hour
	$(BIN)/python -m pytest -m slow -o faulthandler_timeout=0 -o addopts="--strict-markers --import-mode=importlib -ra" tests

bench: $(READY)  ## every benchmark that needs no data of yours, one after the other
	for name in train_step losses sharded scale_rates checker_speed watch_overhead; do \
	  $(BIN)/python benchmarks/$$name.py || exit 1; done

bench-input: $(READY)  ## the input pipeline on pictures made of your photos: make bench-input PHOTOS=folder
	$(BIN)/python benchmarks/input_pipeline.py $(PHOTOS)

bench-gpu: $(READY)  ## the losses on a GPU, against torch and the kernel packages that are installed
	$(BIN)/python benchmarks/gpu_losses.py

bench-accuracy: $(READY)  ## Fashion-MNIST with and without random erasing; goes on where it was
	$(BIN)/python benchmarks/accuracy.py idx:$(FASHION_MNIST) --work accuracy

clean:
	rm -rf .venv .compat-* softonce-demo build docs/generated

# torchvision and timm are judges, not dependencies: without theirs they leave the torch build alone.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "softonce needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torchvision==0.28.0 timm
	touch $(READY)

# torchvision and sympy are of a torch, and triton of a torch's GPU build: these pins would not fit.
$(COMPAT)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(COMPAT)
	grep -vE '^(torch|torchvision|triton|sympy)==' constraints.txt > $(COMPAT)/constraints.txt
	$(COMPAT)/bin/python -m pip install --quiet --constraint $(COMPAT)/constraints.txt torch==$(TORCH) torchvision==$(TORCHVISION) --editable ".[compat]"
	$(COMPAT)/bin/python -m pip install --quiet --constraint $(COMPAT)/constraints.txt --no-deps timm
	touch $(COMPAT)/.ready

$(DEMO_READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "softonce needs Python 3.11 or newer"'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[demo]"
	touch $(DEMO_READY)

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(DOCS_READY)
