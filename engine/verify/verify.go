package verify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/claudefs/repl/engine/node"
	"github.com/claudefs/repl/engine/store"
	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/wire"
)

// Site is what a comparison asks of the site that it runs at. Its methods are called
// from several goroutines, and never with the heart's mutex held.
type Site interface {
	// Name is what people call a site.
	Name(site wire.SiteID) string
	// Ask hands the heart a question, or the answer to one: *node.VerifyAsk, *node.VerifyAnswer.
	Ask(in node.Input)
	// Journal is the journal that holds a log here: the own one, or the mirror of all others.
	Journal(log wire.LogID) *journal.Journal
	// Due is up to where the entries of a log survive, as far as is known here, of those up to a position.
	Due(log wire.LogID, at wire.Position) wire.Position
	// Stopped is why the Store here is given no more of a log; nil while it is.
	Stopped(log wire.LogID) error
	// Halts is what stands still here. It is asked several times a second.
	Halts() *Halts
	// Closed ends when the engine begins to close, and its cause is then what whoever
	// asked is told. The engine waits for Close before it closes the journals.
	Closed() context.Context
}

// Config says at which site a Verifier works. Nothing of it changes.
type Config struct {
	Site    Site
	ID      wire.SiteID        // of this site
	Primary func() wire.SiteID // the site that writes: its logs are the points of comparisons
	Shards  int
	Store   store.Store
	HostLog bool // the host applies the own log by itself: no applier passes its batches
}

// Verifier compares one site with its peers, and answers those that compare themselves.
type Verifier struct {
	Config
	name   string // of this site
	points points
	one    sync.Mutex // held by the one comparison of ours that runs

	mu      sync.Mutex
	closed  bool
	answers map[node.LinkID]*answerer
	waiting map[uint64]chan reply // our questions by id
	lastID  uint64
	silent  map[wire.SiteID]time.Time // since when sites were seen without a session
	group   sync.WaitGroup            // of the answerers
}

// New makes the Verifier of a site. Close ends it.
func New(c Config) *Verifier {
	return &Verifier{
		Config: c, name: c.Site.Name(c.ID),
		answers: make(map[node.LinkID]*answerer), waiting: make(map[uint64]chan reply),
		silent: make(map[wire.SiteID]time.Time),
	}
}

// Close waits for the comparison of ours that runs, and for answers under way. The
// Site's Closed has ended before, and with it what they do.
func (v *Verifier) Close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.group.Wait()
	v.one.Lock()
	defer v.one.Unlock()
}

// ErrRunning: another comparison of this site is under way.
var ErrRunning = errors.New("a verification of this node is running")

// Options say what to compare.
type Options struct {
	Peer     string         // "" = all peers, one after another
	Lo, Hi   int            // shards [Lo, Hi); Hi 0 = all from Lo on
	Deep     bool           // read the stored bytes of the journals at both ends again
	Progress func(Progress) // nil = none; called by the goroutine of Verify
}

// Verify compares this site with peers, one after another, while all of them work. Of
// the options it takes Lo and Hi as they are, and peers for Peer. When ctx ends, or the
// engine is closed, the report says what was not compared.
func (v *Verifier) Verify(ctx context.Context, o Options, peers []wire.SiteID) (*Report, error) {
	if !v.one.TryLock() {
		return nil, ErrRunning
	}
	defer v.one.Unlock()
	asked := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(v.Site.Closed(), cancel)()
	began := time.Now()
	report := &Report{Schema: 1, Kind: "verify", At: began.UTC(), Site: v.name, Deep: o.Deep}
	for _, site := range peers {
		name := v.Site.Name(site)
		run := &verification{here: v, o: o, peer: peer{site, name}, forks: make(map[wire.LogID]bool), out: PeerReport{
			Site: name, ShardsAsked: o.Hi - o.Lo, Differences: []Difference{}, NotCompared: []Gap{},
		}}
		run.run(ctx)
		report.Peers = append(report.Peers, run.out)
	}
	report.conclude(asked.Err())
	report.Seconds = time.Since(began).Seconds()
	return report, nil
}

// verification is the comparison with one peer.
type verification struct {
	here  *Verifier
	o     Options
	peer  peer
	pace  pace
	heard bool                // the peer has answered
	forks map[wire.LogID]bool // logs whose histories differ
	halts *Halts              // as of the last look
	out   PeerReport

	// Deep: what the reading of the stored bytes found here, there, and there of no log.
	scans, there map[wire.LogID]*logScan
	text         string
}

// peer is the other site.
type peer struct {
	site wire.SiteID
	name string
}

// run compares everything and words the result.
func (v *verification) run(ctx context.Context) {
	defer v.end()
	err := v.journals(ctx)
	for shard := v.o.Lo; shard < v.o.Hi; shard++ {
		if err == nil {
			v.progress("state", shard)
			err = v.shard(ctx, wire.Shard(shard))
		}
		if fatal(err) {
			v.gap("state", shard, v.o.Hi, err)
			break
		}
		if err != nil {
			v.gap("state", shard, shard+1, err)
			err = nil
		}
	}
	v.progress("state", v.o.Hi)
	v.out.conclude(v.cause(err))
}

// fatal says whether what follows would fail as well.
func fatal(err error) bool {
	return errors.Is(err, node.ErrNoLink) || errors.Is(err, journal.ErrClosed) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// cause is what people are told for err. A closing engine ends links and contexts:
// then it is what ended the verification, and not they.
func (v *verification) cause(err error) error {
	if closed := v.here.Site.Closed(); fatal(err) && closed.Err() != nil {
		return context.Cause(closed)
	}
	return err
}

// gap notes that something of the shards [lo, hi) was not compared.
func (v *verification) gap(what string, lo, hi int, err error) { v.out.gap(what, lo, hi, v.cause(err)) }

// progress tells that everything before a shard is done.
func (v *verification) progress(doing string, shard int) {
	if v.o.Progress != nil {
		v.o.Progress(Progress{"progress", v.peer.name, doing, shard - v.o.Lo, v.o.Hi - v.o.Lo, v.out.Keys})
	}
}

// nameOf is what the host calls a key.
func (v *Verifier) nameOf(ctx context.Context, shard wire.Shard, key []byte) string {
	if n, ok := v.Store.(store.Namer); ok {
		return n.NameOf(ctx, shard, key)
	}
	return fmt.Sprintf("%q", key)
}
