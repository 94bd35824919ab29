{
  _config+:: {
    // Selects the series of the exporters in every expression. Empty: all, since
    // nothing else exports metrics of these names. Example: 'job="lakefs-imports"'.
    exporterSelector: '',

    // The label that tells clusters apart, where targets carry one.
    clusterLabel: 'cluster',

    // Labels of targets that tell one lakeFS from another of the same name. Alerts
    // carry them.
    scopeLabels: [$._config.clusterLabel, 'namespace'],

    // Labels of targets that are aggregated away, so that two exporters that watch the
    // same imports raise one alert. Add here what else your targets differ in; take out
    // what your own labels are called.
    targetLabels: ['container', 'endpoint', 'instance', 'job', 'node', 'pod', 'prometheus', 'prometheus_replica', 'service'],

    // How far back a sample still counts, so that missed scrapes neither resolve an
    // alert nor restart its `for`: three of the longest scrape interval, 5m.
    lookback: '15m',

    // How often, and for how long, something may fail before anybody is told.
    minAnswers: 0.5,  // of lakeFS's answers to scrapes, within the lookback
    maxRestarts: 3,  // of an exporter, within an hour
    manyImports: 10,  // so many do not end at once

    severities: { critical: 'critical', warning: 'warning', info: 'info' },

    // Where deploy/prometheus/runbook.md is to be read; the name of the alert in lower case
    // is appended.
    runbookURL: 'https://lakefs-import-exporter.example.com/runbook#',

    // The dashboard in Grafana, and the exporter's --web.external-url. Empty: alerts
    // have no such link.
    dashboardURL: '',
    pageURL: '',
  },
}
