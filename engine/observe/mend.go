package observe

// mendMetrics tell of the mending of a shard of this site.
var mendMetrics = []metric{
	gauge("mending_state", "What the mending of this site does, 1 for its state.", []string{"state"},
		func(s *snapshot, out emit) { states(out, mendingStates, s.Mending.State) }),
	gauge("mending_compared_rows", "Rows of the shard under way that were compared.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.Rows)) }),
	gauge("mending_differ_rows", "Of those: rows in parts that differ.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.DifferRows)) }),
	gauge("mending_fetched_rows", "Of those: rows that came.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.FetchedRows)) }),
	gauge("mending_fetched_bytes", "Bytes of rows that came.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.FetchedBytes)) }),
	gauge("mending_applied_bytes", "Bytes of rows that the Store has taken.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.AppliedBytes)) }),
	gauge("mending_end_timestamp_seconds", "When the state ends at its rate; absent if unknown.", nil,
		func(s *snapshot, out emit) {
			known(s.Mending.ETASeconds, func(v float64) { out(seconds(s.At) + v) })
		}),
	gauge("torn_shards", "Shards whose mending has changed them and is not complete.", nil,
		func(s *snapshot, out emit) { out(float64(s.Mending.Torn)) }),
	gauge("orphan_entries", "Entries that did not survive a failover and are listed here.", nil,
		func(s *snapshot, out emit) { out(float64(s.Orphans.Entries)) }),
	gauge("orphan_logs", "Logs that they are of.", nil,
		func(s *snapshot, out emit) { out(float64(s.Orphans.Logs)) }),
	gauge("orphans_unsaved", "1 while some are in no file, or a file does not hold; status says why.", nil,
		func(s *snapshot, out emit) {
			if s.Orphans.Reason != "" {
				out(1)
				return
			}
			out(0)
		}),
}
