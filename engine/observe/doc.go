// Package observe shows a running engine to Prometheus: one snapshot per
// scrape, so that the figures of a scrape agree with one another and with
// Status, and a scrape holds up nobody.
//
//	scrape ─▶ Collector.Collect ─▶ Engine.Status, Engine.Counters, once each
//	                 │
//	                 ▼ catalogue: name, type, help, labels, where the value is taken from
//	        claudefs_repl_*
//
// [Handler] is a whole page for one engine. A host with a registry of its own
// registers [New] there, with the labels it likes:
//
//	prometheus.WrapRegistererWith(prometheus.Labels{"site": "site-a"}, registry).MustRegister(observe.New(eng))
//
// Rules of the catalogue, which testdata/catalogue.txt shows whole:
//
//   - Base units: seconds and bytes. Counters count since the engine was opened.
//   - A metric gives a moment, not an age: an age that is no longer computed looks fine.
//     How far a peer is behind in time is
//     time() - claudefs_repl_caught_up_timestamp_seconds.
//   - What is unknown is absent, never 0, and claudefs_repl_lag_known says 0.
//     Alert on claudefs_repl_lag_known == 0 too.
//   - A state is one series per word of a closed list, 1 for the one that holds.
//   - No label names a shard, a log or a key: series are bounded by the number of
//     peers. The shards that do not move are counted here and named in Status.
//
// Limits: a scrape costs one Status and one Counters, and about 120 series, 70
// more for each peer: a histogram has 20.
//
// It keeps nothing, times nothing, and registers nothing by itself. The engine
// does not know it: who does not import it links nothing of Prometheus.
package observe
