package rdma

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

func sampleOffer() offer {
	return offer{
		Link:      [16]byte{1, 2, 3},
		Identity:  Identity{QPN: 0x1234, PSN: 0xabcdef, GID: GID{15: 9}, LID: 3, MTUBytes: 1024},
		Immediate: true, RingAddress: 1 << 40, RingKey: 77, RingBytes: 8 << 20, Receives: 256,
	}
}

func TestOfferReadsAsItWasWritten(t *testing.T) {
	want := sampleOffer()
	b := want.append(nil)
	require.Len(t, b, offerBytes)
	var got offer
	require.NoError(t, got.decode(b))
	require.Equal(t, want, got)
}

func TestOffersThatNobodyMakesAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(o *offer){
		"no queue pair":           func(o *offer) { o.Identity.QPN = 0 },
		"queue pair of 25 bits":   func(o *offer) { o.Identity.QPN = 1 << 24 },
		"packet number of 25":     func(o *offer) { o.Identity.PSN = 1 << 24 },
		"odd MTU":                 func(o *offer) { o.Identity.MTUBytes = 1500 },
		"no MTU":                  func(o *offer) { o.Identity.MTUBytes = 0 },
		"ring under a frame":      func(o *offer) { o.RingBytes = wire.FrameBytesMax - ringAlign },
		"ring of odd size":        func(o *offer) { o.RingBytes++ },
		"ring of 4 GiB":           func(o *offer) { o.RingBytes = 1<<32 - ringAlign },
		"ring over the top":       func(o *offer) { o.RingAddress = 1<<64 - 4096 },
		"no receives for notices": func(o *offer) { o.Receives = noticesMax },
		"receives without end":    func(o *offer) { o.Receives = 1 << 31 },
	} {
		o := sampleOffer()
		spoil(&o)
		var got offer
		require.ErrorIs(t, got.decode(o.append(nil)), wire.ErrProtocol, name)
	}
	good := sampleOffer()
	b := good.append(nil)
	for _, at := range []int{16, 19, 34, 35} { // unknown flags, reserved bytes
		spoiled := bytes.Clone(b)
		spoiled[at] |= 0x80
		var got offer
		require.ErrorIs(t, got.decode(spoiled), wire.ErrProtocol, "byte %d", at)
	}
	require.ErrorIs(t, new(offer).decode(b[1:]), wire.ErrProtocol)
}

// I9, exhaustively: each bit of a setup message flipped, each length it is cut to.
func TestEveryFlippedBitOfASetupIsDetected(t *testing.T) {
	o := sampleOffer()
	message := setup(setupHello, o.append(nil))
	for bit := range len(message) * 8 {
		spoiled := bytes.Clone(message)
		spoiled[bit/8] ^= 1 << (bit % 8)
		r := setupReader{from: bytes.NewReader(spoiled)}
		_, _, err := r.next()
		require.Error(t, err, "bit %d", bit)
	}
	for size := range message {
		r := setupReader{from: iotest.OneByteReader(bytes.NewReader(message[:size]))}
		_, _, err := r.next()
		if size == 0 {
			require.Equal(t, io.EOF, err)
			continue
		}
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "cut at %d", size)
	}
}

func TestNewerSetupIsToldFromGarbage(t *testing.T) {
	message := setup(setupReady, nil)
	message[4] = setupVersion + 1
	r := setupReader{from: bytes.NewReader(message)}
	_, _, err := r.next()
	require.ErrorIs(t, err, wire.ErrVersion)
	r = setupReader{from: bytes.NewReader([]byte("GET / HTTP/1.1\r\n\r\n"))}
	_, _, err = r.next()
	require.ErrorIs(t, err, wire.ErrProtocol)
}

// FuzzSetup: I11, whatever comes is refused or means one thing.
func FuzzSetup(f *testing.F) {
	o := sampleOffer()
	f.Add(setup(setupHello, o.append(nil)))
	f.Add(setup(setupBye, appendNumber(nil, 7)))
	f.Add(setup(setupRefusal, []byte("no")))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := setupReader{from: bytes.NewReader(b)}
		kind, body, err := r.next()
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, setup(kind, body)) {
			t.Fatal("a second encoding of a message passed")
		}
		var o offer
		if o.decode(body) == nil && !bytes.Equal(o.append(nil), body) {
			t.Fatal("a second encoding of an offer passed")
		}
	})
}

// FuzzNotice: the same for what comes over the queue pair.
func FuzzNotice(f *testing.F) {
	f.Add(make([]byte, noticeBytes))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNotice(b)
		if err != nil {
			if !errors.Is(err, wire.ErrProtocol) {
				t.Fatal(err)
			}
			return
		}
		var again [noticeBytes]byte
		n.put(again[:])
		if !bytes.Equal(again[:], b) || binary.LittleEndian.Uint32(b) == 0 {
			t.Fatal("a second encoding of a notice passed")
		}
	})
}
