// What the expressions of all alerts are made of.
function(config) {
  local list(labels) = std.join(', ', labels),
  local scope = config.scopeLabels,
  local vars = config {
    // Labels that tell one of a kind from another. An import is known by its ID; its
    // branch is an attribute.
    scope: list(scope),
    instance: list(scope + ['job', 'instance']),
    // Two exporters may call two servers by one name, so these are kept apart by job.
    server: list(scope + ['job', 'server']),
    branch: list(scope + ['server', 'repository', 'branch']),
    importID: list(scope + ['server', 'repository', 'import_id']),

    exporter: config.exporterSelector,
    // States of imports that may still go on.
    unfinished: 'running|stalled|hung|unknown|not_found',
    targetLabels: list(config.targetLabels),
    targetLabelsButJob: list([l for l in config.targetLabels if l != 'job']),
  },

  // The name of a metric is followed by {%(exporter)s} or {%(exporter)s, ...}.
  expr(text)::
    std.strReplace(std.strReplace(text % vars, '{, ', '{'), '{}', ''),

  local links = {
    [if config.dashboardURL != '' then 'dashboard_url']: config.dashboardURL,
    [if config.pageURL != '' then 'page_url']: config.pageURL + '/imports?server={{ urlquery $labels.server }}{{ with $labels.repository }}&repository={{ urlquery . }}{{ end }}',
  },
  // fires says when, in the table of alerts.
  alert(name, severity, fires, expr, summary, description, wait=null, keep=null):: {
    alert: name,
    fires:: fires,
    expr: $.expr(expr),
    [if wait != null then 'for']: wait,
    [if keep != null then 'keep_firing_for']: keep,
    labels: { severity: config.severities[severity] },
    annotations: {
      summary: summary,
      description: std.join(' ', std.split(std.stripChars(description, '\n'), '\n')),
      runbook_url: config.runbookURL + std.asciiLower(name),
    } + links,
  },
  // The last clause of an alert about what only a running exporter can tell: while it is
  // away, nothing is over. Without, a Prometheus that cannot reach the exporter would
  // take back what another one says.
  stays(name, labels, metric):: |||
    or on (%(labels)s)
      group without (alertname, alertstate, severity) (ALERTS{alertname="%(name)s", alertstate="firing"})
      and on (%%(scope)s) ALERTS{alertname="LakeFSImportExporterDown"}
      unless on (%(labels)s) last_over_time(%(metric)s{%%(exporter)s}[%%(lookback)s])
  ||| % { name: name, labels: std.strReplace(labels, '%(server)s', vars.server), metric: metric },
  record(name, expr):: { record: name, expr: $.expr(expr) },
}
