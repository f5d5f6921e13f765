#!/bin/sh
# From a fresh clone to a Wasm Deployment that answers HTTP. Ctrl-C ends the cluster; `--once` ends it by itself.
# With a ready binary (AMPHIPOD=/path/to/amphipod) nothing is compiled: hello.wasm beside this file is pushed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
once=${1:-}

say() { printf '\n== %s\n' "$*"; }

if [ "$(uname -s)" != Linux ]; then
    echo "Amphipod runs on Linux only." >&2
    exit 2
fi
if [ -n "$once" ] && [ "$once" != --once ]; then
    echo "usage: demo.sh [--once]" >&2
    exit 2
fi

wasm=$here/hello.wasm
if [ -z "${AMPHIPOD:-}" ]; then
    say "building amphipod (about a quarter of an hour on two cores when nothing is built yet)"
    cargo build --manifest-path "$root/Cargo.toml" --locked --package amphipod
    AMPHIPOD=${CARGO_TARGET_DIR:-$root/target}/debug/amphipod
    say "building the sample component"
    rustup target list --installed | grep -qx wasm32-wasip2 || rustup target add wasm32-wasip2
    (cd "$here" && cargo build --locked --release --target wasm32-wasip2 --target-dir "$root/target/guests")
    wasm=$root/target/guests/wasm32-wasip2/release/hello.wasm
fi

folder=$(mktemp -d)
export KUBECONFIG=$folder/kubeconfig
cluster=
cleanup() {
    if [ -n "$cluster" ]; then
        kill "$cluster" 2>/dev/null || true
        wait "$cluster" 2>/dev/null || true
    fi
    rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say "starting a cluster (its data lies in $folder)"
mkfifo "$folder/told"
"$AMPHIPOD" up --data-dir "$folder/data" --kubeconfig "$KUBECONFIG" --port 0 --registry-port 0 >"$folder/told" &
cluster=$!
registry=
while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
    *Registry*) registry=${line##* } ;;
    Next:*) break ;;
    esac
done <"$folder/told"
if [ -z "$registry" ]; then
    echo "the cluster did not start" >&2
    exit 1
fi

say "pushing the component to the cluster's own registry"
"$AMPHIPOD" push "$wasm" "$registry/hello:v1"

say "applying examples/hello (kubectl apply -f examples/hello/ does the same)"
sed "s|localhost:5000|$registry|" "$here"/*.yaml >"$folder/hello.yaml"
"$AMPHIPOD" apply -f "$folder/hello.yaml"

say "waiting until it is ready"
until "$AMPHIPOD" get deployment hello | grep -q '3/3'; do sleep 0.2; done
"$AMPHIPOD" get pods -o wide

port=$("$AMPHIPOD" get service hello -o json | sed -n 's/.*"nodePort": \([0-9]*\).*/\1/p' | head -1)
say "requesting http://127.0.0.1:$port/"
if command -v curl >/dev/null; then
    curl -sS "http://127.0.0.1:$port/"
else
    python3 -c "import urllib.request as r; print(r.urlopen('http://127.0.0.1:$port/').read().decode())"
fi
echo

cat <<EOF

Go on in another terminal:
  export KUBECONFIG=$KUBECONFIG
  kubectl get pods -o wide
  kubectl logs -f deploy/hello
  kubectl scale deploy/hello --replicas=5
  curl http://127.0.0.1:$port/
EOF
if [ "$once" = --once ]; then
    exit 0
fi
echo
echo "Ctrl-C ends the cluster and removes its data."
wait "$cluster"
