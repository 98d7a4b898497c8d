package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Endings of contenders' names.
const (
	logSuffix      = "+log"      // keeps a log at both ends and answers after the far one has it: equal duty
	portableSuffix = "-portable" // engines without io_uring
)

// contender is one way to get records from one process to another.
type contender struct {
	name    string
	about   string
	receive func(ctx context.Context, s *spec) (receiver, error)
	send    func(ctx context.Context, s *spec) (sender, error)
	solo    func(ctx context.Context, s *spec) (measure, error) // instead: all in one process
	// sockets is how many connections its sender has at least; they are counted
	// when congestion control is checked.
	sockets int
}

// receiver runs beside the child's conversation with its parent.
type receiver interface {
	addr() string
	// records is how many it has checked since it was opened; an error says what
	// was wrong with one.
	records() (uint64, error)
	close() error
}

// sender is used by one goroutine.
type sender interface {
	// put hands one record over. It is the caller's again on return, and may wait
	// in a buffer until flush.
	put(record []byte) error
	flush() error
	// answered is how many records were answered for.
	answered() *watermark
	// drain returns when all sent records were answered for.
	drain(sent uint64) error
	close() error
}

// tripper is a sender that can send one record and wait for its answer without
// another goroutine; modeTrip asks for it.
type tripper interface{ trip(record []byte) error }

// contenders are all of them. Rows name them.
func contenders() []contender {
	all := []contender{
		{name: "ours-1", about: "two engines, one hot shard", receive: receiveEngine, send: sendEngine(1)},
		{name: "ours-256", about: "two engines, 256 uniform shards", receive: receiveEngine,
			send: sendEngine(shardCount)},
		{name: "net-coalesce", about: "net.Conn, writes of up to 64 KiB", receive: receiveNet, send: sendNet},
		{name: "net-frame", about: "net.Conn, one write per record", receive: receiveNet, send: sendNet},
		{name: "net-spin", about: "net.Conn, polls 50 µs before it sleeps", receive: receiveNet, send: sendNet},
		{name: "grpc-record", about: "grpc-go bidi stream, a message per record", receive: receiveGRPC, send: sendGRPC},
		{name: "grpc-batch", about: "grpc-go bidi stream, messages of 64 KiB or one record",
			receive: receiveGRPC, send: sendGRPC},
		{name: "jetstream", about: "JetStream file stream, mirror over a leaf node",
			receive: receiveJetStream, send: sendJetStream},
		{name: "memcpy", about: "copying 256 MiB", solo: soloMemcpy},
		{name: "iperf3-cubic", about: "iperf3, one stream, no digest", solo: soloIperf("cubic")},
		{name: "iperf3-bbr", about: "iperf3, one stream, no digest", solo: soloIperf("bbr")},
		{name: "pwrite-fdatasync", about: "one pwrite and fdatasync per commit, recycled file", solo: soloSerial},
		{name: "journal-1", about: "the journal, one commit at a time",
			solo: soloJournal(journalLoad{depth: 1, units: 1})},
		{name: "journal-16", about: "the journal, 16 commits under way",
			solo: soloJournal(journalLoad{depth: 16, units: 1})},
		{name: "journal-16-io_uring", about: "the journal on a ring, 16 commits under way",
			solo: soloJournal(journalLoad{depth: 16, units: unitsUnderWay, ring: true})},
		{name: "journal-fallocate", about: "the journal on files that are only allocated",
			solo: soloJournal(journalLoad{depth: 1, units: 1, unwritten: true})},
		{name: "fio-seq", about: "fio, 1 MiB sequential, direct, depth 8", solo: soloFio(fioSeq)},
		{name: "fio-fdatasync", about: "fio, 4 KiB and fdatasync", solo: soloFio(fioSync)},
	}
	for i := range all {
		switch c := all[i]; {
		case c.send == nil:
			continue
		case strings.HasPrefix(c.name, "ours"):
			c.name, c.about = c.name+portableSuffix, c.about+", without io_uring"
			all = append(all, c)
		case strings.HasPrefix(c.name, "net"), strings.HasPrefix(c.name, "grpc"):
			c.name, c.about = c.name+logSuffix, c.about+", a log at both ends"
			all = append(all, c)
		}
	}
	for i := range all {
		if all[i].send != nil {
			all[i].sockets = 1
		}
	}
	return append(all, linkContenders()...)
}

func contenderNamed(name string) (contender, error) {
	all := contenders()
	i := slices.IndexFunc(all, func(c contender) bool { return c.name == name })
	if i < 0 {
		return contender{}, fmt.Errorf("no contender %q", name)
	}
	return all[i], nil
}
