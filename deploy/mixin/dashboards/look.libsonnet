// Colors, and what several panels show alike.
local g = import 'grafana.libsonnet';

{
  local look = self,
  local unknown = { type: 'special', options: { match: 'null', result: { text: '–', color: look.grey } } },

  red: 'red',
  orange: 'orange',
  yellow: 'yellow',
  green: 'green',
  blue: 'blue',
  grey: 'text',

  // The states of imports, those that need a person first.
  states: ['stalled', 'lost', 'failed', 'hung', 'not_found', 'unknown', 'running', 'canceled', 'succeeded'],

  colors: {
    'no exporter': look.red,
    stalled: look.red,
    lost: 'semi-dark-red',
    overdue: look.red,
    failed: look.orange,
    hung: 'dark-orange',
    overrunning: 'light-orange',
    'not polled': 'dark-yellow',
    not_found: 'purple',
    unknown: look.yellow,
    running: look.blue,
    canceled: look.grey,
    succeeded: look.green,
  },

  // A link to the page of the exporter, filtered by a query.
  page(query):: { title: "Open on the exporter's page", url: '${page}/imports?' + query, targetBlank: true },

  // Properties of columns.
  coloredText(values):: {
    mappings: g.mappings(values) + [unknown],
    'custom.cellOptions': { type: 'color-text' },
  },
  coloredNumber(steps):: {
    mappings: [unknown],
    thresholds: g.thresholds(steps),
    'custom.cellOptions': { type: 'color-text' },
  },
}
