package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// TestCopiedDirectoryOutlivesPowerCut: cp flushes nothing. Once an engine that was opened on
// a copy acknowledges an entry, no power cut takes the directory, its identity or what it
// held before (I1).
func TestCopiedDirectoryOutlivesPowerCut(t *testing.T) {
	s := alone(t)
	s.put(0, "a", "1", engine.Local)
	s.end()
	s.disk = s.disk.Copy()
	s.options.FS = s.disk
	s.start()
	s.put(0, "b", "2", engine.Local)
	s.crash()
	s.start()
	ref := s.put(0, "c", "3", engine.Local)
	require.EqualValues(t, 4, ref.Seq, "START and three entries")
}
