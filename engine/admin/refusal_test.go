package admin

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
)

// Only a wrong question is the asker's fault.
func TestVerificationThatIsNoneSaysWhoseFaultItIs(t *testing.T) {
	for err, status := range map[error]int{
		engine.ErrOptions:      http.StatusBadRequest,
		engine.ErrBusy:         http.StatusConflict,
		engine.ErrClosed:       http.StatusServiceUnavailable,
		engine.ErrDurability:   http.StatusInternalServerError,
		errors.New("an other"): http.StatusInternalServerError,
	} {
		code, next := refusal(fmt.Errorf("verify: %w", err))
		require.Equal(t, status, code, err)
		require.NotEmpty(t, next)
	}
}
