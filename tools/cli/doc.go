// Package cli promises that every verb of cfs behaves the same way: data on
// stdout, people's words on stderr, an exit code that a script can trust, and
// an error that says what is wrong, why, and what to do next.
//
//	arguments ──▶ verb ──▶ data ──▶ table │ wide │ json │ jsonl ──▶ stdout
//	                │
//	                └────▶ Failure{Code, What, Next} ──▶ stderr, exit code
//
// Rules, enforced by the scripts in testdata/script and the golden files in
// testdata/json:
//
//  1. stdout carries data only; logs, progress and prompts go to stderr.
//  2. Every reading verb has -o table|wide|json|jsonl; --json is -o json.
//  3. JSON has schema 1, units in its keys, and null next to a state for what
//     is unknown. It grows, it does not change.
//  4. Exit codes are those of "cfs help exit-codes".
//  5. Every verb carries an impact: read, change or lossy.
//  6. Lag is never zero by ignorance: unknown is written out.
//  7. Output that cannot be written is a failure, exit code 1.
//  8. A terminal shows names and reasons of others, it does not act on them: all text
//     goes through a tty.Writer, and foreign text in one line through its Text.
//
// Limits: one node per call; the admin address is plain HTTP, for loopback or a
// trusted network, until TLS comes.
//
// It does not replicate, keep files or judge health: the engine and fsnode do,
// and the verbs print what they say.
package cli
