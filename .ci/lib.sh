# shellcheck shell=bash
# The steps of .ci/run, which sources this file; .ci/test-steps shows that they work.
#
#   always NAME COMMAND…           runs the command; where it fails, CI fails
#   optional MINUTE NAME COMMAND…  names a step that may be left out: it has to begin
#                                  before this minute of the run
#   run_optional                   runs these steps
#   ended                          says how it went: `trap ended EXIT`
#
# Two runs in a row are not to leave out the same. So what a run leaves out is kept in
# $CARGO_TARGET_DIR/ci-left-out. The next run does these steps before the other optional
# ones, those first that were left out most often, and lets them begin until minute
# $late. An optional step that has not ended by minute $last is stopped, and counts as
# left out; what it compiled is there for the next run.

late=75
last=86

names=() minutes=() commands=() times=() left_out=() current=""

heading() { printf '\n== %s (after %s s)\n' "$1" "$SECONDS"; }

took() {
    times+=("$(printf '%6s s  %s' "$((SECONDS - $2))" "$1")")
    printf -- '-- %s: %s s\n' "$1" "$((SECONDS - $2))"
}

always() {
    local name="$1" began=$SECONDS
    shift
    current="$name"
    heading "$name"
    "$@"
    current=""
    took "$name" "$began"
}

optional() {
    minutes+=("$1")
    names+=("$2")
    shift 2
    commands+=("$(printf '%q ' "$@")")
}

# How many runs in a row have left a step out.
times_left_out() {
    local count name
    while IFS=$'\t' read -r count name; do
        [ "$name" = "$1" ] && echo "$count" && return
    done < <(cat "$CARGO_TARGET_DIR/ci-left-out" 2> /dev/null)
    echo 0
}

# Keeps how many runs have left a step out; 0 forgets the step.
keep_left_out() {
    local file="$CARGO_TARGET_DIR/ci-left-out" count name
    while IFS=$'\t' read -r count name; do
        [ "$name" = "$1" ] || printf '%s\t%s\n' "$count" "$name"
    done < <(cat "$file" 2> /dev/null) > "$file.new"
    [ "$2" -eq 0 ] || printf '%s\t%s\n' "$2" "$1" >> "$file.new"
    mv "$file.new" "$file"
}

run_optional() {
    local index name minute before began status why order
    order=$(for index in "${!names[@]}"; do
        printf '%s %s\n' "$(times_left_out "${names[index]}")" "$index"
    done | sort --stable --key=1,1nr | cut -d ' ' -f 2)
    for index in $order; do
        name="${names[index]}" minute="${minutes[index]}" began=$SECONDS
        before=$(times_left_out "$name")
        if [ "$before" -gt 0 ] && [ "$minute" -lt "$late" ]; then
            minute=$late
        fi
        [ "$minute" -lt "$last" ] || minute=$last
        if [ "$SECONDS" -ge $((minute * 60)) ]; then
            why="not begun, because minute $minute was over"
        else
            current="$name"
            heading "$name"
            status=0
            timeout --kill-after=20 "$((last * 60 - SECONDS))" \
                bash -euo pipefail -c "${commands[index]}" || status=$?
            if [ "$status" -eq 0 ]; then
                current=""
                took "$name" "$began"
                keep_left_out "$name" 0
                continue
            elif [ "$SECONDS" -lt $((last * 60)) ]; then
                exit "$status"
            fi
            current=""
            took "$name" "$began"
            why="stopped in minute $last"
        fi
        keep_left_out "$name" $((before + 1))
        left_out+=("$name: $why (runs in a row: $((before + 1)))")
    done
}

# Says at the end how long each step took, and which one failed or what was left out.
ended() {
    local status=$?
    heading "seconds of each step"
    [ "${#times[@]}" -eq 0 ] || printf '%s\n' "${times[@]}"
    if [ "$status" -ne 0 ]; then
        heading "CI failed${current:+: $current}"
    elif [ "${#left_out[@]}" -eq 0 ]; then
        heading "nothing was left out"
    else
        heading "left out, and first in the next run"
        printf -- '- %s\n' "${left_out[@]}"
    fi
}

# Runs `cargo test` with a filter. It fails where no test ran, as when tests were renamed.
some_tests() {
    "$@" 2>&1 | tee "$CARGO_TARGET_DIR/ci-tests.log"
    if ! grep --extended-regexp --quiet '^test result: ok\. [1-9]' "$CARGO_TARGET_DIR/ci-tests.log"; then
        echo "no test ran: $*" >&2
        return 1
    fi
}

# Makes an environment with exactly the pinned Python packages, or keeps one that has them.
python_tools() {
    local folder="$1" pins="$2"
    if cmp --quiet "$pins" "$folder/pins" && "$folder/bin/python" -c ''; then
        return
    fi
    python3 -c 'import ensurepip' || debian_package python3-venv
    python3 -m venv --clear "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check \
        --only-binary :all: --require-hashes --requirement "$pins"
    cp "$pins" "$folder/pins"
}

debian_package() {
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update --quiet
    "${as_root[@]}" apt-get install --quiet --yes "$1"
}

export -f some_tests python_tools debian_package
