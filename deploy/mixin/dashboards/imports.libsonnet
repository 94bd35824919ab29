// The dashboard of the imports. The first screen says what needs a person; below
// it come what runs, service levels, and the exporters themselves.
//
// The state of an import is the exporter's word for it, lakefs_import_state;
// nothing here judges states anew. Imports are counted once, however many exporters
// watch them, and what one exporter knows to be finished is finished.
local g = import 'grafana.libsonnet';
local look = import 'look.libsonnet';

function(config)
  local q = (import 'queries.libsonnet')(config);
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
    g.variable('cluster', 'Cluster', 'lakefs_import_exporter_build_info', q.cluster) + single,
    g.variable('job', 'Job', 'lakefs_import_exporter_build_info{%s=~"$cluster"}' % q.cluster, 'job') + single { allValue: '.+' },
    g.variable('server', 'Server', q.exporters('lakefs_up'), 'server'),
    g.variable('repository', 'Repository', q.select(['__name__=~"lakefs_imports|lakefs_repository_poll_success"', 'server=~"$server"']), 'repository'),
    g.variable('team', 'Team', q.servers('lakefs_import_state'), 'team') + single,
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
          iconColor: look.red,
          // When they began to fire.
          expr: 'count by (alertname, severity, %(server)s) (ALERTS%(firing)s) unless count by (alertname, severity, %(server)s) (ALERTS%(firing)s offset 1m)' % {
            server: q.server,
            firing: '{alertname=~"LakeFS.*", alertstate="firing", %s=~"$cluster", server=~"$server"}' % q.cluster,
          },
          step: '1m',
          titleFormat: '{{alertname}}',
          textFormat: '{{server}}',
          tagKeys: 'severity',
        },
      ],
    },
    panels: g.number(
      (import 'firstscreen.libsonnet')(config, q, (import 'causes.libsonnet')(q)) +
      (import 'running.libsonnet')(q) +
      (import 'servicelevels.libsonnet')(q) +
      (import 'exporters.libsonnet')(q)
    ),
  }
