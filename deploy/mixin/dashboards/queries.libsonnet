// The parts of the queries. Every query has a bound, so that 10,000 imports are no
// trouble.
function(config) {
  local q = self,
  local forServer = ['server=~"$server"'],
  local forRepository = forServer + ['repository=~"$repository"'],
  local forTeam = forRepository + ['team=~"$team"'],

  cluster:: config.clusterLabel,
  select(matchers):: '{%s}' % std.join(', ', std.filter(
    function(matcher) matcher != '',
    [config.exporterSelector, q.cluster + '=~"$cluster"', 'job=~"$job"'] + matchers,
  )),

  // The series of imports, of repositories, of servers and of exporters.
  imports(metric, matchers=[]):: metric + q.select(forTeam + matchers),
  repositories(metric, matchers=[]):: metric + q.select(forRepository + matchers),
  servers(metric, matchers=[]):: metric + q.select(forServer + matchers),
  exporters(metric, matchers=[]):: metric + q.select(matchers),
  inState(state):: q.imports('lakefs_import_state', ['state="%s"' % state]),

  // What identifies them.
  local scope = std.join(', ', config.scopeLabels),
  target:: scope + ', job, instance',
  server:: scope + ', server',
  repository:: q.server + ', repository',
  branch:: q.repository + ', branch',
  key:: q.repository + ', import_id',
  id:: q.branch + ', import_id',

  // one reduces what several exporters say of the same thing to one value.
  one(labels, expr):: 'max by (%s) (%s)' % [labels, expr],

  // Aggregates of a repository. Exporters that watch the same imports all count
  // them, so the highest is right; shards each count their own, so the sum is.
  counted(by, expr):: |||
    sum by (%(by)s) (max by (%(all)s) (%(expr)s)) unless on () max(%(shards)s) > 1
    or sum by (%(by)s) (%(expr)s)
  ||| % {
    by: by,
    all: q.repository + ', state, outcome',
    expr: expr,
    shards: q.exporters('lakefs_import_exporter_total_shards'),
  },

  // What one exporter knows to be finished is finished.
  unfinished(expr):: '%s unless on (%s) %s == 1' % [expr, q.key, q.imports('lakefs_import_completed')],

  // place adds the label place, repository/branch. Repositories have no branch.
  place(expr)::
    'label_replace(label_join(%s, "place", "/", "repository", "branch"), "place", "$1", "place", "(.*)/")' % expr,

  maxAge:: q.one(q.repository, q.repositories('lakefs_repository_max_import_age_seconds')),
  lastImport:: q.one(q.repository, q.repositories('lakefs_repository_last_import_timestamp_seconds')),
}
