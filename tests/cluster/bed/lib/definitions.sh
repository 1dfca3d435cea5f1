# shellcheck shell=bash
# `bed definitions`: the resource definitions of other projects whose objects the chart makes, out of the Go modules
# that carry them. The oldest versions that the documentation promises, where it names one.

# module, version, checksum as in go.sum, folder, names of the files
read_definitions() {
    cat <<'TEXT'
sigs.k8s.io/gateway-api v1.4.1 h1:NPxFutNkKNa8UfLd2CMlEuhIPMQgDQ6DXNKG9sHbJU8= config/crd/standard gateway.networking.k8s.io_httproutes.yaml
github.com/prometheus-operator/prometheus-operator v0.85.0 h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s= example/prometheus-operator-crd monitoring.coreos.com_podmonitors.yaml monitoring.coreos.com_prometheusrules.yaml monitoring.coreos.com_servicemonitors.yaml
github.com/cloudnative-pg/cloudnative-pg v1.28.0 h1:vkv0a0ewDSfJOPJrsyUr4uczsxheReAWf/k171V0Dm0= config/crd/bases postgresql.cnpg.io_clusters.yaml
TEXT
}

definitions() {
    require_go
    mkdir -p "$cache"/{log,stamps}
    fetch_definitions
    printf '%s\n' "$cache/definitions"
}

# A subshell, so that the lock ends with it; one of its own, because the cluster's programs may be compiling.
fetch_definitions() (
    exec 8>"$cache/definitions.lock"
    flock 8
    once_per "definitions of others" "$(read_definitions)" logged "$cache/log/definitions" copy_definitions
)

copy_definitions() {
    local module version checksum folder names
    rm -rf "$cache/definitions.new"
    mkdir "$cache/definitions.new"
    while read -r module version checksum folder names; do
        # shellcheck disable=SC2086 # several names
        copy_from_module "$module@$version" "$checksum" "$folder" $names
    done < <(read_definitions)
    # All of them or none: those of before stay whole when one cannot be had.
    rm -rf "$cache/definitions"
    mv "$cache/definitions.new" "$cache/definitions"
}

copy_from_module() {
    local module=$1 checksum=$2 folder=$3 told
    shift 3
    # Not below a go.mod, so that nothing but this module is asked for.
    told=$(cd / && go mod download -json "$module")
    [[ $(json_text Sum <<<"$told") == "$checksum" ]] || die "$module is not the one that was reviewed"
    (cd "$(json_text Dir <<<"$told")/$folder" && install -m 644 "$@" "$cache/definitions.new")
}

# The text of one field of an object that stands on lines of its own.
json_text() { sed -n "s/^\t\"$1\": \"\(.*\)\",\?\$/\1/p"; }
