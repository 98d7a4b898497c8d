package powerloss

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Names in a saved disk, and how its lines begin in a guest's output.
const (
	savedLedger  = "ledger"
	savedVerdict = "verdict"
	savedData    = "data"
	savedLine    = "##data "
)

// save writes what a check looked at as lines of text, for a machine that cannot
// reach this one's files: a tar of the data, of the notes that counted, and of what
// was found. ci/powerloss/run makes a file of it, LookAgain checks that file.
func save(w io.Writer, dir string, notes []note, v *verdict) error {
	lines := &lineWriter{w: w}
	text := base64.NewEncoder(base64.StdEncoding, lines)
	packed, err := gzip.NewWriterLevel(text, gzip.BestSpeed)
	if err != nil {
		return err
	}
	files := tar.NewWriter(packed)
	var ledger []byte
	for _, n := range notes {
		ledger = n.append(ledger)
	}
	err = errors.Join(
		addBytes(files, savedLedger, ledger),
		addBytes(files, savedVerdict, []byte(strings.Join(v.faults, "\n")+"\n")),
		addTree(files, dir))
	return errors.Join(err, files.Close(), packed.Close(), text.Close(), lines.flush())
}

func addBytes(t *tar.Writer, name string, b []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

func addTree(t *tar.Writer, dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return addBytes(t, filepath.Join(savedData, rel), b)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the cut lost even the directory
	}
	return err
}

// lineWriter cuts a text into lines.
type lineWriter struct {
	w    io.Writer
	line []byte
}

const lineBytes = 4000

func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), lineBytes-len(l.line))
		l.line, rest = append(l.line, rest[:n]...), rest[n:]
		if len(l.line) == lineBytes {
			if err := l.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (l *lineWriter) flush() error {
	_, err := fmt.Fprintf(l.w, "%s%s\n", savedLine, l.line)
	l.line = l.line[:0]
	return err
}

// LookAgain checks a saved disk, unpacked below dir, and returns what it finds.
func LookAgain(saved, dir string) (faults []string, err error) {
	f, err := os.Open(saved)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", saved, err)
	}
	var notes []note
	for files := tar.NewReader(packed); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", saved, err)
		}
		b, err := io.ReadAll(files)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", saved, h.Name, err)
		}
		switch name, isData := strings.CutPrefix(h.Name, savedData+"/"); {
		case h.Name == savedLedger:
			notes, err = readLedger(bytes.NewReader(b))
		case isData && filepath.IsLocal(name):
			path := filepath.Join(dir, name)
			err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", saved, h.Name, err)
		}
	}
	v, err := check(dir, notes)
	if err != nil {
		return nil, err
	}
	return v.faults, nil
}
