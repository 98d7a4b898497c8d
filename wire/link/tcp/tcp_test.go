package tcp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

func open(t *testing.T) link.Transport {
	t.Helper()
	tr, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestTCPConforms(t *testing.T) { linktest.Conformance(t, open) }

func TestOptionsAreRefusedWithTheirNames(t *testing.T) {
	_, err := New(Options{DeadAfter: time.Second})
	if err == nil || !strings.Contains(err.Error(), "dead-after 1s is under 3s") {
		t.Fatalf("got %v", err)
	}
}

func TestTransportsMayShareAPool(t *testing.T) {
	var pool link.Pool
	a, err := New(Options{Pool: &pool})
	wantError(t, err, nil)
	b, err := New(Options{Pool: &pool})
	wantError(t, err, nil)
	if a.options.Pool != b.options.Pool {
		t.Fatal("the pool given was not taken")
	}
}

func TestAddressesThatAreNoneAreRefused(t *testing.T) {
	tr := open(t)
	_, err := tr.Dial(t.Context(), "no-port")
	wantError(t, err, link.ErrUnreachable)
	if _, err := tr.Listen("no-port"); err == nil {
		t.Fatal("listened at no port")
	}
}
