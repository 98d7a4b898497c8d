package powerloss

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// logOf writes entries as the kernel does; each block of data is one letter.
func logOf(entries []logged, letters string) []byte {
	var b bytes.Buffer
	sector := func(words ...uint64) []byte {
		s := make([]byte, sectorBytes)
		for i, w := range words {
			binary.LittleEndian.PutUint64(s[8*i:], w)
		}
		return s
	}
	b.Write(sector(logMagic, logVersion, uint64(len(entries)), sectorBytes))
	for i, e := range entries {
		head := sector(uint64(e.offset/sectorBytes), uint64(e.bytes/sectorBytes), uint64(e.flags), uint64(len(e.text)))
		copy(head[logHeadBytes:], e.text)
		b.Write(head)
		if e.flags&flagDiscard == 0 {
			b.WriteString(strings.Repeat(letters[i:i+1], int(e.bytes)))
		}
	}
	return b.Bytes()
}

const block = tearBytes

// sample is a load in small: a is flushed, d is forced, b and c are neither.
var sample = []logged{
	{offset: 0, bytes: 2 * block},              // a
	{flags: flagFlush},                         // -
	{flags: flagMark, text: "lines=1"},         // -
	{offset: block, bytes: block},              // b
	{offset: 2 * block, bytes: 2 * block},      // c
	{offset: 0, bytes: block, flags: flagFUA},  // d
	{flags: flagFlush | flagFUA, bytes: block}, // e
	{bytes: 4 * block, flags: flagDiscard},     // -
}

const sampleLetters = "a--bcde-"

func TestLogIsReadBack(t *testing.T) {
	entries, err := readLog(bytes.NewReader(logOf(sample, sampleLetters)))
	require.NoError(t, err)
	require.Len(t, entries, len(sample))
	at := int64(2 * sectorBytes)
	for i, e := range entries {
		want := sample[i]
		want.at = at
		require.Equal(t, want, e, "entry %d", i)
		if at += sectorBytes; e.flags&flagDiscard == 0 {
			at += e.bytes
		}
	}
	require.Equal(t, "FU", entries[6].flags.String())
}

func TestWhatIsNoLogIsNamed(t *testing.T) {
	whole := logOf(sample, sampleLetters)
	for _, n := range []int{0, 10, sectorBytes + 1, 2*sectorBytes - 1} {
		_, err := readLog(bytes.NewReader(whole[:n]))
		require.ErrorIs(t, err, errLog, "%d bytes", n)
	}
	for at := range 28 { // magic, version, sector size
		if at >= 16 && at < 24 {
			continue // the number of entries
		}
		bad := bytes.Clone(whole)
		bad[at] ^= 0x80
		_, err := readLog(bytes.NewReader(bad))
		require.ErrorIs(t, err, errLog, "byte %d", at)
	}
}

// memory is an image's storage.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return copy(p, m[off:]), nil }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// letters is the first byte of each block; pieces of blocks there are none.
func (m memory) letters(t *testing.T) string {
	var b strings.Builder
	for at := 0; at < len(m); at += block {
		require.Equal(t, bytes.Repeat(m[at:at+1], block), []byte(m[at:at+block]), "a block is torn")
		b.WriteByte(max('.', m[at]))
	}
	return b.String()
}

func sampleImage(t *testing.T) (*image, memory) {
	b := logOf(sample, sampleLetters)
	entries, err := readLog(bytes.NewReader(b))
	require.NoError(t, err)
	disk := make(memory, 4*block)
	return &image{disk: disk, log: bytes.NewReader(b), entries: entries}, disk
}

func TestImageFollowsTheLog(t *testing.T) {
	m, disk := sampleImage(t)
	for _, step := range []struct {
		at    int
		fates fates
		want  string
	}{
		{1, dropAll, "...."}, // a, not flushed
		{1, keepAll, "aa.."},
		{2, dropAll, "aa.."}, // flushed
		{5, dropAll, "aa.."}, // b and c
		{5, keepAll, "abcc"},
		{6, dropAll, "da.."}, // d is forced, b and c are not: the order is not the disk's
		{6, keepAll, "dbcc"},
		{7, dropAll, "ebcc"}, // the flush covers all, its own data are forced
		{8, dropAll, "ebcc"},
		{8, keepAll, "...."}, // discarded
	} {
		require.NoError(t, m.show(cut{at: step.at, fates: step.fates}))
		require.Equal(t, step.want, disk.letters(t), "behind %d entries, unsynced %s", step.at, step.fates)
	}
}

func TestEachBlockThatNoFlushCoversMaySurviveAlone(t *testing.T) {
	seen := map[string]bool{}
	m, disk := sampleImage(t)
	for seed := range uint64(300) {
		require.NoError(t, m.show(cut{at: 5, fates: keepSome, seed: seed}))
		seen[disk.letters(t)] = true
	}
	for _, want := range []string{"aa..", "ab..", "aacc", "abcc", "aac.", "aa.c", "abc.", "ab.c"} {
		require.True(t, seen[want], want)
		delete(seen, want)
	}
	require.Empty(t, seen, "no other disk is legal")
}

func TestCutsComeInOrder(t *testing.T) {
	entries := make([]logged, 1000)
	for i := range entries {
		switch i % 10 {
		case 3:
			entries[i].flags = flagFlush
		case 4:
			entries[i].flags = flagMark
		}
	}
	cuts := planCuts(entries, 0, len(entries), 100, rand.New(rand.NewPCG(1, 1)))
	require.Len(t, cuts, 100)
	marks, flushes, last := 0, 0, 0
	for _, c := range cuts {
		require.GreaterOrEqual(t, c.at, last)
		require.LessOrEqual(t, c.at, len(entries))
		last = c.at
		switch {
		case entries[c.at-1].flags&flagMark != 0:
			marks++
		case entries[c.at-1].flags&flagFlush != 0:
			flushes++
		}
	}
	require.GreaterOrEqual(t, marks, 50)
	require.GreaterOrEqual(t, flushes, 25)
	require.Less(t, cuts[0].at, 50)
	require.Greater(t, last, 950)
}
