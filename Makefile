# The folder and the port of `make run`, and whatever else brooklet is to be told.
ROOT = .
PORT = 8080
ARGS =

# The release binary is smaller than this, in bytes.
SIZE_LIMIT = 2097152
TARGET = $${CARGO_TARGET_DIR:-target}
# For what a release is built: a target of Rust. On Linux one of musl, whose program is static: it needs a kernel, and no library.
FOR = $(shell [ "$$(uname -s)" = Linux ] && echo "$$(uname -m)-unknown-linux-musl" || rustc -vV | sed -n 's/host: //p')
# What makes images.
BUILDER = $(shell command -v podman || command -v buildah || command -v docker)

.DEFAULT_GOAL := help
.PHONY: help run test slow soak fuzz check hyper ci release release-small deb image man completions memory bench clean tools standard-library

help: ## Lists these targets
	@echo 'make [TARGET] [ROOT=folder] [PORT=number] [ARGS="more options of brooklet"]'
	@echo
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: tools ## Builds brooklet and serves ROOT (.) at http://127.0.0.1:PORT (8080)
	cargo run --release --locked -- --port '$(PORT)' $(ARGS) -- '$(ROOT)'

test: tools ## Runs all the tests
	cargo test --locked

slow: tools ## Runs the tests that last minutes
	cargo test --locked --test suite -- --ignored

# TIME in seconds for each of the two fronts; with the SEED that it prints, the clients do the same again.
soak: tools ## Runs all kinds of clients at once for a minute (TIME=600: for ten), and looks what is left of it
	SOAK_TIME='$(TIME)' SOAK_SEED='$(SEED)' cargo test --locked --test suite soak:: -- --ignored --nocapture

# What is found new lies in fuzz/target/corpus, what breaks something in fuzz/artifacts. cargo-fuzz needs what only a nightly
# Rust has, or any that is told to be one.
fuzz: tools ## Makes up input for each parser, for a minute each (TIME=seconds; needs cargo-fuzz and a nightly Rust)
	@cargo fuzz --version >/dev/null 2>&1 || { echo 'cargo-fuzz is missing: cargo install --locked cargo-fuzz' >&2; exit 1; }
	@command -v c++ >/dev/null || { echo 'c++ is missing, which libFuzzer is built with: install g++ or clang' >&2; exit 1; }
	@case "$$(rustc --version) $${RUSTC_BOOTSTRAP-}" in *nightly*|*' 1') ;; *) \
		echo 'this Rust is no nightly one: RUSTUP_TOOLCHAIN=nightly make fuzz (rustup toolchain install nightly),' >&2; \
		echo 'or RUSTC_BOOTSTRAP=1 make fuzz, which takes this one' >&2; exit 1;; esac
	cargo fuzz build
	@for target in $$(ls fuzz/corpus); do \
		mkdir -p "fuzz/target/corpus/$$target"; \
		cargo fuzz run "$$target" "fuzz/target/corpus/$$target" "fuzz/corpus/$$target" \
			-- -max_total_time=$(or $(TIME),60) -timeout=10 -print_final_stats=1 || exit 1; \
	done

# The development dependency on ourselves switches the feature `cli` on, whatever is asked for (see Cargo.toml). The bare
# library, as a program that depends on it sees it, is linted without that line.
check: tools ## Formatting, lints and documentation, warnings denied
	@cargo fmt --version >/dev/null 2>&1 || { echo 'cargo fmt is missing: rustup component add rustfmt' >&2; exit 1; }
	@cargo clippy --version >/dev/null 2>&1 || { echo 'cargo clippy is missing: rustup component add clippy' >&2; exit 1; }
	cargo fmt --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
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

# Addresses that are put right when a static program starts are packed: 126 KB less. musl reads them since 1.2.4.
define build
	cargo rustc --profile $@ --locked --features cli --bin brooklet --target $(FOR) \
	  $(if $(filter %-musl,$(FOR)),-- -C link-arg=-Wl$(comma)-z$(comma)pack-relative-relocs)
	@program="$(TARGET)/$(FOR)/$@/brooklet"; size=$$(wc -c < "$$program"); echo "$$program: $$((size)) bytes"; \
	[ "$$size" -lt $(SIZE_LIMIT) ] || { echo 'that is $(SIZE_LIMIT) bytes or more' >&2; exit 1; }
endef
comma = ,

release: tools standard-library ## Builds the program, static on Linux, and tells its size, which has a limit (FOR=target of Rust)
	$(build)

release-small: tools standard-library ## The same, smaller by a seventh, and slower
	$(build)

deb: release man completions ## Makes a Debian package of that program
	deploy/debian/build "$(TARGET)/$(FOR)/release/brooklet"

image: release ## Makes an image of that program for containers (with podman, buildah or docker: BUILDER=...)
	@[ -n '$(BUILDER)' ] || { echo 'podman, buildah and docker are missing: install one of them' >&2; exit 1; }
	install -D -m 755 "$(TARGET)/$(FOR)/release/brooklet" target/image/brooklet
	$(BUILDER) build -f deploy/Containerfile -t brooklet target/image

# Both come from the table of options itself, by a program that is no part of brooklet.
man: tools ## Writes the man page: target/man/brooklet.1
	cargo run --locked --features cli --example generate -- man target/man

completions: tools ## Writes the completions for bash, zsh and fish: target/completions
	cargo run --locked --features cli --example generate -- completions target/completions

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

standard-library:
	@[ -d "$$(rustc --print target-libdir --target $(FOR))" ] || rustup target add $(FOR) || \
	{ echo 'the standard library of Rust for $(FOR) is missing: rustup target add $(FOR)' >&2; \
	echo 'a program that needs the libraries of this system: make release FOR='"$$(rustc -vV | sed -n 's/host: //p')" >&2; exit 1; }
	@case $(FOR) in *-musl) [ "$$(rustc --version | cut -d. -f2)" -ge 93 ];; esac || \
	{ echo 'a static program needs Rust 1.93 or later, which brings musl 1.2.5' >&2; exit 1; }
