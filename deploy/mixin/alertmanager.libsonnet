{
  local config = $._config,
  local list(labels) = std.join(', ', labels),
  // A whole configuration, to take from.
  alertmanagerConfig:: |||
    # Alertmanager for the alerts of lakefs_import_exporter. Works on Alertmanager
    # 0.25 and later.
    #
    # Before use, replace what is made up: the team "ingest", chat.example.com (any
    # chat that takes Slack's webhooks) and localhost:5001 (the webhook of whatever
    # pages people; pagerduty_configs, opsgenie_configs, email_configs and the like
    # take the same templates). Look at the result with
    #
    #     amtool check-config alertmanager.yml
    #     amtool config routes test --config.file=alertmanager.yml severity=critical team=ingest

    global:
      slack_api_url: https://chat.example.com/hooks/replace-me

    templates:
      - templates/*.tmpl

    route:
      receiver: chat
      # A page is a cause: one kind of alert of one server, for one reason. It lists the
      # imports that it hits, however many they are.
      group_by: [%(groupLabels)s]
      group_wait: 30s
      group_interval: 5m
      # Longer than the day that failed, lost and canceled imports are told for, so that
      # nobody hears of them twice; shorter than the 5d for which Alertmanager remembers
      # what it has sent.
      repeat_interval: 2d
      routes:
        # Nobody is paged for what is only good to know.
        - matchers: ['severity = "%(info)s"']
          receiver: log
        # A team gets the alerts of its own imports; the label is given to them in
        # the exporter's configuration. Copy this for each team.
        - matchers: ['team = "ingest"']
          receiver: ingest-chat
          routes:
            - matchers: ['severity = "%(critical)s"']
              receiver: ingest-pager
        # Everything else that is critical: imports of no team, servers, exporters.
        - matchers: ['severity = "%(critical)s"']
          receiver: pager

    # An exporter that is down mutes nothing: alerts about its imports stay as they are,
    # and another Prometheus or exporter may see more.
    inhibit_rules:
      # Nobody can look into these while lakeFS does not answer. Failed, canceled and
      # lost imports are facts that lakeFS adds nothing to; they stay.
      - source_matchers: ['alertname = "LakeFSDown"']
        target_matchers: ['alertname =~ "LakeFSImport(Stalled|NotProgressing|NotFound|Overrunning|PollFailing|Overdue)"']
        equal: [%(serverLabels)s]
      # Without keys, nobody sees an import finish or its commit land.
      - source_matchers: ['alertname = "LakeFSUnauthorized"']
        target_matchers: ['alertname =~ "LakeFSImport(Overrunning|Overdue)"']
        equal: [%(serverLabels)s]
      # One import, one page.
      - source_matchers: ['alertname =~ "LakeFSImport(Stalled|NotProgressing)"']
        target_matchers: ['alertname = "LakeFSImportOverrunning"']
        equal: [%(importLabels)s]

    receivers:
      - name: log
        slack_configs:
          - &chat
            channel: '#lakefs-log'
            send_resolved: false
            color: '{{ template "lakefs.color" . }}'
            title: '{{ template "lakefs.title" . }}'
            title_link: '{{ .ExternalURL }}'
            text: '{{ template "lakefs.text" . }}'
            fallback: '{{ template "lakefs.title" . }}'
      - name: chat
        slack_configs:
          - {<<: *chat, channel: '#lakefs', send_resolved: true}
      - name: pager
        webhook_configs:
          - url: http://localhost:5001/pager
        slack_configs:
          - {<<: *chat, channel: '#lakefs', send_resolved: true}
      - name: ingest-chat
        slack_configs:
          - {<<: *chat, channel: '#ingest', send_resolved: true}
      - name: ingest-pager
        webhook_configs:
          - url: http://localhost:5001/ingest
        slack_configs:
          - {<<: *chat, channel: '#ingest', send_resolved: true}
  ||| % (config.severities {
           groupLabels: list(config.scopeLabels + ['server', 'alertname', 'reason']),
           serverLabels: list(config.scopeLabels + ['server']),
           importLabels: list(config.scopeLabels + ['server', 'repository', 'import_id']),
         }),
}
