{{- define "s2ld.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Returns the name of the objects that the release has once. */}}
{{- define "s2ld.releaseName" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "s2ld.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "s2ld.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Returns the name of the objects that each environment has. */}}
{{- define "s2ld.fullname" -}}
{{- $name := include "s2ld.releaseName" . }}
{{- with .environment }}
{{- $name = printf "%s-%s" ($name | trunc (int (sub 62 (len .))) | trimSuffix "-") . }}
{{- end }}
{{- $name }}
{{- end }}

{{/*
Sets $result.contexts to the context of each environment, or to that of the release if there are no environments:
(list $ $result). In a context, .Values holds the environment's values merged over those of the release, and
.environment is the environment's name.
*/}}
{{- define "s2ld.contexts" -}}
{{- $root := first . }}
{{- $contexts := list }}
{{- range default (list dict) $root.Values.environments }}
{{- $values := deepCopy (omit $root.Values "environments") }}
{{- include "s2ld.merge" (list $values (omit . "name")) }}
{{- if and .name (not (dig "config" "kafka" "group" "" .)) }}
{{- $group := dig "kafka" "group" "segment-to-launchdarkly" $root.Values.config }}
{{- $_ := set $values.config.kafka "group" (printf "%s-%s" $group .name) }}
{{- end }}
{{- $context := dict "Values" $values "Release" $root.Release "Chart" $root.Chart "environment" .name }}
{{- $contexts = append $contexts $context }}
{{- end }}
{{- $_ := set (last .) "contexts" $contexts }}
{{- end }}

{{/* Renders a template for each environment, or once if there are no environments: (list $ "template"). */}}
{{- define "s2ld.each" -}}
{{- $result := dict }}
{{- include "s2ld.contexts" (list (first .) $result) }}
{{- range $result.contexts }}
{{- include (last $) . }}
{{- end }}
{{- end }}

{{/* Merges values into others as Helm does: maps are merged, null removes a value, and anything else replaces it. */}}
{{- define "s2ld.merge" -}}
{{- $into := first . }}
{{- range $key, $value := last . }}
{{- if and (kindIs "map" $value) (kindIs "map" (get $into $key)) }}
{{- include "s2ld.merge" (list (get $into $key) $value) }}
{{- else if kindIs "invalid" $value }}
{{- $_ := unset $into $key }}
{{- else }}
{{- $_ := set $into $key $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails with a message that names the environment. */}}
{{- define "s2ld.fail" -}}
{{- $message := last . }}
{{- with (first .).environment }}
{{- $message = printf "environment %s: %s" . $message }}
{{- end }}
{{- fail $message }}
{{- end }}

{{- define "s2ld.selector" -}}
app.kubernetes.io/name: {{ include "s2ld.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- with .environment }}
app.kubernetes.io/component: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Returns the labels of the pod that helm test runs. They differ from those that select the replicas. */}}
{{- define "s2ld.checkSelector" -}}
{{- $labels := include "s2ld.selector" . | fromYaml }}
{{- set $labels "app.kubernetes.io/name" (printf "%s-check" (include "s2ld.name" . | trunc 57)) | toYaml }}
{{- end }}

{{/* Returns the labels of an object: (list context labels). The labels are additional ones. */}}
{{- define "s2ld.labels" -}}
{{- $context := first . }}
{{- $labels := include "s2ld.selector" $context | fromYaml }}
{{- $_ := set $labels "app.kubernetes.io/version" $context.Chart.AppVersion }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $context.Release.Service }}
{{- $chart := printf "%s-%s" $context.Chart.Name $context.Chart.Version | replace "+" "_" | trunc 63 }}
{{- $_ := set $labels "helm.sh/chart" $chart }}
{{- merge $labels (last .) $context.Values.commonLabels | toYaml }}
{{- end }}

{{/* Returns the service account's name. The environments share an account unless they name their own. */}}
{{- define "s2ld.serviceAccountName" -}}
{{- default (ternary (include "s2ld.releaseName" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Returns the port of config.admin.listen, which is host:port. */}}
{{- define "s2ld.adminPort" -}}
{{- dig "admin" "listen" ":9464" .Values.config | toString | splitList ":" | last }}
{{- end }}

{{/* Returns the name of the Secret whose keys become files, or nothing if there is none. */}}
{{- define "s2ld.secretName" -}}
{{- if .Values.secret.existing }}
{{- .Values.secret.existing }}
{{- else if .Values.secret.files }}
{{- include "s2ld.fullname" . }}
{{- end }}
{{- end }}

{{/* Returns the image. A registry replaces the one in the repository, and a digest replaces the tag. */}}
{{- define "s2ld.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- with $image.registry }}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default (printf "v%s" .Chart.AppVersion) $image.tag) }}
{{- end }}
{{- end }}

{{/*
Returns the grace period in seconds. Unless it is set, the grace period is drain_timeout, rounded up, plus the 22 s in
which the program commits, leaves the group, and closes its connections, plus the sleep before SIGTERM. A shorter one is
rejected. If a variable can set drain_timeout, its upper bound applies, or its lower bound if the grace period is set.
*/}}
{{- define "s2ld.gracePeriod" -}}
{{- $set := int .Values.terminationGracePeriodSeconds }}
{{- $start := toDate "2006" "2000" }}
{{- $drain := dig "delivery" "drain_timeout" "20s" .Values.config }}
{{- $overridden := not (empty .Values.envFrom) }}
{{- range .Values.env }}
{{- $overridden = or $overridden (eq .name "S2LD_DELIVERY_DRAIN_TIMEOUT") }}
{{- end }}
{{- if $overridden }}
{{- $drain = ternary "0s" "1m" (gt $set 0) }}
{{- end }}
{{- $drained := $start | mustDateModify $drain | mustDateModify "999999999ns" }}
{{- $sleep := dig "preStop" "sleep" "seconds" 0 .Values.lifecycle }}
{{- $needed := add (sub (unixEpoch $drained) (unixEpoch $start)) 22 $sleep }}
{{- if and $set (lt $set (int $needed)) }}
{{- $message := "terminationGracePeriodSeconds must be at least %d: delivery.drain_timeout, 22 s, and the preStop sleep" }}
{{- include "s2ld.fail" (list . (printf $message (int $needed))) }}
{{- end }}
{{- default $needed $set }}
{{- end }}

{{/* Returns the fields of a pod that the Deployment and helm test have in common. */}}
{{- define "s2ld.podSpec" -}}
serviceAccountName: {{ include "s2ld.serviceAccountName" . }}
automountServiceAccountToken: false
# With service links, a Service named s2ld would add S2LD_* variables, which the program reports as unknown settings.
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.initContainers }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap: {name: {{ include "s2ld.fullname" . }}}
  {{- with include "s2ld.secretName" . }}
  - name: secrets
    secret: {secretName: {{ . }}, defaultMode: 0440}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Returns the fields of a container that the Deployment and helm test have in common. */}}
{{- define "s2ld.container" -}}
image: {{ include "s2ld.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- $env := .Values.env }}
{{- if .environment }}
{{- /* env has precedence over envFrom, so no variable can put the environments into one group. */}}
{{- $env = append $env (dict "name" "S2LD_KAFKA_GROUP" "value" .Values.config.kafka.group) }}
{{- end }}
{{- with $env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/segment-to-launchdarkly/config, readOnly: true}
  {{- if include "s2ld.secretName" . }}
  - {name: secrets, mountPath: /etc/segment-to-launchdarkly/secrets, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Returns the egress rules of the network policy. */}}
{{- define "s2ld.egress" -}}
{{- $sasl := dig "kafka" "sasl" dict .Values.config }}
{{- $aws := eq (dig "mechanism" "" $sasl) "AWS_MSK_IAM" }}
{{- $ports := list }}
{{- range .Values.networkPolicy.kafkaPorts }}
{{- $ports = append $ports (int .) }}
{{- else }}
{{- range dig "kafka" "brokers" list .Values.config }}
{{- $ports = append $ports (splitList ":" . | last | int) }}
{{- else }}
{{- $message := "networkPolicy.kafkaPorts must be set if config.kafka.brokers is not, because the policy blocks all other ports" }}
{{- include "s2ld.fail" (list $ $message) }}
{{- end }}
{{- end }}
{{- $ports = append $ports (int .Values.networkPolicy.launchdarklyPort) }}
{{- if $aws }}
{{- $ports = append $ports 443 }}
{{- end }}
{{- with dig "oauth" "token_url" "" $sasl }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $ports = append $ports (default (ternary 80 443 (eq $url.scheme "http")) $port | int) }}
{{- end -}}
- ports: # DNS
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
- ports: # Kafka, LaunchDarkly, and the issuers of credentials for Kafka
    {{- range $ports | uniq }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- if $aws }}
- to:
    - ipBlock: {cidr: 169.254.170.23/32} # EKS Pod Identity
    - ipBlock: {cidr: "fd00:ec2::23/128"}
    - ipBlock: {cidr: 169.254.169.254/32} # EC2
    - ipBlock: {cidr: "fd00:ec2::254/128"}
  ports:
    - {port: 80, protocol: TCP}
{{- end }}
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Returns the maximum number of replicas, which never exceeds the number of partitions. */}}
{{- define "s2ld.maxReplicas" -}}
{{- $a := .Values.autoscaling }}
{{- $max := min (int $a.partitions) (int (default $a.partitions $a.maxReplicas)) }}
{{- if gt (int $a.minReplicas) (int $max) }}
{{- $message := "autoscaling.minReplicas must be at most %d, the maximum number of replicas" }}
{{- include "s2ld.fail" (list . (printf $message (int $max))) }}
{{- end }}
{{- $max }}
{{- end }}

{{/* Returns the LaunchDarkly environment in config, or nothing if config does not name one. */}}
{{- define "s2ld.destination" -}}
{{- $ld := .Values.config.launchdarkly }}
{{- $endpoint := dig "endpoint" "client_side" $ld }}
{{- $keys := list (dig "client_side_id" "" $ld) }}
{{- if eq $endpoint "metric_import" }}
{{- $keys = list (dig "project_key" "" $ld) (dig "environment_key" "" $ld) }}
{{- end }}
{{- if not (has "" $keys) }}
{{- printf "%s %s %s" (dig "events_url" "https://events.launchdarkly.com" $ld) $endpoint (join " " $keys) }}
{{- end }}
{{- end }}

{{/*
Fails if two environments share records, or deliver the same events to the same destination. The context is that of the
release. Destinations and topics that env overrides are not compared.
*/}}
{{- define "s2ld.requireSeparateEnvironments" -}}
{{- $result := dict }}
{{- include "s2ld.contexts" (list . $result) }}
{{- if gt (len $result.contexts) 1 }}
{{- range .Values.env }}
{{- if has .name (list "S2LD_LAUNCHDARKLY_CLIENT_SIDE_ID" "S2LD_LAUNCHDARKLY_PROJECT_KEY" "S2LD_LAUNCHDARKLY_ENVIRONMENT_KEY") }}
{{- fail (printf "environments: set %s in the env of each environment, because it names a single destination" .name) }}
{{- end }}
{{- end }}
{{- end }}
{{- $names := dict }}
{{- $groups := dict }}
{{- $streams := dict }}
{{- range $result.contexts }}
{{- if .environment }}
{{- if hasKey $names .environment }}
{{- fail (printf "environments: %s is defined twice" .environment) }}
{{- end }}
{{- $_ := set $names .environment true }}
{{- $group := .Values.config.kafka.group }}
{{- if hasKey $groups $group }}
{{- $message := "environments: %s and %s have the same group, %s, and would share the records" }}
{{- fail (printf $message (get $groups $group) .environment $group) }}
{{- end }}
{{- $_ := set $groups $group .environment }}
{{- $variables := list }}
{{- range .Values.env }}{{ $variables = append $variables .name }}{{ end }}
{{- if has "S2LD_KAFKA_GROUP" $variables }}
{{- fail "environments: env must not set S2LD_KAFKA_GROUP; set config.kafka.group instead" }}
{{- end }}
{{- $keys := "KAFKA_(BROKERS|TOPICS)|LAUNCHDARKLY_(CLIENT_SIDE_ID|ENDPOINT|ENVIRONMENT_KEY|EVENTS_URL|PROJECT_KEY)" }}
{{- $overridden := regexMatch (printf "S2LD_(%s)" $keys) (join " " $variables) }}
{{- $destination := include "s2ld.destination" . }}
{{- if and $destination (not $overridden) }}
{{- $environment := .environment }}
{{- $brokers := dig "kafka" "brokers" list .Values.config | sortAlpha | toJson }}
{{- range dig "kafka" "topics" list .Values.config | uniq }}
{{- $stream := printf "%s %s %s" $destination $brokers . }}
{{- if hasKey $streams $stream }}
{{- $message := "environments: %s and %s read %s and have the same destination, and would deliver its events twice" }}
{{- fail (printf $message (get $streams $stream) $environment .) }}
{{- end }}
{{- $_ := set $streams $stream $environment }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Fails if a required value is not set, or if values contradict each other. */}}
{{- define "s2ld.require" -}}
{{- $required := list (list "kafka" "brokers") (list "kafka" "topics") }}
{{- if eq (dig "launchdarkly" "endpoint" "client_side" .Values.config) "client_side" }}
{{- $required = append $required (list "launchdarkly" "client_side_id") }}
{{- end }}
{{- $variables := list }}
{{- range .Values.env }}{{ $variables = append $variables .name }}{{ end }}
{{- range $required }}
{{- $value := dig (first .) (last .) "" $.Values.config }}
{{- if not (or $value $.Values.envFrom (has (printf "S2LD_%s" (join "_" . | upper)) $variables)) }}
{{- include "s2ld.fail" (list $ (printf "config.%s must be set" (join "." .))) }}
{{- end }}
{{- end }}
{{- if and .Values.secret.existing .Values.secret.files }}
{{- include "s2ld.fail" (list . "secret.existing and secret.files must not both be set") }}
{{- end }}
{{- if dig "kafka" "instance_id" "" .Values.config }}
{{- $message := "config.kafka.instance_id must not be set, because replicas with the same ID remove each other from the group" }}
{{- include "s2ld.fail" (list . $message) }}
{{- end }}
{{- end }}
