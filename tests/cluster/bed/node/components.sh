# shellcheck shell=bash
# The processes of the cluster, each with its flags. README.md gives the reason for every unusual one.

# Runs a program for ever, in the background: log in log/NAME, process number in pid/NAME.
keep_running() {
    local name=$1
    shift
    while true; do
        "$@" >>"log/$name" 2>&1 &
        echo $! >"pid/$name"
        wait $! || true
        echo "--- $name ended with status $?; starting it again" >>"log/$name"
        sleep 1
    done &
}

start_control_plane() {
    keep_running etcd etcd --data-dir=etcd --unsafe-no-fsync --log-level=warn \
        --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
        --listen-peer-urls=http://127.0.0.1:2380
    keep_running kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 \
        --advertise-address=10.99.0.1 --service-cluster-ip-range=10.96.0.0/16 \
        --client-ca-file=pki/ca.crt --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-account-key-file=pki/service-accounts.pub \
        --service-account-signing-key-file=pki/service-accounts.key \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key \
        --kubelet-preferred-address-types=InternalIP \
        --audit-policy-file=etc/audit.yaml --audit-log-path=log/audit
}

start_controllers() {
    keep_running kube-controller-manager kube-controller-manager --leader-elect=false \
        --kubeconfig=pki/kube-controller-manager.kubeconfig --use-service-account-credentials \
        --service-account-private-key-file=pki/service-accounts.key --root-ca-file=pki/ca.crt \
        --cluster-signing-cert-file=pki/ca.crt --cluster-signing-key-file=pki/ca.key
    keep_running kube-scheduler kube-scheduler --leader-elect=false --kubeconfig=pki/kube-scheduler.kubeconfig
}

start_containerd() {
    keep_running containerd containerd --config etc/containerd.toml
}

import_base_images() {
    until [[ -S containerd.sock ]]; do sleep 0.1; done
    "$node/import" "$cache/images/pause.tar" "$cache/images/python.tar"
}

start_node() {
    keep_running kubelet kubelet --config=etc/kubelet.yaml --kubeconfig=pki/kubelet.kubeconfig \
        --hostname-override=bed --node-ip=10.99.0.1 --root-dir=/run/bed/kubelet --cert-dir=/run/bed/pki/kubelet
    keep_running kube-proxy kube-proxy --kubeconfig=pki/kube-proxy.kubeconfig --hostname-override=bed \
        --proxy-mode=iptables --cluster-cidr=10.244.0.0/16 --conntrack-max-per-core=0
}

start_dns() {
    keep_running coredns coredns -conf etc/Corefile
}

start_storage() {
    "$node/storage" create
    keep_running storage "$node/storage" recycle
}
