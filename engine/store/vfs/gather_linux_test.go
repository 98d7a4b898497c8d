package vfs

import (
	"bytes"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestGatheredWriteThatStopsAnywhereGoesOnThere(t *testing.T) {
	parts := [][]byte{[]byte("ab"), nil, []byte("c"), []byte("defg"), {}}
	whole := bytes.Join(parts, nil)
	for stops := range len(whole) + 1 {
		v := new(vector)
		rest, list := v.gather(parts)
		require.Empty(t, rest)
		require.Len(t, list, 3)
		var left []byte
		for _, p := range advance(list, stops) {
			left = append(left, bytesOf(p)...)
		}
		require.Equal(t, string(whole[stops:]), string(left))
	}
	require.Equal(t, "defg", string(parts[3]), "the caller's parts stay as they were")
}

func TestManyPartsAreWrittenInTurns(t *testing.T) {
	parts := make([][]byte, 2*iovMax+5)
	for i := range parts {
		parts[i] = []byte{byte(i)}
	}
	v, turns := new(vector), 0
	for at := parts; len(at) > 0; turns++ {
		rest, list := v.gather(at)
		for i := range list {
			require.Equal(t, at[i], bytesOf(list[i]))
		}
		require.Len(t, list, len(at)-len(rest))
		at = rest
	}
	require.Equal(t, 3, turns)
}

func bytesOf(p unix.Iovec) []byte { return unsafe.Slice(p.Base, p.Len) }
