// About the exporters themselves.
function(promql) [
  promql.record('namespace:lakefs_import_exporter_build_info:count', |||
    count by (%(scope)s) (lakefs_import_exporter_build_info{%(exporter)s})
  |||),

  // In this order, the first that applies:
  // 1. A target was an exporter within a week, and does not answer for more than a moment:
  //    a scrape that fails now and then would renew keep_firing_for again and again.
  // 2. A shard is missing.
  // 3. There are fewer exporters than for most of the last day: one has left service
  //    discovery. To rename a job changes nothing, nor does a rollout.
  promql.alert(
    'LakeFSImportExporterDown',
    'critical',
    'an exporter that was there is gone, a shard included; never where there never was one',
    |||
      max by (%(instance)s) (up{%(exporter)s}) == 0
      unless on (%(instance)s) max_over_time(up{%(exporter)s}[2m]) == 1
      and on (%(instance)s) last_over_time(lakefs_import_exporter_build_info{%(exporter)s}[7d])
      or on (%(scope)s)
        count by (%(scope)s, job) (last_over_time(lakefs_import_exporter_build_info{%(exporter)s}[%(lookback)s]))
        < max by (%(scope)s, job) (last_over_time(lakefs_import_exporter_total_shards{%(exporter)s}[%(lookback)s]))
      or on (%(scope)s)
        (namespace:lakefs_import_exporter_build_info:count or quantile_over_time(0.75, namespace:lakefs_import_exporter_build_info:count[1d]) * 0)
        < floor(quantile_over_time(0.75, namespace:lakefs_import_exporter_build_info:count[1d]))
    |||,
    summary='{{ if $labels.instance }}lakefs_import_exporter {{ $labels.instance }} is down{{ else }}A lakefs_import_exporter is gone{{ end }}',
    description=|||
      {{ if $labels.instance }}Prometheus cannot scrape it.
      {{- else }}Prometheus scrapes {{ $value }} of them now, fewer than before: one has left service discovery.
      {{- end }} Its imports are not watched. Alerts about them stay as they are until it is back.
    |||,
    wait='6m',
    keep='5m',
  ),

  promql.alert(
    'LakeFSImportExporterRestarting',
    'warning',
    'an exporter has restarted more than three times within an hour',
    |||
      max by (%(instance)s) (changes(process_start_time_seconds{%(exporter)s}[1h])) > %(maxRestarts)s
      and on (%(instance)s) last_over_time(lakefs_import_exporter_build_info{%(exporter)s}[%(lookback)s])
    |||,
    summary='lakefs_import_exporter {{ $labels.instance }} keeps restarting',
    description='It has restarted {{ $value }} times within an hour. Without --storage.path, it forgets each time what it saw.',
  ),

  promql.alert(
    'LakeFSImportExporterConfigReloadFailed',
    'warning',
    'the configuration in use is an old one',
    'min by (%(instance)s) (last_over_time(lakefs_import_exporter_config_last_reload_successful{%(exporter)s}[%(lookback)s])) == 0',
    summary='lakefs_import_exporter {{ $labels.instance }} failed to reload its configuration',
    description='It keeps the previous one: imports that were added since are not watched. It will not start again with the new one.',
    wait='5m',
  ),

  promql.alert(
    'LakeFSImportExporterImportFileFailed',
    'warning',
    'an import file does not load',
    'max by (%(instance)s, file) (last_over_time(lakefs_import_exporter_import_file_error{%(exporter)s}[%(lookback)s])) == 1',
    summary='lakefs_import_exporter {{ $labels.instance }} cannot load {{ $labels.file }}',
    description='It keeps what it last loaded from this file: imports that were added since are not watched.',
    wait='5m',
  ),

  promql.alert(
    'LakeFSImportExporterStorageFailing',
    'warning',
    'the storage cannot be written',
    'max by (%(instance)s) (increase(lakefs_import_exporter_storage_errors_total{%(exporter)s}[%(lookback)s])) > 0',
    summary='lakefs_import_exporter {{ $labels.instance }} cannot write to its storage',
    description='Imports cannot be registered, and after a restart the exporter will not remember what it sees now.',
  ),

  // 1. lakeFS counts the imports that it starts, no matter who starts them. Its counter
  //    is read 10 minutes late, so that they have been discovered. Its series is born
  //    with the first import, at 1.
  // 2. Many imports were watched, and now there are none.
  promql.alert(
    'LakeFSImportsUnwatched',
    'info',
    "lakeFS's own metrics, where they are scraped, count more started imports than are watched; or many were watched, and now none is",
    |||
      sum by (%(clusterLabel)s) (
        last_over_time(api_request_duration_seconds_count{operation="ImportStart", code="202"}[%(lookback)s] offset 10m)
        - (
          last_over_time(api_request_duration_seconds_count{operation="ImportStart", code="202"}[%(lookback)s] offset 70m)
          or min_over_time(api_request_duration_seconds_count{operation="ImportStart", code="202"}[1h] offset 10m)
            - (min_over_time(api_request_duration_seconds_count{operation="ImportStart", code="202"}[1h] offset 10m) == bool 1)
        )
      )
      > (
        count by (%(clusterLabel)s) (
          max by (%(clusterLabel)s, import_id) (last_over_time(lakefs_import_start_timestamp_seconds{%(exporter)s}[%(lookback)s]) > time() - 4500)
        )
        or max by (%(clusterLabel)s) (last_over_time(lakefs_import_exporter_build_info{%(exporter)s}[%(lookback)s])) * 0
      )
      or
        sum by (%(scope)s) (max_over_time(lakefs_import_exporter_imports{%(exporter)s}[1h])) > %(manyImports)s
        unless on (%(scope)s) sum by (%(scope)s) (last_over_time(lakefs_import_exporter_imports{%(exporter)s}[%(lookback)s])) > 0
    |||,
    summary='Imports of lakeFS are not watched',
    description=|||
      {{ $value }} imports were started within an hour or watched before, more than are watched now. The others raise no alert.
    |||,
    wait='15m',
  ),
]
