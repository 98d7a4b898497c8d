package node

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/lag"
	"github.com/claudefs/repl/engine/stream"
	"github.com/claudefs/repl/wire"
)

// starts returns what is known of the STARTs among batches, as a journal with just these.
func (s *site) starts(headers []wire.BatchHeader) (starts []wire.Start) {
	ends := map[wire.LogID]wire.Position{}
	for i := range headers {
		h := &headers[i]
		at := slices.IndexFunc(s.w.opened, func(o wire.Start) bool { return o.Incarnation == h.Incarnation })
		if h.OpensEpoch() && at >= 0 {
			start := s.w.opened[at]
			start.Before = ends[h.Log()]
			starts = append(starts, start)
		}
		ends[h.Log()] = h.End()
	}
	return starts
}

// epochOf is that of an incarnation of this world.
func (s *site) epochOf(in wire.Incarnation) wire.Epoch {
	for _, o := range s.w.opened {
		if o.Incarnation == in {
			return o.Epoch
		}
	}
	return wire.FirstEpoch
}

// opensLater says whether a batch is the START of a later incarnation than the tail's.
func opensLater(t *stream.Tail, h *wire.BatchHeader) bool {
	return h.OpensEpoch() && h.Incarnation != t.Incarnation
}

// openLog puts a START into the own journal's open unit, as a writer would.
func (s *site) openLog(o *Open) {
	log := wire.LogID{Site: s.c.Site, Shard: o.Shard}
	rows := slices.Clone(o.Rows)
	if tail := s.own.tail(log); o.GoesOn {
		rows = slices.DeleteFunc(rows, func(r wire.LogEnd) bool { return r.Log == log })
		rows = append(rows, wire.LogEnd{Log: log, End: tail.Position})
	}
	in := wire.Incarnation{byte(len(s.w.opened) + 1), 77}
	s.w.opened = append(s.w.opened, wire.Start{Log: log, Incarnation: in, Epoch: o.Epoch, Rows: rows})
	s.stamp = max(s.stamp+1, o.After+1, wire.StampOf(s.now().Wall))
	h := wire.BatchHeader{
		Kind: wire.BatchStart, DigestKind: wire.DigestXXH3, Incarnation: in, Cluster: s.c.Cluster, Site: s.c.Site,
		Shard: o.Shard, Epoch: o.Epoch, Count: 1, FirstSeq: 1, FirstStamp: s.stamp, LastStamp: s.stamp,
	}
	b, err := wire.AppendStart(make([]byte, wire.BatchHeaderBytes), rows)
	if err != nil {
		panic(err)
	}
	wire.CloseBatch(b, &h)
	s.own.staged = append(s.own.staged, h)
}

// raise has the sites that run hold an epoch, and begin anew in it; it returns the incarnation
// that a shard's log of this one goes on in.
func (s *site) raise(shard wire.Shard, epoch wire.Epoch, sites ...*site) wire.Incarnation {
	for _, o := range append(sites, s) {
		if o.c.Epoch = epoch; o.node != nil {
			o.crash()
			o.open()
		}
	}
	s.w.pass(3 * time.Second)
	for i := range slices.Backward(s.w.opened) {
		if o := &s.w.opened[i]; o.Log == (wire.LogID{Site: s.c.Site, Shard: shard}) && o.Epoch == epoch {
			return o.Incarnation
		}
	}
	panic("its log was not opened")
}

// atRest requires that a peer has all of a shard's log, which is in that incarnation, and that
// nothing stopped for it.
func atRest(t *testing.T, a, b *site, in wire.Incarnation) {
	t.Helper()
	log := wire.LogID{Site: a.c.Site}
	tail := a.own.tail(log).Position
	require.Equal(t, in, tail.Incarnation)
	require.Equal(t, tail, b.mirror.tail(log).Position)
	require.Equal(t, tail, a.node.peers[0].Logs[0].Durable)
	require.Equal(t, tail, a.node.peers[0].Logs[0].Applied)
	status := a.node.Status(a.now())
	require.Equal(t, lag.Lag{Known: true}, status.Peers[0].Durable)
	require.Zero(t, status.Peers[0].Applied.Entries)
	require.Empty(t, status.Stopped)
	require.Empty(t, status.Peers[0].Stopped)
	require.Empty(t, b.node.Status(b.now()).Stopped)
	require.Equal(t, tail, a.node.Floor(Own, log))
	require.Equal(t, tail, b.node.Floor(Mirror, log))
	require.NoError(t, a.w.fault)
}

// TestLogOpenedAgainGoesOnAtThePeer: in a live session, and again; positions, lag and floors
// are right across incarnations, and after restarts of both (I1, I4, I12).
func TestLogOpenedAgainGoesOnAtThePeer(t *testing.T) {
	w, a, b := livelyPair()
	first := incarnation("site-a", 0)
	a.append(1, 1)
	w.pass(2 * time.Second)
	atRest(t, a, b, first)
	for epoch := wire.Epoch(2); epoch < 5; epoch++ {
		a.appendAs(0, 2, first)
		w.pass(time.Second)
		in := a.raise(0, epoch<<32, b)
		a.appendAs(0, 3, in)
		w.pass(2 * time.Second)
		require.Equal(t, wire.Seq(4), a.own.tail(wire.LogID{Site: a.c.Site}).Seq)
		atRest(t, a, b, in)
		first = in
	}
	w.take()
	for _, s := range []*site{a, b} {
		s.crash()
		s.open()
		w.pass(2 * time.Second)
		atRest(t, a, b, first)
	}
	require.NotContains(t, w.take(), "!", "no alarm")
	a.appendAs(0, 1, first)
	w.pass(2 * time.Second)
	atRest(t, a, b, first)
}

// TestPeerPullsWhatAStartNames: a peer that is missing some of what a START names pulls that, by the
// pages of the site that writes, and gets the START behind it; else it would confirm entries whose
// past it is missing. Until then it is kept (I12).
func TestPeerPullsWhatAStartNames(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	a.append(0, 3)
	w.pass(time.Second)
	in := a.raise(0, 2<<32, b)
	a.appendAs(0, 2, in)
	w.pass(time.Second)
	log := wire.LogID{Site: a.c.Site}
	require.Equal(t, b.mirror.tail(log).Position, a.node.Floor(Own, log), "what it is missing is kept")
	b.open()
	w.pass(3 * time.Second)
	atRest(t, a, b, in)
	require.Equal(t, len(a.own.batches), len(b.mirror.batches), "each once")
}

// TestPromotedSiteFillsBeforeItOpens: what a peer's page shows beyond its copies is here, and in its
// Store, before the START names where that log ends (I6).
func TestPromotedSiteFillsBeforeItOpens(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	a.append(0, 3)
	w.pass(time.Second)
	log := wire.LogID{Site: a.c.Site}
	end := a.own.tail(log).Position
	require.NotEqual(t, end, b.mirror.tail(log).Position)
	a.crash()
	for _, s := range []*site{a, b} {
		s.c.Epoch, s.c.Primary = 2<<32|wire.Epoch(b.c.Site), b.c.Site
		s.open()
	}
	w.pass(3 * time.Second)
	at := slices.IndexFunc(w.opened, func(s wire.Start) bool { return s.Log == wire.LogID{Site: b.c.Site} })
	require.GreaterOrEqual(t, at, 0, "the shard is open")
	require.Equal(t, []wire.LogEnd{{Log: log, End: end}}, w.opened[at].Rows)
	require.Equal(t, end, b.mirror.tail(log).Position)
	require.NoError(t, w.fault)
}

// TestWriterOfAnUnheardEpochComesBack: it was cut off, began its epoch alone, and was fenced. Its pages
// show an incarnation that the new writer never heard of, and the START comes all the same (I14).
func TestWriterOfAnUnheardEpochComesBack(t *testing.T) {
	w, a, b := livelyPair()
	a.append(0, 2)
	w.pass(time.Second)
	b.crash()
	in := a.raise(0, 2<<32|wire.Epoch(a.c.Site))
	a.appendAs(0, 2, in)
	w.pass(time.Second)
	a.crash()
	for _, s := range []*site{a, b} {
		s.c.Epoch, s.c.Primary = 3<<32|wire.Epoch(b.c.Site), b.c.Site
	}
	b.open()
	w.pass(5 * time.Second)
	a.open()
	w.pass(5 * time.Second)
	log := wire.LogID{Site: b.c.Site}
	require.NotZero(t, b.own.tail(log).Seq)
	require.Equal(t, b.own.tail(log).Position, a.mirror.tail(log).Position)
	require.NoError(t, w.fault)
}

// TestLateFillIsGivenUpToo: a peer comes long after the promotion, says that it has more of a log
// whose shard is not open yet, and dies. The shard opens without it, once it has waited.
func TestLateFillIsGivenUpToo(t *testing.T) {
	w, a, b := livelyPair()
	b.noApply = true // its Store is behind: the shard stays closed
	a.append(0, 1)
	w.pass(time.Second)
	log := wire.LogID{Site: a.c.Site}
	first := b.mirror.tail(log).Position
	b.crash()
	a.append(0, 3)
	w.pass(time.Second)
	a.crash()
	b.c.Epoch, b.c.Primary = 2<<32|wire.Epoch(b.c.Site), b.c.Site
	b.open()
	w.pass(2 * fillWait)
	isOpen := func() bool {
		return slices.ContainsFunc(w.opened, func(s wire.Start) bool { return s.Log == wire.LogID{Site: b.c.Site} })
	}
	require.False(t, isOpen())
	a.c.Epoch, a.c.Primary = b.c.Epoch, b.c.Primary
	a.answers = "off"
	a.open()
	w.pass(3 * time.Second)
	require.True(t, b.node.desk.Pulls(0))
	a.crash()
	b.apply(log, first)
	w.pass(3 * time.Second)
	require.False(t, isOpen(), "it waits for what was shown")
	w.pass(fillWait)
	require.True(t, isOpen())
	require.Equal(t, first, b.mirror.tail(log).Position)
	require.NoError(t, w.fault)
}

// TestStartBeyondItsPastIsRefused: a source that sends it too early is refused for that log
// only, and nothing of it is taken (H7).
func TestStartBeyondItsPastIsRefused(t *testing.T) {
	w, a, b := livelyPair()
	a.raise(0, 2<<32, b)
	w.take()
	b.noFlush = true
	foreign := wire.Position{Incarnation: wire.Incarnation{9}, Seq: 2, Chain: wire.Chain{3}}
	a.openLog(&Open{Shard: 2, Epoch: 2 << 32, Rows: []wire.LogEnd{{Log: wire.LogID{Site: 99, Shard: 2}, End: foreign}}})
	h := a.own.staged[len(a.own.staged)-1]
	a.own.staged = nil
	link := b.node.peers[0].in
	frame := FrameIn{Link: link.Link, Headers: []wire.BatchHeader{h}, Envelope: wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, Session: link.Session, Number: 2,
	}}
	b.step(&frame)
	require.Empty(t, b.mirror.staged)
	require.Contains(t, w.take(), "the START of epoch 2.00000000 names log 00000063/2 up to seq 2")
	require.Len(t, b.node.Status(b.now()).Stopped, 1)
}

// pastMissing is a pair whose writer opened shard 0 in epoch 2, in the incarnation in, with a batch
// behind its START; the peer is linked, and is not given what is missing before that.
func pastMissing() (w *world, a, b *site, end wire.Position, in wire.Incarnation) {
	w, a, b = livelyPair()
	b.crash()
	a.append(0, 3)
	w.pass(time.Second)
	end = a.own.tail(wire.LogID{Site: a.c.Site}).Position
	in = a.raise(0, 2<<32, b)
	a.appendAs(0, 1, in)
	a.answers = "off"
	b.open()
	w.pass(3 * time.Second)
	return w, a, b, end, in
}

// TestLivePageBringsTheStart: what a peer pulls of the past it tells by pages of the session
// that is live, and the START follows in that session.
func TestLivePageBringsTheStart(t *testing.T) {
	w, a, _, end, in := pastMissing()
	p := a.node.peers[0]
	require.NotEqual(t, in, p.Sender.Sent(0).Incarnation)
	row := wire.PageEntry{Log: wire.LogID{Site: a.c.Site}, Durable: end}
	a.step(frame(p.link, wire.FrameCursorPage, &wire.CursorPage{Entries: []wire.PageEntry{row}}))
	w.settle()
	require.Equal(t, in, p.Sender.Sent(0).Incarnation)
}

// TestBatchBeforeItsStartIsAGap: two batches that changed places are no other history: the log
// goes on with the next session.
func TestBatchBeforeItsStartIsAGap(t *testing.T) {
	w, a, b, _, in := pastMissing()
	data := a.own.batches[len(a.own.batches)-1]
	require.Equal(t, in, data.Incarnation)
	link := b.node.peers[0].in
	b.step(&FrameIn{Link: link.Link, Headers: []wire.BatchHeader{data}, Envelope: wire.Envelope{
		Kind: wire.FrameBatches, BatchCount: 1, Session: link.Session, Number: 1,
	}})
	stopped := b.node.Status(b.now()).Stopped
	require.Len(t, stopped, 1)
	require.Equal(t, wire.RefuseGap, stopped[0].Code)
	require.Contains(t, stopped[0].Reason, "comes before its START")
	w.settle()
	require.NotEqual(t, AdmitRefused, a.node.own[0].State)
}

// TestClosedLogIsNotPushed: what the writer has not opened in the epoch held is closed, also
// its own: a session ships nothing of it, and the peer has nothing to refuse (I5).
func TestClosedLogIsNotPushed(t *testing.T) {
	w, a, b := livelyPair()
	b.crash()
	a.noApply = true // so that it is not ready to be opened
	a.append(0, 3)
	w.pass(time.Second)
	for _, s := range []*site{a, b} {
		if s.c.Epoch = 2 << 32; s.node != nil {
			s.crash()
		}
		s.open()
	}
	w.take()
	w.pass(3 * time.Second)
	require.Empty(t, w.opened)
	require.NotContains(t, w.take(), "log-stopped")
	require.Empty(t, b.node.Status(b.now()).Stopped)
	log := wire.LogID{Site: a.c.Site}
	require.Equal(t, a.own.tail(log).Position, b.mirror.tail(log).Position, "it pulled that")
}
