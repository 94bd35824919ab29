{{- /* A probe: takes a list of the root, the user's settings and the path that kubelet asks. It has no
credentials for a web config: then it only connects. The exporter listens when config and
storage are loaded, so that a connection says the same. */}}
{{- define "lakefs-import-exporter.probe" -}}
{{- $probe := deepCopy (index . 1) }}
{{- $handlers := pick $probe "httpGet" "tcpSocket" "exec" "grpc" }}
{{- if not $handlers }}
{{- if (first .).Values.webConfig.existingSecret }}
{{- $_ := set $probe "tcpSocket" (dict "port" "http") }}
{{- else }}
{{- $_ := set $probe "httpGet" (dict "path" (printf "%s%s" (include "lakefs-import-exporter.prefix" (first .)) (last .)) "port" "http") }}
{{- end }}
{{- end }}
{{- toYaml $probe }}
{{- end }}

{{- /* What the exporter is started with. */}}
{{- define "lakefs-import-exporter.args" -}}
- --config.file=/etc/lakefs_import_exporter/config.yml
- --log.level={{ .Values.log.level }}
- --log.format={{ .Values.log.format }}
{{- if .Values.webConfig.existingSecret }}
- --web.config.file=/etc/lakefs_import_exporter_web/{{ .Values.webConfig.key }}
{{- end }}
{{- if .Values.persistentVolume.enabled }}
- --storage.path=/var/lib/lakefs_import_exporter
{{- end }}
{{- if .Values.importApi.enabled }}
- --web.enable-import-api
- --web.max-imports={{ int .Values.importApi.maxImports }}
{{- end }}
{{- if .Values.lifecycle.enabled }}
- --web.enable-lifecycle
{{- end }}
{{- if include "lakefs-import-exporter.sharded" . }}
- --total-shards={{ .Values.shards }}
{{- end }}
{{- with .Values.externalUrl }}
- {{ printf "--web.external-url=%s" (tpl . $) | quote }}
{{- end }}
{{- with .Values.extraArgs }}
{{ include "lakefs-import-exporter.render" (list $ .) }}
{{- end }}
{{- end }}

{{- /* The variables of the exporter, a list. */}}
{{- define "lakefs-import-exporter.env" -}}
{{- $set := dict }}
{{- range .Values.extraEnv }}
{{- $_ := set $set .name true }}
{{- end }}
{{- if not (hasKey $set "GOMEMLIMIT") }}
{{- with dig "limits" "memory" "" .Values.resources }}
{{- with include "lakefs-import-exporter.bytes" . }}
# Go collects garbage before Kubernetes ends the pod.
- name: GOMEMLIMIT
  value: {{ mulf (float64 .) 0.8 | floor | printf "%.0f" | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ include "lakefs-import-exporter.render" (list $ .) }}
{{- end }}
{{- end }}

{{- /* The pod's spec: takes a dict of the root, and of "check" if the exporter is only to check its
config, which is then in the ConfigMap of that name. */}}
{{- define "lakefs-import-exporter.podSpec" -}}
{{- $check := .check }}
{{- with .root }}
{{- $sharded := include "lakefs-import-exporter.sharded" . }}
{{- $stored := and .Values.persistentVolume.enabled (not $check) -}}
automountServiceAccountToken: false
# Kubernetes' variables of a Service have the form of the exporter's own.
enableServiceLinks: false
{{- if $check }}
restartPolicy: Never
{{- else }}
serviceAccountName: {{ include "lakefs-import-exporter.serviceAccountName" . | quote }}
{{- end }}
{{- with concat .Values.imagePullSecrets (default list (.Values.global).imagePullSecrets) }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraInitContainers }}
initContainers:
  {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 2 }}
{{- end }}
containers:
  - name: exporter
    image: {{ include "lakefs-import-exporter.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args:
      {{- include "lakefs-import-exporter.args" . | nindent 6 }}
      {{- if $check }}
      - --config.check
      {{- else if $sharded }}
      - --shard=$(POD_INDEX)
      {{- end }}
    {{- $env := include "lakefs-import-exporter.env" . }}
    {{- if or $sharded $env }}
    env:
      {{- if and $sharded (not $check) }}
      - name: POD_INDEX
        valueFrom:
          fieldRef:
            fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
      {{- end }}
      {{- $env | trim | nindent 6 }}
    {{- end }}
    {{- with .Values.extraEnvFrom }}
    envFrom:
      {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 6 }}
    {{- end }}
    {{- if not $check }}
    ports:
      - name: http
        containerPort: 10470
    startupProbe:
      {{- include "lakefs-import-exporter.probe" (list . .Values.startupProbe "/-/ready") | nindent 6 }}
    readinessProbe:
      {{- include "lakefs-import-exporter.probe" (list . .Values.readinessProbe "/-/ready") | nindent 6 }}
    livenessProbe:
      {{- include "lakefs-import-exporter.probe" (list . .Values.livenessProbe "/-/healthy") | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
    securityContext:
      {{- toYaml .Values.securityContext | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/lakefs_import_exporter
        readOnly: true
      {{- if .Values.webConfig.existingSecret }}
      - name: web-config
        mountPath: /etc/lakefs_import_exporter_web
        readOnly: true
      {{- end }}
      {{- if $stored }}
      - name: storage
        mountPath: /var/lib/lakefs_import_exporter
      {{- end }}
      {{- with .Values.extraVolumeMounts }}
      {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 6 }}
      {{- end }}
  {{- if not $check }}
  {{- with .Values.extraContainers }}
  {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 2 }}
  {{- end }}
  {{- end }}
volumes:
  - name: config
    projected:
      defaultMode: 0440
      sources:
        - configMap:
            name: {{ default (include "lakefs-import-exporter.fullname" .) $check | quote }}
        {{- range $secret := include "lakefs-import-exporter.render" (list . .Values.secrets) | fromYamlArray }}
        - secret:
            name: {{ .name | quote }}
            items:
              {{- range .keys }}
              - key: {{ . | quote }}
                path: {{ printf "secrets/%s/%s" $secret.name . | quote }}
              {{- end }}
        {{- end }}
  {{- with .Values.webConfig.existingSecret }}
  - name: web-config
    secret:
      secretName: {{ tpl . $.root | quote }}
      defaultMode: 0440
  {{- end }}
  {{- if and $stored (not $sharded) }}
  - name: storage
    persistentVolumeClaim:
      claimName: {{ default (include "lakefs-import-exporter.fullname" .) (tpl .Values.persistentVolume.existingClaim .) | quote }}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 2 }}
  {{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- include "lakefs-import-exporter.render" (list $.root .) | nindent 2 }}
{{- end }}
{{- if and .Values.topologySpreadConstraints (not $check) }}
topologySpreadConstraints:
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "lakefs-import-exporter.selectorLabels" . | fromYaml)) }}
  {{- range .Values.topologySpreadConstraints }}
  - {{- hasKey . "labelSelector" | ternary . (merge dict . $own) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
