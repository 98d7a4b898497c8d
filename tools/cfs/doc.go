// Command cfs is the one binary of ClaudeFS replication: the reference storage
// node, the operator's verbs, the demonstration and the crash test.
//
//	cfs demo                            two sites, a real tree, kills, one verdict
//	cfs server                          run a site
//	cfs fs import DIR                   put a real tree into it
//	cfs admin replication status        health, lag, what a failover would lose
//
// Everything is in tools/cli; this package only turns a verb's outcome into the
// exit code of the process.
package main
