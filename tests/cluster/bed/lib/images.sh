# shellcheck shell=bash
# Container images: the tool that builds them, the project's three and one of a user, and the way into the cluster.

images=(submodel-operator submodel-gateway submodel-worker submodel-test-runpod)
declare -A containerfile=(
    [submodel-operator]=operator/Containerfile
    [submodel-gateway]=runtime/gateway.Containerfile
    [submodel-worker]=runtime/worker.Containerfile
    [submodel-test-runpod]=tests/cluster/images/runpod.Containerfile
)

# The folder that an image is built from, where it is not the repository.
declare -A context=([submodel-test-runpod]=tests)

# What an image is made of, beside its Containerfile and the locked dependencies.
declare -A sources=(
    [submodel-operator]="operator runtime"
    [submodel-gateway]=runtime
    [submodel-worker]=runtime
    [submodel-test-runpod]="tests/compat/locks tests/compat/sdk_handler.py"
)

# buildah with a store of its own, in a mount namespace of its own: the overlay driver leaves a mount behind otherwise.
container_tool() {
    local store=(--root "$cache/containers" --runroot "$cache/containers/run" --storage-driver overlay)
    BUILDAH_ISOLATION=chroot unshare --mount buildah "${store[@]}" "$@"
}

archive_of() {
    local name=${1##*/}
    printf '%s/images/%s.tar' "$cache" "${name%%:*}"
}

# This kind of archive stays uncompressed: packing takes longer than all the rest and saves nothing on one disk.
save_image() {
    local archive
    archive=$(archive_of "$1")
    rm -f "$archive.new"
    logged "$cache/log/save" container_tool push "$1" "docker-archive:$archive.new:$1"
    mv "$archive.new" "$archive"
}

# The project's images:

# A subshell, so that the lock ends with it.
project_images() (
    require_root
    build
    exec 8>"$cache/images.lock"
    flock 8
    build_options=(--layers --pull-never)
    if [[ ${1:-} == --force ]]; then
        rm -f "$cache"/stamps/submodel-*
        build_options=(--no-cache --pull-never)
    fi
    for name in "${images[@]}"; do
        once_per "$name image" "$(image_inputs "$name")" build_image "$name"
    done
    if ! is_up; then
        say "the cluster is not up; the images are in $cache/images and will be loaded by the next 'bed images'"
        return
    fi
    for name in "${images[@]}"; do
        load_changed "$(archive_of "$name")"
    done
)

image_inputs() {
    local folders
    read -ra folders <<<"${sources[$1]}"
    (
        cd "$repository"
        find pyproject.toml uv.lock operator/pyproject.toml .dockerignore "${containerfile[$1]}" "${folders[@]}" \
            -name __pycache__ -prune -o -type f -print | LC_ALL=C sort -u | xargs sha256sum
        cat "$cache/stamps/base-image"
    ) | sha256sum | cut -c1-32
}

build_image() {
    local image=localhost/$1:dev
    trim_store
    write_build_settings
    logged "$cache/log/$1" container_tool bud "${build_options[@]}" "${build_mounts[@]}" \
        --build-arg "PYTHON_IMAGE=$python_image" --file "$repository/${containerfile[$1]}" --tag "$image" "$repository/${context[$1]:-}"
    save_image "$image"
}

# Every change of sources or dependencies leaves layers behind. Now and then those that no image has any more go;
# the build after that is a slow one.
trim_store() {
    local megabytes
    megabytes=$(du --summarize --block-size=1M "$cache/containers" | cut -f1)
    ((megabytes < 6000)) || logged "$cache/log/trim" container_tool rmi --prune
}

# How this machine reaches its package index is the machine's business: its certificates and pip settings are
# mounted where pip and uv look for system settings, for the build only, and never enter an image.
write_build_settings() {
    local settings=$cache/build-settings bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
    mkdir -p "$settings" "$cache/uv"
    {
        echo '[global]'
        (python3 -m pip config list 2>/dev/null || true) |
            sed -nE "s/^(global|:env:)\.(index-url|extra-index-url|trusted-host|proxy|timeout|default-timeout|retries)='(.*)'$/\2 = \3/p" |
            sed 's/^default-timeout/timeout/'
    } >"$settings/pip.conf"
    echo 'system-certs = true' >"$settings/uv.toml"
    build_mounts=(
        --volume "$bundle:/etc/ssl/certs/ca-certificates.crt:ro"
        --volume "$settings/pip.conf:/etc/pip.conf:ro"
        --volume "$settings/uv.toml:/etc/uv/uv.toml:ro"
        --volume "$cache/uv:/root/.cache/uv"
    )
}

# Into the cluster:

load_archives() {
    [[ $# -gt 0 ]] || die "which archive? For example: bed load image.tar"
    local archive
    for archive in "$@"; do
        [[ -f $archive ]] || die "there is no file $archive"
        import "$archive"
    done
}

import() {
    run_inside "$bed/node/import" "$(realpath "$1")"
    say "loaded $(basename "$1" .tar)"
}

# A mark per loaded archive: its time of writing. The marks live and die with the cluster.
load_changed() {
    local mark written
    mark=$state/loaded/$(basename "$1")
    written=$(stat -c %y "$1")
    [[ -e $mark && $(<"$mark") == "$written" ]] && return
    import "$1"
    printf '%s' "$written" >"$mark"
}
