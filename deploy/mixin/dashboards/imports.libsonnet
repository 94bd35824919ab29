// The dashboard of the imports. The first screen says what needs a person; below
// it come what runs, service levels, and the exporters themselves.
//
// The state of an import is the exporter's word for it, lakefs_import_state;
// nothing here judges states anew. Imports are counted once, however many exporters
// watch them, and what one exporter knows to be finished is finished.
//
// Every query has a bound, so that 10,000 imports are no trouble.
local g = import 'grafana.libsonnet';

function(config)
  local cluster = config.clusterLabel;
  local select(matchers) = '{%s}' % std.join(', ', std.filter(
    function(matcher) matcher != '',
    [config.exporterSelector, cluster + '=~"$cluster"', 'job=~"$job"'] + matchers,
  ));

  // The series of imports, of repositories, of servers and of exporters.
  local imports(metric, matchers=[]) =
    metric + select(['server=~"$server"', 'repository=~"$repository"', 'team=~"$team"'] + matchers);
  local repositories(metric, matchers=[]) = metric + select(['server=~"$server"', 'repository=~"$repository"'] + matchers);
  local servers(metric, matchers=[]) = metric + select(['server=~"$server"'] + matchers);
  local exporters(metric, matchers=[]) = metric + select(matchers);
  local inState(state) = imports('lakefs_import_state', ['state="%s"' % state]);

  // What identifies them.
  local scope = std.join(', ', config.scopeLabels);
  local target = scope + ', job, instance';
  local server = scope + ', server';
  local repository = server + ', repository';
  local branch = repository + ', branch';
  local key = repository + ', import_id';
  local id = branch + ', import_id';

  // one reduces what several exporters say to one value. Targets of other labels
  // than these are merged.
  local one(labels, expr) = 'max by (%s) (%s)' % [labels, expr];
  local label(name, value, expr) = 'label_replace(%s, "%s", "%s", "", "")' % [expr, name, value];
  local labels(values, expr) = std.foldl(function(e, name) label(name, values[name], e), std.objectFields(values), expr);

  // Aggregates of a repository. Exporters that watch the same imports all count
  // them, so the highest is right; shards each count their own, so the sum is.
  local counted(by, expr) = |||
    sum by (%(by)s) (max by (%(all)s) (%(expr)s)) unless on () max(%(shards)s) > 1
    or sum by (%(by)s) (%(expr)s)
  ||| % { by: by, all: repository + ', state, outcome', expr: expr, shards: exporters('lakefs_import_exporter_total_shards') };

  //
  // What needs a person, the worst first. since is the query for the time since when.
  //
  local unfinished(expr) = '%s unless on (%s) %s == 1' % [expr, key, imports('lakefs_import_completed')];
  local sinceMetric(metric, state) = unfinished(one(id, '%s and on (%s) %s' % [imports(metric), key, inState(state)]));
  local reachable = one(server, servers('lakefs_up') + ' == 1 and ' + servers('lakefs_authorized') + ' == 1');
  local lastSuccess = one(branch, '%s and on (%s) %s' % [
    imports('lakefs_import_update_timestamp_seconds', ['branch!="-"']),
    key,
    inState('succeeded'),
  ]);
  // Of the last week, and nothing was imported into the branch since.
  local failed = '(%(failed)s > on (%(branch)s) group_left () (%(success)s or 0 * %(any)s) > time() - 604800)' % {
    failed: one(id, '%s and on (%s) %s' % [imports('lakefs_import_update_timestamp_seconds'), key, inState('failed')]),
    branch: branch,
    success: lastSuccess,
    any: one(branch, inState('failed')),
  };
  local failedWith(labels) = '%s * on (%s) group_left (%s) %s' % [
    failed,
    key,
    labels,
    one(key + ', ' + labels, imports('lakefs_import_error_info', ['reason!="canceled"'])),
  ];
  local notRunning = 'unless on (%s) %s > 0' % [repository, repositories('lakefs_imports', ['state="running"'])];
  local maxAge = one(repository, repositories('lakefs_repository_max_import_age_seconds'));
  local lastImport = one(repository, repositories('lakefs_repository_last_import_timestamp_seconds'));
  local causes = [
    {
      state: 'stalled',
      alert: 'LakeFSImportStalled',
      why: 'No heartbeat: the lakeFS process that ran it has most likely died',
      since: sinceMetric('lakefs_import_update_timestamp_seconds', 'stalled'),
    },
    {
      state: 'lost',
      alert: 'LakeFSImportLost',
      why: 'It was running, but lakeFS no longer knows it',
      since: sinceMetric('lakefs_import_last_status_timestamp_seconds', 'lost'),
    },
    {
      state: 'overdue',
      alert: 'LakeFSImportOverdue',
      why: 'The newest import is older than max_import_age',
      since: '%s + %s < time() %s' % [lastImport, maxAge, notRunning],
    },
    {
      state: 'overdue',
      alert: 'LakeFSImportOverdue',
      why: 'Nothing has ever been imported',
      since: '0 * (%s and on (%s) %s == 1 unless on (%s) %s) %s' % [
        maxAge,
        repository,
        repositories('lakefs_repository_poll_success'),
        repository,
        lastImport,
        notRunning,
      ],
    },
    {
      // One row for equal failures of a repository, of the newest.
      state: 'failed',
      alert: 'LakeFSImportFailed',
      since: 'topk by (%s, reason) (1, label_join(%s, "why", ": ", "reason", "message"))' % [
        repository,
        'label_replace(%s, "message", "$2", "message", "import error: (error on ingest: )?(.*)")' % failedWith('reason, message'),
      ],
    },
    {
      state: 'hung',
      alert: 'LakeFSImportNotProgressing',
      why: 'The heartbeat is alive, but no objects are added',
      since: sinceMetric('lakefs_import_progress_timestamp_seconds', 'hung'),
    },
    {
      state: 'overrunning',
      alert: 'LakeFSImportOverrunning',
      why: 'It takes longer than its max_duration',
      since: '%s + %s < time() and on (%s) %s' % [
        one(id, imports('lakefs_import_start_timestamp_seconds')),
        one(id, imports('lakefs_import_max_duration_seconds')),
        key,
        inState('running'),
      ],
    },
    {
      state: 'not polled',
      alert: 'LakeFSImportPollFailing',
      why: 'lakeFS answers, but gives no status for this import',
      since: '(%(seen)s and on (%(key)s) %(polled)s or 0 * (%(polled)s)) unless on (%(key)s) %(explained)s and on (%(server)s) %(reachable)s' % {
        seen: one(id, imports('lakefs_import_last_status_timestamp_seconds')),
        polled: one(id, imports('lakefs_import_poll_success')) + ' == 0',
        key: key,
        explained: imports('lakefs_import_state', ['state=~"stalled|lost|not_found"']),
        server: server,
        reachable: reachable,
      },
    },
    {
      state: 'not polled',
      alert: 'LakeFSImportPollFailing',
      why: 'lakeFS does not know this repository, or hides it',
      since: '0 * (%s == 0) and on (%s) %s' % [one(repository, repositories('lakefs_repository_poll_success')), server, reachable],
    },
    {
      state: 'not_found',
      alert: 'LakeFSImportNotFound',
      why: 'lakeFS does not know it, and never did',
      since: '(%(started)s and on (%(key)s) %(missing)s) > time() - 86400 or 0 * (%(missing)s unless on (%(key)s) %(started)s)' % {
        started: one(id, imports('lakefs_import_start_timestamp_seconds')),
        missing: one(id, inState('not_found')),
        key: key,
      },
    },
  ];
  local cause(i) = local c = causes[i]; labels(
    { rank: '%02d' % i, state: c.state, alert: std.asciiLower(c.alert) } +
    (if std.objectHas(c, 'why') then { why: c.why } else {}),
    'topk(5, %s)' % c.since,
  );
  // Repositories have no branch.
  local place = 'label_replace(label_join(%s, "place", "/", "repository", "branch"), "place", "$1", "place", "(.*)/")';
  local needsPerson = '1000 * ' + place % ('(' + std.join('\nor\n', std.mapWithIndex(function(i, _) cause(i), causes)) + ')');
  local todo = {
    lakefsimportstalled: 'Check branch, restart it',
    lakefsimportlost: 'Check branch',
    lakefsimportoverdue: 'Check its schedule',
    lakefsimportfailed: 'Fix cause, restart it',
    lakefsimportnotprogressing: 'Check log of lakeFS',
    lakefsimportoverrunning: 'Find what slows it',
    lakefsimportpollfailing: 'Check name and rights',
    lakefsimportnotfound: 'Correct ID or name',
  };

  local red = 'red', orange = 'orange', yellow = 'yellow', green = 'green', blue = 'blue', grey = 'text';
  local colors = {
    stalled: red,
    lost: 'semi-dark-red',
    overdue: red,
    failed: orange,
    hung: 'dark-orange',
    overrunning: 'light-orange',
    'not polled': 'dark-yellow',
    not_found: 'purple',
    unknown: yellow,
    running: blue,
    canceled: grey,
    succeeded: green,
  };
  local states = ['stalled', 'lost', 'failed', 'hung', 'not_found', 'unknown', 'running', 'canceled', 'succeeded'];
  local page(query) = { title: "Open on the exporter's page", url: '${page}/imports?' + query, targetBlank: true };
  local unknown = { type: 'special', options: { match: 'null', result: { text: '–', color: grey } } };
  local coloredText(values) = {
    mappings: g.mappings(values) + [unknown],
    'custom.cellOptions': { type: 'color-text' },
  };

  local coloredNumber(steps) = {
    mappings: [unknown],
    thresholds: g.thresholds(steps),
    'custom.cellOptions': { type: 'color-text' },
  };

  local firstScreen = [
    g.stats(
      'Imports by state',
      'Watched imports. Click a number to see them on the page of the exporter.',
      g.grid(0, 0, 24, 2),
      [
        g.range(
          state,
          'count by (state) (%s) or 0 * group by (state) (%s)' % [
            one(key + ', state', inState(state)),
            repositories('lakefs_imports', ['state="%s"' % state]),
          ],
          '{{state}}',
        ) { instant: true, range: false }
        for state in states
      ],
    ) {
      fieldConfig: {
        defaults: {
          unit: 'short',
          links: [page('state=${__field.labels.state}')],
          color: { mode: 'thresholds' },
        },
        overrides: [
          {
            matcher: { id: 'byName', options: state },
            properties: [{ id: 'thresholds', value: g.thresholds([[null, 'text'], [1, colors[state]]]) }],
          }
          for state in states
        ],
      },
    },
    g.table(
      'Needs a person',
      'The worst first, the newest 5 of a kind; the page of the exporter has them all. Failures of a repository for the same reason are one row, that of the newest. They end here after a week, or when a later import into the branch has succeeded.',
      g.grid(0, 2, 24, 8),
      [g.instant('A', needsPerson)],
      [
        { name: 'state', title: 'State', properties: coloredText({ [s]: { color: colors[s] } for s in std.objectFields(colors) }) + { 'custom.width': 92 } },
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
            mappings: g.mappings({ [alert]: { text: todo[alert] } for alert in std.objectFields(todo) }),
            links: [
              { title: 'Open the runbook', url: config.runbookURL + '${__value.raw}', targetBlank: true },
              page('q=${__data.fields["Repository/branch"]}'),
            ],
          },
        },
      ],
      { field: 'rank' },
    ),
    g.table(
      'lakeFS servers',
      'down: the newest scrape got no answer. unauthorized: it refuses the keys. Clock skew is that of lakeFS against the exporter. Discovery is failing when no refresh has succeeded for 10 minutes, and dropping when there are more imports than max_imports.',
      g.grid(0, 10, 13, 5),
      [
        // Up for one exporter is up; each has its own keys.
        g.instant('state', 'topk(20, %s * (1 + %s))' % [one(server, servers('lakefs_up')), 'min by (%s) (%s)' % [server, servers('lakefs_authorized')]]),
        g.instant('skew', 'topk(20, %s)' % one(server, servers('lakefs_clock_skew_seconds'))),
        g.instant('discovery', 'topk(20, (time() - %s < bool 600) * (2 - (%s > bool 0)))' % [
          one(server, servers('lakefs_import_exporter_discovery_last_success_timestamp_seconds')),
          one(server, servers('lakefs_import_exporter_discovery_dropped_imports')),
        ]),
      ],
      [
        { name: 'server', title: 'Server' },
        {
          name: 'Value #state',
          title: 'lakeFS',
          properties: coloredText({
            '0': { text: 'down', color: red },
            '1': { text: 'unauthorized', color: red },
            '2': { text: 'up', color: green },
          }) + { 'custom.width': 120 },
        },
        {
          name: 'Value #skew',
          title: 'Skew',
          properties: coloredNumber([[null, yellow], [-60, grey], [60, yellow]]) {
            unit: 's',
            decimals: 0,
            'custom.width': 100,
          },
        },
        {
          name: 'Value #discovery',
          title: 'Discovery',
          properties: coloredText({
            '0': { text: 'failing', color: red },
            '1': { text: 'dropping', color: orange },
            '2': { text: 'ok', color: green },
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
        g.instant('imports', 'topk(20, count by (reason) (%s))' % failedWith('reason')),
        g.instant('repositories', 'topk(20, count by (reason) (count by (%s, reason) (%s)))' % [repository, failedWith('reason')]),
      ],
      [
        { name: 'reason', title: 'Reason', properties: { links: [page('state=failed&q=${__value.raw}')] } },
        { name: 'Value #imports', title: 'Imports', properties: { 'custom.width': 75 } },
        { name: 'Value #repositories', title: 'Repositories', properties: { 'custom.width': 100 } },
      ],
      { field: 'Value #imports', desc: true },
    ),
  ];

  //
  // What runs: the 25 with the most objects.
  //
  local largest(expr) = '%s and on (%s) topk(25, %s)' % [expr, key, unfinished(one(key, '%s and on (%s) %s' % [
    imports('lakefs_import_ingested_objects'),
    key,
    inState('running'),
  ]))];
  local ingested = one(id, imports('lakefs_import_ingested_objects'));
  local expected = one(id, imports('lakefs_import_expected_objects'));
  // What is not known is not 0: a curve that is flat because no poll succeeds has no rate.
  local speed = 'max by (%s) (deriv(%s[$__rate_interval]) and %s == 1)' % [
    id,
    imports('lakefs_import_ingested_objects'),
    imports('lakefs_import_poll_success'),
  ];
  local running = [
    g.row('Running', 15),
    g.table(
      'Running imports',
      'The 25 with the most objects. Progress and the remaining time need expected_objects; the commit comes on top.',
      g.grid(0, 16, 24, 9),
      [
        g.instant('objects', place % largest(ingested)),
        g.instant('progress', largest('clamp_max(%s / %s, 1)' % [ingested, expected])),
        g.instant('speed', largest(speed)),
        g.instant('remaining', largest('clamp_min(%s - %s, 0) / (%s > 0)' % [expected, ingested, speed])),
        g.instant('started', '1000 * (%s)' % largest(one(id, imports('lakefs_import_start_timestamp_seconds')))),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 90 } },
        { name: 'place', title: 'Repository/branch' },
        { name: 'import_id', title: 'Import', properties: { 'custom.width': 185, links: [page('q=${__value.raw}')] } },
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
          imports('lakefs_import_ingested_objects'),
        ], '{{repository}}'),
      ],
      'short',
    ),
    g.graph(
      'Imports by state over time',
      'Of the repositories chosen, whatever their team.',
      g.grid(12, 25, 12, 8),
      [g.range('A', counted('state', repositories('lakefs_imports')), '{{state}}')],
      'short',
      { stacking: { mode: 'normal', group: 'A' }, fillOpacity: 60, lineWidth: 0 },
    ) {
      fieldConfig+: {
        overrides: [
          { matcher: { id: 'byName', options: state }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: colors[state] } }] }
          for state in states
        ],
      },
    },
  ];

  //
  // Service levels, from the aggregates: the repositories with the most imports.
  //
  local increase(metric, matchers, range) = 'increase(%s[%s])' % [repositories(metric, matchers), range];
  local finished(by, matchers, range='7d') = '(' + counted(by, increase('lakefs_imports_finished_total', matchers, range)) + ')';
  local succeeded = 'outcome="succeeded"', notCanceled = 'outcome!="canceled"';
  local busiest(n, expr, modifier='') = '(%s) and on (%s) topk(%d, sum by (%s) (increase(%s[7d]%s)) > 0)' % [
    expr,
    repository,
    n,
    repository,
    repositories('lakefs_imports_finished_total'),
    modifier,
  ];
  local duration(q) = 'histogram_quantile(%s, sum by (%s, le) (%s)) > 0' % [
    q,
    repository,
    increase('lakefs_imports_duration_seconds_bucket', [], '7d'),
  ];
  local largestAge(expr) = '%s and on (%s) topk(20, (time() - %s) / %s)' % [expr, repository, lastImport, maxAge];
  local serviceLevels = [
    g.row('Service levels', 33),
    g.table(
      'Service levels of the last 7 days',
      'The 20 repositories with the most imports. Success is the share of those that were not canceled. Median and 95th percentile of the durations of those that succeeded, from start to finish.',
      g.grid(0, 34, 15, 8),
      [
        g.instant('rate', busiest(20, '%s / (%s > 0)' % [finished(repository, [succeeded]), finished(repository, [notCanceled])])),
        g.instant('finished', busiest(20, finished(repository, [notCanceled]))),
        g.instant('median', busiest(20, duration('0.5'))),
        g.instant('slow', busiest(20, duration('0.95'))),
        g.instant('objects', busiest(20, '(%s) / 7' % counted(repository, increase('lakefs_imports_ingested_objects_total', [], '7d')))),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 80 } },
        { name: 'repository', title: 'Repository' },
        {
          name: 'Value #rate',
          title: 'Success',
          properties: coloredNumber([[null, red], [0.9, yellow], [0.99, green]]) {
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
        g.instant('age', largestAge('(time() - %s) / %s' % [lastImport, maxAge])),
        g.instant('newest', largestAge('1000 * ' + lastImport)),
      ],
      [
        { name: 'server', title: 'Server', properties: { 'custom.width': 80 } },
        { name: 'repository', title: 'Repository' },
        { name: 'Value #newest', title: 'Newest', properties: { unit: 'dateTimeFromNow', 'custom.width': 130 } },
        {
          name: 'Value #age',
          title: 'Age / max',
          properties: coloredNumber([[null, green], [0.8, yellow], [1, red]]) {
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
      [g.range('A', busiest(10, counted(repository, increase('lakefs_imports_ingested_objects_total', [], '1d')), ' @ end()'), '{{repository}}')],
      'short',
    ) { timeFrom: '7d' },
  ];

  //
  // The exporters themselves.
  //
  local instance = '{{instance}}';
  local ofExporters(expr) = '%s and on (%s) %s' % [expr, target, exporters('lakefs_import_exporter_build_info')];
  local countOfErrors = coloredNumber([[null, grey], [0.5, red]]) { decimals: 0 };
  local perExporter(expr) = 'topk(50, %s)' % one(target, expr);
  local exporter = [
    g.row('Exporters', 49, true, [
      g.graph(
        'Polls by result',
        'Status requests to lakeFS.',
        g.grid(0, 50, 8, 7),
        [g.range('A', 'sum by (result) (rate(%s[$__rate_interval]))' % servers('lakefs_import_exporter_polls_total'), '{{result}}')],
        'reqps',
      ),
      g.graph(
        'Duration of polls, 95th percentile',
        'How long lakeFS takes to tell a status.',
        g.grid(8, 50, 8, 7),
        [
          g.range('A', 'histogram_quantile(0.95, sum by (server, le) (rate(%s[$__rate_interval])))' %
                       servers('lakefs_import_exporter_poll_duration_seconds_bucket'), '{{server}}'),
        ],
        's',
      ),
      g.graph(
        'Duration of scrapes',
        'How long Prometheus waits for the exporter.',
        g.grid(16, 50, 8, 7),
[g.range('A', ofExporters(exporters('scrape_duration_seconds')), instance)],
        's',
      ),
      g.graph(
        'Imports by source',
        'Watched by each exporter.',
        g.grid(0, 57, 8, 7),
        [g.range('A', 'sum by (source) (%s)' % exporters('lakefs_import_exporter_imports'), '{{source}}')],
        'short',
      ),
      g.graph(
        'Imports discovered and dropped',
        'Dropped: more than max_imports.',
        g.grid(8, 57, 8, 7),
        [
          g.range('found', one('server', servers('lakefs_import_exporter_discovery_imports')), '{{server}} found'),
          g.range('dropped', one('server', servers('lakefs_import_exporter_discovery_dropped_imports')), '{{server}} dropped'),
        ],
        'short',
      ),
      g.graph(
        'Age of the last successful discovery',
        'It is read from the database of lakeFS in every refresh_interval.',
        g.grid(16, 57, 8, 7),
        [g.range('A', 'time() - (%s > 0)' % one('server', servers('lakefs_import_exporter_discovery_last_success_timestamp_seconds')), '{{server}}')],
        's',
      ),
      g.graph(
        'Memory',
        'Resident.',
        g.grid(0, 64, 6, 7),
        [g.range('A', ofExporters(exporters('process_resident_memory_bytes')), instance)],
        'bytes',
      ),
      g.graph(
        'CPU',
        'Cores in use.',
        g.grid(6, 64, 6, 7),
        [g.range('A', ofExporters('rate(%s[$__rate_interval])' % exporters('process_cpu_seconds_total')), instance)],
        'none',
      ),
      g.table(
        'Exporters',
        'Reload: whether the configuration could be loaded again. Files: import files that do not load. Storage: errors of the last hour.',
        g.grid(12, 64, 12, 7),
        [
          g.instant('version', 'topk(50, %s)' % one(target + ', version', exporters('lakefs_import_exporter_build_info'))),
          g.instant('reload', perExporter(exporters('lakefs_import_exporter_config_last_reload_successful'))),
          g.instant('files', perExporter('sum by (%s) (%s) or 0 * %s' % [
            target,
            exporters('lakefs_import_exporter_import_file_error'),
            one(target, exporters('lakefs_import_exporter_build_info')),
          ])),
          g.instant('storage', perExporter('increase(%s[1h])' % exporters('lakefs_import_exporter_storage_errors_total'))),
        ],
        [
          { name: 'instance', title: 'Exporter' },
          { name: 'version', title: 'Version' },
          {
            name: 'Value #reload',
            title: 'Reload',
            properties: coloredText({ '0': { text: 'failed', color: red }, '1': { text: 'ok', color: green } }) + { 'custom.width': 70 },
          },
          { name: 'Value #files', title: 'Files', properties: countOfErrors { 'custom.width': 60 } },
          { name: 'Value #storage', title: 'Storage', properties: countOfErrors { 'custom.width': 75 } },
        ],
      ),
    ]),
  ];

  local pageURL = if config.pageURL != '' then config.pageURL else 'http://localhost:10470';
  local single = { multi: false, current: { selected: true, text: 'All', value: '$__all' } };
  local variables = [
    {
      type: 'datasource',
      name: 'datasource',
      label: 'Source',
      query: 'prometheus',
      current: { selected: true, text: 'default', value: 'default' },
      hide: 0,
      includeAll: false,
      multi: false,
      options: [],
      refresh: 1,
      regex: '',
    },
    g.variable('cluster', 'Cluster', 'lakefs_import_exporter_build_info', cluster) + single,
    g.variable('job', 'Job', 'lakefs_import_exporter_build_info{%s=~"$cluster"}' % cluster, 'job') + single { allValue: '.+' },
    g.variable('server', 'Server', exporters('lakefs_up'), 'server'),
    g.variable('repository', 'Repository', select(['__name__=~"lakefs_imports|lakefs_repository_poll_success"', 'server=~"$server"']), 'repository'),
    g.variable('team', 'Team', servers('lakefs_import_state'), 'team') + single,
    {
      type: 'textbox',
      name: 'page',
      label: 'Page',
      description: 'Where your browser reaches the exporter, for links to its page.',
      query: pageURL,
      current: { selected: true, text: pageURL, value: pageURL },
      hide: 2,  // there is no room for it
      options: [{ selected: true, text: pageURL, value: pageURL }],
      skipUrlSync: false,
    },
  ];

  {
    uid: 'lakefs-imports',
    title: 'lakeFS imports',
    description: 'Imports into lakeFS: which need a person and why, what runs, and service levels. Data of lakefs_import_exporter.',
    tags: ['lakefs'],
    schemaVersion: 39,
    editable: false,
    graphTooltip: 1,
    time: { from: 'now-6h', to: 'now' },
    refresh: '1m',
    timezone: '',
    templating: { list: variables },
    links: [
      { type: 'link', title: "Exporter's page", url: '${page}/imports', icon: 'external link', targetBlank: true, includeVars: false, keepTime: false, asDropdown: false, tags: [], tooltip: '' },
      { type: 'link', title: 'Runbook', url: std.split(config.runbookURL, '#')[0], icon: 'doc', targetBlank: true, includeVars: false, keepTime: false, asDropdown: false, tags: [], tooltip: '' },
    ],
    annotations: {
      list: [
        {
          name: 'Firing alerts',
          datasource: g.datasource,
          enable: true,
          hide: true,
          iconColor: red,
          // When they began to fire.
          expr: 'count by (alertname, severity, %(server)s) (ALERTS%(firing)s) unless count by (alertname, severity, %(server)s) (ALERTS%(firing)s offset 1m)' % {
            server: server,
            firing: '{alertname=~"LakeFS.*", alertstate="firing", %s=~"$cluster", server=~"$server"}' % cluster,
          },
          step: '1m',
          titleFormat: '{{alertname}}',
          textFormat: '{{server}}',
          tagKeys: 'severity',
        },
      ],
    },
    panels: g.number(firstScreen + running + serviceLevels + exporter),
  }
