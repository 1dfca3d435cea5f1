# shellcheck shell=bash
# The life of the cluster: up, the ways in, down.

# Up:

up() {
    require_root
    build
    start_once
    cat >&2 <<TEXT
bed: inside are kubectl, helm and direct ways to every Service and pod, by address or DNS name:
       $bed/bed exec -- kubectl get pods --all-namespaces
       $bed/bed shell
TEXT
}

start_once() (
    mkdir -p "$state"
    exec 9>"$state.lock"
    flock 9
    if is_up; then
        say "the cluster is up already"
        return
    fi
    began=$SECONDS
    remove_remains
    mkdir -p "$state"/{log,pid,loaded}
    make_cgroup
    make_mount_points
    # A session of its own and no descriptor of ours: nobody who waits for our output, or for a lock that our caller
    # holds, waits for the cluster.
    (
        close_descriptors
        exec setsid unshare --net --pid --mount --fork --kill-child --mount-proc \
            "$bed/node/boot" "$state" "$cache"
    ) </dev/null >"$state/log/boot" 2>&1 &
    wait_for_boot "$!"
    say "up in $((SECONDS - began)) s"
)

# All but the three standard ones. 255 is bash's own and closes by itself.
close_descriptors() {
    local path number
    for path in /proc/"$BASHPID"/fd/*; do
        number=${path##*/}
        ((number <= 2 || number == 255)) || eval "exec $number>&-"
    done
}

# The first process inside writes `booted` when node and DNS answer.
wait_for_boot() {
    local outer=$1 deadline=$((SECONDS + 180))
    until [[ -e $state/booted ]]; do
        if ! kill -0 "$outer" 2>/dev/null || ((SECONDS > deadline)); then
            tail -n 25 "$state"/log/* >&2
            kill -KILL "$outer" 2>/dev/null || true
            die "the cluster did not come up; the logs are in $state/log"
        fi
        record_first_process "$outer"
        sleep 0.1
    done
}

# Number and start time of the first process inside: a number alone may belong to another process by tomorrow.
record_first_process() {
    local first started
    [[ ! -e $state/first-process ]] || return 0
    first=$(pgrep --parent "$1") && started=$(started_at "$first") || return 0
    printf '%s %s\n' "$first" "$started" >"$state/first-process"
}

started_at() { cut -d' ' -f22 "/proc/$1/stat" 2>/dev/null; }

first_process() {
    local number started
    read -r number started 2>/dev/null <"$state/first-process" || return 1
    [[ $(started_at "$number") == "$started" ]] && printf '%s' "$number"
}

is_inside() { [[ -e $inside/kubeconfig ]]; }
is_up() { is_inside || { [[ -e $state/booted ]] && first_process >/dev/null; }; }
require_up() { is_up || die "the cluster is not up; start it with 'bed up'"; }

# What the cluster needs outside its namespaces:

# Control groups are the one thing that no namespace hides: all of the cluster's are below one of our own.
make_cgroup() {
    local hierarchy controller
    for hierarchy in $(cgroup_hierarchies); do
        mkdir -p "$hierarchy/$cgroup"
    done
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        for controller in $(</sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
        done
    fi 2>/dev/null
}

# One tree with cgroup v2, one for each controller with v1.
cgroup_hierarchies() {
    if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
        echo /sys/fs/cgroup
    else
        find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
    fi
}

remove_cgroup() {
    local hierarchy deadline=$((SECONDS + 10))
    for hierarchy in $(cgroup_hierarchies); do
        # The kernel empties the groups of killed processes a moment after the processes are gone.
        while [[ -d $hierarchy/$cgroup ]] && ! find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null; do
            ((SECONDS < deadline)) || die "$hierarchy/$cgroup still holds processes: $(find "$hierarchy/$cgroup" -name cgroup.procs -exec cat {} +)"
            sleep 0.1
        done
    done
}

# Folders with fixed names that kubelet and containerd write to; inside they are covered by folders of the state.
make_mount_points() {
    local folder
    for folder in "${covered_folders[@]}"; do
        [[ -d $folder ]] && continue
        mkdir "$folder"
        echo "$folder" >>"$state/mount-points"
    done
}

remove_mount_points() {
    [[ -e $state/mount-points ]] || return 0
    local folder
    while read -r folder; do
        # Gone already when an earlier removal was broken off.
        [[ ! -d $folder ]] || rmdir --ignore-fail-on-non-empty "$folder"
    done <"$state/mount-points"
}

# Ways in:

# Sets `enter` to the command that runs another one inside. The inner command gets a signal when nsenter dies:
# ending `bed exec` ends what it runs.
find_entrance() {
    enter=()
    is_inside && return
    require_root
    require_up
    enter=(nsenter --target "$(first_process)" --net --pid --mount "--wdns=$PWD" setpriv --pdeathsig TERM)
}

run_inside() {
    find_entrance
    export_environment
    "${enter[@]}" "$@"
}

# Becomes the command: signals, terminal and exit code are its own.
become_inside() {
    [[ ${1:-} != -- ]] || shift
    [[ $# -gt 0 ]] || die "which command? For example: bed exec -- kubectl get pods"
    find_entrance
    export_environment
    exec "${enter[@]}" "$@"
}

environment() {
    printf '%s\n' "KUBECONFIG=$inside/kubeconfig" "PATH=$cache/bin:$PATH" "KUBECACHEDIR=$inside/home/kubectl" \
        "HELM_CACHE_HOME=$inside/home/helm/cache" "HELM_CONFIG_HOME=$inside/home/helm/config" \
        "HELM_DATA_HOME=$inside/home/helm/data" "SUBMODEL_TEST_DEFINITIONS=$cache/definitions" SUBMODEL_TEST_CLUSTER=bed
}

export_environment() {
    local assignment
    while read -r assignment; do
        export "${assignment?}"
    done < <(environment)
}

print_environment() { environment | sed "s/\([^=]*\)=\(.*\)/export \1='\2'/"; }

# Looking at it:

print_status() {
    if ! is_up; then
        say "the cluster is not up"
        return 1
    fi
    run_inside "$bed/node/status" "${components[@]}"
}

require_one_of() {
    local wanted=$1
    shift
    [[ -n $wanted && " $* " == *" $wanted "* ]] || die "which component? One of: $*"
}

print_log() {
    require_one_of "${1:-}" boot audit "${components[@]}"
    local log=$state/log/$1
    shift
    exec tail -n "${LINES_OF_LOG:-200}" "$@" "$log"
}

# Killed as a crash would, and started again by the first process inside.
restart_component() {
    require_one_of "${1:-}" "${components[@]}"
    require_up
    run_inside kill -KILL "$(<"$state/pid/$1")"
}

# Down:

down() {
    require_root
    ! is_inside || die "this shell is inside the cluster; leave it first"
    remove_remains
    rm -f "$state.lock"
}

# The kernel ends every process of a process namespace together with the first one, and mounts and network devices
# with the last process that sees them.
remove_remains() {
    local first
    if first=$(first_process); then
        kill -KILL "$first" || true
        while [[ -e /proc/$first ]]; do sleep 0.05; done
    fi
    remove_cgroup
    remove_mount_points
    rm -rf --one-file-system "$state"
}
