# shellcheck shell=bash
# Versions and paths. The versions of Kubernetes and CoreDNS have one home each: programs/*/go.mod.

kubernetes_version=$(sed -n 's/^\tk8s\.io\/kubernetes v//p' "$bed/programs/kubernetes/go.mod")
helm_version=3.19.5
# Nodes and pods that only say they run, for benchmarks.
kwok_version=0.7.0
python_image=localhost/python:3.11
debian_release=bookworm

# Everything that is built; safe to delete, costs one cold build.
cache=${XDG_CACHE_HOME:-$HOME/.cache}/submodel-cluster/$kubernetes_version
# Everything that a running cluster writes; `down` deletes it.
state=${XDG_STATE_HOME:-$HOME/.local/state}/submodel-cluster
# The name of the state inside, so that configuration files need no templates and socket paths stay short.
inside=/run/bed

cgroup=submodel-bed
covered_folders=(/var/lib/cni /var/lib/kubelet /var/log/containers)
components=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy containerd kubelet coredns storage)
