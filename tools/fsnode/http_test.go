package fsnode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/fsapi"
	"github.com/claudefs/repl/tools/fsclient"
	"github.com/claudefs/repl/tools/namespace"
	"github.com/claudefs/repl/wire"
)

func TestSecondNodeOnADirectoryIsRefused(t *testing.T) {
	a := alone(t)
	_, err := Open(context.Background(), a.o)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, a.o.DataDir)
	require.ErrorContains(t, err, "pid ")
}

func TestAnotherShardCountIsRefused(t *testing.T) {
	a := alone(t)
	a.stop()
	o := a.o
	o.Shards = 32
	_, err := Open(context.Background(), o)
	require.ErrorIs(t, err, namespace.ErrOptions)
	a.start()
}

func TestOperationsReadersAndErrors(t *testing.T) {
	a := alone(t)
	ctx, c := t.Context(), a.client
	out, err := c.Do(ctx,
		namespace.Operation{Op: engine.OpMkDir, Path: "/d", Mode: 0o700},
		namespace.Operation{Op: engine.OpMkDir, Path: "/d", Mode: 0o700},
		namespace.Operation{Op: engine.OpCreate, Path: "/d/f?&%20", Mode: 0o600},
		namespace.Operation{Op: engine.OpWrite, Path: "/d/f?&%20", Data: []byte("0123456789")},
		namespace.Operation{Op: engine.OpMkDir, Path: "/e"},
	)
	require.NoError(t, err)
	require.Len(t, out, 5)
	require.ErrorIs(t, out[1].Err, fs.ErrExist)
	require.Equal(t, out[0].Ref.Seq+1, out[2].Ref.Seq, "a refused operation takes no place")

	stat, err := c.Stat(ctx, "/d/f?&%20")
	require.NoError(t, err)
	require.EqualValues(t, 10, stat.Size)
	require.Equal(t, "file", stat.Type)
	var got bytes.Buffer
	require.NoError(t, c.Cat(ctx, "/d/f?&%20", 3, 4, &got))
	require.Equal(t, "3456", got.String())
	var names []string
	require.NoError(t, c.Ls(ctx, "/", false, func(n fsapi.Name) error {
		names = append(names, n.Name+" "+n.Type)
		return nil
	}))
	require.Equal(t, []string{"d dir", "e dir"}, names)

	require.NoError(t, c.Mv(ctx, "/d/f?&%20", "/d/g"))
	_, err = c.Stat(ctx, "/d/f?&%20")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "cfs fs ls")
	err = c.Mv(ctx, "/d/g", "/e/g")
	if namespace.ShardOf("/d", 16) != namespace.ShardOf("/e", 16) {
		require.ErrorIs(t, err, syscall.EXDEV)
	}
	_, err = c.Rm(ctx, "/d", false)
	require.ErrorIs(t, err, syscall.ENOTEMPTY)
	count, err := c.Rm(ctx, "/d", true)
	require.NoError(t, err)
	require.Equal(t, 2, count)
	require.ErrorIs(t, c.Cat(ctx, "/", 0, -1, io.Discard), syscall.EISDIR)
	require.ErrorContains(t, c.Cat(ctx, "/x/../y", 0, -1, io.Discard), "invalid argument")
}

// One of many clients wins a name; each sees what those before it made.
func TestManyClientsInOneShardSeeOneOrder(t *testing.T) {
	a := alone(t)
	const clients, names = 8, 60
	won := make(chan int)
	for range clients {
		go func() { // Ends when all its operations are answered.
			client := fsclient.New(a.addr)
			defer client.Close()
			var ops []namespace.Operation
			for i := range names {
				deep := "/d" + strings.Repeat("/d", i%6)
				ops = append(ops, namespace.Operation{Op: engine.OpMkDir, Path: deep},
					namespace.Operation{Op: engine.OpCreate, Path: fmt.Sprintf("/d/f%d", i)})
			}
			out, err := client.Do(t.Context(), ops...)
			count := 0
			for i := range out {
				if out[i].Err == nil {
					count++
				} else if !errors.Is(out[i].Err, fs.ErrExist) {
					err = out[i].Err
				}
			}
			if !assert.NoError(t, err) {
				count = -1 << 20
			}
			won <- count
		}()
	}
	total := 0
	for range clients {
		total += <-won
	}
	require.Equal(t, 6+names, total)
	d, err := a.client.Digest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 6+names, d.Inodes)
}

// I10: a refused client is told at once, though it has not ended what it sends.
func TestOneStreamTooManyIsRefusedAtOnce(t *testing.T) {
	a := alone(t)
	for range streamCountMax {
		a.node.streams <- struct{}{}
	}
	_, err := a.client.Do(t.Context(), namespace.Operation{Op: engine.OpMkDir, Path: "/d"})
	require.ErrorIs(t, err, fsclient.ErrLater)
	require.ErrorContains(t, err, "16 streams")
	body, in := io.Pipe()
	answer, err := http.Post("http://"+a.addr+"/v1/fs/ops", "", body)
	require.NoError(t, err)
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	require.NoError(t, in.Close())
	require.NoError(t, answer.Body.Close())
}

func TestNamesThatAreNoTextAreKeptAsTheyAre(t *testing.T) {
	a := alone(t)
	want := []string{"\xff\xfe", "a\nb", "<&>\u2028", "\x80"}
	var ops []namespace.Operation
	for _, name := range want {
		ops = append(ops, namespace.Operation{Op: engine.OpCreate, Path: "/" + name})
	}
	_, err := a.client.Do(t.Context(), ops...)
	require.NoError(t, err)
	var got []string
	require.NoError(t, a.client.Ls(t.Context(), "/", false, func(n fsapi.Name) error {
		got = append(got, n.Name)
		_, err := a.client.Stat(t.Context(), "/"+n.Name)
		return err
	}))
	require.ElementsMatch(t, want, got)
	count, err := a.client.Rm(t.Context(), "/", true)
	require.NoError(t, err)
	require.Equal(t, len(want), count)
}

func TestRepeatedRequestGetsFirstAnswer(t *testing.T) {
	a := alone(t)
	op := namespace.Operation{Op: engine.OpMkDir, Path: "/d", Request: wire.RequestID{7}}
	first, err := a.client.Do(t.Context(), op)
	require.NoError(t, err)
	a.stop()
	a.start()
	again, err := a.client.Do(t.Context(), op)
	require.NoError(t, err)
	require.True(t, again[0].Repeated)
	require.Equal(t, first[0].Ref, again[0].Ref)
}

// Every operation before a broken frame has its result, and the end says why.
func TestBrokenFrameEndsTheStreamWithItsReason(t *testing.T) {
	a := alone(t)
	body, err := fsapi.AppendOperation(nil, &namespace.Operation{Op: engine.OpMkDir, Path: "/d"})
	require.NoError(t, err)
	later := "\x3e\x00\x00\x00\x02" + strings.Repeat("x", 61)
	for _, broken := range []string{"\x01\x00\x00\x00x", "\xff\xff\xff\xff", later} {
		stream := io.MultiReader(bytes.NewReader(body), strings.NewReader(broken))
		answer, err := http.Post("http://"+a.addr+"/v1/fs/ops", "", stream)
		require.NoError(t, err)
		in := bufio.NewReader(answer.Body)
		r, err := fsapi.ReadResult(in)
		require.NoError(t, err)
		require.False(t, r.End)
		end, err := fsapi.ReadResult(in)
		require.NoError(t, err)
		require.True(t, end.End)
		require.Equal(t, fsapi.CodeFinal, end.Code)
		require.Contains(t, end.Text, "bad frame")
		require.NoError(t, answer.Body.Close())
	}
}

func TestNobodyAtTheAddressIsUnreachable(t *testing.T) {
	a := alone(t)
	client := fsclient.New(a.addr)
	a.stop()
	_, err := client.Digest(t.Context())
	require.ErrorIs(t, err, fsclient.ErrUnreachable)
	_, err = client.Do(t.Context(), namespace.Operation{Op: engine.OpMkDir, Path: "/d"})
	require.ErrorIs(t, err, fsclient.ErrUnreachable)
	require.ErrorContains(t, err, a.addr)
}

// I10: groups end at their bounds, and operations of other shards in between.
func TestOperationsOfManyShardsKeepOrder(t *testing.T) {
	a := alone(t)
	var ops []namespace.Operation
	for i := range 40 {
		top := "/" + string(rune('a'+i%8))
		ops = append(ops, namespace.Operation{Op: engine.OpMkDir, Flags: namespace.FlagOverwrite, Path: top})
		path := top + "/" + string(rune('a'+i))
		ops = append(ops, namespace.Operation{Op: engine.OpCreate, Path: path},
			namespace.Operation{Op: engine.OpWrite, Path: path, Data: bytes.Repeat([]byte{byte(i)}, 200<<10)})
	}
	out, err := a.client.Do(t.Context(), ops...)
	require.NoError(t, err)
	require.Len(t, out, len(ops))
	for i := range out {
		require.NoError(t, out[i].Err)
	}
	for i := range 40 {
		var got bytes.Buffer
		path := "/" + string(rune('a'+i%8)) + "/" + string(rune('a'+i))
		require.NoError(t, a.client.Cat(t.Context(), path, 0, -1, &got))
		require.Equal(t, bytes.Repeat([]byte{byte(i)}, 200<<10), got.Bytes(), path)
	}
}
