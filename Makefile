# make test   installs what the tests need and runs them all
# make help   lists the rest

GO ?= go
GOLANGCI_LINT_VERSION = v2.15.0
BENCHSTAT_VERSION = v0.0.0-20260908200009-22c9c6c9d4da

BENCH = .
BENCHCOUNT = 3
FUZZTIME = 30s

BENCHTEST = CHECKBUS_REAL=require $(GO) test -run '^$$' -bench '$(BENCH)'
BENCHOUT = $(BIN)/bench.txt

BIN = $(CURDIR)/.bin
LINT = $(BIN)/golangci-lint-$(GOLANGCI_LINT_VERSION)
BENCHSTAT = $(BIN)/benchstat-$(BENCHSTAT_VERSION)

.PHONY: help deps build check test bench bench-plain fuzz console clean

help:
	@echo 'make deps    install the programs that the tests run (apt-get)'
	@echo 'make build   build checkbus and check_mqtt here, as static binaries'
	@echo 'make check   gofmt, go vet, golangci-lint'
	@echo 'make test    all tests, against the real Nagios, Icinga 2 and Mosquitto'
	@echo 'make bench   all benchmarks (BENCH=regexp, BENCHCOUNT=3)'
	@echo 'make bench-plain  of these, checkbus and Mosquitto as plain brokers'
	@echo 'make fuzz    every fuzz test for FUZZTIME=30s'
	@echo 'make console build the page that checkbus has in it, after a change of its source'
	@echo 'make clean   remove what was built'

deps:
	@.ci/deps

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o . ./cmd/...

check: $(LINT)
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(LINT) run --allow-parallel-runners

test: deps
	CHECKBUS_REAL=require $(GO) test -race -p 2 -timeout 15m ./...

# One round after another, so that what is compared alternates.
bench: deps $(BENCHSTAT)
	@for round in $$(seq $(BENCHCOUNT)); do \
		$(BENCHTEST) -skip PlainMessages -benchtime 1x -timeout 60m ./internal/bench || exit 1; \
	done > $(BENCHOUT) || { cat $(BENCHOUT); exit 1; }
	@$(BENCHTEST) -benchmem $$($(GO) list ./... | grep -v /internal/bench) >> $(BENCHOUT) || { cat $(BENCHOUT); exit 1; }
	$(BENCHSTAT) -col /pipeline $(BENCHOUT)
	$(if $(filter .,$(BENCH)),$(MAKE) bench-plain)

# As a plain broker beside Mosquitto: rounds in turn, and tables for the README.
bench-plain: deps
	CHECKBUS_REAL=require $(GO) test -run '^$$' -bench PlainMessages -benchtime $(BENCHCOUNT)x -timeout 20m ./internal/bench

fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for name in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "$$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# What npm builds is committed, so that Go alone builds checkbus.
console: deps
	npm run build --prefix internal/web/console

clean:
	rm -rf checkbus check_mqtt $(BIN)

# Tools are built once for each version, into a folder of this project.
$(LINT):
	GOBIN=$(BIN) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)
	mv $(BIN)/golangci-lint $@

$(BENCHSTAT):
	GOBIN=$(BIN) $(GO) install golang.org/x/perf/cmd/benchstat@$(BENCHSTAT_VERSION)
	mv $(BIN)/benchstat $@
