# shellcheck shell=bash
# The node's network: one address, a default route that leads nowhere, no way out.

lay_network() {
    ip link set lo up
    # Both ends of the pair are inside. A dummy device would do, but not every kernel has one.
    ip link add eth0 type veth peer name nowhere
    ip address add 10.99.0.1/24 dev eth0
    ip link set nowhere up
    ip link set eth0 up
    # Service addresses are rewritten after routing: without a route for them the kernel refuses before kube-proxy's rules.
    ip route add default via 10.99.0.254 dev eth0
    sysctl -qw net.ipv4.ip_forward=1
}
