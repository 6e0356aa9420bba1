{{- define "health-exporter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains "health-exporter" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-health-exporter" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The identity: selectors use these two, and selectors are immutable. */ -}}
{{- define "health-exporter.selector" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "health-exporter" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "health-exporter.labels" -}}
{{ include "health-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: monitoring
app.kubernetes.io/part-of: health-exporter
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "health-exporter.metadata" -}}
name: {{ include "health-exporter.fullname" . }}
labels:
  {{- include "health-exporter.labels" . | nindent 2 }}
  helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "health-exporter.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "health-exporter.resources" -}}
{{- if .Values.resources -}}
{{ toYaml .Values.resources }}
{{- else -}}
requests:
  cpu: 100m
  memory: {{ eq .Values.mode "sharded" | ternary "112Mi" "64Mi" }}
limits:
  memory: {{ eq .Values.mode "sharded" | ternary "256Mi" "128Mi" }}
{{- end -}}
{{- end -}}

{{- define "health-exporter.tolerations" -}}
{{- if kindIs "slice" .Values.tolerations -}}
{{ toYaml .Values.tolerations }}
{{- else if eq .Values.mode "daemonset" -}}
- operator: Exists # runs on tainted nodes and control-plane nodes too
{{- else -}}
[]
{{- end -}}
{{- end -}}
