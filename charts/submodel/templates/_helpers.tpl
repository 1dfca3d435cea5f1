{{- /* Prefix of the names in the release's namespace; short enough for the longest suffix. */ -}}
{{- define "submodel.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- /* Prefix of the names that the whole cluster shares. */ -}}
{{- define "submodel.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "submodel.name" .) -}}
{{- end -}}

{{- define "submodel.secretName" -}}
{{- .Values.credentials.existingSecret | default (printf "%s-credentials" (include "submodel.name" .)) -}}
{{- end -}}

{{- /* What the tokens of workers' pods are made for: another installation's gateway cannot use them. */ -}}
{{- define "submodel.tokenAudience" -}}
{{- printf "%s-gateway.%s.svc" (include "submodel.name" .) .Release.Namespace -}}
{{- end -}}

{{- /* Labels that select the pods of a component: (list $ "gateway"). They never change. */ -}}
{{- define "submodel.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- /* All labels of an object of a component: (list $ "gateway"). */ -}}
{{- define "submodel.labels" -}}
{{- $root := index . 0 -}}
{{ include "submodel.selectorLabels" . }}
app.kubernetes.io/part-of: submodel
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* Reference of an image: (list $ .Values.gateway.image). */ -}}
{{- define "submodel.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default $root.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- /* Secret that holds the URL of a PostgreSQL database, and the key within it; both empty with SQLite. */ -}}
{{- define "submodel.storeSecret" -}}
{{- if .Values.gateway.store.cluster.enabled -}}
{{- printf "%s-store-app" (include "submodel.name" .) -}}
{{- else -}}
{{- .Values.gateway.store.existingSecret -}}
{{- end -}}
{{- end -}}

{{- define "submodel.storeKey" -}}
{{- ternary "uri" "url" .Values.gateway.store.cluster.enabled -}}
{{- end -}}

{{- /* Not empty when there may be more than one gateway. */ -}}
{{- define "submodel.severalGateways" -}}
{{- if or .Values.gateway.autoscaling.enabled (gt (int .Values.gateway.replicas) 1) -}}
several
{{- end -}}
{{- end -}}

{{- /* Base URL for clients: as said, else that of the Ingress; of an HTTPRoute nobody here knows the scheme. */ -}}
{{- define "submodel.publicUrl" -}}
{{- $ingress := .Values.gateway.ingress -}}
{{- if .Values.publicUrl -}}
{{- .Values.publicUrl -}}
{{- else if $ingress.enabled -}}
{{- printf "%s://%s" (ternary "https" "http" $ingress.tls.enabled) $ingress.host -}}
{{- end -}}
{{- end -}}

{{- /* Namespace in which the first endpoint can be made: one that the operator serves. */ -}}
{{- define "submodel.firstNamespace" -}}
{{- first (append .Values.operator.namespaces .Release.Namespace) -}}
{{- end -}}

{{- define "submodel.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "submodel.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end -}}

{{- /* Pods of a component on several nodes, where there are several: (list $ "gateway"). */ -}}
{{- define "submodel.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "submodel.selectorLabels" . | nindent 8 }}
{{- end -}}

{{- /* Where a pod may run: the values of its component. */ -}}
{{- define "submodel.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
