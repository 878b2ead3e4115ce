#!/usr/bin/env bash
# Runs a test command, keeps what it prints in a file, and when it fails says again, as the last thing, which tests failed
# and why: whoever sees the end of a long log only must find it there. Ends as the command ended.
#
#   Tests/run.sh swift test --no-parallel
#   Tests/run.sh --split PATTERN [--split PATTERN…] .build/debug/aisbf-meshPackageTests.xctest --no-parallel
#
# With --split the tests that match each pattern run in a process of their own, and all others beside them in another: the
# ones with whole nodes wait most of their time, the others compute. What the others print follows when all are done.
set -uo pipefail
log=${TEST_LOG:-.build/test.log}
mkdir -p "$(dirname "$log")"
status=0
patterns=()
while [[ ${1:-} == --split ]]; do
  patterns+=("$2")
  shift 2
done
if ((${#patterns[@]} > 0)); then
  skips=()
  for pattern in "${patterns[@]}"; do skips+=(--skip "$pattern"); done
  "$@" "${skips[@]}" >"$log.0" 2>&1 &
  others=($!)
  for ((i = 1; i < ${#patterns[@]}; i++)); do
    "$@" --filter "${patterns[i]}" >"$log.$i" 2>&1 &
    others+=($!)
  done
  # Whoever stops this stops all.
  trap 'kill "${others[@]}" 2>/dev/null; exit 130' INT TERM
  "$@" --filter "${patterns[0]}" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  for other in "${others[@]}"; do wait "$other" || status=$?; done
  trap - INT TERM
  for ((i = 0; i < ${#patterns[@]}; i++)); do
    tee -a "$log" <"$log.$i"
    rm -f "$log.$i"
  done
else
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
fi
((status == 0)) && exit 0

# Of each test its first issues, and of each issue its first lines; a run that ended in the middle of a test names that.
awk '
  function issue(line) { sub(/^✘ Test (case passing [^→]*→ )?/, "", line); return line }
  function name(line) { sub(/ (recorded an issue|failed after|started|passed after|with [0-9]+ test case).*/, "", line); return line }
  /^◇ Test case / || /^◇ Test run / || /^◇ Suite / { taking = 0; next }
  /^◇ Test / { taking = 0; line = $0; sub(/^◇ Test /, "", line); running = name(line); next }
  /^✔ / { taking = 0; if ($0 ~ /^✔ Test [^c]/) running = ""; next }
  /^✘ Test .* recorded an issue/ {
    line = issue($0); test = line; sub(/ recorded an issue.*/, "", test); sub(/^.* to /, "", test)
    taking = (++issues[test] <= 3 && total < 120) ? (issues[test] == 1 ? 60 : 6) : 0
    if (!(test in seen)) { seen[test] = 1; order[++tests] = test }
    if (taking) { sub(/^.* recorded an issue/, "", line); text[test] = text[test] "    " line "\n"; total++ }
    next
  }
  /^✘ Test run/ { taking = 0; verdict = $0; next }
  /^✘ / { taking = 0; running = ""; next }
  /Fatal error|error: |unexpected signal|Program crashed|panicked/ { if (other++ < 20) crash = crash "  " substr($0, 1, 400) "\n"; taking = 0; next }
  taking > 0 { text[test] = text[test] "      " substr($0, 1, 400) "\n"; taking-- ; total++ }
  END {
    print ""
    print "─── what failed ───"
    for (i = 1; i <= tests; i++) {
      print "✘ " order[i] (issues[order[i]] > 3 ? "  (" issues[order[i]] " issues)" : "")
      printf "%s", text[order[i]]
    }
    if (crash != "") printf "%s", crash
    if (verdict == "" && running != "") print "  the run ended in the middle of " running
    if (verdict != "") print verdict
  }
' "$log"
echo "the whole log: $log"
exit "$status"
