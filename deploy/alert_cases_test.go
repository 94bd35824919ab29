package deploy_test

// alertCases are told in times that leave room for scrapes every 5m, some of them
// missed.
var alertCases = []alertCase{
	{
		name: "every state, and what becomes of it",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1
			import running : 0m running
			import succeeds : 0m running, 20m succeeded
			import stalls team=ingest : 0m running, 20m stalled, 60m canceled
			import hangs : 0m running, 20m hung, 60m running
			import fails : 0m running, 20m failed
			import vanishes : 0m running, 20m lost
			import typo : 0m not_found
			import old start=-25h : 0m not_found
			import unknown : 0m unknown
		`},
		firing: map[string]string{
			"18m":    "LakeFSImportNotFound typo",
			"45m":    "LakeFSImportStalled stalls, LakeFSImportNotProgressing hangs, LakeFSImportFailed fails, LakeFSImportLost vanishes, LakeFSImportNotFound typo",
			"59m":    "LakeFSImportStalled stalls, LakeFSImportNotProgressing hangs, LakeFSImportFailed fails, LakeFSImportLost vanishes, LakeFSImportNotFound typo",
			"90m":    "LakeFSImportCanceled stalls, LakeFSImportFailed fails, LakeFSImportLost vanishes, LakeFSImportNotFound typo",
			"23h":    "LakeFSImportCanceled stalls, LakeFSImportFailed fails, LakeFSImportLost vanishes, LakeFSImportNotFound typo",
			"25h30m": "LakeFSImportNotFound typo",
		},
	},
	{
		name: "what is seen for a moment only",
		targets: map[string]string{"instance=a job=lakefs": `
			import stalls : 0m running, 21m stalled, 21m30s running
			import hangs : 0m running, 21m hung, 21m30s running
			import vanishes : 0m running, 21m lost, 23m running
			import starts : 21m not_found, 23m running
		`},
		firing: map[string]string{"50m": ""},
	},
	{
		name: "a failure that a later import makes good",
		targets: map[string]string{"instance=a job=lakefs": `
			import failed start=1m : 0m running, 20m failed
			import retry start=30m : 30m running, 60m succeeded, 120m -
			import failed_alone start=1m branch=dev : 0m running, 20m failed
			import earlier start=0m branch=dev : 0m running, 60m succeeded
			import unknown_branch start=1m branch=- : 0m running, 20m failed
			import retry_of_unknown start=30m branch=- : 30m running, 60m succeeded
			import uu-id branch=uuids : 0m running, 20m failed
			import retry-of-uuid branch=uuids : 30m running, 60m succeeded
			import elsewhere start=1m repository=pond : 0m running, 20m failed
			away 151m 155m
		`},
		firing: map[string]string{
			"59m":  "LakeFSImportFailed failed, LakeFSImportFailed failed_alone, LakeFSImportFailed unknown_branch, LakeFSImportFailed uu-id, LakeFSImportFailed elsewhere",
			"90m":  "LakeFSImportFailed failed_alone, LakeFSImportFailed unknown_branch, LakeFSImportFailed elsewhere",
			"155m": "LakeFSImportFailed failed_alone, LakeFSImportFailed unknown_branch, LakeFSImportFailed elsewhere",
			"180m": "LakeFSImportFailed failed_alone, LakeFSImportFailed unknown_branch, LakeFSImportFailed elsewhere",
		},
	},
	{
		name: "a failure that a later import into the same branch of another lakeFS does not make good",
		by:   "cluster, namespace",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one namespace=x": `
				import failed start=1m : 0m running, 20m failed
				import retry start=30m : 30m running, 60m succeeded
			`,
			"instance=a job=lakefs cluster=one namespace=y": `import failed start=1m : 0m running, 20m failed`,
			"instance=a job=lakefs cluster=two namespace=x": `import failed start=1m : 0m running, 20m failed`,
		},
		firing: map[string]string{
			"59m": "LakeFSImportFailed failed cluster=one namespace=x, LakeFSImportFailed failed cluster=one namespace=y, LakeFSImportFailed failed cluster=two namespace=x",
			"90m": "LakeFSImportFailed failed cluster=one namespace=y, LakeFSImportFailed failed cluster=two namespace=x",
		},
	},
	{
		name: "an end that was not watched for some minutes is not told again a day later",
		targets: map[string]string{"instance=a job=lakefs": `
			import failed : 0m failed, 71m -, 97m failed
			import vanished : 0m lost, 71m -, 97m lost
			import canceled : 0m canceled, 71m -, 97m canceled
		`},
		firing: map[string]string{
			"20h":    "LakeFSImportFailed failed, LakeFSImportLost vanished, LakeFSImportCanceled canceled",
			"25h36m": "",
		},
	},
	{
		name: "a failure that is first seen over a day later",
		targets: map[string]string{"instance=a job=lakefs": `
			import old start=-50h updated=-49h : 60m failed
		`},
		firing: map[string]string{"59m": "", "80m": "LakeFSImportFailed old", "24h": "LakeFSImportFailed old", "26h": ""},
	},
	{
		name: "a failure has a reason and a message",
		by:   "reason, message, team",
		targets: map[string]string{"instance=a job=lakefs": `
			import a reason=permission_denied message=AccessDenied team=ingest : 0m failed
		`},
		firing: map[string]string{"30m": `LakeFSImportFailed a reason=permission_denied message=AccessDenied team=ingest`},
	},
	{
		name: "longer than max_duration",
		targets: map[string]string{"instance=a job=lakefs": `
			import long start=0m max=60m : 0m running, 112m succeeded
			import short start=0m max=60m : 0m running, 40m succeeded
			import unlimited start=0m : 0m running
			import failed start=0m max=60m : 0m running, 40m failed
			away 91m 94m
		`, "instance=b job=lakefs team=other": `
			import long start=0m max=60m : 0m running, 112m succeeded
		`},
		firing: map[string]string{
			"58m":  "LakeFSImportFailed failed",
			"80m":  "LakeFSImportFailed failed, LakeFSImportOverrunning long",
			"110m": "LakeFSImportFailed failed, LakeFSImportOverrunning long",
			"125m": "LakeFSImportFailed failed",
		},
	},
	{
		name: "an import is not watched any more",
		targets: map[string]string{"instance=a job=lakefs": `
			import orphan : 0m running, 20m stalled, 60m -
			import other : 0m running
		`},
		firing: map[string]string{"45m": "LakeFSImportStalled orphan", "59m": "LakeFSImportStalled orphan", "85m": ""},
	},
	{
		name: "a Prometheus without the exporter",
		targets: map[string]string{"instance=x job=other": `
			something : 0m 1
		`},
		firing: map[string]string{"60m": ""},
	},
	{
		name: "an HA replica of Prometheus that never reached the exporter",
		targets: map[string]string{"instance=a job=lakefs": `
			away 0m 10h
		`},
		firing: map[string]string{"60m": ""},
	},
	{
		name: "two lakeFS of one name, in two clusters, two namespaces and two jobs",
		by:   "cluster, namespace, job, server, repository",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one": `
				lakefs_up server=lakefs : 0m 1, 30m 0
				lakefs_repository_max_import_age_seconds server=lakefs repository=lake : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=lakefs repository=lake : 0m 0
			`,
			"instance=a job=lakefs cluster=three": `
				lakefs_up server=lakefs : 0m 1
				lakefs_repository_max_import_age_seconds server=lakefs repository=lake : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=lakefs repository=lake : 0m 0+1
			`,
			"instance=a job=lakefs cluster=two namespace=x": `
				lakefs_up server=lakefs : 0m 1
				lakefs_authorized server=lakefs : 0m 1, 30m 0
				lakefs_repository_max_import_age_seconds server=lakefs repository=lake : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=lakefs repository=lake : 0m 0+1
			`,
			"instance=a job=lakefs cluster=two namespace=y": `
				lakefs_up server=lakefs : 0m 1, 30m 0
				lakefs_authorized server=lakefs : 0m 1
				lakefs_repository_max_import_age_seconds server=lakefs repository=lake : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=lakefs repository=lake : 0m 0
			`,
			"instance=b job=other-lakefs cluster=two namespace=y": `
				lakefs_up server=lakefs : 0m 1
			`,
		},
		firing: map[string]string{
			"29m": "",
			"60m": "LakeFSDown cluster=one job=lakefs server=lakefs, LakeFSDown cluster=two namespace=y job=lakefs server=lakefs," +
				"LakeFSUnauthorized cluster=two namespace=x job=lakefs server=lakefs",
			"90m": "LakeFSDown cluster=one job=lakefs server=lakefs, LakeFSDown cluster=two namespace=y job=lakefs server=lakefs," +
				"LakeFSUnauthorized cluster=two namespace=x job=lakefs server=lakefs, LakeFSImportOverdue cluster=one job=lakefs server=lakefs repository=lake," +
				"LakeFSImportOverdue cluster=two namespace=y job=lakefs server=lakefs repository=lake",
		},
	},
	{
		name: "imports of two lakeFS of one name",
		by:   "cluster, namespace",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one": `
				import a : 0m stalled
				import long start=0m max=10m : 0m running
			`,
			"instance=a job=lakefs cluster=two": `
				import long start=0m max=10m : 0m running
			`,
			"instance=a job=lakefs cluster=two namespace=x": `
				import a : 0m succeeded
				import long start=0m max=10m : 0m running
				import ended start=0m max=10m : 0m running, 20m succeeded
			`,
			"instance=a job=lakefs cluster=two namespace=y": `import a : 0m failed`,
		},
		firing: map[string]string{
			"19m": "LakeFSImportStalled a cluster=one, LakeFSImportFailed a cluster=two namespace=y, LakeFSImportOverrunning long cluster=one," +
				"LakeFSImportOverrunning long cluster=two, LakeFSImportOverrunning long cluster=two namespace=x, LakeFSImportOverrunning ended cluster=two namespace=x",
			"33m": "LakeFSImportStalled a cluster=one, LakeFSImportFailed a cluster=two namespace=y, LakeFSImportOverrunning long cluster=one," +
				"LakeFSImportOverrunning long cluster=two, LakeFSImportOverrunning long cluster=two namespace=x",
		},
	},
	{
		name: "imports of two lakeFS of one name end badly, a day apart",
		by:   "cluster, namespace",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one": `
				import fails : 0m failed
				import vanishes : 0m lost
				import ends : 0m canceled
			`,
			"instance=a job=lakefs cluster=two": `
				import fails : 26h failed
				import vanishes : 26h lost
				import ends : 26h canceled
			`,
			"instance=a job=lakefs cluster=one namespace=x": `
				import fails : 26h failed
				import vanishes : 26h lost
				import ends : 26h canceled
			`,
		},
		firing: map[string]string{
			"20h": "LakeFSImportFailed fails cluster=one, LakeFSImportLost vanishes cluster=one, LakeFSImportCanceled ends cluster=one",
			"27h": "LakeFSImportFailed fails cluster=two, LakeFSImportLost vanishes cluster=two, LakeFSImportCanceled ends cluster=two," +
				"LakeFSImportFailed fails cluster=one namespace=x, LakeFSImportLost vanishes cluster=one namespace=x, LakeFSImportCanceled ends cluster=one namespace=x",
		},
	},
	{
		name: "lakeFS answers one round in eight",
		by:   "server",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1, 60m 0, 95m 1, 100m 0, 135m 1, 140m 0, 175m 1, 180m 0
			lakefs_up server=glitch : 0m 1, 60m 0, 61m 1, 120m 0, 121m 1
		`},
		firing: map[string]string{"59m": "", "90m": "LakeFSDown server=prod", "200m": "LakeFSDown server=prod"},
	},
	{
		name: "lakeFS is away for an hour",
		by:   "server",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1, 30m 0, 90m 1
			lakefs_import_exporter_polls_total server=prod result=success : 0m 0+1, 30m 1800, 90m 1800+1
			lakefs_repository_poll_success server=prod repository=lake : 0m 1, 30m 0, 90m 1
			import running : 0m running, 30m running!, 90m running
			import orphan : 0m running, 10m stalled, 30m stalled!, 90m stalled
			import hangs : 0m running, 10m hung, 30m hung!, 90m hung
			import dies : 0m running, 30m running!, 90m stalled
		`},
		firing: map[string]string{
			"29m":  "LakeFSImportNotProgressing hangs, LakeFSImportStalled orphan",
			"55m":  "LakeFSImportNotProgressing hangs, LakeFSImportStalled orphan, LakeFSDown server=prod",
			"89m":  "LakeFSImportNotProgressing hangs, LakeFSImportStalled orphan, LakeFSDown server=prod",
			"120m": "LakeFSImportNotProgressing hangs, LakeFSImportStalled orphan, LakeFSImportStalled dies",
		},
	},
	{
		name: "the scrape timeout is below the latency of lakeFS",
		by:   "server, repository",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 0
			lakefs_authorized server=prod : 0m 1
			lakefs_import_exporter_polls_total server=prod result=success : 0m 0+1
			lakefs_import_exporter_polls_total server=prod result=timeout : 0m 0
			import slow : 0m running!
		`},
		firing: map[string]string{"30m": "LakeFSImportPollFailing server=prod repository=lake", "60m": "LakeFSImportPollFailing server=prod repository=lake"},
	},
	{
		name: "the exporter restarts in 30 s while lakeFS is away",
		by:   "server",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1, 30m 0
			import failed : 0m failed, 62m unknown!
			import orphan : 0m stalled, 62m unknown!
			away 62m 62m30s
		`},
		firing: map[string]string{
			"29m": "LakeFSImportFailed failed, LakeFSImportStalled orphan",
			"55m": "LakeFSImportFailed failed, LakeFSImportStalled orphan, LakeFSDown server=prod",
			"90m": "LakeFSImportFailed failed, LakeFSImportStalled orphan, LakeFSDown server=prod",
		},
	},
	{
		name: "the only exporter dies while lakeFS is away, and comes back to a lakeFS that is well",
		by:   "server, instance",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1, 30m 0, 150m 1
			lakefs_authorized server=prod : 0m 1
			lakefs_authorized server=keys : 0m 0
			lakefs_up server=keys : 0m 1
			lakefs_import_exporter_discovery_last_success_timestamp_seconds server=found : 0m -6000
			lakefs_repository_max_import_age_seconds server=late repository=pond team=ingest : 0m 60
			lakefs_repository_last_import_timestamp_seconds server=late repository=pond team=ingest : 0m -6000
			lakefs_repository_poll_success server=late repository=pond team=ingest : 0m 1
			import orphan : 0m stalled, 150m canceled
			away 60m 150m
		`},
		firing: map[string]string{
			"29m":  "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=late, LakeFSImportStalled orphan",
			"59m":  "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=late, LakeFSImportStalled orphan, LakeFSDown server=prod",
			"90m":  "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=late, LakeFSImportStalled orphan, LakeFSDown server=prod, LakeFSImportExporterDown instance=a",
			"149m": "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=late, LakeFSImportStalled orphan, LakeFSDown server=prod, LakeFSImportExporterDown instance=a",
			"190m": "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=late, LakeFSImportCanceled orphan",
		},
	},
	{
		name: "an alert about a server ends when another exporter sees it well, or nothing watches it",
		by:   "server, instance",
		targets: map[string]string{
			"instance=a job=lakefs namespace=x": `
				away 60m 10h
			`,
			"instance=b job=lakefs namespace=x": `
				lakefs_up server=prod : 0m 0, 90m 1
				lakefs_authorized server=prod : 0m 0, 90m 1
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=found : 0m -6000, 90m 5400+1
				lakefs_repository_max_import_age_seconds server=prod repository=pond : 0m 60
				lakefs_repository_last_import_timestamp_seconds server=prod repository=pond : 0m -6000, 90m 5400+1
				lakefs_repository_poll_success server=prod repository=pond : 0m 1
			`,
			"instance=c job=lakefs namespace=y": `
				lakefs_up server=removed : 0m 0, 60m gone
				lakefs_authorized server=removed : 0m 0, 60m gone
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=removed_too : 0m -6000, 60m gone
				lakefs_repository_max_import_age_seconds server=removed repository=pond : 0m 60, 60m gone
				lakefs_repository_last_import_timestamp_seconds server=removed repository=pond : 0m -6000, 60m gone
				lakefs_repository_poll_success server=removed repository=pond : 0m 1, 60m gone
			`,
		},
		firing: map[string]string{
			"59m": "LakeFSDown server=prod, LakeFSUnauthorized server=prod, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=prod," +
				"LakeFSDown server=removed, LakeFSUnauthorized server=removed, LakeFSImportDiscoveryFailing server=removed_too, LakeFSImportOverdue server=removed",
			"89m":  "LakeFSDown server=prod, LakeFSUnauthorized server=prod, LakeFSImportDiscoveryFailing server=found, LakeFSImportOverdue server=prod, LakeFSImportExporterDown instance=a",
			"140m": "LakeFSImportExporterDown instance=a",
		},
	},
	{
		name: "wrong keys",
		by:   "server",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1
			lakefs_authorized server=prod : 0m 1, 30m 0, 90m 1
			lakefs_authorized server=glitch : 0m 1, 21m 0, 22m 1
			lakefs_import_exporter_polls_total server=prod result=unauthorized : 0m 0, 30m 0+1
			lakefs_import_exporter_polls_total server=prod result=timeout : 0m 0
			import running : 0m running, 30m running!, 90m running
		`},
		firing: map[string]string{"29m": "", "60m": "LakeFSUnauthorized server=prod", "89m": "LakeFSUnauthorized server=prod", "110m": ""},
	},
	{
		name: "wrong keys for one of two exporters",
		by:   "server",
		targets: map[string]string{
			"instance=a job=lakefs": `
				lakefs_up server=prod : 0m 1
				lakefs_authorized server=prod : 0m 0
			`,
			"instance=b job=lakefs": `
				lakefs_up server=prod : 0m 0
				lakefs_authorized server=prod : 0m 1
			`,
		},
		firing: map[string]string{"30m": "LakeFSUnauthorized server=prod"},
	},
	{
		name: "one forbidden branch hides no other failing poll",
		by:   "server, branch",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1
			lakefs_authorized server=prod : 0m 1, 30m 0
			lakefs_import_exporter_polls_total server=prod result=unauthorized : 0m 0, 30m 0+1
			lakefs_import_exporter_polls_total server=prod result=server_error : 0m 0, 30m 0+1
			import forbidden branch=secret : 0m running, 30m running!
			import erring branch=main : 0m running, 30m running!
			import erring_too branch=main : 0m running, 30m running!
			import fine branch=main : 0m running
			import stalled branch=old : 0m stalled, 30m stalled!
		`},
		firing: map[string]string{
			"29m": "LakeFSImportStalled stalled server=prod branch=old",
			"70m": "LakeFSImportStalled stalled server=prod branch=old, LakeFSUnauthorized server=prod, LakeFSImportPollFailing server=prod branch=secret, LakeFSImportPollFailing server=prod branch=main",
		},
	},
	{
		name: "a repository that is misspelt, deleted or never imported into",
		by:   "server, repository",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1
			lakefs_repository_poll_success server=prod repository=misspelt : 0m 0
			lakefs_repository_max_import_age_seconds server=prod repository=misspelt : 0m 86400
			lakefs_repository_poll_success server=prod repository=deleted : 0m 1, 40m 0
			lakefs_repository_last_import_timestamp_seconds server=prod repository=deleted : 0m 0
			lakefs_repository_poll_success server=prod repository=never : 0m 1
			lakefs_repository_max_import_age_seconds server=prod repository=never : 0m 86400
			lakefs_repository_poll_success server=prod repository=unlimited : 0m 1
		`},
		firing: map[string]string{
			"35m": "LakeFSImportPollFailing server=prod repository=misspelt, LakeFSImportOverdue server=prod repository=never",
			"80m": "LakeFSImportPollFailing server=prod repository=misspelt, LakeFSImportOverdue server=prod repository=never, LakeFSImportPollFailing server=prod repository=deleted",
		},
	},
	{
		name: "overdue, by what the best of two exporters knows, and not while an import is running",
		by:   "repository, team",
		targets: map[string]string{
			"instance=a job=lakefs": `
				lakefs_repository_max_import_age_seconds server=prod repository=late team=ingest : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=prod repository=late team=ingest : 0m 0, 120m 7200
				lakefs_repository_max_import_age_seconds server=prod repository=seen : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=prod repository=seen : 0m 0
				lakefs_repository_max_import_age_seconds server=prod repository=busy : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=prod repository=busy : 0m 0
				import running repository=busy : 0m running, 120m failed
				away 91m 94m
			`,
			"instance=b job=lakefs": `
				lakefs_repository_max_import_age_seconds server=prod repository=late team=ingest : 0m 1800
				lakefs_repository_last_import_timestamp_seconds server=prod repository=late team=ingest : 0m 0, 120m 7200
				lakefs_repository_max_import_age_seconds server=prod repository=seen : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=prod repository=seen : 0m 0+1
			`,
			"instance=c job=lakefs": `
				from 120m
				lakefs_repository_max_import_age_seconds server=prod repository=discovered_late : 0m 3600
				lakefs_repository_last_import_timestamp_seconds server=prod repository=discovered_late : 0m 0
				import discovered_late repository=discovered_late : 121m running
			`,
		},
		firing: map[string]string{
			"59m":  "",
			"85m":  "LakeFSImportOverdue repository=late team=ingest",
			"119m": "LakeFSImportOverdue repository=late team=ingest",
			"160m": "LakeFSImportFailed running repository=busy, LakeFSImportOverdue repository=busy",
		},
	},
	{
		// Several that stall, since among equals Prometheus takes any.
		name: "HA pair: labels of prometheus-operator, and other labels of the user",
		by:   "branch",
		targets: map[string]string{
			"instance=a job=lakefs pod=a-0 service=a endpoint=http container=exporter prometheus=monitoring/a": `
				lakefs_up server=prod : 0m 1
				import orphan team=ingest : 0m running, 20m stalled
				import fails branch=- : 0m running, 20m failed
				import stalls_1 branch=- : 0m running, 20m stalled
				import stalls_2 branch=- : 0m running, 20m stalled
				import stalls_3 branch=- : 0m running, 20m stalled
				import stalls_4 branch=- : 0m running, 20m stalled
				import discovered branch=- : 0m running, 20m stalled
				import canceled branch=- : 0m running, 20m canceled
				import polled team=ingest : 0m running, 40m running!
			`,
			"instance=b job=lakefs-b pod=b-0 service=b endpoint=metrics container=other node=n prometheus=monitoring/b": `
				lakefs_up server=prod : 0m 1
				import orphan : 0m running, 20m stalled
				import fails team=other : 0m running, 20m failed
				import stalls_1 : 0m running, 20m stalled
				import stalls_2 : 0m running, 20m stalled
				import stalls_3 : 0m running, 20m stalled
				import stalls_4 : 0m running, 20m stalled
				import polled : 0m running, 40m running!
			`,
		},
		firing: map[string]string{
			"18m": "",
			"39m": "LakeFSImportStalled orphan branch=main, LakeFSImportFailed fails branch=main, " +
				"LakeFSImportStalled stalls_1 branch=main, LakeFSImportStalled stalls_2 branch=main, LakeFSImportStalled stalls_3 branch=main, LakeFSImportStalled stalls_4 branch=main, LakeFSImportStalled discovered branch=-, LakeFSImportCanceled canceled branch=-",
			"80m": "LakeFSImportStalled orphan branch=main, LakeFSImportFailed fails branch=main, " +
				"LakeFSImportStalled stalls_1 branch=main, LakeFSImportStalled stalls_2 branch=main, LakeFSImportStalled stalls_3 branch=main, LakeFSImportStalled stalls_4 branch=main, LakeFSImportStalled discovered branch=-, LakeFSImportCanceled canceled branch=-, LakeFSImportPollFailing branch=main",
		},
	},
	{
		name: "HA pair: who knows more is right",
		targets: map[string]string{
			"instance=a job=lakefs": `
				lakefs_up server=prod : 0m 1
				import half_lost : 0m running, 20m lost
				import astray : 0m running, 20m lost
				import alive : 0m stalled!
				import moves : 0m hung!
				import longer : 0m hung
				import ended : 0m running!
				import forgotten : 0m not_found
				import expired : 0m stalled!
				import typo : 0m not_found
				import other_database : 0m not_found
				import canceled : 0m failed
			`,
			"instance=b job=lakefs": `
				lakefs_up server=prod : 0m 1
				import half_lost : 0m running!
				import astray : 0m running
				import alive : 0m running
				import moves : 0m running
				import longer : 0m running
				import ended : 0m failed
				import forgotten : 0m succeeded
				import expired : 0m not_found
				import typo : 0m not_found
				import other_database : 0m running!
				import canceled : 0m canceled
			`,
		},
		firing: map[string]string{
			"60m": "LakeFSImportLost half_lost, LakeFSImportNotProgressing longer, LakeFSImportFailed ended, LakeFSImportStalled expired, LakeFSImportNotFound typo, LakeFSImportCanceled canceled",
		},
	},
	{
		name: "one of two exporters dies, and its orphan stays",
		by:   "instance",
		targets: map[string]string{
			"instance=a job=lakefs": `
				import orphan : 0m stalled
				import of_both : 0m stalled
				away 60m 30h
			`,
			"instance=b job=lakefs": `
				import of_both : 0m stalled, 90m canceled
			`,
		},
		firing: map[string]string{
			"59m":  "LakeFSImportStalled orphan, LakeFSImportStalled of_both",
			"89m":  "LakeFSImportStalled orphan, LakeFSImportStalled of_both, LakeFSImportExporterDown instance=a",
			"120m": "LakeFSImportStalled orphan, LakeFSImportCanceled of_both, LakeFSImportExporterDown instance=a",
			"20h":  "LakeFSImportStalled orphan, LakeFSImportCanceled of_both, LakeFSImportExporterDown instance=a",
		},
	},
	{
		name: "a pod that was down for days is replaced, and its orphan stays",
		targets: map[string]string{
			"instance=a job=lakefs": `
				import orphan : 0m stalled
				away 60m 60h
				until 50h
			`,
			"instance=b job=lakefs": `
				from 50h2m
				import orphan : 50h2m stalled
			`,
		},
		firing: map[string]string{
			"59m": "LakeFSImportStalled orphan",
			"49h": "LakeFSImportStalled orphan, LakeFSImportExporterDown",
			"51h": "LakeFSImportStalled orphan",
		},
	},
	{
		name: "a team is renamed by a reload",
		by:   "team",
		targets: map[string]string{"instance=a job=lakefs": `
			import orphan team=old : 0m stalled, 60m -
			import orphan team=new : 60m stalled
		`},
		firing: map[string]string{"45m": "LakeFSImportStalled orphan team=old", "66m": "LakeFSImportStalled orphan team=new"},
	},
	{
		name: "an exporter leaves service discovery",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one":           `until 120m`,
			"instance=a job=lakefs cluster=two":           `until 120m`,
			"instance=b job=renamed cluster=two":          `from 120m`,
			"instance=a job=lakefs cluster=three pod=old": `until 122m`,
			"instance=c job=lakefs cluster=three pod=new": `from 120m`,
		},
		by: "cluster",
		firing: map[string]string{
			"119m": "",
			"150m": "LakeFSImportExporterDown cluster=one",
			"20h":  "LakeFSImportExporterDown cluster=one",
			"27h":  "",
		},
	},
	{
		name: "a shard is gone, and one never came",
		by:   "cluster",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one": `lakefs_import_exporter_total_shards : 0m 2`,
			"instance=b job=lakefs cluster=one": `
				lakefs_import_exporter_total_shards : 0m 2
				until 120m
			`,
			"instance=a job=lakefs cluster=two":   `lakefs_import_exporter_total_shards : 0m 2`,
			"instance=a job=lakefs cluster=three": `lakefs_import_exporter_total_shards : 0m 1`,
		},
		firing: map[string]string{
			"110m": "LakeFSImportExporterDown cluster=two",
			"150m": "LakeFSImportExporterDown cluster=one, LakeFSImportExporterDown cluster=two",
			"30h":  "LakeFSImportExporterDown cluster=one, LakeFSImportExporterDown cluster=two",
		},
	},
	{
		name: "an exporter is down for days",
		by:   "cluster, namespace, instance",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one namespace=x": `away 60m 100h`,
			"instance=a job=lakefs cluster=two namespace=x": ``,
			"instance=a job=lakefs cluster=one namespace=y": ``,
			"instance=b job=lakefs namespace=y":             `away 61m 63m`,
		},
		firing: map[string]string{"59m": "", "85m": "LakeFSImportExporterDown instance=a cluster=one namespace=x", "30h": "LakeFSImportExporterDown instance=a cluster=one namespace=x"},
	},
	{
		name: "a crash loop",
		by:   "cluster, namespace, instance",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one namespace=x": `process_start_time_seconds : 0m 0, 60m 3600, 66m 3960, 72m 4320, 78m 4680, 84m 5040, 90m 5400, 96m 5760, 102m 6120, 108m 6480, 114m 6840`,
			"instance=b job=lakefs":                         `process_start_time_seconds : 0m 0, 60m 3600, 70m 4200`,
			"instance=c job=other":                          `process_start_time_seconds : 0m 0+1`,
		},
		firing: map[string]string{"59m": "", "119m": "LakeFSImportExporterRestarting cluster=one namespace=x instance=a"},
	},
	{
		name: "config, import files and storage",
		by:   "cluster, namespace, instance, file",
		targets: map[string]string{"instance=a job=lakefs cluster=one namespace=x": `
			lakefs_import_exporter_config_last_reload_successful : 0m 1, 30m 0, 90m 1
			lakefs_import_exporter_import_file_error file=a.yml : 0m 0, 30m 1, 90m 0
			lakefs_import_exporter_import_file_error file=b.yml : 0m 0, 21m 1, 22m 0
			lakefs_import_exporter_storage_errors_total : 0m 0, 30m 0+1, 90m 3600
		`, "instance=reloaded_twice job=lakefs": `
			lakefs_import_exporter_config_last_reload_successful : 0m 1, 21m 0, 22m 1
		`},
		firing: map[string]string{
			"29m":  "",
			"55m":  "LakeFSImportExporterConfigReloadFailed cluster=one namespace=x instance=a, LakeFSImportExporterImportFileFailed cluster=one namespace=x instance=a file=a.yml, LakeFSImportExporterStorageFailing cluster=one namespace=x instance=a",
			"89m":  "LakeFSImportExporterConfigReloadFailed cluster=one namespace=x instance=a, LakeFSImportExporterImportFileFailed cluster=one namespace=x instance=a file=a.yml, LakeFSImportExporterStorageFailing cluster=one namespace=x instance=a",
			"120m": "",
		},
	},
	{
		name: "discovery",
		by:   "cluster, namespace, server, reason",
		targets: map[string]string{
			"instance=a job=lakefs cluster=one namespace=x": `
				process_start_time_seconds : 0m -6000
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=prod : 0m 0+1, 30m 1800, 90m 5400+1
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=both : 0m 0
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=full : 0m 0+1
				lakefs_import_exporter_discovery_dropped_imports server=full : 0m 0, 30m 7
			`,
			"instance=b job=lakefs cluster=one namespace=x": `
				from 40m
				process_start_time_seconds : 0m 2400
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=new : 0m 0, 45m 2700+1
				lakefs_import_exporter_discovery_last_success_timestamp_seconds server=both : 0m 0+1
			`,
		},
		firing: map[string]string{
			"29m":  "LakeFSImportDiscoveryFailing cluster=one namespace=x server=both reason=refresh_failed",
			"59m":  "LakeFSImportDiscoveryFailing cluster=one namespace=x server=prod reason=refresh_failed, LakeFSImportDiscoveryFailing cluster=one namespace=x server=full reason=max_imports",
			"89m":  "LakeFSImportDiscoveryFailing cluster=one namespace=x server=prod reason=refresh_failed, LakeFSImportDiscoveryFailing cluster=one namespace=x server=full reason=max_imports",
			"115m": "LakeFSImportDiscoveryFailing cluster=one namespace=x server=full reason=max_imports",
		},
	},
	{
		name: "a lakeFS without its database refuses all keys",
		by:   "server, reason",
		targets: map[string]string{"instance=a job=lakefs": `
			process_start_time_seconds : 0m -6000
			lakefs_up server=away : 0m 1
			lakefs_authorized server=away : 0m 1, 30m 0
			lakefs_import_exporter_discovery_refreshes_total server=away result=error : 0m 0, 28m 0+0.1
			lakefs_import_exporter_discovery_last_success_timestamp_seconds server=away : 0m 0+1, 30m 1800
			lakefs_up server=keys : 0m 1
			lakefs_authorized server=keys : 0m 1, 30m 0
			lakefs_import_exporter_discovery_refreshes_total server=keys result=error : 0m 0
			lakefs_import_exporter_discovery_last_success_timestamp_seconds server=keys : 0m 0+1
		`},
		firing: map[string]string{
			"29m": "",
			"65m": "LakeFSUnauthorized server=keys, LakeFSImportDiscoveryFailing server=away reason=refresh_failed",
		},
	},
	{
		name: "lakeFS starts imports that nobody watches",
		by:   "cluster",
		targets: map[string]string{
			"instance=l job=other cluster=one": `
				api_request_duration_seconds_count operation=ImportStart code=202 : 90m 1, 95m 2, 100m 3
			`,
			"instance=a job=lakefs cluster=one": `
				import watched start=95m : 95m running
			`,
			"instance=l job=other cluster=two": `
				api_request_duration_seconds_count operation=ImportStart code=202 : 0m 7, 95m 8
			`,
			"instance=a job=lakefs cluster=two": `
				import watched start=95m : 95m running
			`,
			"instance=l job=other cluster=three": `
				api_request_duration_seconds_count operation=ImportStart code=202 : 0m 0, 95m 9
			`,
			"instance=l job=other cluster=four": `
				api_request_duration_seconds_count operation=ImportStart code=202 : 95m 1
			`,
			"instance=a job=lakefs cluster=four": ``,
			"instance=l job=other cluster=five": `
				api_request_duration_seconds_count operation=ImportStart code=202 : 0m 7, 95m 8
			`,
			"instance=a job=lakefs cluster=five": `
				import discovered_late start=95m : 108m running
			`,
		},
		firing: map[string]string{"89m": "", "145m": "LakeFSImportsUnwatched cluster=one, LakeFSImportsUnwatched cluster=four", "230m": ""},
	},
	{
		name: "500 imports are watched, and then none",
		by:   "instance",
		targets: map[string]string{"instance=a job=lakefs namespace=x": `
			lakefs_import_exporter_imports source=config : 0m 0
			lakefs_import_exporter_imports source=discovery : 0m 500, 60m 0
		`, "instance=a job=lakefs namespace=y": `
			lakefs_import_exporter_imports source=file : 0m 500, 60m 3
		`},
		firing: map[string]string{"59m": "", "99m": "LakeFSImportsUnwatched"},
	},
	{
		name: "probes are answered with 400",
		by:   "cluster, namespace, repository",
		targets: map[string]string{
			"instance=lakefs://lake/main/a job=probes cluster=one namespace=x":    `away 0m 10h`,
			"instance=lakefs://lake/main/b job=probes cluster=one namespace=x":    `import b : 0m running`,
			"instance=lakefs://pond/main/flap job=probes cluster=one namespace=x": `away 30m 31m`,
			"instance=lakefs://lake/main/a job=probes cluster=one namespace=y":    `away 60m 10h`,
			"instance=e job=lakefs cluster=one namespace=y":                       `away 60m 10h`,
		},
		firing: map[string]string{
			"50m":  "LakeFSImportPollFailing repository=lake cluster=one namespace=x",
			"110m": "LakeFSImportPollFailing repository=lake cluster=one namespace=x, LakeFSImportExporterDown cluster=one namespace=y",
		},
	},
	{
		name: "polls of single imports fail",
		by:   "repository, team",
		targets: map[string]string{"instance=a job=lakefs": `
			lakefs_up server=prod : 0m 1
			import slow team=ingest : 0m running, 30m running!
			import slower team=ingest : 0m running, 30m running!
			import glitch repository=pond : 0m running, 30m running!, 33m running
			import missing repository=pond : 0m not_found
			import first_poll_fails repository=pond : 21m running!, 22m running
		`},
		firing: map[string]string{
			"29m": "LakeFSImportNotFound missing repository=pond",
			"70m": "LakeFSImportNotFound missing repository=pond, LakeFSImportPollFailing repository=lake team=ingest",
		},
	},
}
