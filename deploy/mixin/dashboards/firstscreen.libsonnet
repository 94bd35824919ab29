local g = import 'grafana.libsonnet';
local look = import 'look.libsonnet';

function(config, q, causes)
  [
    g.stats(
      'Imports by state',
      'Watched imports. Click a number to see them on the page of the exporter.',
      g.grid(0, 0, 24, 2),
      [
        g.range(
          state,
          'count by (state) (%s) or 0 * group by (state) (%s)' % [
            q.one(q.key + ', state', q.inState(state)),
            q.repositories('lakefs_imports', ['state="%s"' % state]),
          ],
          '{{state}}',
        ) { instant: true, range: false }
        for state in look.states
      ],
    ) {
      fieldConfig: {
        defaults: {
          unit: 'short',
          links: [look.page('state=${__field.labels.state}')],
          color: { mode: 'thresholds' },
        },
        overrides: [
          {
            matcher: { id: 'byName', options: state },
            properties: [{ id: 'thresholds', value: g.thresholds([[null, 'text'], [1, look.colors[state]]]) }],
          }
          for state in look.states
        ],
      },
    },
    g.table(
      'Needs a person',
      'The worst first, the newest 5 of a kind; the page of the exporter has them all. Failures of a repository for the same reason are one row, that of the newest. They end here after a week, or when a later import into the branch has succeeded.',
      g.grid(0, 2, 24, 8),
      [g.instant('A', causes.query)],
      [
        { name: 'state', title: 'State', properties: look.coloredText({ [s]: { color: look.colors[s] } for s in std.objectFields(look.colors) }) + { 'custom.width': 92 } },
        { name: 'place', title: 'Repository/branch', properties: { 'custom.width': 180 } },
        {
          name: 'Value',
          title: 'Since',
          properties: {
            'custom.width': 135,
            unit: 'dateTimeFromNow',
            mappings: g.mappings({ '0': { text: '–' } }),
          },
        },
        { name: 'why', title: 'Why', properties: { 'custom.inspect': true } },
        {
          name: 'alert',
          title: 'Do',
          properties: {
            'custom.width': 165,
            mappings: g.mappings({ [alert]: { text: causes.todo[alert] } for alert in std.objectFields(causes.todo) }),
            links: [
              { title: 'Open the runbook', url: config.runbookURL + '${__value.raw}', targetBlank: true },
              look.page('q=${__data.fields["Repository/branch"]}'),
            ],
          },
        },
      ],
      { field: 'rank' },
    ) { fieldConfig+: { defaults+: { noValue: 'Nothing needs a person' } } },
    g.table(
      'lakeFS servers',
      'down: the newest scrape got no answer. unauthorized: it refuses the keys. Clock skew is that of lakeFS against the exporter. Discovery is failing when no refresh has succeeded for 10 minutes, and dropping when there are more imports than max_imports.',
      g.grid(0, 10, 13, 5),
      [
        // Up for one exporter is up; each has its own keys.
        g.instant('state', 'topk(20, %s * (1 + %s))' % [q.one(q.server, q.servers('lakefs_up')), 'min by (%s) (%s)' % [q.server, q.servers('lakefs_authorized')]]),
        g.instant('skew', 'topk(20, %s)' % q.one(q.server, q.servers('lakefs_clock_skew_seconds'))),
        g.instant('discovery', 'topk(20, (time() - %s < bool 600) * (2 - (%s > bool 0)))' % [
          q.one(q.server, q.servers('lakefs_import_exporter_discovery_last_success_timestamp_seconds')),
          q.one(q.server, q.servers('lakefs_import_exporter_discovery_dropped_imports')),
        ]),
      ],
      [
        { name: 'server', title: 'Server' },
        {
          name: 'Value #state',
          title: 'lakeFS',
          properties: look.coloredText({
            '0': { text: 'down', color: look.red },
            '1': { text: 'unauthorized', color: look.red },
            '2': { text: 'up', color: look.green },
          }) + { 'custom.width': 120 },
        },
        {
          name: 'Value #skew',
          title: 'Skew',
          properties: look.coloredNumber([[null, look.yellow], [-60, look.grey], [60, look.yellow]]) {
            unit: 's',
            decimals: 0,
            'custom.width': 100,
          },
        },
        {
          name: 'Value #discovery',
          title: 'Discovery',
          properties: look.coloredText({
            '0': { text: 'failing', color: look.red },
            '1': { text: 'dropping', color: look.orange },
            '2': { text: 'ok', color: look.green },
          }) + { 'custom.width': 100 },
        },
      ],
      { field: 'Value #state' },
    ),
    g.table(
      'Failures by reason',
      'Failed imports of the last week whose branch has had no success since.',
      g.grid(13, 10, 11, 5),
      [
        g.instant('imports', 'topk(20, count by (reason) (%s))' % causes.failedWith('reason')),
        g.instant('repositories', 'topk(20, count by (reason) (count by (%s, reason) (%s)))' % [q.repository, causes.failedWith('reason')]),
      ],
      [
        { name: 'reason', title: 'Reason', properties: { links: [look.page('state=failed&q=${__value.raw}')] } },
        { name: 'Value #imports', title: 'Imports', properties: { 'custom.width': 75 } },
        { name: 'Value #repositories', title: 'Repositories', properties: { 'custom.width': 100 } },
      ],
      { field: 'Value #imports', desc: true },
    ),
  ]
