package loadtest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// What people must do something about.
var (
	// ErrUnreachable: nobody listens there.
	ErrUnreachable = errors.New("no far end answers")
	// ErrRelease: the other end speaks another version of the conversation.
	ErrRelease = errors.New("the other end is of another release")
	// ErrBusy: the far end serves somebody else.
	ErrBusy = errors.New("the far end is busy with another run")
	// ErrLost: the far end was there and is gone.
	ErrLost = errors.New("the far end is gone")
	// ErrLink: this machine has no such link.
	ErrLink = errors.New("link not available")
)

// refusals are the errors that keep their class over the control connection.
var refusals = []error{ErrRelease, ErrBusy, ErrLink, ErrConfig, ErrNoMemory}

// controlVersion changes when the conversation does.
const controlVersion = 1

const (
	// lineBytesMax bounds what the other end may say at once.
	lineBytesMax = 64 << 10
	// wordWait bounds how long an answer may take; opening may take openWait.
	wordWait = openWait + closeWait
)

// message is one line of the conversation, as JSON. The far end answers each,
// and knows only the one run at a time.
//
//	near: open(version, config)  begin         end           close
//	far:  ready(config, addr, host)  begun(usage)  ended(usage)  closed
//	      failed(error) instead of any; the run is closed then
type message struct {
	Word    string  `json:"word"`
	Version int     `json:"version,omitempty"`
	Config  *Config `json:"config,omitempty"`
	Addr    string  `json:"addr,omitempty"` // for the data
	Host    *Host   `json:"host,omitempty"`
	Usage   *usage  `json:"usage,omitempty"`
	Class   string  `json:"class,omitempty"` // of the error, where it is one of refusals
	Error   string  `json:"error,omitempty"`
}

// control is one end of the conversation. Say and hear are for one goroutine
// each.
type control struct {
	conn net.Conn
	in   *bufio.Reader
}

func newControl(conn net.Conn) *control {
	return &control{conn, bufio.NewReaderSize(conn, lineBytesMax)}
}

func (c *control) say(m *message) error {
	line, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(wordWait)); err != nil {
		return err
	}
	_, err = c.conn.Write(append(line, '\n'))
	return err
}

// hear waits for the next line, for as long as it takes.
func (c *control) hear() (*message, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	m := &message{}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrRelease, clip(line), err)
	}
	return m, nil
}

// clip keeps a foreign line short enough for a message.
func clip(line []byte) []byte { return line[:min(len(line), 80)] }

// failed makes the message that tells err.
func failed(err error) *message {
	m := &message{Word: "failed", Version: controlVersion, Error: err.Error()}
	for _, class := range refusals {
		if errors.Is(err, class) {
			m.Class = class.Error()
		}
	}
	return m
}

// reason is the error that a message tells; nil if it tells none.
func (m *message) reason() error {
	if m.Word != "failed" {
		return nil
	}
	for _, class := range refusals {
		if m.Class == class.Error() {
			return &farError{m.Error, class}
		}
	}
	return &farError{m.Error, nil}
}

// farError is an error that happened at the far end.
type farError struct {
	text  string
	class error
}

func (e *farError) Error() string { return "far end: " + e.text }
func (e *farError) Unwrap() error { return e.class }
