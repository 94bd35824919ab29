// A monitoring mixin: jsonnet that other mixins' tooling can take as it is.
// `make generate` writes the files that it makes for those without jsonnet.
(import 'config.libsonnet') +
(import 'alerts.libsonnet') +
(import 'alertmanager.libsonnet') +
{ prometheusRules+:: { groups+: [] } } +  // what the alerts need is recorded beside them
(import 'dashboards/dashboards.libsonnet')
