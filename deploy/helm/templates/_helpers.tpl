{{- define "lakefs-import-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "lakefs-import-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- /* At most 52 characters, so that what the kinds append to a name fits a label, and as names of
Services are: beginning with a letter, without dots. */}}
{{- define "lakefs-import-exporter.fullname" -}}
{{- $name := include "lakefs-import-exporter.name" . }}
{{- $full := printf "%s-%s" .Release.Name $name }}
{{- if .Values.fullnameOverride }}
{{- $full = .Values.fullnameOverride }}
{{- else if regexMatch "^[0-9]" .Release.Name }}
{{- $full = printf "%s-%s" $name .Release.Name }}
{{- else if contains $name .Release.Name }}
{{- $full = .Release.Name }}
{{- end }}
{{- $full = replace "." "-" $full }}
{{- if gt (len $full) 52 }}
{{- $full = printf "%s-%s" (trunc 43 $full | trimSuffix "-") (sha256sum $full | trunc 8) }}
{{- end }}
{{- $full }}
{{- end }}

{{- define "lakefs-import-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lakefs-import-exporter.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- /* The labels of objects of the chart's own that no selector may match: takes a list of the root
and what they are. */}}
{{- define "lakefs-import-exporter.helperLabels" -}}
app.kubernetes.io/name: {{ printf "%s-%s" (include "lakefs-import-exporter.name" (first .) | trunc 50) (last .) | quote }}
app.kubernetes.io/instance: {{ (first .).Release.Name | quote }}
{{- end }}

{{- /* The metadata of an object: takes a dict of the root, and optionally a suffix of its name,
namespace, labels and annotations. */}}
{{- define "lakefs-import-exporter.metadata" -}}
{{- $root := .root }}
{{- $labels := include "lakefs-import-exporter.selectorLabels" $root | fromYaml }}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- $_ := set $labels "app.kubernetes.io/version" ($root.Chart.AppVersion | toString) }}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
name: {{ printf "%s%s" (include "lakefs-import-exporter.fullname" $root) (default "" .suffix) | quote }}
namespace: {{ default (include "lakefs-import-exporter.namespace" $root) .namespace | quote }}
labels:
  {{- merge $labels (default dict .labels) $root.Values.commonLabels | toYaml | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* A value that may contain templates: takes a list of the root and the value. */}}
{{- define "lakefs-import-exporter.render" -}}
{{- tpl (toYaml (last .)) (first .) }}
{{- end }}

{{- define "lakefs-import-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lakefs-import-exporter.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lakefs-import-exporter.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry }}
{{- with .Values.image }}
{{- ternary "" (printf "%s/" $registry) (empty $registry) }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
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

{{- /* What all paths of the exporter begin with, without a slash at its end. */}}
{{- define "lakefs-import-exporter.prefix" -}}
{{- with .Values.externalUrl }}
{{- (urlParse (tpl . $)).path | trimSuffix "/" }}
{{- end }}
{{- end }}

{{- /* Whether a kind of prometheus-operator is wanted: takes a list of the root and its "enabled". */}}
{{- define "lakefs-import-exporter.wanted" -}}
{{- $enabled := last . | toString }}
{{- if or (eq $enabled "true") (and (eq $enabled "auto") ((first .).Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) }}true{{ end }}
{{- end }}

{{- /* A quantity of Kubernetes in bytes, as an integer; nothing where it cannot be told. */}}
{{- define "lakefs-import-exporter.bytes" -}}
{{- $text := kindIs "string" . | ternary . (printf "%.0f" (float64 (kindIs "string" . | ternary 0 .))) }}
{{- $number := regexFind "^[0-9.]+" $text }}
{{- $units := dict "" 1 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 }}
{{- with get $units (trimPrefix $number $text) }}
{{- mulf (float64 $number) . | printf "%.0f" }}
{{- end }}
{{- end }}

{{- /* The ports that the exporter has to get at: a list as JSON. */}}
{{- define "lakefs-import-exporter.lakefsPorts" -}}
{{- $ports := .Values.networkPolicy.lakefs.ports }}
{{- if not $ports }}
{{- $ports = list 8000 }}
{{- range (include "lakefs-import-exporter.render" (list . .Values.config) | fromYaml).servers }}
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
{{- $sharded := include "lakefs-import-exporter.sharded" . }}
{{- with .Values }}
{{- if gt (int .replicaCount) 1 }}
{{- fail "replicaCount: must be 1 or 0: two exporters of the same imports would remember differently. To share out the imports, set shards" }}
{{- end }}
{{- if and .importApi.enabled (not .persistentVolume.enabled) }}
{{- fail "importApi.enabled: needs persistentVolume.enabled, or what is registered would be lost with a restart" }}
{{- end }}
{{- if $sharded }}
{{- if semverCompare "<1.28.0-0" $.Capabilities.KubeVersion.Version }}
{{- fail (printf "shards: needs Kubernetes 1.28 or later, which tells pods their index, not %s" $.Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if ne (int .replicaCount) 1 }}
{{- fail "replicaCount: not together with shards" }}
{{- end }}
{{- if .importApi.enabled }}
{{- fail "importApi.enabled: not with shards: what is registered belongs to one exporter" }}
{{- end }}
{{- if .persistentVolume.existingClaim }}
{{- fail "persistentVolume.existingClaim: not with shards: each needs a claim of its own" }}
{{- end }}
{{- if ne .service.type "ClusterIP" }}
{{- fail "service.type: must be ClusterIP with shards, each of which has an address of its own" }}
{{- end }}
{{- if or .ingress.enabled .route.main.enabled }}
{{- fail "ingress, route: not with shards, each of which has an address of its own" }}
{{- end }}
{{- end }}
{{- end }}
{{- include "lakefs-import-exporter.checkStorage" . }}
{{- $config := include "lakefs-import-exporter.render" (list . .Values.config) | fromYaml }}
{{- with .Values }}
{{- range $label, $_ := include "lakefs-import-exporter.selectorLabels" $ | fromYaml }}
{{- if hasKey $.Values.podLabels $label }}
{{- fail (printf "podLabels: %s is what the pods are selected by" $label) }}
{{- end }}
{{- end }}
{{- $files := list }}
{{- range $secret := include "lakefs-import-exporter.render" (list $ .secrets) | fromYamlArray }}
{{- range $secret.keys }}
{{- $files = append $files (printf "secrets/%s/%s" $secret.name .) }}
{{- end }}
{{- end }}
{{- $servers := list }}
{{- range $i, $server := $config.servers }}
{{- $servers = append $servers (default (urlParse $server.endpoint_url).host $server.name) }}
{{- $here := printf "config.servers[%d]" $i }}
{{- include "lakefs-import-exporter.checkServer" (list $here $server $files) }}
{{- with $server.discovery }}
{{- include "lakefs-import-exporter.checkDiscovery" (list (printf "%s.discovery" $here) .) }}
{{- end }}
{{- end }}
{{- range $kind := list "imports" "repositories" }}
{{- range $i, $entry := index $config $kind }}
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

{{- /* Refuses what Kubernetes would refuse in its own words: changes of volumes that exist. */}}
{{- define "lakefs-import-exporter.checkStorage" -}}
{{- $name := include "lakefs-import-exporter.fullname" . }}
{{- $namespace := include "lakefs-import-exporter.namespace" . }}
{{- $wanted := include "lakefs-import-exporter.claim" . | fromYaml }}
{{- if include "lakefs-import-exporter.sharded" . }}
{{- $remedy := printf "Kubernetes cannot change this in a StatefulSet. Delete it without its pods by \"kubectl --namespace %s delete statefulset %s --cascade=orphan\", and upgrade again. Existing claims keep what they have" $namespace $name }}
{{- with lookup "apps/v1" "StatefulSet" $namespace $name }}
{{- $claim := first (default (list dict) .spec.volumeClaimTemplates) }}
{{- if ne (empty $claim) (not $.Values.persistentVolume.enabled) }}
{{- fail (printf "persistentVolume.enabled: %s" $remedy) }}
{{- end }}
{{- if $claim }}
{{- include "lakefs-import-exporter.checkClaim" (list $claim.spec $wanted $remedy true) }}
{{- if ne (default dict $claim.metadata.annotations | toJson) ($.Values.persistentVolume.annotations | toJson) }}
{{- fail (printf "persistentVolume.annotations: %s" $remedy) }}
{{- end }}
{{- end }}
{{- end }}
{{- else if and .Values.persistentVolume.enabled (not .Values.persistentVolume.existingClaim) }}
{{- with lookup "v1" "PersistentVolumeClaim" $namespace $name }}
{{- $remedy := printf "Kubernetes cannot change this in an existing claim. To do without what was seen, delete it by \"kubectl --namespace %s delete pvc %s\", and upgrade again" $namespace $name }}
{{- include "lakefs-import-exporter.checkClaim" (list .spec $wanted $remedy false) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Refuses another size, class or mode of a claim: takes a list of the spec that exists, the one
that is wanted, what to do, and whether it cannot grow either. */}}
{{- define "lakefs-import-exporter.checkClaim" -}}
{{- $old := index . 0 }}
{{- $new := index . 1 }}
{{- $remedy := index . 2 }}
{{- if ne ($old.accessModes | toJson) ($new.accessModes | toJson) }}
{{- fail (printf "persistentVolume.accessModes: is %s. %s" (join ", " $old.accessModes) $remedy) }}
{{- end }}
{{- if and (hasKey $new "storageClassName") (ne $new.storageClassName (default "" $old.storageClassName)) }}
{{- fail (printf "persistentVolume.storageClass: is %q. %s" (default "" $old.storageClassName) $remedy) }}
{{- end }}
{{- $is := include "lakefs-import-exporter.bytes" $old.resources.requests.storage | float64 }}
{{- $wanted := include "lakefs-import-exporter.bytes" $new.resources.requests.storage | float64 }}
{{- if or (lt $wanted $is) (and (last .) (ne $wanted $is)) }}
{{- fail (printf "persistentVolume.size: is %s. %s" $old.resources.requests.storage $remedy) }}
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
