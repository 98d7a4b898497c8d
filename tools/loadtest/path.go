package loadtest

import (
	"context"
	"time"

	"github.com/claudefs/repl/wire/link/faultproxy"
)

// PathOptions are those of a long or narrow way to a target.
type PathOptions struct {
	Target    string        // host:port
	RTT       time.Duration // added round trip, half of it each way
	Bandwidth int64         // bits a second, each way; 0 = no limit
	Listening func(addr string) error
}

// ServePath forwards to a target until ctx ends. It is a process of its own in
// runs, so that neither end is charged for it.
func ServePath(ctx context.Context, o PathOptions) error {
	p, err := faultproxy.New(o.Target)
	if err != nil {
		return err
	}
	p.Delay(faultproxy.Both, o.RTT/2)
	p.Bandwidth(faultproxy.Both, o.Bandwidth/8)
	if err := o.Listening(p.Addr()); err != nil {
		_ = p.Close() // the first error tells more
		return err
	}
	<-ctx.Done()
	return p.Close()
}
