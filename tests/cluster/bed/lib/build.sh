# shellcheck shell=bash
# `bed build [kwok]`: the programs and base images of the cluster, each made once per version of its inputs.

# A command that proves each Debian package, or a file for a package without one.
declare -A proof_of_package=(
    [buildah]=buildah
    [conntrack]=conntrack
    [containerd]=containerd
    [containernetworking-plugins]=/usr/lib/cni/ptp
    [iproute2]=ip
    [iptables]=iptables
    [mmdebstrap]=mmdebstrap
    [mount]=mount
    [openssl]=openssl
    [procps]=pgrep
    [runc]=runc
)

# A subshell, so that the lock and the trap end with it.
build() (
    require_go
    mkdir -p "$cache"/{bin,images,log,stamps}
    exec 9>"$cache/build.lock"
    flock 9 # two callers at once would write the same files
    missing=$(missing_packages)
    [[ -z $missing ]] || require_right_to_install "$missing"

    # Packages and base image wait for the network most of the time; the compiler waits for the processor.
    trap wait EXIT
    (
        install_packages "$missing"
        once_per "base image" "$(base_image_inputs)" build_base_image
        fetch_definitions
    ) &
    base=$!
    build_programs
    [[ ${1:-} != kwok ]] || once_per "kwok program" "$kwok_version" build_kwok
    wait "$base" || die "the base image or the definitions of others could not be made"
    once_per "pause image" "$(folder_hash "$bed/programs/pause")" build_pause_image
)

# Runs a command unless it has succeeded before with the same inputs.
once_per() {
    local name=$1 inputs=$2 stamp=$cache/stamps/${1// /-}
    shift 2
    [[ -e $stamp && $(<"$stamp") == "$inputs" ]] && return
    local started=$SECONDS
    say "making the $name …"
    "$@"
    printf '%s' "$inputs" >"$stamp"
    say "made the $name in $((SECONDS - started)) s"
}

folder_hash() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-32); }

# Debian packages:

missing_packages() {
    local package
    for package in "${!proof_of_package[@]}"; do
        type -P "${proof_of_package[$package]}" >/dev/null || printf '%s ' "$package"
    done
}

require_right_to_install() {
    type -P apt-get >/dev/null || die "these programs are missing and there is no apt-get to install them: $1"
    [[ $(id -u) -eq 0 ]] || die "these Debian packages are missing; install them or run this as root: $1"
}

install_packages() {
    [[ -n $1 ]] || return 0
    say "installing Debian packages: $1"
    logged "$cache/log/packages" install_with_apt "$1"
}

install_with_apt() {
    export DEBIAN_FRONTEND=noninteractive
    local packages
    read -ra packages <<<"$1"
    apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"
}

# Programs:

require_go() {
    type -P go >/dev/null || die "Go is missing (1.24 or later): https://go.dev/doc/install"
}

build_programs() {
    once_per "Kubernetes programs" "$(folder_hash "$bed/programs/kubernetes")" build_kubernetes
    once_per "DNS server" "$(folder_hash "$bed/programs/dns")" compile dns coredns
    once_per "pause program" "$(folder_hash "$bed/programs/pause")" compile pause pause
    once_per "helm program" "$helm_version" build_helm
}

build_kubernetes() {
    local version_package=k8s.io/component-base/version minor=${kubernetes_version#*.}
    # Without the stamps the server calls itself v0.0.0-master, and charts that name a kubeVersion refuse it.
    compile kubernetes kubernetes \
        "-X $version_package.gitVersion=v$kubernetes_version -X $version_package.gitMajor=1 -X $version_package.gitMinor=${minor%.*}"
    local name
    for name in etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
        ln -sf kubernetes "$cache/bin/$name"
    done
}

build_helm() {
    CGO_ENABLED=0 GOBIN="$cache/bin" logged "$cache/log/helm" \
        go install "${go_flags[@]}" -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$helm_version" \
        "helm.sh/helm/v3/cmd/helm@v$helm_version"
}

build_kwok() {
    CGO_ENABLED=0 GOBIN="$cache/bin" logged "$cache/log/kwok" \
        go install "${go_flags[@]}" -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/kwok@v$kwok_version"
}

# Static, without debug information, without the checkout's path or revision: the same inputs give the same file.
go_flags=(-p "$(nproc)" -trimpath -buildvcs=false)

compile() {
    local folder=$1 program=$2 stamps=${3:-}
    CGO_ENABLED=0 logged "$cache/log/$program" \
        go build -C "$bed/programs/$folder" "${go_flags[@]}" -ldflags "-s -w $stamps" -o "$cache/bin/$program" .
}

# Base images: what every pod, and every image of the project, stands on:

base_image_inputs() {
    declare -f build_base_image image_from_tree
    echo "$debian_release $python_image"
}

build_base_image() {
    require_root
    local tree=$cache/images/python-tree.tar
    logged "$cache/log/mmdebstrap" mmdebstrap --variant=essential \
        --include=python3,python3-venv,python-is-python3,ca-certificates \
        --dpkgopt='path-exclude=/usr/share/'{doc,info,locale,man}'/*' "$debian_release" "$tree"
    logged "$cache/log/python-image" image_from_tree "$tree"
    rm "$tree"
    save_image "$python_image"
}

image_from_tree() {
    local container
    container=$(container_tool from scratch)
    container_tool add "$container" "$1" /
    container_tool config --cmd python3 --env PATH=/usr/local/bin:/usr/bin:/bin --env LANG=C.UTF-8 "$container"
    container_tool commit --rm "$container" "$python_image"
}

build_pause_image() {
    logged "$cache/log/pause-image" pause_image
    save_image localhost/pause:1
}

pause_image() {
    local container
    container=$(container_tool from scratch)
    container_tool copy "$container" "$cache/bin/pause" /pause
    container_tool config --entrypoint '["/pause"]' --user 65535:65535 "$container"
    container_tool commit --rm "$container" localhost/pause:1
}
