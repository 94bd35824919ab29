// What runs: the 25 with the most objects.
local g = import 'grafana.libsonnet';
local look = import 'look.libsonnet';

function(q)
  local largest(expr) = '%s and on (%s) topk(25, %s)' % [expr, q.key, q.unfinished(q.one(q.key, '%s and on (%s) %s' % [
    q.imports('lakefs_import_ingested_objects'),
    q.key,
    q.inState('running'),
  ]))];
  local ingested = q.one(q.id, q.imports('lakefs_import_ingested_objects'));
  local expected = q.one(q.id, q.imports('lakefs_import_expected_objects'));
  // What is not known is not 0: a curve that is flat because no poll succeeds has no rate.
  local speed = 'max by (%s) (deriv(%s[$__rate_interval]) and %s == 1)' % [
    q.id,
    q.imports('lakefs_import_ingested_objects'),
    q.imports('lakefs_import_poll_success'),
  ];

  [
    g.row('Running', 15),
    g.table(
      'Running imports',
      'The 25 with the most objects. Progress and the remaining time need expected_objects; the commit comes on top.',
      g.grid(0, 16, 24, 9),
      [
        g.instant('objects', q.place(largest(ingested))),
        g.instant('progress', largest('clamp_max(%s / %s, 1)' % [ingested, expected])),
        g.instant('speed', largest(speed)),
        g.instant('remaining', largest('clamp_min(%s - %s, 0) / (%s > 0)' % [expected, ingested, speed])),
        g.instant('started', '1000 * (%s)' % largest(q.one(q.id, q.imports('lakefs_import_start_timestamp_seconds')))),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 90 } },
        { name: 'place', title: 'Repository/branch' },
        { name: 'import_id', title: 'Import', properties: { 'custom.width': 185, links: [look.page('q=${__value.raw}')] } },
        {
          name: 'Value #progress',
          title: 'Progress',
          properties: {
            unit: 'percentunit',
            min: 0,
            max: 1,
            decimals: 0,
            'custom.width': 140,
            'custom.cellOptions': { type: 'gauge', mode: 'basic' },
            color: { mode: 'fixed', fixedColor: 'blue' },
          },
        },
        { name: 'Value #objects', title: 'Objects', properties: { 'custom.width': 80 } },
        { name: 'Value #speed', title: 'Objects/s', properties: { decimals: 0, 'custom.width': 80 } },
        { name: 'Value #remaining', title: 'Remaining', properties: { unit: 's', decimals: 1, 'custom.width': 95 } },
        { name: 'Value #started', title: 'Started', properties: { unit: 'dateTimeFromNow', 'custom.width': 130 } },
      ],
      { field: 'Value #objects', desc: true },
    ),
    g.graph(
      'Objects per second',
      'Ingested by unfinished imports; the 10 repositories with the most objects.',
      g.grid(0, 25, 12, 8),
      [
        g.range('A', 'sum by (repository) (%s) and on (repository) topk(10, sum by (repository) (%s @ end()))' % [
          speed,
          q.imports('lakefs_import_ingested_objects'),
        ], '{{repository}}'),
      ],
      'short',
    ),
    g.graph(
      'Imports by state over time',
      'Of the repositories chosen, whatever their team.',
      g.grid(12, 25, 12, 8),
      [g.range('A', q.counted('state', q.repositories('lakefs_imports')), '{{state}}')],
      'short',
      { stacking: { mode: 'normal', group: 'A' }, fillOpacity: 60, lineWidth: 0 },
    ) {
      fieldConfig+: {
        overrides: [
          { matcher: { id: 'byName', options: state }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: look.colors[state] } }] }
          for state in look.states
        ],
      },
    },
  ]
