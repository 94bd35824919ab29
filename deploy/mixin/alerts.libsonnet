{
  local config = $._config,
  local promql = (import 'alerts/promql.libsonnet')(config),
  prometheusAlerts+:: {
    groups+: [
      {
        // One group, since the later rules ask what the earlier have found.
        name: 'lakefs-imports',
        rules:
          (import 'alerts/exporters.libsonnet')(promql)
          + (import 'alerts/servers.libsonnet')(promql)
          + (import 'alerts/imports.libsonnet')(promql),
      },
    ],
  },

  // For the runbook, the gravest first.
  alertTable:: std.lines(
    ['| alert | severity | fires when |', '|---|---|---|'] + [
      '| [`%s`](#%s) | %s | %s |' % [rule.alert, std.asciiLower(rule.alert), rule.labels.severity, rule.fires]
      for severity in ['critical', 'warning', 'info']
      for group in $.prometheusAlerts.groups
      for rule in group.rules
      if std.objectHas(rule, 'alert') && rule.labels.severity == config.severities[severity]
    ]
  ),
}
