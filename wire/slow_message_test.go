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
	case FrameMend:
		m = slowMend(r)
	case FrameRows:
		m = slowRows(r)
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
	m := &Verify{
		s.ID, s.Kind, s.Count, slowLog(r), slowRead[Seq](r, ErrProtocol), slowKey(r, 512), slowKey(r, 512),
	}
	must(s.ID != 0 && s.Reserved == [3]uint8{} && s.Kind >= 1 && s.Kind <= 4, ErrProtocol, "verify")
	must((s.Count != 0) == (s.Kind != 4), ErrProtocol, "count")
	if s.Kind != 1 {
		must(s.Count <= 64 && m.Seq == 0 && len(m.Lo) == 0 && len(m.Hi) == 0, ErrProtocol, "logs")
	}
	must(len(m.Hi) == 0 || bytes.Compare(m.Lo, m.Hi) < 0, ErrProtocol, "range")
	return m
}

func slowKey(r *bytes.Reader, most uint16) []byte {
	n := slowRead[uint16](r, ErrProtocol)
	must(n <= most, ErrProtocol, "key")
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
	m.Parts = slowParts(r, int(s.Parts), 512)
	return m
}

// FORMAT.md 5.15.2.
func slowParts(r *bytes.Reader, count int, key uint16) (parts []VerifiedPart) {
	for i := range count {
		part := VerifiedPart{slowRead[uint32](r, ErrProtocol), slowRead[[32]byte](r, ErrProtocol), slowKey(r, key)}
		must(len(part.Hi) > 0 || i == count-1, ErrProtocol, "unbounded part")
		if i > 0 && len(part.Hi) > 0 {
			must(bytes.Compare(parts[i-1].Hi, part.Hi) < 0, ErrProtocol, "parts do not rise")
		}
		parts = append(parts, part)
	}
	return parts
}

// FORMAT.md 5.16.
func slowMend(r *bytes.Reader) *Mend {
	s := slowRead[struct {
		ID          uint64
		Kind        MendKind
		Reserved    [3]uint8
		Shard       Shard
		View        uint64
		Count, Skip uint32
		Ranges      uint16
	}](r, ErrProtocol)
	must(s.ID != 0 && s.Reserved == [3]uint8{} && s.Kind >= 1 && s.Kind <= 3 && s.Shard < 65536, ErrProtocol, "mend")
	must((s.View != 0) == (s.Kind != 1) && (s.Count != 0) == (s.Kind == 2), ErrProtocol, "view or count")
	must(s.Skip == 0 || s.Kind == 3, ErrProtocol, "skip")
	most := map[MendKind]uint16{1: 0, 2: 1, 3: 256}[s.Kind]
	must(s.Ranges <= most && (s.Ranges > 0) == (s.Kind != 1), ErrProtocol, "ranges")
	m := &Mend{ID: s.ID, Kind: s.Kind, Shard: s.Shard, View: s.View, Count: s.Count, Skip: s.Skip}
	for i := range int(s.Ranges) {
		a := MendRange{slowRead[[32]byte](r, ErrProtocol), slowKey(r, 544), slowKey(r, 544)}
		must(len(a.Hi) == 0 || bytes.Compare(a.Lo, a.Hi) < 0, ErrProtocol, "range")
		if i > 0 {
			before := m.Ranges[i-1].Hi
			must(len(before) > 0 && bytes.Compare(before, a.Lo) <= 0, ErrProtocol, "ranges do not rise")
		}
		m.Ranges = append(m.Ranges, a)
	}
	return m
}

// FORMAT.md 5.17.
func slowRows(r *bytes.Reader) *Rows {
	s := slowRead[struct {
		ID, View               uint64
		Rest                   uint32
		Code                   RefusalCode
		Cursors, Parts, Pieces uint16
	}](r, ErrProtocol)
	m := &Rows{ID: s.ID, View: s.View, Rest: s.Rest, Code: s.Code, Text: slowText(r)}
	must(s.ID != 0 && s.Cursors <= 4096 && s.Parts <= 256 && s.Pieces <= 256, ErrProtocol, "rows")
	must(s.Rest == 0 || s.Pieces > 0, ErrProtocol, "rest")
	for i := range int(s.Cursors) {
		c := Cursor{slowLog(r), slowPosition(r), slowRead[Epoch](r, ErrProtocol)}
		if i > 0 {
			before := slowSortKey(m.Cursors[i-1].Log)
			must(bytes.Compare(before, slowSortKey(c.Log)) < 0, ErrProtocol, "cursors do not rise")
		}
		m.Cursors = append(m.Cursors, c)
	}
	m.Parts = slowParts(r, int(s.Parts), 544)
	sum := 0
	for range s.Pieces {
		p := slowRead[RowsPiece](r, ErrProtocol)
		m.Pieces, sum = append(m.Pieces, p), sum+int(p.Bytes)
	}
	must(sum == r.Len(), ErrProtocol, "bytes of the pieces")
	m.Data = nilIfEmpty(slowTake(r, sum, ErrProtocol))
	return m
}
