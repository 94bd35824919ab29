// What needs a person, the worst first. since is the query for the time since when.
function(q)
  local label(name, value, expr) = 'label_replace(%s, "%s", "%s", "", "")' % [expr, name, value];
  local labels(values, expr) = std.foldl(function(e, name) label(name, values[name], e), std.objectFields(values), expr);

  local sinceMetric(metric, state) = q.unfinished(q.one(q.id, '%s and on (%s) %s' % [q.imports(metric), q.key, q.inState(state)]));
  local reachable = q.one(q.server, q.servers('lakefs_up') + ' == 1 and ' + q.servers('lakefs_authorized') + ' == 1');
  local lastSuccess = q.one(q.branch, '%s and on (%s) %s' % [
    q.imports('lakefs_import_update_timestamp_seconds', ['branch!="-"']),
    q.key,
    q.inState('succeeded'),
  ]);
  // Of the last week, and nothing was imported into the branch since.
  local failed = '(%(failed)s > on (%(branch)s) group_left () (%(success)s or 0 * %(any)s) > time() - 604800)' % {
    failed: q.one(q.id, '%s and on (%s) %s' % [q.imports('lakefs_import_update_timestamp_seconds'), q.key, q.inState('failed')]),
    branch: q.branch,
    success: lastSuccess,
    any: q.one(q.branch, q.inState('failed')),
  };
  local failedWith(labels) = '%s * on (%s) group_left (%s) %s' % [
    failed,
    q.key,
    labels,
    q.one(q.key + ', ' + labels, q.imports('lakefs_import_error_info', ['reason!="canceled"'])),
  ];
  local notRunning = 'unless on (%s) %s > 0' % [q.repository, q.repositories('lakefs_imports', ['state="running"'])];
  local causes = [
    {
      // Else an empty list would look as if all were well.
      state: 'no exporter',
      alert: 'LakeFSImportExporterDown',
      why: 'Prometheus has no data of an exporter, so nothing is known',
      since: '0 * absent(%s)' % q.exporters('lakefs_import_exporter_build_info'),
    },
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
      since: '%s + %s < time() %s' % [q.lastImport, q.maxAge, notRunning],
    },
    {
      state: 'overdue',
      alert: 'LakeFSImportOverdue',
      why: 'Nothing has ever been imported',
      since: '0 * (%s and on (%s) %s == 1 unless on (%s) %s) %s' % [
        q.maxAge,
        q.repository,
        q.repositories('lakefs_repository_poll_success'),
        q.repository,
        q.lastImport,
        notRunning,
      ],
    },
    {
      // One row for equal failures of a repository, of the newest.
      state: 'failed',
      alert: 'LakeFSImportFailed',
      since: 'topk by (%s, reason) (1, label_join(%s, "why", ": ", "reason", "message"))' % [
        q.repository,
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
        q.one(q.id, q.imports('lakefs_import_start_timestamp_seconds')),
        q.one(q.id, q.imports('lakefs_import_max_duration_seconds')),
        q.key,
        q.inState('running'),
      ],
    },
    {
      state: 'not polled',
      alert: 'LakeFSImportPollFailing',
      why: 'lakeFS answers, but gives no status for this import',
      since: '(%(seen)s and on (%(key)s) %(polled)s or 0 * (%(polled)s)) unless on (%(key)s) %(explained)s and on (%(server)s) %(reachable)s' % {
        seen: q.one(q.id, q.imports('lakefs_import_last_status_timestamp_seconds')),
        polled: q.one(q.id, q.imports('lakefs_import_poll_success')) + ' == 0',
        key: q.key,
        explained: q.imports('lakefs_import_state', ['state=~"stalled|lost|not_found"']),
        server: q.server,
        reachable: reachable,
      },
    },
    {
      state: 'not polled',
      alert: 'LakeFSImportPollFailing',
      why: 'lakeFS does not know this repository, or hides it',
      since: '0 * (%s == 0) and on (%s) %s' % [q.one(q.repository, q.repositories('lakefs_repository_poll_success')), q.server, reachable],
    },
    {
      state: 'not_found',
      alert: 'LakeFSImportNotFound',
      why: 'lakeFS does not know it, and never did',
      since: '(%(started)s and on (%(key)s) %(missing)s) > time() - 86400 or 0 * (%(missing)s unless on (%(key)s) %(started)s)' % {
        started: q.one(q.id, q.imports('lakefs_import_start_timestamp_seconds')),
        missing: q.one(q.id, q.inState('not_found')),
        key: q.key,
      },
    },
  ];
  local cause(i) = local c = causes[i]; labels(
    { rank: '%02d' % i, state: c.state, alert: std.asciiLower(c.alert) } +
    (if std.objectHas(c, 'why') then { why: c.why } else {}),
    'topk(5, %s)' % c.since,
  );
  local needsPerson = '1000 * ' + q.place('(' + std.join('\nor\n', std.mapWithIndex(function(i, _) cause(i), causes)) + ')');
  local todo = {
    lakefsimportexporterdown: 'Check the exporter',
    lakefsimportstalled: 'Check branch, restart it',
    lakefsimportlost: 'Check branch',
    lakefsimportoverdue: 'Check its schedule',
    lakefsimportfailed: 'Fix cause, restart it',
    lakefsimportnotprogressing: 'Check log of lakeFS',
    lakefsimportoverrunning: 'Find what slows it',
    lakefsimportpollfailing: 'Check name and rights',
    lakefsimportnotfound: 'Correct ID or name',
  };

  {
    query: needsPerson,
    todo: todo,
    failedWith:: failedWith,
  }
