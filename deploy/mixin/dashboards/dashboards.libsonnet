{
  grafanaDashboards+:: {
    'lakefs-imports.json': (import 'imports.libsonnet')($._config),
  },
}
