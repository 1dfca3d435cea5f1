{{- /* Values that fit the schema one by one and make no sense together. Called by the gateway's StatefulSet. */ -}}
{{- define "submodel.refuse" -}}
{{- $gateway := .Values.gateway -}}
{{- $store := $gateway.store -}}
{{- $shared := or $store.existingSecret $store.cluster.enabled -}}
{{- if and $store.existingSecret $store.cluster.enabled -}}
{{- fail "gateway.store.existingSecret and gateway.store.cluster.enabled name two databases; keep one of them" -}}
{{- end -}}
{{- if and (gt (int $gateway.replicas) 1) (not $shared) -}}
{{- fail "gateway.replicas is above 1 without gateway.store.existingSecret or gateway.store.cluster: one gateway owns the SQLite file; several need PostgreSQL" -}}
{{- end -}}
{{- if $gateway.autoscaling.enabled -}}
{{- if not $shared -}}
{{- fail "gateway.autoscaling.enabled is set without gateway.store.existingSecret or gateway.store.cluster: one gateway owns the SQLite file; several need PostgreSQL" -}}
{{- end -}}
{{- if ne (int $gateway.replicas) 1 -}}
{{- fail "gateway.replicas is set beside gateway.autoscaling.enabled, which decides it; use gateway.autoscaling.minReplicas instead" -}}
{{- end -}}
{{- if gt (int $gateway.autoscaling.minReplicas) (int $gateway.autoscaling.maxReplicas) -}}
{{- fail "gateway.autoscaling.minReplicas is above gateway.autoscaling.maxReplicas; lower the one or raise the other" -}}
{{- end -}}
{{- end -}}
{{- if and $gateway.ingress.enabled (not $gateway.ingress.host) -}}
{{- fail "gateway.ingress.host is missing: an Ingress without one would answer for every name" -}}
{{- end -}}
{{- if and $gateway.httpRoute.enabled (not $gateway.httpRoute.parentRefs) -}}
{{- fail "gateway.httpRoute.parentRefs is missing: name the Gateway that the route belongs to, as in [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- end -}}
