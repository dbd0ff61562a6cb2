{{- define "modelgate.name" -}}
{{- if eq .Release.Name "modelgate" -}}modelgate-operator{{- else -}}{{ printf "%s-modelgate-operator" .Release.Name | trunc 63 | trimSuffix "-" }}{{- end -}}
{{- end }}

{{- define "modelgate.selector" -}}
app.kubernetes.io/name: modelgate-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "modelgate.labels" -}}
{{ include "modelgate.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: modelgate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "modelgate.pairs" -}}
{{- $pairs := list -}}
{{- range $key, $value := . -}}{{- $pairs = append $pairs (printf "%s=%s" $key $value) -}}{{- end -}}
{{- join "," $pairs -}}
{{- end }}

{{/* What the operator itself does in each namespace that it looks after: nothing on Secrets, nothing on roles. */}}
{{- define "modelgate.rules" -}}
- apiGroups: [modelgate.dev]
  resources: [modelbackends, modelgateways]
  verbs: [get, list, watch]
- apiGroups: [modelgate.dev]
  resources: [modelbackends/status, modelgateways/status]
  verbs: [get, patch]
# Owner references with blockOwnerDeletion ask for leave to set finalizers on the owner.
- apiGroups: [modelgate.dev]
  resources: [modelbackends/finalizers, modelgateways/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, services, serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# patch: the annotation that makes the kubelet remount a gateway's configuration at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
