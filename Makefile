# dfserve: `make help` lists the targets. Variables are set on the command line: make export MODELS=aasist_l

PYTHON ?= python3
MODELS ?= aasist aasist_l
WEIGHTS_DIR ?= $(if $(wildcard weights),weights,$(if $(wildcard ../shared/weights),../shared/weights,weights))
WEIGHTS ?= published
FORMAT ?= onnx
PRECISION ?= fp32
SERVER ?= embedded
# 1: the server's environment gets ONNX Runtime for CUDA, and the gpu profile is served.
GPU ?=
PROFILE ?= $(if $(GPU),gpu)
PACKAGES ?= install
IMAGE ?= cpu
# How many files of tests run at once; each process has its own servers, and all share what was exported.
# Two where there are two cores: a process holds up to 5 GB.
JOBS ?= $(if $(filter 1,$(shell nproc 2>/dev/null || echo 1)),1,2)
# Empty: chosen by whether there is an NVIDIA driver (deploy/dfdeploy/machine.py).
export TORCH_INDEX_URL ?=

REPOSITORY ?= $(if $(filter random,$(WEIGHTS)),model_repository_random,model_repository)
BIN := .venv/bin
APP := .venv/installed
# The oldest ONNX Runtime that a served file must load in: Triton 24.10's, or the first for this Python.
OLD_ORT := .onnxruntime-old/installed
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
MACHINE := $(PYTHON) deploy/dfdeploy/machine.py
# System packages of all the targets asked for are installed before anything slow begins; every target needs setup's.
ASKED := setup $(filter demo serve bench test,$(MAKECMDGOALS)) $(if $(filter test-%,$(MAKECMDGOALS)),test)

.DEFAULT_GOAL := help
.PHONY: help setup machine server demo export serve score eval report page docs lab bench image images test test-slow test-faults test-wheel test-image test-fresh \
  test-reference check docs-tables format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo "  MODELS='$(MODELS)'  WEIGHTS_DIR=$(WEIGHTS_DIR)  WEIGHTS=published|random  SERVER=embedded|docker"
	@echo "  FORMAT=onnx|torchscript|openvino  PRECISION=fp32|fp16|bf16|int8"
	@echo "  PACKAGES=install|skip  (install missing system packages, or go on without)   PYTHON=python3.12"
	@echo "  TORCH_INDEX_URL=URL  (default: the CPU builds of torch where there is no NVIDIA driver)"

setup: $(APP) server ## both environments: .venv, and .venv-server for Triton (FORMAT=torchscript: with torch; FORMAT=openvino: with OpenVINO; GPU=1: for CUDA)

demo: setup ## export, serve and score a human and two synthetic recordings, with a picture
	@$(BIN)/python examples/demo.py --weights-dir $(WEIGHTS_DIR) --weights $(WEIGHTS)

export: $(APP) ## checkpoints → model repository
	@$(BIN)/dfexport build $(MODELS) --weights $(WEIGHTS) --weights-dir $(WEIGHTS_DIR) --repository $(REPOSITORY) \
	  --format $(FORMAT) --precision $(PRECISION)

serve: setup ## serve what was exported (SERVER=docker: NVIDIA's container)
	@$(BIN)/dfdeploy serve --server $(SERVER) --repository $(REPOSITORY) $(if $(PROFILE),--profile $(PROFILE))

score: $(APP) ## score the example recordings with the running server
	@$(BIN)/dfclient score examples --model $(firstword $(MODELS))

eval: $(APP) ## figures of SCORES against PROTOCOL (see README)
	@$(BIN)/dfeval metrics $(SCORES) --protocol $(PROTOCOL) --protocol-format $(or $(PROTOCOL_FORMAT),csv)

report: $(APP) ## one HTML page: SCORES against PROTOCOL, pictures and tables (see README)
	@$(BIN)/dfeval report $(SCORES) --protocol $(PROTOCOL) --protocol-format $(or $(PROTOCOL_FORMAT),csv) --out report

page: $(APP) ## a page in the browser: drop recordings or record, see and hear what the running server says of them
	@$(BIN)/dfpage $(if $(URL),--url $(URL))

lab: $(APP) ## the notebooks, in Jupyter Lab
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[lab]'
	@DFSERVE_RECORDINGS=$${DFSERVE_RECORDINGS:-$(CURDIR)/examples} $(BIN)/jupyter lab eval/dfeval/notebooks

bench: setup ## speed: server, ONNX Runtime, PyTorch and client in turns; bench.json, .csv and .html
	@WEIGHTS_DIR=$(WEIGHTS_DIR) $(BIN)/dfdeploy bench --repository $(REPOSITORY) $(if $(PROFILE),--profile $(PROFILE))

test: setup $(OLD_ORT) ## everything that proves it, against a real server (JOBS=1: one file of tests at a time)
	@$(BIN)/python -m pytest -m 'not slow and not wheel and not faults and not image' \
	  $(if $(filter-out 1,$(JOBS)),-n $(JOBS) --dist loadfile --no-loadscope-reorder)

test-slow: setup $(OLD_ORT) ## the tests that take minutes each
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt 'ray[data]' pyspark
	@$(BIN)/python -m pytest -m slow

test-faults: setup ## real faults on a real server: kills, exchanges, clients that leave (some 12 minutes)
	@$(BIN)/python -m pytest -m faults tests/faults

test-wheel: $(APP) ## wheel and sdist: every extra in an environment of its own, and the walk outside the checkout
	@$(BIN)/python -m pytest -m wheel tests/packaging

image: $(APP) ## a container image (IMAGE=cpu|gpu|export|proxy|prometheus|lab ENGINE=docker|podman BASE=debian:12-slim), tagged dfserve:cpu
	@deploy/docker/build.sh $(IMAGE)

images: $(APP) ## all images of deploy/compose
	@for image in cpu proxy prometheus lab; do deploy/docker/build.sh $$image || exit 1; done

test-image: setup images ## the image, run as users run it: scores, health, metrics, rights, SBOM, stop (ENGINE, BASE)
	@$(BIN)/python -m pytest -m image tests/image

test-fresh: ## make demo and make test in empty containers (ENGINE=podman|docker BASE=debian:12-slim FRESH="demo test")
	@tests/fresh/walk.sh $(FRESH)

test-reference: $(APP) ## our XLS-R encoder against fairseq, our Mamba layer against mamba-ssm (built in an environment of its own)
	@TORCH_INDEX_URL=$(TORCH_INDEX_URL) sh tests/reference/run.sh $(PYTHON)

check: $(APP) ## ruff, mypy, import-linter (who may import whom), hadolint, shellcheck, known vulnerabilities of what is pinned
	@$(BIN)/ruff check --no-cache . && $(BIN)/ruff format --no-cache --check . && $(BIN)/lint-imports && $(BIN)/mypy
	@$(BIN)/hadolint deploy/docker/*.Dockerfile && $(BIN)/shellcheck $$(git ls-files '*.sh')
	@$(BIN)/python deploy/audit.py

docs: $(APP) ## the documentation site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
	@echo "open build/site/index.html; with its search: $(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site"

docs-tables: $(APP) ## write the tables of README and docs, and the families' notebooks, from the code's rows
	@$(BIN)/python docs/tables.py && $(BIN)/python docs/notebooks.py

format: $(APP) ## let ruff put the code in shape
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

clean: ## remove what was built; environments and weights stay
	rm -rf model_repository/*/ model_repository_random build *.egg-info .pytest_cache .mypy_cache .ruff_cache

machine:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "dfserve's server needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1). Choose: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(MACHINE) packages $(ASKED) $(if $(filter skip,$(PACKAGES)),--go-on)

$(APP): pyproject.toml constraints.txt | machine
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the application into .venv ..."
	@index=$$($(MACHINE) torch-index) && \
	  { [ -z "$$index" ] || $(BIN)/python $(PIP_INSTALL) -c constraints.txt --no-deps --index-url "$$index" torch; }
	@$(BIN)/python $(PIP_INSTALL) -c constraints.txt -e '.[bulk,containers,export,eval,openvino,parquet,serve,page,docs,dev]'
	@touch $@

# `dfdeploy setup` installs only what is not there yet, so this target needs no stamp file.
server: | $(APP)
	@$(BIN)/dfdeploy setup $(if $(GPU),--gpu) $(if $(filter torchscript,$(FORMAT)),--torch) $(if $(filter openvino,$(FORMAT)),--openvino) \
	  $(if $(filter bench test,$(MAKECMDGOALS)),--perf-analyzer)

$(OLD_ORT): | $(APP)
	@$(BIN)/python $(PIP_INSTALL) --target $(dir $@) "onnxruntime==1.19.2; python_version < '3.13'" \
	  "numpy<2; python_version < '3.13'" "onnxruntime==1.20.0; python_version >= '3.13'" "numpy>=2; python_version >= '3.13'"
	@touch $@
