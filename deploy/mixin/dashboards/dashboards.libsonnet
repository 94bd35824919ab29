{
  grafanaDashboards+:: {
    'lakefs-imports.json': import 'lakefs-imports.json',
  },
}
