// About lakeFS servers and repositories.
function(promql)
  [
    // A server whose polls succeed after scrapes have given them up is slow, not down:
    // that is LakeFSImportPollFailing.
    promql.alert(
      'LakeFSDown',
      'critical',
      'a lakeFS does not answer, or answers too seldom',
      |||
        (
          max by (%(server)s) (last_over_time(lakefs_up{%(exporter)s}[%(lookback)s])) == 0
          or max by (%(server)s) (avg_over_time(lakefs_up{%(exporter)s}[%(lookback)s])) < %(minAnswers)s
        )
        unless on (%(server)s) (
          max by (%(server)s) (max_over_time(lakefs_up{%(exporter)s}[11m])) == 0
          and
            sum by (%(server)s) (last_over_time(lakefs_import_exporter_polls_total{%(exporter)s, result="success"}[%(lookback)s]))
            > (
              sum by (%(server)s) (last_over_time(lakefs_import_exporter_polls_total{%(exporter)s, result="success"}[%(lookback)s] offset 10m))
              or sum by (%(server)s) (last_over_time(lakefs_import_exporter_polls_total{%(exporter)s, result="success"}[%(lookback)s])) * 0
            )
        )
      ||| + promql.stays('LakeFSDown', '%(server)s', 'lakefs_up'),
      summary='lakeFS {{ $labels.server }} does not answer',
      description=|||
        It has not answered the exporter, or only now and then, for several minutes. Imports may go on unseen. Alerts about
        them stay as they are until it answers again.
      |||,
      wait='6m',
    ),

    // Each exporter has its own keys, so one that is refused is enough. A lakeFS whose
    // database is away refuses all keys too; discovery, which reads the same database,
    // tells the one from the other.
    promql.alert(
      'LakeFSUnauthorized',
      'critical',
      'a lakeFS refuses the keys',
      |||
        min by (%(server)s) (last_over_time(lakefs_authorized{%(exporter)s}[%(lookback)s])) == 0
        unless on (%(server)s) (
          max by (%(server)s) (last_over_time(lakefs_import_exporter_discovery_last_success_timestamp_seconds{%(exporter)s}[%(lookback)s])) < time() - 600
          or sum by (%(server)s) (increase(lakefs_import_exporter_discovery_refreshes_total{%(exporter)s, result="error"}[%(lookback)s])) > 0
        )
      ||| + promql.stays('LakeFSUnauthorized', '%(server)s', 'lakefs_authorized'),
      summary='lakeFS {{ $labels.server }} refuses the keys of the exporter',
      description=|||
        It answers every poll with 401 or 403: the access keys are wrong or were rotated, or their user lacks fs:ReadBranch.
        Its imports go on unseen.
      |||,
      wait='6m',
    ),

    // By the exporter that succeeds, since each watches all imports or those of its shard.
    promql.alert(
      'LakeFSImportDiscoveryFailing',
      'warning',
      'no successful refresh for 10 minutes, or imports are left out because of `max_imports`',
      |||
        label_replace(
          min by (%(server)s) (
            time() - last_over_time(lakefs_import_exporter_discovery_last_success_timestamp_seconds{%(exporter)s}[%(lookback)s])
            unless on (%(instance)s) time() - last_over_time(process_start_time_seconds{%(exporter)s}[%(lookback)s]) < 600
          ) > 600,
          "reason", "refresh_failed", "", ""
        )
        or label_replace(
          max by (%(server)s) (last_over_time(lakefs_import_exporter_discovery_dropped_imports{%(exporter)s}[%(lookback)s])) > 0,
          "reason", "max_imports", "", ""
        )
      ||| + promql.stays('LakeFSImportDiscoveryFailing', '%(server)s', 'lakefs_import_exporter_discovery_last_success_timestamp_seconds'),
      summary='Not all imports of lakeFS {{ $labels.server }} are discovered',
      description=|||
        {{ if eq $labels.reason "max_imports" }}There are more imports than max_imports: the oldest are left out.
        {{- else }}No refresh has succeeded for 10 minutes: imports that were started since are not watched.
        {{- end }}
      |||,
    ),

    // A repository that never had an import is infinitely late.
    promql.alert(
      'LakeFSImportOverdue',
      'critical',
      'the newest import into a repository is older than its `max_import_age`, or there never was one, and none is running',
      |||
        max without (%(targetLabelsButJob)s) (
          topk by (%(server)s, repository) (1, last_over_time(lakefs_repository_max_import_age_seconds{%(exporter)s}[%(lookback)s]))
        )
        < on (%(server)s, repository) group_left ()
          time() - max by (%(server)s, repository) (
            last_over_time(lakefs_repository_last_import_timestamp_seconds{%(exporter)s}[%(lookback)s])
            or (last_over_time(lakefs_repository_poll_success{%(exporter)s}[%(lookback)s]) == 1) * -Inf
          )
        unless on (%(scope)s, server, repository) last_over_time(lakefs_import_state{%(exporter)s, state="running"}[%(lookback)s])
      ||| + promql.stays('LakeFSImportOverdue', '%(server)s, repository', 'lakefs_repository_poll_success'),
      summary='Overdue: the next import into {{ $labels.repository }} on {{ $labels.server }}',
      description=|||
        The newest successful import into the repository is older than its max_import_age, or there never was one, and none
        is running now. Either no import was started, or none has succeeded.
      |||,
      wait='5m',
    ),
  ]
