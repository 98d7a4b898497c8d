package wire

// The slow decoder's second half: control messages, FORMAT.md 5.

import "bytes"

// slowMessage reads the body of a control frame of this kind.
func slowMessage(kind FrameKind, body []byte) (m Message) {
	r := bytes.NewReader(body)
	switch kind {
	case FrameHello:
		m = slowHello(r)
	case FrameWelcome:
		m = slowWelcome(r)
	case FrameRefusal:
		s := slowRead[struct {
			Code    RefusalCode
			Term    Term
			Counter uint32
		}](r, ErrProtocol)
		must(s.Code != 0 && (s.Term == 0) == (s.Counter == 0), ErrProtocol, "refusal")
		m = &Refusal{s.Code, s.Term, s.Counter, slowText(r)}
	case FrameAck:
		s := slowRead[Ack](r, ErrProtocol)
		must((s.Level == 1 || s.Level == 2) && s.Number != 0, ErrProtocol, "ack")
		m = &s
	case FrameBatchRefusal:
		code := slowRead[RefusalCode](r, ErrProtocol)
		must(code != 0, ErrProtocol, "code")
		m = &BatchRefusal{code, slowLog(r), slowPosition(r), slowText(r)}
	case FrameCursorPage:
		m = slowPage(r)
	case FrameHeartbeat:
		s := slowRead[Heartbeat](r, ErrProtocol)
		m = &s
	case FrameHeartbeatEcho:
		s := slowRead[HeartbeatEcho](r, ErrProtocol)
		m = &s
	case FrameFetch:
		f := &Fetch{slowRead[uint64](r, ErrProtocol), slowLog(r), slowPosition(r), slowRead[Seq](r, ErrProtocol)}
		must(f.ID != 0 && (f.To == 0 || f.To > f.From.Seq), ErrProtocol, "fetch")
		m = f
	case FrameJoin:
		s := slowRead[Join](r, ErrProtocol)
		must(s.Streams >= 2 && s.Streams <= 64 && s.Stream < s.Streams, ErrProtocol, "join")
		m = &s
	case FrameVerify:
		m = slowVerify(r)
	case FrameVerified:
		m = slowVerified(r)
	case FrameFetchEnd:
		f := &FetchEnd{slowRead[uint64](r, ErrProtocol), slowRead[RefusalCode](r, ErrProtocol), slowText(r)}
		must(f.ID != 0, ErrProtocol, "fetch end")
		m = f
	}
	must(r.Len() == 0, ErrProtocol, "bytes behind the last field")
	return m
}

// FORMAT.md 5.1.
func slowHello(r *bytes.Reader) *Hello {
	s := slowRead[struct {
		VersionMin, VersionMax, DigestKind, Reserved     uint8
		Site, Node, Peer, Term, Counter, Shards, Primary uint32
		Cluster, Epoch, Features                         uint64
	}](r, ErrProtocol)
	must(s.VersionMin >= 1 && s.VersionMax >= s.VersionMin, ErrProtocol, "versions")
	must(s.DigestKind != 0 && s.Reserved == 0, ErrProtocol, "digest kind or reserved")
	must(s.Site != 0 && s.Peer != 0 && s.Term != 0 && s.Counter != 0 && s.Cluster != 0, ErrProtocol, "zero id")
	must(s.Shards >= 1 && s.Shards <= 65536, ErrProtocol, "shards")
	return &Hello{
		VersionMin: s.VersionMin, VersionMax: s.VersionMax, Cluster: ClusterID(s.Cluster), Site: SiteID(s.Site),
		Node: NodeID(s.Node), Peer: SiteID(s.Peer), Term: Term(s.Term), Counter: s.Counter, Shards: s.Shards,
		DigestKind: s.DigestKind, Primary: SiteID(s.Primary), Epoch: Epoch(s.Epoch), Features: s.Features,
		ClusterName: slowName(r), SiteName: slowName(r), PeerName: slowName(r),
	}
}

// FORMAT.md 5.2.
func slowWelcome(r *bytes.Reader) *Welcome {
	s := slowRead[struct {
		Version  uint8
		Reserved [3]uint8
		Site     SiteID
		Node     NodeID
		Term     Term
		Epoch    Epoch
	}](r, ErrProtocol)
	must(s.Version != 0 && s.Reserved == [3]uint8{} && s.Site != 0 && s.Term != 0, ErrProtocol, "welcome")
	return &Welcome{s.Version, s.Site, s.Node, s.Term, s.Epoch, slowName(r)}
}

// FORMAT.md 5.6.
func slowPage(r *bytes.Reader) *CursorPage {
	p := &CursorPage{Flags: slowRead[uint8](r, ErrProtocol)}
	must(p.Flags == 0 || p.Flags == 1 || p.Flags == 3, ErrProtocol, "page flags")
	count := slowRead[uint16](r, ErrProtocol)
	must(count <= 4096, ErrProtocol, "row count")
	for i := range int(count) {
		e := PageEntry{slowLog(r), slowPosition(r), slowRead[Seq](r, ErrProtocol)}
		must(e.Applied <= e.Durable.Seq, ErrProtocol, "applied over durable")
		if i > 0 {
			before := slowSortKey(p.Entries[i-1].Log)
			must(bytes.Compare(before, slowSortKey(e.Log)) < 0, ErrProtocol, "rows do not rise")
		}
		p.Entries = append(p.Entries, e)
	}
	return p
}

// FORMAT.md 5.14.
func slowVerify(r *bytes.Reader) *Verify {
	s := slowRead[struct {
		ID       uint64
		Kind     VerifyKind
		Reserved [3]uint8
		Count    uint32
	}](r, ErrProtocol)
	m := &Verify{s.ID, s.Kind, s.Count, slowLog(r), slowRead[Seq](r, ErrProtocol), slowKey(r), slowKey(r)}
	must(s.ID != 0 && s.Reserved == [3]uint8{} && s.Kind >= 1 && s.Kind <= 4, ErrProtocol, "verify")
	must((s.Count != 0) == (s.Kind != 4), ErrProtocol, "count")
	if s.Kind != 1 {
		must(s.Count <= 64 && m.Seq == 0 && len(m.Lo) == 0 && len(m.Hi) == 0, ErrProtocol, "logs")
	}
	must(len(m.Hi) == 0 || bytes.Compare(m.Lo, m.Hi) < 0, ErrProtocol, "range")
	return m
}

func slowKey(r *bytes.Reader) []byte {
	n := slowRead[uint16](r, ErrProtocol)
	must(n <= 512, ErrProtocol, "key")
	return slowTake(r, int(n), ErrProtocol)
}

// FORMAT.md 5.15.
func slowVerified(r *bytes.Reader) *Verified {
	s := slowRead[struct {
		ID          uint64
		Code        RefusalCode
		Rows, Parts uint16
	}](r, ErrProtocol)
	m := &Verified{ID: s.ID, Code: s.Code, Text: slowText(r)}
	must(s.ID != 0 && s.Rows <= 4096 && s.Parts <= 256, ErrProtocol, "verified")
	for i := range int(s.Rows) {
		row := VerifiedLog{slowLog(r), slowPosition(r), slowRead[Seq](r, ErrProtocol), slowRead[Seq](r, ErrProtocol)}
		if i > 0 {
			before := slowSortKey(m.Rows[i-1].Log)
			must(bytes.Compare(before, slowSortKey(row.Log)) < 0, ErrProtocol, "rows do not rise")
		}
		m.Rows = append(m.Rows, row)
	}
	for i := range int(s.Parts) {
		part := VerifiedPart{slowRead[uint32](r, ErrProtocol), slowRead[[32]byte](r, ErrProtocol), slowKey(r)}
		last := i == int(s.Parts)-1
		must(len(part.Hi) > 0 || last, ErrProtocol, "unbounded part")
		if i > 0 && len(part.Hi) > 0 {
			must(bytes.Compare(m.Parts[i-1].Hi, part.Hi) < 0, ErrProtocol, "parts do not rise")
		}
		m.Parts = append(m.Parts, part)
	}
	return m
}
