package engine_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// setPort takes a real device's network interface down, or up again. It must not be
// the one that the setup goes by, which is the loopback's.
func setPort(t testing.TB, device string, up bool) {
	t.Helper()
	netdev := os.Getenv("RXE_NETDEV")
	if netdev == "" {
		t.Skipf("RXE_NETDEV does not name the network interface of %s, so it cannot be taken down", device)
	}
	state := "down"
	if up {
		state = "up"
	}
	out, err := exec.Command("ip", "link", "set", netdev, state).CombinedOutput()
	require.NoError(t, err, string(out))
}
