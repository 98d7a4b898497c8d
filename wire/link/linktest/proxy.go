package linktest

import "github.com/claudefs/repl/wire/link/faultproxy"

// Proxy is a faulty path for real sockets, with names for its directions. It has
// a package of its own, so that programs can use it without what only tests need.
type (
	Proxy     = faultproxy.Proxy
	Direction = faultproxy.Direction
)

const (
	ToTarget   = faultproxy.ToTarget
	FromTarget = faultproxy.FromTarget
	Both       = faultproxy.Both
)

// NewProxy starts a proxy without faults in front of target, host:port, which
// need not be there yet. Close it.
func NewProxy(target string) (*Proxy, error) { return faultproxy.New(target) }
