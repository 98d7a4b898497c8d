package fsclient

import (
	"fmt"
	"time"
)

// SilentError ends an import whose node left something unanswered for SilenceMax.
type SilentError struct {
	Max   time.Duration
	Here  bool  // the node takes requests: what it was asked for is what it does not do
	Cause error // why the last connection was lost; nil = it was not
}

func (e *SilentError) Error() string {
	switch {
	case e.Cause != nil:
		return fmt.Sprintf("the server did not come back within %s: %v", e.Max, e.Cause)
	case e.Here:
		return fmt.Sprintf("the server is there, and did nothing of what it was asked for within %s", e.Max)
	}
	return fmt.Sprintf("the server did not answer within %s", e.Max)
}

func (e *SilentError) Unwrap() error { return e.Cause }

// silence is how long a node has left something unanswered. It counts in ticks, so that
// a client that stood still itself does not take that for the node's silence.
type silence struct {
	open  int // operations and questions without an answer
	quiet time.Duration
	here  bool  // the present connection brought something
	lost  error // why the last one was lost; nil = something came since
}

// silenceTickMax is what one tick counts at most.
const silenceTickMax = time.Second

func (s *silence) asked() {
	if s.open == 0 {
		s.quiet = 0
	}
	s.open++
}

func (s *silence) answered() { s.open, s.quiet = s.open-1, 0 }

// tick passes time, and says whether it is too much.
func (s *silence) tick(gap, most time.Duration) error {
	if s.open == 0 || most == 0 {
		return nil
	}
	if s.quiet += min(gap, silenceTickMax); s.quiet < most {
		return nil
	}
	return &SilentError{Max: most, Here: s.here, Cause: s.lost}
}

// asked and answered frame what the node owes an answer for.
func (im *importer) asked() {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.silence.asked()
}

func (im *importer) unasked() {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.silence.answered()
}

// here notes the first sign of an answer: the node is there.
func (im *importer) here() {
	im.mu.Lock()
	defer im.mu.Unlock()
	im.silence.here, im.silence.lost = true, nil
}
