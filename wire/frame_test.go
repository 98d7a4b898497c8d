package wire

import (
	"reflect"
	"strings"
	"testing"
)

// sampleMessages returns one message of each kind, a distinct value in every
// field.
func sampleMessages() map[FrameKind]Message {
	position := Position{Incarnation(seq16(0x10)), 9, Chain(seq16(0x30))}
	return map[FrameKind]Message{
		FrameHello: &Hello{
			VersionMin: 1, VersionMax: 2, Cluster: 3, Site: 4, Node: 5, Peer: 6, Term: 7, Counter: 8,
			Shards: 256, DigestKind: DigestXXH3, Primary: 10, Epoch: 11, Features: 12,
			ClusterName: "prod", SiteName: "site-a", PeerName: "site-b",
		},
		FrameWelcome: &Welcome{Version: 1, Site: 2, Node: 3, Term: 4, Epoch: 5, SiteName: "site-b"},
		FrameRefusal: &Refusal{Code: RefuseSession, Term: 2, Counter: 3, Text: "an older session"},
		FrameAck:     &Ack{Level: LevelDurable, Number: 77},
		FrameBatchRefusal: &BatchRefusal{
			Code: RefuseChain, Log: LogID{4, 17}, Position: position, Text: "histories differ at seq 9",
		},
		FrameCursorPage: &CursorPage{Flags: PageResume | PageLast, Entries: []PageEntry{
			{LogID{4, 17}, position, 8}, {LogID{4, 18}, Position{}, 0}, {LogID{5, 0}, position, 9},
		}},
		FrameHeartbeat:     &Heartbeat{Clock: 1, LastStamp: 2, Number: 3},
		FrameHeartbeatEcho: &HeartbeatEcho{Clock: 1, Number: 2},
		FrameFetch:         &Fetch{ID: 5, Log: LogID{4, 17}, From: position, To: 12},
		FrameFetchEnd:      &FetchEnd{ID: 5, Code: RefuseNotRetained, Text: "oldest seq is 40"},
		FrameJoin:          &Join{Link: seq16(0x40), Streams: 4, Stream: 3},
		FrameVerify: &Verify{
			ID: 6, Kind: VerifyState, Count: 64, Log: LogID{4, 17}, Seq: 40, Lo: []byte("key-b"), Hi: []byte("key-d"),
		},
		FrameVerified: &Verified{ID: 6, Code: RefuseSuspect, Text: "seq 3 does not hold", Rows: []VerifiedLog{
			{LogID{4, 17}, position, 1, 3}, {LogID{5, 17}, position, 2, 0},
		}, Parts: []VerifiedPart{
			{64, [32]byte{1, 31: 2}, []byte("key-c")}, {3, [32]byte{3, 31: 4}, []byte{}},
		}},
		FrameMend: &Mend{ID: 7, Kind: MendRows, Shard: 17, View: 9, Skip: 5, Ranges: []MendRange{
			{[32]byte{}, []byte("key-b"), []byte("key-c")}, {[32]byte{5, 31: 6}, []byte("key-d"), []byte{}},
		}},
		FrameRows: &Rows{ID: 7, View: 9, Rest: 3, Text: "a word", Cursors: []Cursor{
			{LogID{4, 17}, position, 3}, {LogID{5, 17}, position, 0},
		}, Parts: []VerifiedPart{
			{64, [32]byte{1, 31: 2}, []byte("key-c")}, {3, [32]byte{3, 31: 4}, []byte{}},
		}, Pieces: []RowsPiece{{[32]byte{7, 31: 8}, 0}, {[32]byte{9, 31: 1}, 13}},
			Data: AppendRow(nil, []byte("key-d"), []byte("of"))},
	}
}

// sessionOf is a session that the envelope of this kind allows.
func sessionOf(kind FrameKind) uint32 {
	if frameKinds[kind].opens {
		return 0
	}
	return 3
}

// receive does what a link and its user do with a control frame.
func receive(frame []byte, m Message) (Envelope, error) {
	var e Envelope
	if err := DecodeEnvelope(frame, &e); err != nil {
		return e, err
	}
	if err := CheckFrame(&e, frame); err != nil {
		return e, err
	}
	return e, m.Decode(Body(&e, frame))
}

func empty(m Message) Message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message) }

func TestEveryMessageComesBackFromItsFrame(t *testing.T) {
	for kind, m := range sampleMessages() {
		frame := m.AppendTo([]byte("before"), sessionOf(kind))[len("before"):]
		got := empty(m)
		e, err := receive(frame, got)
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if e.Kind != kind || e.Session != sessionOf(kind) || e.FrameBytes() != len(frame) {
			t.Errorf("%s: envelope %+v", kind, e)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s came back as %+v, want %+v", kind, got, m)
		}
	}
}

// TestUnknownExtensionsComeBack: every control message carries those of a later release.
func TestUnknownExtensionsComeBack(t *testing.T) {
	x := Extensions{}.AppendStopped(7).Append(0x40, nil).Append(0x41, []byte("of a later release"))
	for kind := range FrameKind(len(frameKinds)) {
		m := sampleMessages()[kind]
		if empty := NewMessage(kind); (empty == nil) != (m == nil) {
			t.Fatalf("%s: a new one is %v, a sample is %v", kind, empty, m)
		} else if m == nil {
			continue
		}
		frame := AppendControl([]byte("before"), sessionOf(kind), m, x)[len("before"):]
		got := NewMessage(kind)
		e, err := receive(frame, got)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s came back as %+v, want %+v: %v", kind, got, m, err)
			continue
		}
		if back := ExtensionsOf(&e, frame); string(back) != string(x) || e.Stopped != 7 {
			t.Errorf("%s: extensions %x, stopped %d, want %x", kind, back, e.Stopped, x)
		}
		if value, ok := ExtensionsOf(&e, frame).Value(0x41); !ok || string(value) != "of a later release" {
			t.Errorf("%s: extension 41 is %q, %t", kind, value, ok)
		}
		if _, ok := ExtensionsOf(&e, frame).Value(0x42); ok {
			t.Errorf("%s: extension 42 is there", kind)
		}
	}
}

// I9.
func TestEveryFlippedBitOfAControlFrameIsDetected(t *testing.T) {
	for kind, m := range sampleMessages() {
		frame := m.AppendTo(nil, sessionOf(kind))
		got := empty(m)
		for bit := range 8 * len(frame) {
			frame[bit/8] ^= 1 << (bit % 8)
			if _, err := receive(frame, got); err == nil {
				t.Errorf("%s: bit %d of byte %d flipped, and no one noticed", kind, bit%8, bit/8)
			}
			frame[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestMessagesAllocateNothing(t *testing.T) {
	for kind, m := range sampleMessages() {
		frame := m.AppendTo(nil, sessionOf(kind))
		got := empty(m)
		room := make([]byte, 0, len(frame))
		checkNoAllocation(t, kind.String()+" encoded", func() { m.AppendTo(room, 3) })
		checkNoAllocation(t, kind.String()+" decoded", func() {
			_, err := receive(frame, got)
			fail(t, err)
		})
	}
}

func TestLongTextIsCutBetweenRunes(t *testing.T) {
	m := Refusal{Code: RefuseInternal, Text: strings.Repeat("ä", TextBytesMax/2) + "x"}
	m.Text = "x" + m.Text
	var got Refusal
	if _, err := receive(m.AppendTo(nil, 1), &got); err != nil {
		t.Fatal(err)
	}
	if want := m.Text[:TextBytesMax-1]; got.Text != want {
		t.Errorf("text of %d bytes came back as %d bytes", len(m.Text), len(got.Text))
	}
}

func TestBatchFrameComesBackWhole(t *testing.T) {
	first := sampleHeader()
	body := dataBatch(&first, sampleEntries(3))
	second := first
	second.Prev, second.FirstSeq, second.FirstStamp = first.Chain, first.LastSeq()+1, first.LastStamp+1
	body = append(body, dataBatch(&second, sampleEntries(2))...)

	e := Envelope{Kind: FrameBatches, BatchCount: 2, WireBytes: uint32(len(body)), Session: 3, Number: 1}
	frame := append(AppendBatchesEnvelope(nil, &e), body...)
	var got Envelope
	fail(t, DecodeEnvelope(frame, &got))
	fail(t, CheckFrame(&got, frame))
	if got != e {
		t.Errorf("envelope came back as %+v, want %+v", got, e)
	}
	refs, err := SplitBatches(Body(&got, frame), int(got.BatchCount), nil)
	fail(t, err)
	if len(refs) != 2 || refs[0].Header != first || refs[1].Header != second {
		t.Errorf("batches came back as %+v", refs)
	}
}
