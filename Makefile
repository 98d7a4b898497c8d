# make alone lists the targets. Everything CI does is one of them.

GO      ?= go
TREE    ?=
KILLS   ?= 6
CYCLES  ?= 300
SEEDS   ?= 2000
FUZZ    ?= 20s
SOAK    ?= 10m
STRANGERS ?= 60s
WAN     ?= 20s
FOR     ?= 1h
BENCH   ?= .
TIME    ?= 1s
ARGS    ?=
BIN      = bin/cfs

.DEFAULT_GOAL := help
.PHONY: help setup build demo test check race sim crash crash-red failpoints trace-io soak wan fuzz host bench bench-peers bench-busy clean
.PHONY: failover-manual model copies ordinary strangers museum powerloss rxe rxe-shell rdma-local check-asan nightly

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## names what is missing; for tests it installs gcc, which the race detector needs
	@ci/setup

build: setup ## builds bin/cfs, plain Go, no flags
	@CGO_ENABLED=0 $(GO) build -v -o $(BIN) ./tools/cfs # -v: the first time takes a minute or two

demo: build ## the main job: two sites, a real tree, six kills, nothing lost (TREE=dir KILLS=n)
	@$(BIN) demo --kills $(KILLS) $(if $(TREE),--tree $(TREE))

test: setup ## every test, with the race detector; under 10 minutes on 2 cores
	@ci/test

ordinary: setup ## the tests as an ordinary user with default limits, without the race detector (ARGS=packages …)
	@ci/ordinary $(ARGS)

check: setup ## the quick half: lint, floors, unit tests without the race detector
	@tools=$$($(GO) list ./tools/...) && $(GO) test ./... ./bench/peers/... $$(echo "$$tools" | grep -v /lint$$)
	@$(GO) test -count=1 ./tools/lint # what it reads lies outside its module: no kept answer

check-asan: setup ## the verbs binding under AddressSanitizer, leaks included, on the rig's device
	@RXE_TESTS=ci/rxe/tests-asan ci/rxe/run $(ARGS)

race: setup ## the root module's tests under the race detector
	@ci/setup race
	@$(GO) test -race ./...

sim: setup ## simulated worlds, all faults on (SEEDS=n)
	@ci/sim $(SEEDS)

model: setup ## the bounded model of the ends: larger worlds whole, 60,000 walks in each of the others
	@CLAUDEFS_MODEL=1 $(GO) test -count=1 -v -timeout 0 -run 'TestEndsHold' ./engine/sim/ends

museum: setup ## every planted bug, behind the tag plant: a checker must see it (SEEDS=n SHRINK=steps)
	@ci/museum $(SEEDS)

crash: build ## real processes under load, killed at random (CYCLES=n)
	@$(BIN) crash --cycles $(CYCLES)

failover-manual: build ## twelve disasters on real processes, ended with an operator's verbs (ARGS='--only NAME')
	@$(BIN) failover-drill $(ARGS)

crash-red: setup ## succeeds if crash fails where acknowledgements come before the write
	@ci/crash-red

failpoints: build ## real processes that end at each call to their disks in turn, ring and portable (CYCLES=n)
	@$(BIN) crash --failpoints --cycles $(CYCLES) --io auto
	@$(BIN) crash --failpoints --cycles $(CYCLES) --io portable

copies: build ## copies of running sites' directories, and kills, for FOR: each opens to a prefix or says damage
	@$(BIN) crash --copies --cycles 1000000 --for $(FOR)

powerloss: setup ## power cuts under load on ext4 and XFS, in an emulated guest (ARGS=--red)
	@ci/powerloss/run $(ARGS)

trace-io: build ## two servers on io_uring under strace: links see nothing but io_uring_enter
	@ci/trace-io

strangers: setup ## 10,000 silent connections and 2,000 new ones a second for STRANGERS: a peer's dial, memory, threads
	@CLAUDEFS_STRANGERS=$(STRANGERS) $(GO) test -count=1 -v -timeout 0 -run TestStrangersCostLittle ./tools/cli

soak: setup ## a peer stalls for SOAK while the source appends: nothing grows, on the ring and portable
	@CLAUDEFS_SOAK=$(SOAK) $(GO) test -count=1 -v -timeout 0 -run TestStalledPeerCostsTheOthersNothing ./engine

wan: setup ## 1 Gb/s x 100 ms through the proxy, every load for WAN: throughput, window, memory
	@CLAUDEFS_WAN=$(WAN) $(GO) test -count=1 -v -timeout 0 -run TestLongFatPathIsFilledFromLittleMemory ./engine

fuzz: setup ## every decoder for FUZZ each
	@ci/fuzz $(FUZZ)

host: setup ## a program outside the module links the engine: builds, runs, counts modules
	@ci/host

bench: setup ## go test -bench of every hot path (BENCH=regexp TIME=1s)
	@$(GO) test -run '^$$' -bench '$(BENCH)' -benchtime $(TIME) ./bench

bench-peers: setup ## the same work on net.Conn, grpc-go, JetStream: a line per goal, bench/RESULTS.md (ARGS=…)
	@ci/bench-peers $(ARGS)

bench-busy: setup ## io_uring by portable, quiet and beside what keeps the machine busy: >= 0.95 each (ARGS=…)
	@ci/bench-busy $(ARGS)

rxe: setup ## real verbs: soft-RoCE in an emulated guest runs the RDMA tests (ARGS='--two', names …)
	@ci/rxe/run $(ARGS)

rxe-shell: setup ## a shell in that guest, with the test binaries and perftest
	@ci/rxe/run --shell $(ARGS)

rdma-local: setup ## the same tests on this machine's own RDMA device
	@ci/rxe/local $(ARGS)

nightly: ## what takes hours: all of it with larger numbers, 10,000 links over real verbs (SEEDS CYCLES FUZZ SOAK LINKS)
	@ci/nightly

clean: ## removes what was built
	@rm -rf bin
