# shellcheck shell=bash
# One certificate authority per cluster, a certificate per identity, kubeconfig files with everything embedded.

make_certificates() {
    mkdir -p pki
    new_key ca
    openssl req -x509 -new -key pki/ca.key -out pki/ca.crt -subj /CN=bed -days 365
    new_key service-accounts
    openssl pkey -in pki/service-accounts.key -pubout -out pki/service-accounts.pub

    certificate apiserver /CN=kube-apiserver "subjectAltName=IP:127.0.0.1,IP:10.99.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
    client admin /O=system:masters/CN=admin kubeconfig
    client kubelet /O=system:nodes/CN=system:node:bed
    client kube-controller-manager /CN=system:kube-controller-manager
    client kube-scheduler /CN=system:kube-scheduler
    client kube-proxy /CN=system:kube-proxy
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "pki/$1.key"; }

certificate() {
    local name=$1 subject=$2 extension=$3
    new_key "$name"
    openssl req -new -key "pki/$name.key" -subj "$subject" |
        openssl x509 -req -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 365 \
            -extfile <(echo "$extension") -out "pki/$name.crt"
}

client() {
    local name=$1 subject=$2 file=${3:-pki/$1.kubeconfig}
    certificate "$name" "$subject" extendedKeyUsage=clientAuth
    cat >"$file" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: submodel-bed
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(embedded ca.crt)}
users:
- name: $name
  user: {client-certificate-data: $(embedded "$name.crt"), client-key-data: $(embedded "$name.key")}
contexts:
- name: submodel-bed
  context: {cluster: submodel-bed, user: $name}
current-context: submodel-bed
YAML
    chmod 600 "$file"
}

embedded() { base64 --wrap=0 "pki/$1"; }
