# shellcheck shell=bash
# What the processes inside see differently from the outside: nothing they write to a fixed place stays on the host.

cover_host_folders() {
    local state=$1 folder
    mount -t tmpfs -o mode=755 run /run
    mkdir /run/bed
    mount --bind "$state" /run/bed
    for folder in /var/lib/cni /var/lib/kubelet /var/log/containers; do
        mkdir -p "/run/bed/covered$folder"
        mount --bind "/run/bed/covered$folder" "$folder"
    done
    cp -r "$node/etc" /run/bed/etc
    answer_names_inside
    protect_kernel_settings
}

# Processes entering through `bed exec` resolve Services, too. Some hosts keep the file below /run, behind a link.
answer_names_inside() {
    local file
    file=$(readlink -m /etc/resolv.conf)
    mkdir -p "$(dirname "$file")"
    [[ -e $file ]] || touch "$file"
    mount --bind /run/bed/etc/resolv.conf "$file"
}

# These belong to the whole machine, and the kubelet writes the ones that differ from its taste: show it what it wants.
protect_kernel_settings() {
    local setting value
    while read -r setting value; do
        [[ -e /proc/sys/$setting ]] || continue
        mkdir -p "/run/bed/settings/${setting%/*}"
        echo "$value" >"/run/bed/settings/$setting"
        mount --bind "/run/bed/settings/$setting" "/proc/sys/$setting"
    done <<'TEXT'
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
TEXT
}
