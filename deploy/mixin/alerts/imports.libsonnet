// About imports.
function(promql)
  local import_ = 'import {{ $labels.import_id }} into {{ $labels.repository }}/{{ $labels.branch }} on {{ $labels.server }}';
  local trouble(state) = 'import:lakefs_import_state:trouble{state="%s"}' % state;
  // A day after it was first told.
  local forADay(state) = |||
    import:lakefs_import_state:trouble{state="%s"}
    unless on (%%(importID)s) last_over_time(import:lakefs_import_state:trouble{state="%s"}[%%(lookback)s] offset 1d)
  ||| % [state, state];
  [
    // When the newest of the imports into a branch that succeeded was started, for two
    // days: their own series may end earlier, or be those of another exporter. An ID that
    // tells no start has a dash in it.
    promql.record('branch:lakefs_import_start_timestamp_seconds:succeeded', |||
      max by (%(branch)s) (
        (
          lakefs_import_start_timestamp_seconds{%(exporter)s, branch!="-"}
          or lakefs_import_update_timestamp_seconds{%(exporter)s, branch!="-", import_id=~".+-.+"}
        )
        and ignoring (state) lakefs_import_state{%(exporter)s, state="succeeded"}
        or branch:lakefs_import_start_timestamp_seconds:succeeded > time() - 172800
      )
    |||),

    // Most imports are finished, and most rules ask about the others only. These are recorded
    // once, since what rules cost is to select the series of all imports again and again.
    promql.record('instance:lakefs_import_poll_success:unfinished', |||
      lakefs_import_poll_success{%(exporter)s} and ignoring (state) lakefs_import_state{%(exporter)s, state=~"%(unfinished)s"}
    |||),
    promql.record('instance:lakefs_import_start_timestamp_seconds:unfinished', |||
      lakefs_import_start_timestamp_seconds{%(exporter)s} and ignoring (state) lakefs_import_state{%(exporter)s, state=~"%(unfinished)s"}
    |||),

    // Those of them that an exporter now knows to be over, or not to exist.
    promql.record('import:lakefs_import_state:over', |||
      group by (%(importID)s) (
        lakefs_import_state{%(exporter)s, state=~"succeeded|failed|canceled|lost|not_found"}
        and on (%(importID)s) last_over_time(instance:lakefs_import_poll_success:unfinished[%(lookback)s])
      )
    |||),

    promql.record('instance:lakefs_import_state:polled', |||
      lakefs_import_state{%(exporter)s, state=~"running|stalled|hung"} and ignoring (state) instance:lakefs_import_poll_success:unfinished == 1
    |||),

    // Every import that is in trouble or ended badly, once, with its state.
    //
    // Where several exporters watch it, the one that knows more is right: what one
    // knows to be finished is finished; who gets answers about it now is right against
    // who does not; and who has seen it is right against who never has. Of two that are
    // equally right, the one that knows the branch is taken.
    //
    // Left out are failures that a later import into the same branch has made good, and
    // IDs so old that lakeFS may just have forgotten them.
    //
    // The last part: an import that is not exported at all is in the state it was last
    // seen in, over missed scrapes, while an exporter is down, and while a restarted
    // one cannot ask lakeFS. So no alert resolves because nobody looks.
    promql.record('import:lakefs_import_state:trouble', |||
      group without (%(targetLabels)s) (
        topk by (%(importID)s) (1,
          label_replace(
            (
              lakefs_import_error_info{%(exporter)s, reason!="canceled", branch!="-"}
              or lakefs_import_error_info{%(exporter)s, reason!="canceled", branch="-"} * 0.9
            )
            unless on (%(importID)s) (
              (
                lakefs_import_start_timestamp_seconds{%(exporter)s, branch!="-"}
                or lakefs_import_update_timestamp_seconds{%(exporter)s, branch!="-", import_id=~".+-.+"}
              )
              < on (%(branch)s) group_left () branch:lakefs_import_start_timestamp_seconds:succeeded
            ),
            "state", "failed", "", ""
          )
          or lakefs_import_state{%(exporter)s, state="canceled", branch!="-"} * 3
          or lakefs_import_state{%(exporter)s, state="canceled", branch="-"} * 2
          or (
            instance:lakefs_import_state:polled{state!="running"} * 0.7
            or (
              lakefs_import_state{%(exporter)s, state="stalled"} * 0.6
              or lakefs_import_state{%(exporter)s, state="lost"} * 0.5
              or lakefs_import_state{%(exporter)s, state="hung"} * 0.4
            )
            unless on (%(importID)s) instance:lakefs_import_state:polled{state="running"}
            or lakefs_import_state{%(exporter)s, state="not_found"} * 0.3
              unless on (%(importID)s) lakefs_import_state{%(exporter)s, state="running"}
              unless ignoring (state) instance:lakefs_import_start_timestamp_seconds:unfinished < time() - 86400
          )
          * on (branch) group_left () (
            group by (branch) (lakefs_import_state{%(exporter)s, state=~"stalled|hung|lost|not_found", branch!="-"}) * 1.01
            or group by (branch) (lakefs_import_state{%(exporter)s, state=~"stalled|hung|lost|not_found"})
          )
        )
      )
      unless on (%(importID)s) lakefs_import_state{%(exporter)s, state="succeeded"}
      or on (%(importID)s) (
        import:lakefs_import_state:trouble
        unless on (%(importID)s) lakefs_import_state{%(exporter)s, state!="unknown"}
        and on (%(importID)s) (
          last_over_time(lakefs_import_state{%(exporter)s, state=~"stalled|lost|failed|hung|not_found|canceled"}[%(lookback)s])
          or lakefs_import_state{%(exporter)s, state="unknown"}
          or import:lakefs_import_state:trouble and on (%(scope)s) ALERTS{alertname="LakeFSImportExporterDown"}
        )
      )
    |||),

    promql.alert(
      'LakeFSImportStalled',
      'critical',
      'state `stalled`: the heartbeat had stopped when lakeFS last answered',
      trouble('stalled'),
      summary='Stalled: ' + import_,
      description=|||
        lakeFS answers, but the heartbeat of the import has stopped. Most likely the lakeFS process that ran it has died;
        lakeFS will never mark it as failed. Its commit may have happened nevertheless: look at the log of the branch before
        you import again.
      |||,
      wait='1m',
    ),

    promql.alert(
      'LakeFSImportLost',
      'critical',
      'state `lost`: it was running, and lakeFS no longer knows it; ends a day later',
      forADay('lost'),
      summary='Lost: ' + import_,
      description=|||
        It was running, and now lakeFS does not know it. The repository may have been deleted, or the database of lakeFS
        restored or replaced. Only the log of the branch tells how the import ended.
      |||,
      wait='6m',
    ),

    promql.alert(
      'LakeFSImportFailed',
      'warning',
      'state `failed`; ends when a later import into the same branch has succeeded, or else a day later',
      forADay('failed'),
      summary='Failed: ' + import_,
      description='lakeFS gave it up: {{ with $labels.message }}{{ . }}{{ else }}no message{{ end }}',
    ),

    promql.alert(
      'LakeFSImportNotProgressing',
      'warning',
      'state `hung`: the heartbeat is alive, but no object was added for longer than `no_progress_after`',
      trouble('hung'),
      summary='No progress: ' + import_,
      description=|||
        lakeFS still works on it, but its count of objects has not grown for longer than its no_progress_after. A count of
        0 may mean that it is queued behind other imports, a full count that it is committing; anything between is a hang.
      |||,
      wait='1m',
    ),

    promql.alert(
      'LakeFSImportNotFound',
      'warning',
      'state `not_found`: lakeFS does not know it, and it was never seen; not for an ID over a day old',
      trouble('not_found'),
      summary='Not found: ' + import_,
      description=|||
        lakeFS does not know it, and it was never seen. Most likely the ID, the repository or the server in the
        configuration of the exporter is wrong.
      |||,
      wait='6m',
    ),

    promql.alert(
      'LakeFSImportCanceled',
      'info',
      'state `canceled`; ends a day later',
      forADay('canceled'),
      summary='Canceled: ' + import_,
      description='Somebody canceled it. If that was in its last second, the commit may be on the branch nevertheless.',
    ),

    promql.alert(
      'LakeFSImportOverrunning',
      'warning',
      'unfinished for longer than its `max_duration`',
      |||
        max without (%(targetLabels)s) (
          topk by (%(importID)s) (1,
            last_over_time(lakefs_import_max_duration_seconds{%(exporter)s}[%(lookback)s])
            < time() - last_over_time(instance:lakefs_import_start_timestamp_seconds:unfinished[%(lookback)s])
          )
        )
        unless on (%(importID)s) last_over_time(import:lakefs_import_state:over[%(lookback)s])
      |||,
      summary='Overrunning: ' + import_,
      description='It has not finished within {{ $value | humanizeDuration }} of its start, which is its max_duration.',
    ),

    // One alert for all imports into a branch, with their number: whatever ails the polls
    // mostly ails many. The third part: what Prometheus probes by itself, by the scrape
    // job that ships.
    promql.alert(
      'LakeFSImportPollFailing',
      'warning',
      'imports or repositories cannot be polled, or probed, although lakeFS is up and takes the keys',
      |||
        (
          count without (import_id) (
            max without (%(targetLabels)s) (
              topk by (%(importID)s) (1, max_over_time(instance:lakefs_import_poll_success:unfinished[%(lookback)s])) == 0
            )
            unless on (%(importID)s) last_over_time(lakefs_import_state{%(exporter)s, state="stalled"}[%(lookback)s])
            unless on (%(importID)s) last_over_time(import:lakefs_import_state:over[%(lookback)s])
          )
          or
            max without (%(targetLabels)s) (
              topk by (%(scope)s, server, repository) (1, max_over_time(lakefs_repository_poll_success{%(exporter)s}[%(lookback)s])) == 0
            ) + 1
        )
        unless on (%(scope)s, server) ALERTS{alertname="LakeFSDown"}
        unless on (%(scope)s, server) (
          ALERTS{alertname="LakeFSUnauthorized"}
          unless on (%(scope)s, server) sum by (%(scope)s, server) (
            increase(lakefs_import_exporter_polls_total{%(exporter)s, result!~"success|not_found|unauthorized"}[%(lookback)s])
          ) > 0
        )
        or
          count by (%(scope)s, repository) (
            label_replace(max_over_time(up{instance=~"lakefs://.+"}[%(lookback)s]) == 0, "repository", "$1", "instance", "lakefs://([^/]+)/.*")
          )
          unless on (%(scope)s) ALERTS{alertname="LakeFSImportExporterDown"}
      |||,
      summary='Polls fail: {{ $labels.repository }}{{ with $labels.branch }}/{{ . }}{{ end }}{{ with $labels.server }} on {{ . }}{{ end }}',
      description=|||
        {{ if $labels.branch }}{{ $value }} of the imports into this branch have not been polled successfully
        {{- else if $labels.server }}The repository has not been polled successfully
        {{- else }}{{ $value }} of the imports that Prometheus probes in this repository could not be probed
        {{- end }} for at least five minutes, although lakeFS answers. Their other alerts stay as they are.
      |||,
      wait='5m',
    ),
  ]
