package rdma_test

import (
	"encoding/binary"
	"hash/crc32"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire/link/tcp"
)

// listenToStrangers is a listener of both transports, with the defaults of an engine.
func listenToStrangers(t *testing.T) (*beside, string) {
	plain, err := tcp.New(tcp.Options{})
	require.NoError(t, err)
	b := &beside{plain, open(t, fakeverbs.Options{}, rdma.Options{})}
	l, err := b.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = c.Close() })
		}
	}()
	return b, l.Addr()
}

func knock(t *testing.T, addr string, words []byte) {
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	_, err = c.Write(words)
	require.NoError(t, err)
}

// More silent connections than there are places keep out nobody, by either transport.
func TestSilentStrangersKeepNobodyOut(t *testing.T) {
	b, addr := listenToStrangers(t)
	for range 700 {
		knock(t, addr, nil)
	}
	d, err := b.rdma.Dial(t.Context(), addr) // whose setup is answered
	require.NoError(t, err)
	require.NoError(t, d.Close())
}

// Setups that nobody goes on with pin a few links' memory, not one each; a peer's own
// comes through between them.
func TestStrangersSetupsPinLittle(t *testing.T) {
	b, addr := listenToStrangers(t)
	words := strangersSetup()
	most := 0
	for range 64 {
		knock(t, addr, words)
		most = max(most, b.rdma.fabric.Objects().PinnedBytes)
	}
	dialed := make(chan error, 1)
	go func() { // ends with the dial
		d, err := b.rdma.Dial(t.Context(), addr)
		if err == nil {
			err = d.Close()
		}
		dialed <- err
	}()
	for {
		most = max(most, b.rdma.fabric.Objects().PinnedBytes)
		select {
		case err := <-dialed:
			require.NoError(t, err)
			require.Less(t, most, 64<<20)
			return
		case <-time.After(time.Millisecond):
		}
	}
}

// strangersSetup is a hello that holds, of somebody who has no device.
func strangersSetup() []byte {
	le := binary.LittleEndian
	body := make([]byte, 16)
	for _, v := range []uint32{1, 17, 1, 1024, 0} { // flags, queue pair, packet, MTU, LID
		body = le.AppendUint32(body, v)
	}
	body = append(body, make([]byte, 16)...) // GID
	body = le.AppendUint64(body, 1<<20)
	for _, v := range []uint32{7, 8 << 20, 256} { // key, ring, receives
		body = le.AppendUint32(body, v)
	}
	m := append([]byte("CFSV\x01\x01"), byte(len(body)), 0)
	m = append(m, body...)
	return le.AppendUint32(m, crc32.Checksum(m, crc32.MakeTable(crc32.Castagnoli)))
}
