VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GORELEASER = github.com/goreleaser/goreleaser/v2@v2.15.1

# What runs on each version of PostgreSQL, and in a container.
MATRIX_RUN ?= ^TestTrigger
MATRIX_PACKAGES ?= ./integration
FUZZTIME ?= 10s
SOAK = 1h

# The packages that take longest begin first, and three run at once, for they wait for much; lint
# has vetted them all.
TEST = go test -race -vet=off -p 3 -timeout 60m $(SHORT) ./integration ./cmd/pgbell ./integration/faults ./listener ./...

.DEFAULT_GOAL := help
.PHONY: help demo test test-all fetch build dist release lint fmt matrix container-test fuzz soak bench bench-docs bench-go picture ci clean

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## See it work: a private PostgreSQL, two users, a page in the browser
	@.ci/setup demo
	@$(MAKE) --no-print-directory build
	./bin/pgbell demo $(ARGS)

test: SHORT = -short
test: test-all ## Pass the tests, with what they need installed first: all but what takes long

test-all: ## The same, at full length
	@.ci/setup test
	@$(MAKE) --no-print-directory lint
	@go test -race -count=1 -v -run '^TestServerHas' ./internal/pgtest 2>&1 | grep '^pgtest:' || true # says what the tests run on
	@go test -vet=off -run '^TestHeartbeatLeavesTheStackSmall$$' ./sse # with -race there is less room on it
	@.ci/test-js & js=$$!; \
	echo "$(TEST)"; $(TEST); tests=$$?; \
	wait $$js && exit $$tests

fetch: ## Fetch the modules that all this needs
	.ci/retry go list -deps -test ./... >/dev/null
	.ci/retry go run $(STATICCHECK) -version

build: ## Build bin/pgbell
	CGO_ENABLED=0 go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/pgbell ./cmd/pgbell

dist: ## Build for Linux and macOS, with checksums, into dist
	VERSION=$(VERSION) COMMIT=$$(git rev-parse HEAD) go run $(GORELEASER) release --snapshot --clean

release: ## Draft a release of the tag that is checked out (needs GITHUB_TOKEN)
	go run $(GORELEASER) release --clean

lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "make fmt would change: $$unformatted" >&2; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

fmt: ## Format the code
	gofmt -w .

matrix: ## Test the triggers on PostgreSQL 14 to 18 (VERSIONS="14 18" for some, SHORT=-short)
	SHORT='$(SHORT)' .ci/matrix '$(MATRIX_RUN)' $(MATRIX_PACKAGES)

container-test: ## Test against PostgreSQL in a container, by testcontainers
	SHORT='$(SHORT)' .ci/container-test '$(MATRIX_RUN)' $(MATRIX_PACKAGES)

fuzz: ## Fuzz what reads foreign bytes, FUZZTIME each
	.ci/fuzz $(FUZZTIME)

soak: ## Break everything at random for SOAK, and check that nothing is lost; then 20,000 random queries of deps
	go test ./integration/faults -run '^TestSoak$$' -count=1 -timeout 0 -v -soak $(SOAK)
	go test ./triggers/deps -run '^TestNoChangedResultIsMissed$$' -count=1 -timeout 0 -v -queries 20000 -seed $$(date +%s)

bench: ## Measure pgbell beside what one would write by hand, for 18 minutes (ARGS=-quick, or ARGS="-rows latency")
	go build -o bin/bench ./integration/bench
	./bin/bench $(ARGS)

bench-docs: ## The same, and put the table and the pictures into docs
	@$(MAKE) --no-print-directory bench ARGS="-write docs"

bench-go: ## Run the micro-benchmarks of the Go packages
	go test -run '^$$' -bench . -benchmem ./...

picture: ## Play the demo in a browser, and put the pictures of it into docs
	go test ./cmd/pgbell -count=1 -run '^TestPictures$$' -picture ../../docs

ci: ## All that must pass before a change is merged
	.ci/run

clean: ## Remove what was built
	rm -rf bin dist
