// Package lag measures how far one site is behind another, and how fast it catches up. It
// is pure: the time comes in as a value.
//
//	at the source     Meter   what a peer has not confirmed: how many entries, how old
//	                  Ages    for how long an own entry has been durable
//	                  Pace    bytes a second that a peer confirms
//	                  Acks    how long confirmations took, as histograms
//	at the receiver   Behind  how far this site is behind the writer, by its heartbeats
//
// Ages come from the steady clock of this life where it saw an entry become durable, and
// from the entry's stamp where it did not. A stamp that ran ahead of the wall clock tells
// no age.
//
// # Invariants
//
//   - A lag is never too low: what is not known counts as older.
//   - 0 <= Meter.Entries, and it is the sum over all logs of tail less reached.
//
// # Limits
//
// Per shard a [Meter] takes 104 bytes and an [Ages] 72. No call costs more than the logs
// that are behind.
//
// # What it does not do
//
// It does not decide whether a lag is known: that takes an answer of the present session,
// see package stream.
package lag
