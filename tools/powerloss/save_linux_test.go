package powerloss

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSavedDiskIsLookedAtAgain(t *testing.T) {
	dir, notes := loaded(t, 300)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, mirror, "mirror")))
	v, err := check(dir, notes)
	require.NoError(t, err)
	require.Positive(t, v.lost)

	var text bytes.Buffer
	require.NoError(t, save(&text, dir, notes, v))
	var packed []byte
	for line := range bytes.Lines(text.Bytes()) {
		line = bytes.TrimSpace(line)
		require.True(t, bytes.HasPrefix(line, []byte(savedLine)))
		require.LessOrEqual(t, len(line), lineBytes+len(savedLine))
		packed = append(packed, line[len(savedLine):]...)
	}
	packed, err = base64.StdEncoding.DecodeString(string(packed))
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "saved.tgz")
	require.NoError(t, os.WriteFile(file, packed, 0o600))
	again := t.TempDir()
	faults, err := LookAgain(file, again)
	require.NoError(t, err)
	for i := range v.faults {
		v.faults[i] = strings.ReplaceAll(v.faults[i], dir, again)
	}
	require.Equal(t, v.faults, faults)
}
