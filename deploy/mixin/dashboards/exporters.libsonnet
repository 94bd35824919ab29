// The exporters themselves.
local g = import 'grafana.libsonnet';
local look = import 'look.libsonnet';

function(q)
  local instance = '{{instance}}';
  local ofExporters(expr) = '%s and on (%s) %s' % [expr, q.target, q.exporters('lakefs_import_exporter_build_info')];
  local countOfErrors = look.coloredNumber([[null, look.grey], [0.5, look.red]]) { decimals: 0 };
  local perExporter(expr) = 'topk(50, %s)' % q.one(q.target, expr);

  [
    g.row('Exporters', 49, true, [
      g.graph(
        'Polls by result',
        'Status requests to lakeFS.',
        g.grid(0, 50, 8, 7),
        [g.range('A', 'sum by (result) (rate(%s[$__rate_interval]))' % q.servers('lakefs_import_exporter_polls_total'), '{{result}}')],
        'reqps',
      ),
      g.graph(
        'Duration of polls, 95th percentile',
        'How long lakeFS takes to tell a status.',
        g.grid(8, 50, 8, 7),
        [
          g.range('A', 'histogram_quantile(0.95, sum by (server, le) (rate(%s[$__rate_interval])))' %
                       q.servers('lakefs_import_exporter_poll_duration_seconds_bucket'), '{{server}}'),
        ],
        's',
      ),
      g.graph(
        'Duration of scrapes',
        'How long Prometheus waits for the exporter.',
        g.grid(16, 50, 8, 7),
        [g.range('A', ofExporters(q.exporters('scrape_duration_seconds')), instance)],
        's',
      ),
      g.graph(
        'Imports by source',
        'Watched by each exporter.',
        g.grid(0, 57, 8, 7),
        [g.range('A', 'sum by (source) (%s)' % q.exporters('lakefs_import_exporter_imports'), '{{source}}')],
        'short',
      ),
      g.graph(
        'Imports discovered and dropped',
        'Dropped: more than max_imports.',
        g.grid(8, 57, 8, 7),
        [
          g.range('found', q.one('server', q.servers('lakefs_import_exporter_discovery_imports')), '{{server}} found'),
          g.range('dropped', q.one('server', q.servers('lakefs_import_exporter_discovery_dropped_imports')), '{{server}} dropped'),
        ],
        'short',
      ),
      g.graph(
        'Age of the last successful discovery',
        'It is read from the database of lakeFS in every refresh_interval.',
        g.grid(16, 57, 8, 7),
        [g.range('A', 'time() - (%s > 0)' % q.one('server', q.servers('lakefs_import_exporter_discovery_last_success_timestamp_seconds')), '{{server}}')],
        's',
      ),
      g.graph(
        'Memory',
        'Resident.',
        g.grid(0, 64, 6, 7),
        [g.range('A', ofExporters(q.exporters('process_resident_memory_bytes')), instance)],
        'bytes',
      ),
      g.graph(
        'CPU',
        'Cores in use.',
        g.grid(6, 64, 6, 7),
        [g.range('A', ofExporters('rate(%s[$__rate_interval])' % q.exporters('process_cpu_seconds_total')), instance)],
        'none',
      ),
      g.table(
        'Exporters',
        'Reload: whether the configuration could be loaded again. Files: import files that do not load. Storage: errors of the last hour.',
        g.grid(12, 64, 12, 7),
        [
          g.instant('version', 'topk(50, %s)' % q.one(q.target + ', version', q.exporters('lakefs_import_exporter_build_info'))),
          g.instant('reload', perExporter(q.exporters('lakefs_import_exporter_config_last_reload_successful'))),
          g.instant('files', perExporter('sum by (%s) (%s) or 0 * %s' % [
            q.target,
            q.exporters('lakefs_import_exporter_import_file_error'),
            q.one(q.target, q.exporters('lakefs_import_exporter_build_info')),
          ])),
          g.instant('storage', perExporter('increase(%s[1h])' % q.exporters('lakefs_import_exporter_storage_errors_total'))),
        ],
        [
          { name: 'instance', title: 'Exporter' },
          { name: 'version', title: 'Version' },
          {
            name: 'Value #reload',
            title: 'Reload',
            properties: look.coloredText({ '0': { text: 'failed', color: look.red }, '1': { text: 'ok', color: look.green } }) + { 'custom.width': 70 },
          },
          { name: 'Value #files', title: 'Files', properties: countOfErrors { 'custom.width': 60 } },
          { name: 'Value #storage', title: 'Storage', properties: countOfErrors { 'custom.width': 75 } },
        ],
      ),
    ]),
  ]
