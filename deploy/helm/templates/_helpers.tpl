{{- define "lakefs-import-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* At most 52 characters, so that what the kinds put behind a name fits a label. */}}
{{- define "lakefs-import-exporter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "lakefs-import-exporter.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "lakefs-import-exporter.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "lakefs-import-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lakefs-import-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lakefs-import-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "lakefs-import-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "lakefs-import-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lakefs-import-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lakefs-import-exporter.image" -}}
{{- with .Values.image }}
{{- if .digest }}
{{- printf "%s@%s" .repository .digest }}
{{- else }}
{{- printf "%s:%s" .repository (default $.Chart.AppVersion .tag) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "lakefs-import-exporter.sharded" -}}
{{- if gt (int .Values.shards) 1 }}true{{ end }}
{{- end }}

{{- /* A name of its own for the Service of shards: that of a Service with an address cannot be
given to one without. */}}
{{- define "lakefs-import-exporter.service" -}}
{{- include "lakefs-import-exporter.fullname" . }}{{ if include "lakefs-import-exporter.sharded" . }}-shards{{ end }}
{{- end }}

{{- /* Whether a kind of prometheus-operator is wanted: takes a list of the root and its "enabled". */}}
{{- define "lakefs-import-exporter.wanted" -}}
{{- $enabled := last . | toString }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") ((first .).Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}true{{ end }}
{{- end }}

{{- /* A path of the exporter for kubelet to ask: takes a list of the root and the path. kubelet
has no credentials. The exporter listens when config and storage are loaded, so that a
connection alone says the same. */}}
{{- define "lakefs-import-exporter.probe" -}}
{{- if (first .).Values.webConfig.existingSecret -}}
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ last . }}
  port: http
{{- end }}
{{- end }}

{{- /* The ports that the exporter has to get at: a list as JSON. */}}
{{- define "lakefs-import-exporter.lakefsPorts" -}}
{{- $ports := .Values.networkPolicy.lakefs.ports }}
{{- if not $ports }}
{{- $ports = list 8000 }}
{{- range .Values.config.servers }}
{{- $oauth2 := default dict .oauth2 }}
{{- $discovery := default dict .discovery }}
{{- $urls := list .endpoint_url .proxy_url $oauth2.token_url $oauth2.proxy_url }}
{{- if hasKey $discovery "dynamodb" }}
{{- $urls = append $urls (dig "dynamodb" "endpoint" "https://dynamodb" $discovery) }}
{{- end }}
{{- range $urls }}
{{- with . }}
{{- $url := urlParse . }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $ports = append $ports (default (ternary 443 80 (eq $url.scheme "https")) $port | int) }}
{{- end }}
{{- end }}
{{- if hasKey $discovery "postgres" }}
{{- $ports = append $ports 5432 }}
{{- end }}
{{- end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}

{{- /* Refuses values that each are good, but not together. */}}
{{- define "lakefs-import-exporter.validate" -}}
{{- with .Values }}
{{- if gt (int .replicas) 1 }}
{{- fail "replicas: must be 1 or 0: two exporters of the same imports would remember differently. To share out the imports, set shards" }}
{{- end }}
{{- if and (include "lakefs-import-exporter.sharded" $) (ne (int .replicas) 1) }}
{{- fail "replicas: not together with shards" }}
{{- end }}
{{- if and .importApi.enabled (not .storage.enabled) }}
{{- fail "importApi.enabled: needs storage.enabled, or what is registered would be lost with a restart" }}
{{- end }}
{{- if and .importApi.enabled (include "lakefs-import-exporter.sharded" $) }}
{{- fail "importApi.enabled: not with shards, what is registered belongs to one exporter" }}
{{- end }}
{{- if and .storage.existingClaim (include "lakefs-import-exporter.sharded" $) }}
{{- fail "storage.existingClaim: not with shards, each needs a claim of its own" }}
{{- end }}
{{- if and (ne .service.type "ClusterIP") (include "lakefs-import-exporter.sharded" $) }}
{{- fail "service.type: must be ClusterIP with shards, each of which has an address of its own" }}
{{- end }}
{{- range $label, $_ := include "lakefs-import-exporter.selectorLabels" $ | fromYaml }}
{{- if hasKey $.Values.podLabels $label }}
{{- fail (printf "podLabels: %s is what the pods are selected by" $label) }}
{{- end }}
{{- end }}
{{- $files := list }}
{{- range $secret := .secrets }}
{{- range $secret.keys }}
{{- $files = append $files (printf "secrets/%s/%s" $secret.name .) }}
{{- end }}
{{- end }}
{{- $servers := list }}
{{- range $i, $server := .config.servers }}
{{- $servers = append $servers (default (urlParse $server.endpoint_url).host $server.name) }}
{{- $here := printf "config.servers[%d]" $i }}
{{- include "lakefs-import-exporter.checkServer" (list $here $server $files) }}
{{- with $server.discovery }}
{{- include "lakefs-import-exporter.checkDiscovery" (list (printf "%s.discovery" $here) .) }}
{{- end }}
{{- end }}
{{- range $kind := list "imports" "repositories" }}
{{- range $i, $entry := index $.Values.config $kind }}
{{- if and (not $entry.server) (gt (len $servers) 1) }}
{{- fail (printf "config.%s[%d].server: must be one of %s" $kind $i (join ", " $servers)) }}
{{- end }}
{{- if and $entry.server (not (has $entry.server $servers)) }}
{{- fail (printf "config.%s[%d].server: %s is none of %s" $kind $i $entry.server (join ", " $servers)) }}
{{- end }}
{{- include "lakefs-import-exporter.checkLabels" (list (printf "config.%s[%d]" $kind $i) $entry.labels) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Refuses labels that the exporter or Prometheus sets: takes a list of where in the config
they are, and the labels. */}}
{{- define "lakefs-import-exporter.checkLabels" -}}
{{- $reserved := list "server" "repository" "branch" "import_id" "commit_id" "metarange_id" "message" "reason" "state" "outcome" "source" "result" "file" "job" "instance" "cluster" "namespace" "le" "quantile" "alertname" "severity" }}
{{- range $label, $_ := last . }}
{{- if has $label $reserved }}
{{- fail (printf "%s.labels.%s: reserved for the exporter and Prometheus" (first $) $label) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Refuses a discovery that is incomplete: takes a list of where in the config it is, and the
discovery. */}}
{{- define "lakefs-import-exporter.checkDiscovery" -}}
{{- $at := first . }}
{{- $discovery := last . }}
{{- if eq (hasKey $discovery "postgres") (hasKey $discovery "dynamodb") }}
{{- fail (printf "%s: must have one of postgres and dynamodb" $at) }}
{{- end }}
{{- if and (hasKey $discovery "postgres") (not (dig "postgres" "dsn_file" "" $discovery)) }}
{{- fail (printf "%s.postgres.dsn_file: is missing" $at) }}
{{- end }}
{{- range $i, $rule := $discovery.rules }}
{{- include "lakefs-import-exporter.checkLabels" (list (printf "%s.rules[%d]" $at $i) $rule.labels) }}
{{- end }}
{{- end }}

{{- /* Refuses secrets in a server of the config, and files of Secrets that are not mounted: takes
a list of where in the config it is, what stands there, and the files that are. */}}
{{- define "lakefs-import-exporter.checkServer" -}}
{{- $at := index . 0 }}
{{- $files := index . 2 }}
{{- range $key, $value := index . 1 }}
{{- $here := printf "%s.%s" $at $key }}
{{- if has $key (list "password" "credentials" "client_secret" "bearer_token" "client_certificate_key" "key" "dsn") }}
{{- fail (printf "%s: must not be in config, which becomes a ConfigMap. Put it into a Secret, name that in secrets, and use %s_file" $here $key) }}
{{- else if has $key (list "aws_access_key_id" "aws_secret_access_key") }}
{{- fail (printf "%s: must not be in config, which becomes a ConfigMap. Give the service account an IAM role, or take %s from a Secret by extraEnv" $here (upper $key)) }}
{{- else if has $key (list "proxy_connect_header" "endpoint_params") }}
{{- fail (printf "%s: must not be in config, which becomes a ConfigMap: it is usually secret" $here) }}
{{- else if and (hasSuffix "_url" $key) (regexMatch "^[^/]*//[^/]*@" (toString $value)) }}
{{- fail (printf "%s: must not have credentials: config becomes a ConfigMap" $here) }}
{{- else if and (hasSuffix "_file" $key) (hasPrefix "secrets/" (toString $value)) (not (has $value $files)) }}
{{- fail (printf "%s: %s is none of the files that secrets brings: %s" $here $value (join ", " $files | default "none")) }}
{{- else if eq $key "http_headers" }}
{{- range $name, $header := $value }}
{{- if hasKey $header "secrets" }}
{{- fail (printf "%s.%s.secrets: must not be in config, which becomes a ConfigMap. Put it into a Secret, name that in secrets, and use files" $here $name) }}
{{- end }}
{{- end }}
{{- else if kindIs "map" $value }}
{{- include "lakefs-import-exporter.checkServer" (list $here $value $files) }}
{{- end }}
{{- end }}
{{- end }}
