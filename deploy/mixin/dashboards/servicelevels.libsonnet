// Service levels, from the aggregates: the repositories with the most imports.
local g = import 'grafana.libsonnet';
local look = import 'look.libsonnet';

function(q)
  local increase(metric, matchers, range) = 'increase(%s[%s])' % [q.repositories(metric, matchers), range];
  local finished(by, matchers, range='7d') = '(' + q.counted(by, increase('lakefs_imports_finished_total', matchers, range)) + ')';
  local succeeded = 'outcome="succeeded"', notCanceled = 'outcome!="canceled"';
  local busiest(n, expr, modifier='') = '(%s) and on (%s) topk(%d, sum by (%s) (increase(%s[7d]%s)) > 0)' % [
    expr,
    q.repository,
    n,
    q.repository,
    q.repositories('lakefs_imports_finished_total'),
    modifier,
  ];
  local duration(quantile) = 'histogram_quantile(%s, sum by (%s, le) (%s)) > 0' % [
    quantile,
    q.repository,
    increase('lakefs_imports_duration_seconds_bucket', [], '7d'),
  ];
  local largestAge(expr) = '%s and on (%s) topk(20, (time() - %s) / %s)' % [expr, q.repository, q.lastImport, q.maxAge];

  [
    g.row('Service levels', 33),
    g.table(
      'Service levels of the last 7 days',
      'The 20 repositories with the most imports. Success is the share of those that were not canceled. Median and 95th percentile of the durations of those that succeeded, from start to finish.',
      g.grid(0, 34, 15, 8),
      [
        g.instant('rate', busiest(20, '%s / (%s > 0)' % [finished(q.repository, [succeeded]), finished(q.repository, [notCanceled])])),
        g.instant('finished', busiest(20, finished(q.repository, [notCanceled]))),
        g.instant('median', busiest(20, duration('0.5'))),
        g.instant('slow', busiest(20, duration('0.95'))),
        g.instant('objects', busiest(20, '(%s) / 7' % q.counted(q.repository, increase('lakefs_imports_ingested_objects_total', [], '7d')))),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 80 } },
        { name: 'repository', title: 'Repository' },
        {
          name: 'Value #rate',
          title: 'Success',
          properties: look.coloredNumber([[null, look.red], [0.9, look.yellow], [0.99, look.green]]) {
            'custom.width': 85,
            unit: 'percentunit',
            decimals: 1,
          },
        },
        { name: 'Value #finished', title: 'Finished', properties: { decimals: 0, 'custom.width': 80 } },
        { name: 'Value #median', title: 'Median', properties: { unit: 's', decimals: 1, 'custom.width': 85 } },
        { name: 'Value #slow', title: 'p95', properties: { unit: 's', decimals: 1, 'custom.width': 85 } },
        { name: 'Value #objects', title: 'Objects/day', properties: { decimals: 0, 'custom.width': 100 } },
      ],
      { field: 'Value #finished', desc: true },
    ),
    g.table(
      'Freshness',
      'Repositories with a max_import_age in the configuration of the exporter, the most overdue first.',
      g.grid(15, 34, 9, 8),
      [
        g.instant('age', largestAge('(time() - %s) / %s' % [q.lastImport, q.maxAge])),
        g.instant('newest', largestAge('1000 * ' + q.lastImport)),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 80 } },
        { name: 'repository', title: 'Repository' },
        { name: 'Value #newest', title: 'Newest', properties: { unit: 'dateTimeFromNow', 'custom.width': 130 } },
        {
          name: 'Value #age',
          title: 'Age / max',
          properties: look.coloredNumber([[null, look.green], [0.8, look.yellow], [1, look.red]]) {
            unit: 'percentunit',
            decimals: 0,
            'custom.width': 85,
          },
        },
      ],
      { field: 'Value #age', desc: true },
    ),
    g.graph(
      'Finished imports a day',
      'Within the 24 hours before each point.',
      g.grid(0, 42, 12, 7),
      [g.range('A', finished('outcome', [], '1d'), '{{outcome}}')],
      'short',
    ) { timeFrom: '7d' },
    g.graph(
      'Objects ingested a day',
      'By imports that succeeded within the 24 hours before each point; the 10 repositories with the most imports.',
      g.grid(12, 42, 12, 7),
      [g.range('A', busiest(10, q.counted(q.repository, increase('lakefs_imports_ingested_objects_total', [], '1d')), ' @ end()'), '{{repository}}')],
      'short',
    ) { timeFrom: '7d' },
  ]
