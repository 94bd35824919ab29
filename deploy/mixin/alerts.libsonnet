{
  prometheusAlerts+:: {
    groups+: [
      {
        name: 'lakefs-imports',
        rules: [
          {
            alert: 'LakeFSImportStalled',
            expr: |||
            min without (container, endpoint, instance, job, namespace, node, pod) (lakefs_import_seconds_since_update) > 120
            and on (server, repository, import_id) lakefs_import_state{state="stalled"}
            unless on (server, repository, import_id) lakefs_import_completed == 1
          |||,
            'for': '1m',
            keep_firing_for: '10m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'Import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }} has stalled',
              description: 'Its last heartbeat was {{ $value | humanizeDuration }} ago; a running import has one every second. Most likely the lakeFS process that ran it has died, and lakeFS will never mark it as failed. The commit may have happened nevertheless: look at the branch\'s log before importing again.',
              runbook_url: 'runbook.md#lakefsimportstalled',
            },
          },
          {
            alert: 'LakeFSImportNotProgressing',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (
              lakefs_import_last_status_timestamp_seconds - lakefs_import_progress_timestamp_seconds
              and ignoring (state) lakefs_import_state{state="hung"}
              and lakefs_import_ingested_objects
                == on (server, repository, import_id) group_left ()
                  max by (server, repository, import_id) (lakefs_import_ingested_objects)
            )
            unless on (server, repository, import_id) (
              lakefs_import_completed == 1 or lakefs_import_state{state=~"stalled|lost|not_found"}
            )
          |||,
            'for': '1m',
            keep_firing_for: '10m',
            labels: {
              severity: 'warning',
            },
            annotations: {
              summary: 'Import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }} makes no progress',
              description: 'lakeFS still works on it, but its count of objects {{- with printf "max(lakefs_import_ingested_objects{server=%+q,repository=%+q,import_id=%+q})" $labels.server $labels.repository $labels.import_id | query }} ({{ . | first | value | printf "%.0f" }}) {{- end }} has been at rest for {{ $value | humanizeDuration }}. A count of 0 may mean that it is queued behind other imports, a full count that it is committing; anything between is a hang.',
              runbook_url: 'runbook.md#lakefsimportnotprogressing',
            },
          },
          {
            alert: 'LakeFSImportFailed',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (
              lakefs_import_update_timestamp_seconds and ignoring (state) lakefs_import_state{state="failed"}
            )
            > time() - 86400
          |||,
            keep_firing_for: '10m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'Import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }} has failed',
              description: 'lakeFS gave it up at {{ $value | humanizeTimestamp }}: {{ with printf "lakefs_import_error_info{server=%+q,repository=%+q,import_id=%+q,reason!=\\"canceled\\"}" $labels.server $labels.repository $labels.import_id | query }} {{- . | first | label "message" }} {{- else }}no message{{ end }}',
              runbook_url: 'runbook.md#lakefsimportfailed',
            },
          },
          {
            alert: 'LakeFSImportCanceled',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (
              lakefs_import_update_timestamp_seconds and ignoring (state) lakefs_import_state{state="canceled"}
            )
            > time() - 86400
          |||,
            keep_firing_for: '10m',
            labels: {
              severity: 'info',
            },
            annotations: {
              summary: 'Import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }} was canceled',
              description: 'Somebody canceled it at {{ $value | humanizeTimestamp }}. If that was in its last second, the commit may be on the branch nevertheless.',
              runbook_url: 'runbook.md#lakefsimportcanceled',
            },
          },
          {
            alert: 'LakeFSImportLost',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (lakefs_import_last_status_timestamp_seconds)
              > time() - 86400
            and on (server, repository, import_id) lakefs_import_state{state=~"lost|not_found"}
            unless on (server, repository, import_id) (
              lakefs_import_completed == 1 or lakefs_import_poll_success == 1 or lakefs_import_state{state="stalled"}
            )
          |||,
            'for': '2m',
            keep_firing_for: '10m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'Import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }} has vanished',
              description: 'It was running when last seen at {{ $value | humanizeTimestamp }}, and lakeFS does not know it any more. The repository may have been deleted, or lakeFS\'s key-value store set back or exchanged. How the import ended can only be told from the branch\'s log.',
              runbook_url: 'runbook.md#lakefsimportlost',
            },
          },
          {
            alert: 'LakeFSImportNotFound',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod, state) (lakefs_import_state{state="not_found"})
            unless on (server, repository, import_id) lakefs_import_ingested_objects
            unless on (server, repository, import_id) lakefs_import_start_timestamp_seconds < time() - 86400
          |||,
            'for': '5m',
            keep_firing_for: '10m',
            labels: {
              severity: 'warning',
            },
            annotations: {
              summary: 'lakeFS {{ $labels.server }} does not know import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }}',
              description: 'It was never seen. Most likely the ID, the repository or the server in the exporter\'s configuration is wrong; if the import is over a day old, lakeFS has forgotten it.',
              runbook_url: 'runbook.md#lakefsimportnotfound',
            },
          },
          {
            alert: 'LakeFSImportPollFailing',
            expr: |||
            count without (import_id) (
              max without (container, endpoint, instance, job, namespace, node, pod, branch) (
                max_over_time(lakefs_import_poll_success[10m]) and lakefs_import_poll_success
              ) == 0
              unless on (server, repository, import_id) lakefs_import_state{state=~"stalled|lost|not_found"}
              unless on (server) max by (server) (lakefs_up) == 0
              unless on (server) min by (server) (lakefs_authorized) == 0
            )
          |||,
            'for': '5m',
            keep_firing_for: '10m',
            labels: {
              severity: 'warning',
            },
            annotations: {
              summary: '{{ $value }} of the imports into {{ $labels.repository }} on {{ $labels.server }} cannot be polled',
              description: 'lakeFS is up, but no poll of the last 10 minutes got a status of these imports, so nobody knows how they get on: {{- range $i, $import := printf "topk by (import_id) (1, max_over_time(lakefs_import_poll_success{server=%+q,repository=%+q}[10m])) == 0 unless on (import_id) lakefs_import_state{server=%+q,repository=%+q,state=~\\"stalled|lost|not_found\\"}" $labels.server $labels.repository $labels.server $labels.repository | query | sortByLabel "import_id" }} {{- if lt $i 5 }} {{ $import.Labels.branch }}/{{ $import.Labels.import_id }}{{ else if eq $i 5 }} ...{{ end }} {{- end }}. {{- with printf "topk(1, sum by (result) (increase(lakefs_import_exporter_polls_total{server=%+q,result!~\\"success|not_found\\"}[10m])) > 0)" $labels.server | query }} Most failing polls of the server end with: {{ . | first | label "result" }}. {{- end }}',
              runbook_url: 'runbook.md#lakefsimportpollfailing',
            },
          },
        ],
      },
      {
        name: 'lakefs-servers',
        rules: [
          {
            alert: 'LakeFSDown',
            expr: 'max by (server) (lakefs_up) == 0',
            'for': '2m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'lakeFS {{ $labels.server }} does not answer',
              description: 'No poll of the newest scrape got an answer from lakeFS itself. Running imports may go on, unseen; their other alerts wait for lakeFS to come back. {{- with printf "topk(1, sum by (result) (increase(lakefs_import_exporter_polls_total{server=%+q,result!=\\"success\\"}[5m])) > 0)" $labels.server | query }} Most polls end with: {{ . | first | label "result" }}. {{- end }}',
              runbook_url: 'runbook.md#lakefsdown',
            },
          },
          {
            alert: 'LakeFSUnauthorized',
            expr: |||
            min by (server) (lakefs_authorized) == 0
            unless on (server)
              time() - max by (server) (lakefs_import_exporter_discovery_last_success_timestamp_seconds) > 120
          |||,
            'for': '5m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'lakeFS {{ $labels.server }} refuses the exporter\'s keys',
              description: 'Every poll is answered with 401 or 403. The key pair is wrong or was rotated, or its user lacks fs:ReadBranch. What happens to the imports cannot be seen.',
              runbook_url: 'runbook.md#lakefsunauthorized',
            },
          },
          {
            alert: 'LakeFSImportOverdue',
            expr: |||
            time() - max without (container, endpoint, instance, job, namespace, node, pod) (lakefs_repository_last_import_timestamp_seconds)
              > max without (container, endpoint, instance, job, namespace, node, pod) (lakefs_repository_max_import_age_seconds)
          |||,
            'for': '5m',
            keep_firing_for: '10m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: 'No import has landed in {{ $labels.repository }} on {{ $labels.server }} for {{ $value | humanizeDuration }}',
              description: 'That is longer than its max_import_age {{- with printf "max(lakefs_repository_max_import_age_seconds{server=%+q,repository=%+q})" $labels.server $labels.repository | query }} of {{ . | first | value | humanizeDuration }}{{ end }}. Either no import was started, or none has succeeded.',
              runbook_url: 'runbook.md#lakefsimportoverdue',
            },
          },
          {
            alert: 'LakeFSImportDiscoveryFailing',
            expr: |||
            min by (server) (
              time() - lakefs_import_exporter_discovery_last_success_timestamp_seconds
              unless on (job, instance) time() - process_start_time_seconds < 600
            ) > 600
            or max by (server) (lakefs_import_exporter_discovery_dropped_imports) > 0
          |||,
            'for': '1m',
            keep_firing_for: '10m',
            labels: {
              severity: 'warning',
            },
            annotations: {
              summary: 'Not all imports of lakeFS {{ $labels.server }} are discovered',
              description: '{{ with printf "max(lakefs_import_exporter_discovery_dropped_imports{server=%+q}) > 0" $labels.server | query -}} {{ . | first | value }} imports are left out because of max_imports. {{- else -}} No refresh has succeeded for 10 minutes: imports that were started since are not watched. Those found before are polled as usual. {{- end }}',
              runbook_url: 'runbook.md#lakefsimportdiscoveryfailing',
            },
          },
        ],
      },
      {
        name: 'lakefs-import-exporter',
        rules: [
          {
            alert: 'LakeFSImportExporterDown',
            expr: |||
            absent(lakefs_import_exporter_build_info)
            or on () (
              up == 0 and on (job, instance) last_over_time(lakefs_import_exporter_build_info[7d])
              or on (job)
                group by (job) (last_over_time(lakefs_import_exporter_build_info[1d]))
                  unless on (job) lakefs_import_exporter_build_info
            )
          |||,
            'for': '5m',
            labels: {
              severity: 'critical',
            },
            annotations: {
              summary: '{{ with $labels.job }}lakefs_import_exporter {{ with $labels.instance }}{{ . }} {{ end }}of job {{ . }}{{ else }}Every lakefs_import_exporter{{ end }} is down',
              description: '{{ if $labels.instance }}Prometheus cannot scrape it{{ else if $labels.job }}It has left Prometheus\' service discovery{{ else }}Prometheus scrapes none{{ end }}, so nobody watches its imports, and their alerts say nothing. {{- range query "up == 0 and on (job, instance) last_over_time(lakefs_import_exporter_build_info[7d])" | sortByLabel "instance" }} Down: {{ .Labels.instance }} of job {{ .Labels.job }}. {{- end }}',
              runbook_url: 'runbook.md#lakefsimportexporterdown',
            },
          },
          {
            alert: 'LakeFSImportExporterConfigReloadFailed',
            expr: 'lakefs_import_exporter_config_last_reload_successful == 0',
            'for': '5m',
            labels: {
              severity: 'warning',
            },
            annotations: {
              summary: 'lakefs_import_exporter {{ $labels.instance }} could not reload its configuration',
              description: 'It goes on with the configuration it had {{- with printf "lakefs_import_exporter_config_last_reload_success_timestamp_seconds{job=%+q,instance=%+q}" $labels.job $labels.instance | query }} at {{ . | first | value | humanizeTimestamp }}{{ end }}. Imports that were added since are not watched, and with the next restart it will not start.',
              runbook_url: 'runbook.md#lakefsimportexporterconfigreloadfailed',
            },
          },
        ],
      },
    ],
  },
}
