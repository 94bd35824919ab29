// The parts of a Grafana dashboard that this mixin needs.
local datasource = { type: 'prometheus', uid: '${datasource}' };

// panel adds title, description and place to what the kinds of panels have.
local panel(type, title, description, grid, targets) = {
  type: type,
  title: title,
  description: description,
  gridPos: grid,
  datasource: datasource,
  targets: [target { datasource: datasource } for target in targets],
  transformations: [],
  fieldConfig: { defaults: {}, overrides: [] },
  options: {},
};

{
  datasource: datasource,

  // grid places a panel: x, y and width of 24, height in units of 38 pixels.
  grid(x, y, w, h):: { x: x, y: y, w: w, h: h },

  // Queries. The name is their refId.
  instant(name, expr):: { refId: name, expr: expr, instant: true, range: false, format: 'table' },
  range(name, expr, legend):: { refId: name, expr: expr, instant: false, range: true, legendFormat: legend },

  // table shows the labels and values of its queries, one column for each. columns
  // is a list of {name, title, width, unit, ...}: columns that are not named are
  // left out. With several queries, the values are named "Value #" and the refId.
  table(title, description, grid, targets, columns, sort=null):: panel('table', title, description, grid, targets) {
    local names = [column.name for column in columns],
    transformations: (if std.length(targets) > 1 then [{ id: 'merge', options: {} }] else []) +
                     (if sort != null then [{ id: 'sortBy', options: { fields: {}, sort: [sort] } }] else []) + [
      { id: 'filterFieldsByName', options: { include: { names: names } } },
      {
        id: 'organize',
        options: {
          excludeByName: {},
          indexByName: { [names[i]]: i for i in std.range(0, std.length(names) - 1) },
          renameByName: { [column.name]: column.title for column in columns },
        },
      },
    ],
    fieldConfig: {
      defaults: { unit: 'short', custom: { align: 'left', cellOptions: { type: 'auto' }, filterable: false, minWidth: 40 }, noValue: '–' },
      overrides: [
        {
          matcher: { id: 'byName', options: column.title },
          properties: [
            { id: key, value: column.properties[key] }
            for key in std.objectFields(column.properties)
          ],
        }
        for column in columns
        if std.objectHas(column, 'properties')
      ],
    },
    options: { showHeader: true, cellHeight: 'sm', footer: { show: false } },
  },

  // stats shows one number for each series.
  stats(title, description, grid, targets):: panel('stat', title, description, grid, targets) {
    options: {
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'center',
      orientation: 'vertical',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      textMode: 'value_and_name',
      wideLayout: true,
    },
  },

  // graph has few points, since those of 10,000 imports take time.
  graph(title, description, grid, targets, unit, custom={}):: panel('timeseries', title, description, grid, targets) {
    maxDataPoints: 200,
    fieldConfig: {
      defaults: {
        unit: unit,
        min: 0,
        custom: { lineWidth: 1, fillOpacity: 10, showPoints: 'never', spanNulls: false } + custom,
      },
      overrides: [],
    },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  },

  row(title, y, collapsed=false, panels=[]):: {
    type: 'row',
    title: title,
    collapsed: collapsed,
    gridPos: { x: 0, y: y, w: 24, h: 1 },
    panels: panels,
  },

  // A variable whose values are those of a label. "All" matches series without it.
  variable(name, title, series, label):: {
    type: 'query',
    name: name,
    label: title,
    datasource: datasource,
    query: { query: 'label_values(%s, %s)' % [series, label], refId: name },
    definition: 'label_values(%s, %s)' % [series, label],
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    hide: 0,
    options: [],
    regex: '',
  },

  // Value mappings from an object {value: {text, color}}.
  mappings(values):: [{ type: 'value', options: values }],

  // Thresholds from a list of [from, color]; the first is from -infinity.
  thresholds(steps):: {
    mode: 'absolute',
    steps: [{ value: step[0], color: step[1] } for step in steps],
  },

  // number gives panels their ids, those in rows included.
  number(panels):: std.foldl(
    function(done, p) {
      local inner = if std.objectHas(p, 'panels') then p.panels else [],
      next: done.next + 1 + std.length(inner),
      panels: done.panels + [
        p { id: done.next } +
        (if p.type == 'row' then { panels: std.mapWithIndex(function(i, q) q { id: done.next + 1 + i }, inner) } else {}),
      ],
    },
    panels,
    { next: 1, panels: [] },
  ).panels,
}
