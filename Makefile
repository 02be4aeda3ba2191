# The folder and the port of `make run`, and whatever else brooklet is to be told.
ROOT = .
PORT = 8080
ARGS =

# The release binary is smaller than this, in bytes.
SIZE_LIMIT = 2097152
TARGET = $${CARGO_TARGET_DIR:-target}
STATIC = $$(uname -m)-unknown-linux-musl

.DEFAULT_GOAL := help
.PHONY: help run test slow soak check hyper ci release static memory bench clean tools

help: ## Lists these targets
	@echo 'make [TARGET] [ROOT=folder] [PORT=number] [ARGS="more options of brooklet"]'
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: tools ## Builds brooklet and serves ROOT (.) at http://127.0.0.1:PORT (8080)
	cargo run --release --locked -- --port '$(PORT)' $(ARGS) -- '$(ROOT)'

test: tools ## Runs all the tests
	cargo test --locked

slow: tools ## Runs the tests that last minutes
	cargo test --locked --test suite -- --ignored

# TIME in seconds for each of the two fronts; with the SEED that it prints, the clients do the same again.
soak: tools ## Runs all kinds of clients at once for a minute (TIME=600: for ten), and looks what is left of it
	SOAK_TIME='$(TIME)' SOAK_SEED='$(SEED)' cargo test --locked --test suite soak:: -- --ignored --nocapture

# The development dependency on ourselves switches the feature `cli` on, whatever is asked for (see Cargo.toml). The bare
# library, as a program that depends on it sees it, is linted without that line.
check: tools ## Formatting, lints and documentation, warnings denied
	@cargo fmt --version >/dev/null 2>&1 || { echo 'cargo fmt is missing: rustup component add rustfmt' >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo 'cargo clippy is missing: rustup component add clippy' >&2; exit 1; }
	cargo fmt --check
	cargo clippy --locked --all-targets --all-features -- -D warnings
	@rm -rf target/bare && mkdir -p target/bare
	@for part in src tests benches clippy.toml; do ln -s "$(CURDIR)/$$part" target/bare; done
	@cp Cargo.lock target/bare
	@sed '/^brooklet = {/d' Cargo.toml > target/bare/Cargo.toml
	cargo clippy --manifest-path target/bare/Cargo.toml --target-dir "$(TARGET)" --lib -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --all-features

# A package of its own, with an async runtime that nobody else has to build.
hyper: tools ## Tests the example that serves with hyper
	cargo fmt --manifest-path examples/hyper/Cargo.toml --check
	cargo test --locked --manifest-path examples/hyper/Cargo.toml --target-dir "$(TARGET)/hyper"

ci: check test hyper ## What has to pass before a change is taken

release: tools ## Builds the program and tells its size, which has a limit
	cargo build --release --locked --features cli
	@size=$$(wc -c < "$(TARGET)/release/brooklet"); \
	echo "$(TARGET)/release/brooklet: $$((size)) bytes"; \
	[ "$$size" -lt $(SIZE_LIMIT) ] || { echo 'that is $(SIZE_LIMIT) bytes or more' >&2; exit 1; }

static: tools ## Builds a program that needs no library of the system, for small hosts (Linux)
	@command -v rustup >/dev/null || { echo 'rustup is missing, which brings the target $(STATIC)' >&2; exit 1; }
	rustup target add $(STATIC)
	cargo build --release --locked --features cli --target $(STATIC)
	@ls -l "$(TARGET)/$(STATIC)/release/brooklet"

# What is measured is built beforehand: nothing else is at work meanwhile.
memory: tools ## Shows the memory of servers that hold whole files, and of those that stream (2 minutes; ARGS=--help)
	cargo build --release --locked --features cli --examples
	cargo bench --locked --bench memory -- $(ARGS)

bench: tools ## Measures brooklet beside other servers that are installed (needs wrk; 4 minutes; ARGS=--help)
	cargo bench --locked --bench peers -- $(ARGS)

clean: ## Removes what was built
	cargo clean

tools:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust' >&2; exit 1; }
	@command -v cc >/dev/null || { echo 'cc is missing, which Rust links with: install gcc or clang' >&2; exit 1; }
	@for tool in sh kill; do command -v $$tool >/dev/null || { echo "$$tool is missing" >&2; exit 1; }; done
