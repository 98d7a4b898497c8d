package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// said is one line of a child's conversation with its parent, as JSON.
//
//	receiver: ready(addr) ── begin(total) ▶ begun ───────────────── end(total) ▶ done(measure)
//	sender:                warm(total) ─────── begin ▶ done(measure)
//	solo:     done(measure)
type said struct {
	Word    string  `json:"word"`
	Addr    string  `json:"addr,omitempty"`
	Total   uint64  `json:"total,omitempty"` // records sent since the start, the warm-up's included
	Measure measure `json:"measure"`
	Err     string  `json:"err,omitempty"`
}

// patience bounds every step that a child or its parent waits for.
const patience = 30 * time.Second

// talk is one end of the conversation.
type talk struct {
	in  *bufio.Reader
	out *json.Encoder
}

func newTalk(in io.Reader, out io.Writer) *talk {
	return &talk{bufio.NewReader(in), json.NewEncoder(out)}
}

func (t *talk) say(s said) error { return t.out.Encode(s) }

// hear waits for a line and insists on its word.
func (t *talk) hear(word string) (s said, err error) {
	line, err := t.in.ReadBytes('\n')
	if err != nil {
		return s, fmt.Errorf("waiting for %q: %w", word, err)
	}
	if err := json.Unmarshal(line, &s); err != nil {
		return s, fmt.Errorf("waiting for %q: %w: %q", word, err, line)
	}
	if s.Err != "" {
		return s, errors.New(s.Err)
	}
	if s.Word != word {
		return s, fmt.Errorf("heard %q, %q was due", s.Word, word)
	}
	return s, nil
}

// child is a process that the parent started: role is "receive", "send", "solo" or "spin".
func child(role string, arguments string) error {
	if role == "spin" {
		spin(os.Stdin)
		return nil
	}
	t := newTalk(os.Stdin, os.Stdout)
	var s spec
	err := json.Unmarshal([]byte(arguments), &s)
	if err == nil {
		var c contender
		if c, err = contenderNamed(s.Contender); err == nil {
			err = play(role, c, &s, t)
		}
	}
	if err != nil {
		_ = t.say(said{Word: "failed", Err: fmt.Sprintf("%s of %s: %v", role, s.Contender, err)})
	}
	return err
}

// spin uses a processor until in ends, as its parent's end or death has it.
func spin(in io.Reader) {
	over := make(chan struct{})
	go func() { // Ends with in.
		_, _ = io.Copy(io.Discard, in)
		close(over)
	}()
	for {
		select {
		case <-over:
			return
		default:
		}
	}
}

func play(role string, c contender, s *spec, t *talk) error {
	ctx := context.Background()
	switch role {
	case "receive":
		return playReceiver(ctx, c, s, t)
	case "send":
		return playSender(ctx, c, s, t)
	case "solo":
		m, err := c.solo(ctx, s)
		if err != nil {
			return err
		}
		return t.say(said{Word: "done", Measure: m})
	}
	return fmt.Errorf("no role %q", role)
}

// profile writes a CPU profile of this process until end is called.
func profile(s *spec, role string) (end func(), err error) {
	if s.Profiles == "" {
		return func() {}, nil
	}
	name := fmt.Sprintf("%s-%s-%s.pprof", s.Row, s.Contender, role)
	f, err := os.Create(filepath.Join(s.Profiles, name))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		f.Close()
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}

func playReceiver(ctx context.Context, c contender, s *spec, t *talk) error {
	r, err := c.receive(ctx, s)
	if err != nil {
		return err
	}
	if err := t.say(said{Word: "ready", Addr: r.addr()}); err != nil {
		return err
	}
	begin, err := t.hear("begin")
	if err != nil {
		return err
	}
	var m measure
	if m.Sockets, err = sameCongestion(congestion); err != nil {
		return err
	}
	before, err := caughtUp(r, begin.Total) // with the warm-up
	if err != nil {
		return err
	}
	ring := ringOf(r)
	stop, err := profile(s, "receiver")
	if err != nil {
		return err
	}
	a, err := used()
	if err != nil {
		return err
	}
	if err := t.say(said{Word: "begun"}); err != nil {
		return err
	}
	end, err := t.hear("end")
	if err != nil {
		return err
	}
	after, err := caughtUp(r, end.Total)
	if err != nil {
		return err
	}
	b, err := used()
	if err != nil {
		return err
	}
	stop()
	m.between(a, b)
	m.Records = after - before
	m.Ring = ringOf(r).since(ring)
	m.Bytes = m.Records * uint64(s.RecordBytes)
	if err := t.say(said{Word: "done", Measure: m, Total: after}); err != nil {
		return err
	}
	return r.close()
}

// caughtUp waits until the receiver has checked all records: an answer may come
// before the last of the work that it answers for.
func caughtUp(r receiver, total uint64) (uint64, error) {
	for deadline := time.Now().Add(patience / 2); ; time.Sleep(200 * time.Microsecond) {
		n, err := r.records()
		if err != nil {
			return n, err
		}
		if n == total {
			return n, nil
		}
		if n > total || time.Now().After(deadline) {
			return n, fmt.Errorf("%d records were sent, %d arrived", total, n)
		}
	}
}

func playSender(ctx context.Context, c contender, s *spec, t *talk) error {
	n, err := c.send(ctx, s)
	if err != nil {
		return err
	}
	l := newLoad(s, n)
	if err := l.run(s.Warm); err != nil {
		return fmt.Errorf("warm-up: %w", err)
	}
	l.times.Reset()
	if err := t.say(said{Word: "warm", Total: l.sent}); err != nil {
		return err
	}
	if _, err := t.hear("begin"); err != nil {
		return err
	}
	var m measure
	if m.Sockets, err = sameCongestion(congestion); err != nil {
		return err
	}
	if m.Sockets < c.sockets {
		return fmt.Errorf("%d connected sockets seen, %d are this contender's: congestion control is not known",
			m.Sockets, c.sockets)
	}
	before, ring := l.sent, ringOf(n)
	stop, err := profile(s, "sender")
	if err != nil {
		return err
	}
	a, err := used()
	if err != nil {
		return err
	}
	if err := l.run(s.Duration); err != nil {
		return err
	}
	b, err := used()
	if err != nil {
		return err
	}
	stop()
	m.between(a, b)
	m.Records = l.sent - before
	m.Ring = ringOf(n).since(ring)
	m.Bytes = m.Records * uint64(s.RecordBytes)
	l.percentiles(&m)
	if noted, ok := n.(interface{ note() string }); ok {
		m.Note = noted.note()
	}
	if err := t.say(said{Word: "done", Measure: m, Total: l.sent}); err != nil {
		return err
	}
	return n.close()
}

// load is what a sender's process puts on its contender. The same loop drives all.
type load struct {
	s      *spec
	n      sender
	record []byte
	sent   uint64
	times  *hdrhistogram.Histogram // nanoseconds
}

func newLoad(s *spec, n sender) *load {
	l := &load{s: s, n: n, record: make([]byte, s.RecordBytes), times: hdrhistogram.New(100, int64(patience), 3)}
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(l.record) // never fails
	return l
}

func (l *load) run(d time.Duration) error {
	switch l.s.Mode {
	case modeTrip:
		return l.trips(d)
	case modeOpen:
		return l.open(d)
	}
	return l.stream(d)
}

// stream sends as fast as the window allows and waits for the last answer.
func (l *load) stream(d time.Duration) error {
	until := time.Now().Add(d)
	window, marks := l.s.window(), l.n.answered()
	look := max(1, uint64(coalesceBytes/l.s.RecordBytes)) // records between two looks at the clock
	for {
		if l.sent-marks.load() >= window {
			if err := l.n.flush(); err != nil {
				return err
			}
			// A quarter at once, so that neither end is woken for every frame.
			if err := marks.wait(l.sent - window*3/4); err != nil {
				return err
			}
		}
		if err := l.put(); err != nil {
			return err
		}
		if l.sent%look == 0 && time.Now().After(until) {
			return l.n.drain(l.sent)
		}
	}
}

func (l *load) put() error {
	l.sent++
	putNumber(l.record, l.sent)
	return l.n.put(l.record)
}

// trips sends one record after the other's answer.
func (l *load) trips(d time.Duration) error {
	n, ok := l.n.(tripper)
	if !ok {
		return fmt.Errorf("%s makes no round trips", l.s.Contender)
	}
	for start := time.Now(); ; {
		l.sent++
		putNumber(l.record, l.sent)
		begin := time.Now()
		if err := n.trip(l.record); err != nil {
			return err
		}
		end := time.Now()
		_ = l.times.RecordValue(int64(end.Sub(begin)))
		if end.Sub(start) > d {
			return nil
		}
	}
}

// open sends records when they are due, whatever became of those before: their
// times run from when they were due, so that a stall is charged to all whom it
// kept waiting. A sample of the records is timed.
func (l *load) open(d time.Duration) error {
	marks, first := l.n.answered(), l.sent
	gap := time.Second / time.Duration(l.s.Rate)
	every := uint64(max(1, l.s.Rate/10_000))
	start := time.Now()
	due := func(record uint64) time.Time { return start.Add(time.Duration(record-first-1) * gap) }
	total := first + uint64(d/gap)
	over := make(chan error, 1)
	go func() { // Ends with the last sample's answer, or with the first error.
		for record := first + every; record <= total; record += every {
			if err := marks.wait(record); err != nil {
				over <- err
				return
			}
			_ = l.times.RecordValue(int64(time.Since(due(record))))
		}
		over <- nil
	}()
	for l.sent < total {
		if wait := time.Until(due(l.sent + 1)); wait > 0 {
			if err := l.n.flush(); err != nil {
				return err
			}
			if wait > 100*time.Microsecond {
				time.Sleep(wait - 50*time.Microsecond)
			}
			continue
		}
		if err := l.put(); err != nil {
			return err
		}
	}
	if err := l.n.drain(l.sent); err != nil {
		return err
	}
	return <-over
}

func (l *load) percentiles(m *measure) {
	if l.times.TotalCount() == 0 {
		return
	}
	m.P50 = time.Duration(l.times.ValueAtQuantile(50))
	m.P99 = time.Duration(l.times.ValueAtQuantile(99))
	m.P999 = time.Duration(l.times.ValueAtQuantile(99.9))
	m.Max = time.Duration(l.times.Max())
}
