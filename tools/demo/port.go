package demo

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

const (
	portMin       = 10240
	portTriesMax  = 200
	portRangeFile = "/proc/sys/net/ipv4/ip_local_port_range"
)

// reservePorts finds n free loopback addresses that the servers can have again
// after every restart. Where the system tells which ports it gives to outgoing
// connections, the ports are taken from below them: otherwise a connection
// could get a dead server's port, or a peer that dials it could meet itself.
func reservePorts(random *rand.Rand, n int) ([]string, error) {
	hi := ephemeralPortMin()
	var (
		addrs []string
		held  []net.Listener
	)
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range portTriesMax {
		if len(addrs) == n {
			return addrs, nil
		}
		port := 0
		if hi > portMin {
			port = portMin + random.IntN(hi-portMin)
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		held = append(held, l)
		addrs = append(addrs, l.Addr().String())
	}
	return nil, fmt.Errorf("no %d free loopback ports after %d tries", n, portTriesMax)
}

// ephemeralPortMin is the lowest port that outgoing connections get; 0 = unknown.
func ephemeralPortMin() int {
	text, err := os.ReadFile(portRangeFile)
	if err != nil {
		return 0
	}
	var lo, hi int
	if n, err := fmt.Sscan(string(text), &lo, &hi); n != 2 || err != nil {
		return 0
	}
	return lo
}
