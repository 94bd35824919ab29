{
  _config+:: {
    // Selects the series of the exporters, in every expression. Empty: all, since
    // nothing else exports metrics of these names. Example: 'job="lakefs-imports"'.
    exporterSelector: '',

    // The label that tells clusters apart, where targets carry one.
    clusterLabel: 'cluster',

    // Labels of scrape targets that are aggregated away, so that two exporters which
    // watch the same imports raise one alert.
    targetLabels: [
      'container',
      'endpoint',
      'instance',
      'job',
      'namespace',
      'node',
      'pod',
      'prometheus',
      'service',
    ],

    // Where people find the runbook; the name of the alert in lower case is appended.
    runbookURL: 'https://lakefs-import-exporter.example.com/runbook#',
    // The dashboard in Grafana and the exporter's status page, for links in alerts. Empty: no link.
    dashboardURL: '',
    pageURL: '',

    severities: {
      critical: 'critical',
      warning: 'warning',
      info: 'info',
    },
  },
}
