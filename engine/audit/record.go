package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Outcome is how far a verb came.
type Outcome string

// The outcomes.
const (
	Begun       Outcome = "begun"       // flushed before the verb acts
	Done        Outcome = "done"        // it acted
	Refused     Outcome = "refused"     // it changed nothing
	Failed      Outcome = "failed"      // it may have changed something
	Interrupted Outcome = "interrupted" // the process ended before its outcome was written
	Observed    Outcome = "observed"    // an event: nobody asked for it
)

// Actor is who asked for a verb.
type Actor struct {
	How  string `json:"how"`            // admin: the admin API; engine: the host's program
	Name string `json:"name,omitempty"` // such as the address of the client
}

// Entry is what a caller has to say.
type Entry struct {
	Kind  string
	Actor *Actor // nil for events
	Peer  string // "" = none
	Shard int    // -1 = none
	What  string // at most WhatBytesMax, the rest is cut
}

// WhatBytesMax bounds the text of a line.
const WhatBytesMax = 4096

// Record is one line. Its keys are part of the format.
type Record struct {
	Seq     uint64    `json:"seq"`
	At      time.Time `json:"at"`
	Site    string    `json:"site"`
	Kind    string    `json:"kind"`
	Actor   *Actor    `json:"actor,omitempty"`
	Peer    string    `json:"peer,omitempty"`
	Shard   *int      `json:"shard,omitempty"`
	What    string    `json:"what"`
	Outcome Outcome   `json:"outcome"`
	Of      uint64    `json:"of,omitempty"`
	Prev    string    `json:"prev"`
	Hash    string    `json:"hash,omitempty"`
}

// hashKey begins the last pair of a line.
const hashKey = `,"hash":"`

// suffixBytes is the size of the last pair and the brace.
const suffixBytes = len(hashKey) + 2*sha256.Size + len(`"}`)

// sectorBytes is what a line's size is a multiple of. A power cut spoils the sectors that are
// being written, so no line shares one with a line that was flushed before.
const sectorBytes = 512

// noHash is prev of the first line.
var noHash = hex.EncodeToString(make([]byte, sha256.Size))

// encode returns the line of r, with its newline, and sets r.Hash.
func (r *Record) encode() ([]byte, error) {
	r.Hash = ""
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b = b[:len(b)-1] // the brace
	sum := sha256.Sum256(b)
	r.Hash = hex.EncodeToString(sum[:])
	b = append(append(append(b, hashKey...), r.Hash...), `"}`...)
	for len(b)%sectorBytes != sectorBytes-1 {
		b = append(b, ' ')
	}
	return append(b, '\n'), nil
}

// lineOf is the first line of b, with its newline.
func lineOf(b []byte) []byte {
	if end := bytes.IndexByte(b, '\n') + 1; end > 0 {
		return b[:end]
	}
	return b
}

// parse reads one line and checks its own hash.
func parse(line []byte) (Record, error) {
	var r Record
	line = bytes.TrimRight(line, " \n")
	at := len(line) - suffixBytes
	if at < 0 || !bytes.HasPrefix(line[at:], []byte(hashKey)) {
		return r, fmt.Errorf("%w: it does not end with a hash", errSyntax)
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("%w: %w", errSyntax, err)
	}
	if sum := sha256.Sum256(line[:at]); hex.EncodeToString(sum[:]) != r.Hash {
		return r, fmt.Errorf("%w: its bytes were changed", errHash)
	}
	return r, nil
}
