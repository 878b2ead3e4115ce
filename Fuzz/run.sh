#!/bin/bash
# Builds the fuzz targets and runs each for FUZZ_SECONDS; with TARGET=name, that one only.
# Ends with 1 when one of them found something, and says how to see it again.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
scratch=.build/fuzz
program=$scratch/release/mesh-fuzz
findings=$scratch/findings

for package in protobuf collections crypto asn1; do
  if [[ ! -d .build/checkouts/swift-$package ]]; then
    ${SWIFT:-swift} package resolve
    break
  fi
done
if ! ${SWIFT:-swift} build --package-path Fuzz --scratch-path "$scratch" -c release --product mesh-fuzz \
  >"$scratch.log" 2>&1; then
  grep -E 'error' "$scratch.log" >&2 || tail -n 30 "$scratch.log" >&2
  exit 1
fi

# Longest input of a target, where 4 KiB is not enough or too much.
length() {
  case $1 in
    base64) echo 512 ;;
    link-frame | record | worker-session) echo 8192 ;;
    *) echo 4096 ;;
  esac
}

names=$(find Fuzz/corpus -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort)
if [[ -n ${TARGET:-} ]]; then
  if ! grep -qx -- "$TARGET" <<<"$names"; then
    echo "There is no fuzz target '$TARGET'. There are:" $names >&2
    exit 64
  fi
  names=$TARGET
fi

# Leaks are not looked for: Swift's runtime keeps what it makes once.
export ASAN_OPTIONS=detect_leaks=0 SWIFT_BACKTRACE=enable=no
mkdir -p "$findings"
failed=0
for name in $names; do
  mkdir -p "$scratch/corpus/$name"
  words=()
  [[ ! -e Fuzz/dictionaries/$name.dict ]] || words=("-dict=Fuzz/dictionaries/$name.dict")
  log=$findings/$name.log
  if AISBF_FUZZ_TARGET=$name "$program" \
    -max_total_time="$seconds" -max_len="$(length "$name")" -timeout=10 -rss_limit_mb=2048 -detect_leaks=0 \
    -artifact_prefix="$findings/$name-" -print_final_stats=1 "${words[@]}" \
    "$scratch/corpus/$name" "Fuzz/corpus/$name" >"$log" 2>&1; then
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -nE 's/.* cov: ([0-9]+) .*/\1/p' "$log" | tail -n 1)
    printf '%-18s nothing found in %s runs, %s edges reached\n' "$name" "$runs" "${edges:-0}"
  else
    failed=1
    finding=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    printf '%-18s FOUND SOMETHING\n' "$name"
    grep -E '^property broken|ERROR: |SUMMARY: ' "$log" | head -n 5 || tail -n 20 "$log"
    echo "  again:   AISBF_FUZZ_TARGET=$name ASAN_OPTIONS=detect_leaks=0 $program ${finding:-FILE}"
    echo "  smaller: the same with -minimize_crash=1 -runs=100000"
    echo "  all of the output: $log"
  fi
done
exit "$failed"
