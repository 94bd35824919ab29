{
  prometheusRules+:: {
    groups+: [
      {
        name: 'lakefs-imports-progress',
        rules: [
          {
            record: 'import:lakefs_import_ingested_objects:rate5m',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (
              clamp_min(delta(lakefs_import_ingested_objects[5m]), 0)
                / (delta(lakefs_import_last_status_timestamp_seconds[5m]) > 0)
            )
            unless on (server, repository, import_id) lakefs_import_completed == 1
          |||,
          },
          {
            record: 'import:lakefs_import_ingested_per_expected_objects:ratio',
            expr: |||
            max without (container, endpoint, instance, job, namespace, node, pod) (
              clamp_max(lakefs_import_ingested_objects / lakefs_import_expected_objects, 1)
            )
          |||,
          },
          {
            record: 'import:lakefs_import_remaining_seconds:rate5m',
            expr: |||
            clamp_min(
              min without (container, endpoint, instance, job, namespace, node, pod) (
                lakefs_import_expected_objects - lakefs_import_ingested_objects
              ),
              0
            )
              / (import:lakefs_import_ingested_objects:rate5m > 0)
          |||,
          },
        ],
      },
    ],
  },
}
