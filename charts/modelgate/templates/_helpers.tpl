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

{{/* An image as it is pulled: list of the root and one of the values' images. */}}
{{- define "modelgate.image" -}}
{{- $root := index . 0 -}}{{- $image := index . 1 -}}
{{- with $root.Values.global.imageRegistry | default $image.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{- $image.repository -}}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "modelgate.pullSecrets" -}}
{{- with concat (.Values.global.imagePullSecrets | default list) .Values.imagePullSecrets | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The restricted Pod Security Standard, and a root file system that is read-only. */}}
{{- define "modelgate.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "modelgate.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
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
  verbs: [list, watch]
- apiGroups: [modelgate.dev]
  resources: [modelbackends/status, modelgateways/status]
  verbs: [patch]
# Owner references with blockOwnerDeletion ask for leave to set finalizers on the owner, where a cluster checks that.
- apiGroups: [modelgate.dev]
  resources: [modelbackends/finalizers, modelgateways/finalizers]
  verbs: [update]
# The garbage collector deletes these with their owner; the operator itself never does.
- apiGroups: [""]
  resources: [configmaps, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [services, persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [ingresses, networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# cert-manager makes certificates for our Ingresses; their state is quoted.
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [list, watch]
- apiGroups: [monitoring.coreos.com]
  resources: [servicemonitors]
  verbs: [get, list, watch, create, patch, delete]
# patch: the annotation that makes the kubelet remount a gateway's configuration at once.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
