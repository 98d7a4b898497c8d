package fsnode

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/tools/fsclient"
)

func TestScratch(t *testing.T) {
	dir := os.Getenv("TREE")
	if dir == "" {
		t.Skip("no TREE")
	}
	a, b := pair(t)
	began := time.Now()
	r, err := a.client.Import(context.Background(), dir, fsclient.ImportOptions{ID: "x"})
	fmt.Printf("%+v %v\n", r, err)
	require.NoError(t, err)
	da, err := a.client.Digest(context.Background())
	require.NoError(t, err)
	fmt.Println(time.Since(began), da)
	for {
		db, err := b.client.Digest(context.Background())
		require.NoError(t, err)
		if db.Applied >= da.Applied {
			fmt.Println(time.Since(began), db)
			break
		}
		fmt.Println(time.Since(began), db.Applied, da.Applied)
	}
}
