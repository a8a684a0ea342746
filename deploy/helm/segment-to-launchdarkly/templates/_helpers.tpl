{{- define "s2ld.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "s2ld.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "s2ld.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "s2ld.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "s2ld.selector" -}}
app.kubernetes.io/name: {{ include "s2ld.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "s2ld.labels" -}}
{{ include "s2ld.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 }}
{{- end }}

{{- define "s2ld.serviceAccount" -}}
{{- default (ternary (include "s2ld.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Returns the port of config.admin.listen, which is host:port. */}}
{{- define "s2ld.adminPort" -}}
{{- dig "admin" "listen" ":9464" .Values.config | toString | splitList ":" | last }}
{{- end }}

{{/* Returns the name of the Secret whose keys become files, or nothing if there is none. */}}
{{- define "s2ld.secret" -}}
{{- if .Values.secret.existing }}
{{- .Values.secret.existing }}
{{- else if .Values.secret.files }}
{{- include "s2ld.fullname" . }}
{{- end }}
{{- end }}

{{/* Returns the maximum number of replicas, which never exceeds the number of partitions. */}}
{{- define "s2ld.maxReplicas" -}}
{{- $a := .Values.autoscaling }}
{{- $max := min (int $a.partitions) (int (default $a.partitions $a.maxReplicas)) }}
{{- if gt (int $a.minReplicas) (int $max) }}
{{- fail (printf "autoscaling.minReplicas must be at most %d, the maximum number of replicas" (int $max)) }}
{{- end }}
{{- $max }}
{{- end }}

{{/* Limits how fast the number of replicas changes, because each change moves partitions and drains them. */}}
{{- define "s2ld.scalingBehavior" -}}
scaleUp:
  stabilizationWindowSeconds: 60
  policies:
    - {type: Percent, value: 100, periodSeconds: 120}
scaleDown:
  stabilizationWindowSeconds: 600
  policies:
    - {type: Pods, value: 1, periodSeconds: 120}
{{- end }}

{{/* Fails if a required value is not set. The program reports the same error, but only in its log. */}}
{{- define "s2ld.require" -}}
{{- $required := list (list "kafka" "brokers") (list "kafka" "topics") }}
{{- if eq (dig "launchdarkly" "endpoint" "client_side" .Values.config) "client_side" }}
{{- $required = append $required (list "launchdarkly" "client_side_id") }}
{{- end }}
{{- $variables := list }}
{{- range .Values.env }}{{ $variables = append $variables .name }}{{ end }}
{{- range $required }}
{{- $value := dig (first .) (last .) "" $.Values.config }}
{{- if not (or $value (has (printf "S2LD_%s" (join "_" . | upper)) $variables)) }}
{{- fail (printf "config.%s must be set" (join "." .)) }}
{{- end }}
{{- end }}
{{- if dig "kafka" "instance_id" "" .Values.config }}
{{- fail "config.kafka.instance_id must not be set, because replicas with the same ID remove each other from the group" }}
{{- end }}
{{- end }}
