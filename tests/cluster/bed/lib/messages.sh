# shellcheck shell=bash
# What people read: progress goes to standard error, so that standard output stays the output of the command.

say() { printf '%s\n' "bed: $*" >&2; }

die() {
    say "$*"
    exit 1
}

# Runs a command with its output in a log file; shows the end of the log when the command fails.
logged() {
    local log=$1 status
    shift
    # A subshell of its own, outside any condition: only there does a failing step still end the function.
    set +e
    (
        set -e
        "$@"
    ) >"$log" 2>&1
    status=$?
    set -e
    [[ $status -ne 0 ]] || return 0
    tail -n 25 "$log" >&2
    die "'$1 ${2:-}' failed with status $status; the whole log is $log"
}

require_root() {
    [[ $(id -u) -eq 0 ]] || die "this needs root: it makes namespaces, mounts and control groups. Run it with sudo."
}
