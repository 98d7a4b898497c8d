package rdma_test

import (
	"testing"

	"github.com/claudefs/repl/rdma"
	"github.com/claudefs/repl/rdma/fakeverbs"
	"github.com/claudefs/repl/wire"
	"github.com/claudefs/repl/wire/link"
	"github.com/claudefs/repl/wire/link/linktest"
)

func TestLinkConforms(t *testing.T) {
	linktest.Conformance(t, func(t *testing.T) link.Transport { return open(t, fakeverbs.Options{}, rdma.Options{}) })
}

func TestLinkConformsOnOtherDevicesAndSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		fake fakeverbs.Options
		o    rdma.Options
	}{
		{"without immediates", fakeverbs.Options{NoImmediate: true}, rdma.Options{}},
		{"without inline, one part a send", fakeverbs.Options{InlineMax: -1, PartsMax: 1}, rdma.Options{}},
		{"small queues and a small stage", fakeverbs.Options{},
			rdma.Options{Queue: 32, StageBytes: 64 << 10, RingBytes: 4 << 20}},
		{"everything copied", fakeverbs.Options{}, rdma.Options{LandBytesMin: wire.FrameBytesMax + 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			linktest.Conformance(t, func(t *testing.T) link.Transport { return open(t, c.fake, c.o) })
		})
	}
}
